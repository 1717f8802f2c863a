// Layout, judgement and seal. See restart_file.h.
#include "cache/seg/restart_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cache/seg/checksum.h"
#include "core/base/hash.h"
#include "core/base/status.h"

namespace seg {
namespace {

constexpr char kMagic[8] = {'S', 'e', 'g', 'c', 'a', 'c', 'h', 'e'};
constexpr uint32_t kByteOrder = 0x01020304;
constexpr uint64_t kNotWhole = 0;
constexpr uint64_t kWhole = 0x656c6f6857;  // Not a bit away from the other.
constexpr uint64_t kChecksumSeed = 0;

}  // namespace

// All of it is summed up, so there is no padding. Numbers first that never change their place.
struct RestartFile::Header {
  char magic[8];
  uint32_t version;
  uint32_t byte_order;
  uint64_t checksum;  // Of what follows.
  uint64_t whole;
  // The layout.
  uint64_t buckets;
  uint64_t segment_bytes;
  uint64_t segments;
  uint64_t surplus;
  uint64_t span_max;
  uint64_t ghosts;
  uint64_t file_bytes;
  // With kWhole only.
  uint64_t records_checksum;
  uint64_t content_checksum;
  uint64_t seed;
  uint64_t overflow_max;
  uint64_t overflow_touched;
  uint64_t overflow_free_first;
  uint64_t overflow_free_count;
  uint64_t floor;
  uint64_t next_sequence;
  uint64_t in_service;
  uint64_t has_evicted;
  int64_t now_ms;
  int64_t wall_ms;
  int64_t note;

  uint64_t Sum() const {
    constexpr size_t kFrom = 24;
    static_assert(std::is_standard_layout_v<Header> && offsetof(Header, whole) == kFrom);
    return core::Hash64({reinterpret_cast<const char*>(this) + kFrom, sizeof(*this) - kFrom},
                        kChecksumSeed);
  }
  bool SameLayout(const Header& other) const {
    return buckets == other.buckets && segment_bytes == other.segment_bytes &&
           segments == other.segments && surplus == other.surplus && span_max == other.span_max &&
           ghosts == other.ghosts && file_bytes == other.file_bytes;
  }
  CacheState State() const {
    return {{seed, overflow_max, overflow_touched, overflow_free_first, overflow_free_count},
            {floor, next_sequence, static_cast<uint32_t>(in_service), has_evicted != 0},
            now_ms, wall_ms, note};
  }
};

absl::StatusOr<std::unique_ptr<RestartFile>> RestartFile::Open(const std::string& path,
                                                               const Plan& plan) {
  static_assert(sizeof(Header) == 200 && sizeof(Header) <= kHeaderBytes);
  std::unique_ptr<RestartFile> file(
      new RestartFile(path, plan, core::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600))));
  if (!file->fd_.valid()) {
    return file->Error(absl::StatusCode::kPermissionDenied, std::strerror(errno));
  }
  struct stat stat;
  if (::fstat(file->fd_.get(), &stat) != 0 || !S_ISREG(stat.st_mode)) {
    return file->Error(absl::StatusCode::kInvalidArgument, "not a regular file");
  }
  if (::flock(file->fd_.get(), LOCK_EX | LOCK_NB) != 0) {
    return file->Error(absl::StatusCode::kUnavailable, "in use by another process");
  }
  if (::fstat(file->fd_.get(), &stat) != 0) {  // Again: its last owner may have made it smaller.
    return file->Error(absl::StatusCode::kInternal, std::strerror(errno));
  }
  file->TryHoles(static_cast<uint64_t>(stat.st_size));
  if (stat.st_size > 0) {
    ASSIGN_OR_RETURN(file->refusal_, file->Judge(static_cast<uint64_t>(stat.st_size)));
    file->restored_ = file->refusal_.empty();
  }
  if (!file->restored_) {
    RETURN_IF_ERROR(file->BeginAnew());
  } else {
    RETURN_IF_ERROR(file->AllocateFound(static_cast<uint64_t>(stat.st_blocks) * 512));
  }
  RETURN_IF_ERROR(file->WriteHeader(file->Describe()));
  return file;
}

RestartFile::RestartFile(std::string path, const Plan& plan, core::Fd fd)
    : path_(std::move(path)), plan_(plan), fd_(std::move(fd)) {}

absl::Status RestartFile::Error(absl::StatusCode code, absl::string_view what) const {
  return absl::Status(code, absl::StrCat("seg.restart_file: ", path_, ": ", what));
}

uint64_t RestartFile::bytes() const {
  return kHeaderBytes + plan_.table_bytes() + plan_.heap_span_bytes() + plan_.ghost_bytes() +
         uint64_t{plan_.heap.segment_count()} * sizeof(SegmentRecord);
}

