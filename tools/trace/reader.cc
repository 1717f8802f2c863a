// Bytes, lines, requests. See reader.h.
#include "tools/trace/reader.h"

#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace trace {
namespace {

constexpr size_t kInputBytes = 1 << 17;
constexpr char kZstdMagic[4] = {'\x28', '\xb5', '\x2f', '\xfd'};  // RFC 8878, section 3.1.1.

}  // namespace

struct ByteSource::Zstd {
  ZSTD_DStream* const stream = ZSTD_createDStream();
  std::vector<char> output = std::vector<char>(ZSTD_DStreamOutSize());
  ~Zstd() { ZSTD_freeDStream(stream); }
};

absl::StatusOr<ByteSource> ByteSource::Open(const std::string& path) {
  std::FILE* const file = path == "-" ? stdin : std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  return ByteSource(file);
}

ByteSource::ByteSource(std::FILE* file) : file_(file), input_(kInputBytes) {}
ByteSource::ByteSource(ByteSource&& other) noexcept
    : file_(std::exchange(other.file_, nullptr)),
      input_(std::move(other.input_)),
      input_at_(other.input_at_),
      input_end_(other.input_end_),
      began_(other.began_),
      within_frame_(other.within_frame_),
      zstd_(std::move(other.zstd_)) {}
ByteSource::~ByteSource() {
  if (file_ != nullptr && file_ != stdin) std::fclose(file_);
}

size_t ByteSource::Fill() {
  input_at_ = 0;
  input_end_ = std::fread(input_.data(), 1, input_.size(), file_);
  return input_end_;
}

absl::StatusOr<absl::string_view> ByteSource::Next() {
  if (!began_) {
    began_ = true;
    if (Fill() >= sizeof(kZstdMagic) &&
        std::memcmp(input_.data(), kZstdMagic, sizeof(kZstdMagic)) == 0) {
      zstd_ = std::make_unique<Zstd>();
    }
  } else if (input_at_ == input_end_) {
    Fill();
  }
  if (zstd_ == nullptr) {
    input_at_ = input_end_;
    return absl::string_view(input_.data(), input_end_);
  }
  // Within a frame there may be output left without more input.
  while (input_at_ != input_end_ || within_frame_) {
    ZSTD_inBuffer in = {input_.data(), input_end_, input_at_};
    ZSTD_outBuffer out = {zstd_->output.data(), zstd_->output.size(), 0};
    const size_t left = ZSTD_decompressStream(zstd_->stream, &out, &in);
    if (ZSTD_isError(left)) {
      return absl::DataLossError(absl::StrCat("damaged zstd: ", ZSTD_getErrorName(left)));
    }
    within_frame_ = left != 0;
    input_at_ = in.pos;
    if (out.pos != 0) return absl::string_view(zstd_->output.data(), out.pos);
    if (input_at_ == input_end_ && Fill() == 0) break;
  }
  if (within_frame_) return absl::DataLossError("zstd ends within a frame");
  return absl::string_view();
}

absl::StatusOr<Reader> Reader::Open(const std::string& path) {
  ASSIGN_OR_RETURN(ByteSource source, ByteSource::Open(path));
  return Reader(std::move(source));
}

bool Reader::Next(Request* request) {
  absl::string_view line;
  while (NextLine(&line)) {
    if (parser_.Parse(line, request)) return true;
    ++lines_skipped_;
  }
  return false;
}

bool Reader::NextLine(absl::string_view* line) {
  if (std::exchange(partial_is_out_, false)) partial_.clear();
  for (;;) {
    const size_t end = bytes_.find('\n');
    if (end != absl::string_view::npos) {
      *line = bytes_.substr(0, end);
      bytes_.remove_prefix(end + 1);
      if (partial_.empty()) return true;
      absl::StrAppend(&partial_, *line);
      *line = partial_;
      return partial_is_out_ = true;
    }
    absl::StrAppend(&partial_, bytes_);
    auto next = source_.Next();
    bytes_ = next.ok() ? *next : absl::string_view();
    status_ = next.status();
    if (!bytes_.empty()) continue;
    if (!status_.ok() || partial_.empty()) return false;
    *line = partial_;
    return partial_is_out_ = true;
  }
}

}  // namespace trace