void RestartFile::TryHoles(uint64_t file_bytes) {
  if (plan_.heap.surplus == 0) return;
  // Behind everything, and behind what somebody else may have put there.
  const uint64_t end = std::max(file_bytes, bytes());
  const uint64_t unused = (end + Pages::kBytes - 1) / Pages::kBytes * Pages::kBytes;
  heap_pages_ = FilePages(fd_.get(), kHeaderBytes + plan_.table_bytes(), unused);
  if (heap_pages_ == nullptr) plan_.heap.surplus = 0;
}

void RestartFile::VisitAllocated(
    absl::FunctionRef<void(uint64_t from, uint64_t bytes)> visit) const {
  // What is adjacent, at once.
  uint64_t from = 0;
  uint64_t to = kHeaderBytes + plan_.table_bytes();
  const auto add = [&](uint64_t begin, uint64_t bytes) {
    if (bytes == 0) return;
    if (begin != to) {
      visit(from, to - from);
      from = begin;
    }
    to = begin + bytes;
  };
  const uint64_t heap_begin = to;
  const uint64_t segment_bytes = plan_.heap.segment_bytes;
  for (uint32_t id = 0; id < plan_.heap.segment_count(); ++id) {
    const uint64_t backed = restored_               ? records()[id].backed
                            : id < plan_.heap.segments ? segment_bytes
                                                       : 0;
    add(heap_begin + id * segment_bytes, std::min(backed, segment_bytes));
  }
  const uint64_t tail = heap_begin + plan_.heap_span_bytes();
  add(tail, bytes() - tail);
  visit(from, to - from);
}

int RestartFile::Allocate() {
  int error = 0;
  VisitAllocated([&](uint64_t from, uint64_t bytes) {
    if (error != 0) return;
    error = ::posix_fallocate(fd_.get(), static_cast<off_t>(from), static_cast<off_t>(bytes));
  });
  return error;
}

absl::Status RestartFile::AllocateFound(uint64_t allocated_bytes) {
  uint64_t wanted = 0;
  uint64_t heap_end = kHeaderBytes + plan_.table_bytes();  // Of what was visited.
  const uint64_t heap_begin = heap_end;
  VisitAllocated([&](uint64_t, uint64_t bytes) { wanted += bytes; });
  if (allocated_bytes < wanted && Allocate() != 0) {
    // A page that cannot be had later would be the end of the process.
    return Error(absl::StatusCode::kResourceExhausted,
                 absl::StrCat("no room for ", wanted, " bytes"));
  }
  if (allocated_bytes <= wanted || heap_pages_ == nullptr) return absl::OkStatus();
  VisitAllocated([&](uint64_t from, uint64_t bytes) {
    // If the holes cannot be made, the file takes more than it should.
    if (from > heap_end) (void)heap_pages_->Release(heap_end - heap_begin, from - heap_end);
    heap_end = std::max(heap_end, from + bytes);
  });
  return absl::OkStatus();
}

RestartFile::Header RestartFile::Describe() const {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.byte_order = kByteOrder;
  header.whole = kNotWhole;
  header.buckets = plan_.buckets;
  header.segment_bytes = plan_.heap.segment_bytes;
  header.segments = plan_.heap.segments;
  header.surplus = plan_.heap.surplus;
  header.span_max = plan_.heap.span_max;
  header.ghosts = plan_.heap.ghosts;
  header.file_bytes = bytes();
  return header;
}

absl::StatusOr<std::string> RestartFile::Judge(uint64_t file_bytes) {
  Header header{};
  if (::pread(fd_.get(), &header, sizeof(header), 0) < 0) {
    return Error(absl::StatusCode::kPermissionDenied, std::strerror(errno));
  }
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) {
    return Error(absl::StatusCode::kFailedPrecondition,
                 "holds something else, which will not be overwritten; name another file");
  }
  if (file_bytes < sizeof(header)) return absl::StrCat("it ends after ", file_bytes, " bytes");
  if (header.byte_order != kByteOrder) return std::string("it is of a machine of another kind");
  if (header.version != kVersion) {
    return absl::StrCat("it is of version ", header.version, ", and this is ", kVersion);
  }
  if (header.checksum != header.Sum()) return std::string("its header is damaged");
  if (header.whole != kWhole) {
    return std::string("the process before did not come to its end, or not to the end of saving");
  }
  if (!header.SameLayout(Describe())) {
    return absl::StrCat("it was laid out for ", header.segments, " segments of ",
                        header.segment_bytes, " bytes and ", header.buckets,
                        " buckets, and now there are ", plan_.heap.segments, " of ",
                        plan_.heap.segment_bytes, " and ", plan_.buckets);
  }
  if (file_bytes != bytes()) {
    return absl::StrCat("it is of ", file_bytes, " bytes instead of ", bytes());
  }
  auto mapping = Mapping::OfFile(fd_.get(), bytes());
  if (!mapping.ok()) return mapping.status();
  mapping_ = *std::move(mapping);
  return JudgeContent(header);
}

std::string RestartFile::JudgeContent(const Header& header) {
  const absl::string_view records(reinterpret_cast<const char*>(this->records()),
                                  plan_.heap.segment_count() * sizeof(SegmentRecord));
  const auto never = [] { return false; };
  if (header.records_checksum != ChecksumOf({records}, never)) {
    return "its segment records are damaged";
  }
  state_ = header.State();
  if (header.content_checksum != ChecksumOf(Content(state_), never)) {
    return "its content is damaged";
  }
  return "";
}

// Of the segments only what is in use; the free ones hold nothing, and those of the index are named
// by the overflow buckets.
std::vector<absl::string_view> RestartFile::Content(const CacheState& state) const {
  std::vector<absl::string_view> pieces;
  pieces.emplace_back(table(), plan_.table_bytes());
  const uint64_t overflow =
      std::min(state.table.overflow_touched * HashTable::kBucketBytes, plan_.heap_span_bytes());
  pieces.emplace_back(ghosts() - overflow, overflow);
  pieces.emplace_back(ghosts(), plan_.ghost_bytes());
  for (uint32_t id = 0; id < plan_.heap.segment_count(); ++id) {
    const SegmentRecord& record = records()[id];
    const uint64_t from = uint64_t{id} * plan_.heap.segment_bytes;
    pieces.emplace_back(heap() + from,
                        std::min<uint64_t>(record.used_bytes, plan_.heap_span_bytes() - from));
  }
  return pieces;
}

absl::Status RestartFile::BeginAnew() {
  mapping_ = Mapping();
  state_ = CacheState();
  restored_ = false;
  // Through nothing, so that what comes is zeroed.
  if (::ftruncate(fd_.get(), 0) != 0) {
    return Error(absl::StatusCode::kPermissionDenied, std::strerror(errno));
  }
  if (const int error = Allocate(); error != 0) {
    const bool emptied = ::ftruncate(fd_.get(), 0) == 0;
    const uint64_t wanted = bytes() - plan_.heap_span_bytes() + plan_.heap_bytes();
    return Error(absl::StatusCode::kResourceExhausted,
                 absl::StrCat("no room for ", wanted, " bytes: ", std::strerror(error),
                              emptied ? "" : "; what there is of it stays"));
  }
  ASSIGN_OR_RETURN(mapping_, Mapping::OfFile(fd_.get(), bytes()));
  return absl::OkStatus();
}

absl::Status RestartFile::Refuse(std::string why) {
  refusal_ = std::move(why);
  RETURN_IF_ERROR(BeginAnew());
  return WriteHeader(Describe());
}

absl::Status RestartFile::WriteHeader(Header header) {
  header.checksum = header.Sum();
  std::memcpy(mapping_.data(), &header, sizeof(header));
  return Sync(mapping_.data(), kHeaderBytes);
}

// Costs nothing on tmpfs.
absl::Status RestartFile::Sync(char* from, size_t bytes) {
  if (::msync(from, bytes, MS_SYNC) == 0) return absl::OkStatus();
  return Error(absl::StatusCode::kInternal, std::strerror(errno));
}

absl::Status RestartFile::Seal(const CacheState& state, absl::FunctionRef<bool()> cancelled) {
  Header header = Describe();
  header.whole = kWhole;
  header.seed = state.table.seed;
  header.overflow_max = state.table.overflow_max;
  header.overflow_touched = state.table.overflow_touched;
  header.overflow_free_first = state.table.free_first;
  header.overflow_free_count = state.table.free_count;
  header.floor = state.heap.floor;
  header.next_sequence = state.heap.next_sequence;
  header.in_service = state.heap.in_service;
  header.has_evicted = state.heap.has_evicted ? 1 : 0;
  header.now_ms = state.now_ms;
  header.wall_ms = state.wall_ms;
  header.note = state.note;
  const absl::string_view records(reinterpret_cast<const char*>(this->records()),
                                  plan_.heap.segment_count() * sizeof(SegmentRecord));
  const std::optional<uint64_t> of_records = ChecksumOf({records}, cancelled);
  const std::optional<uint64_t> of_content =
      of_records.has_value() ? ChecksumOf(Content(state), cancelled) : std::nullopt;
  if (!of_content.has_value()) return Error(absl::StatusCode::kCancelled, "saving was cut short");
  header.records_checksum = *of_records;
  header.content_checksum = *of_content;
  // Everything is in the file before the header says so.
  RETURN_IF_ERROR(Sync(mapping_.data(), bytes()));
  return WriteHeader(header);
}

}  // namespace seg
