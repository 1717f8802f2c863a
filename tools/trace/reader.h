// The lines of a trace file: plain or compressed with zstd, from a path or standard input.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/trace/parse.h"
#include "tools/trace/request.h"

namespace trace {

// Bytes of a file, uncompressed if it is zstd, whatever its name. After zstd's manual, "Streaming
// decompression".
class ByteSource {
 public:
  // "-" is standard input. NOT_FOUND if the file cannot be opened.
  static absl::StatusOr<ByteSource> Open(const std::string& path);
  ByteSource(ByteSource&&) noexcept;
  ByteSource& operator=(ByteSource&&) = delete;
  ~ByteSource();

  // The next bytes, empty at the end, valid until the next call. DATA_LOSS for a damaged file.
  absl::StatusOr<absl::string_view> Next();

 private:
  struct Zstd;
  explicit ByteSource(std::FILE* file);
  size_t Fill();

  std::FILE* file_;
  std::vector<char> input_;
  size_t input_at_ = 0;
  size_t input_end_ = 0;
  bool began_ = false;
  bool within_frame_ = false;
  std::unique_ptr<Zstd> zstd_;  // Null: plain.
};

// The requests of a trace, in order.
class Reader {
 public:
  static absl::StatusOr<Reader> Open(const std::string& path);

  // The next request into *request; false at the end, and if the file turns out damaged.
  bool Next(Request* request);
  // What ended it. Ok at the end of a whole file.
  const absl::Status& status() const { return status_; }
  // Lines that are no requests, headers included.
  uint64_t lines_skipped() const { return lines_skipped_; }

 private:
  explicit Reader(ByteSource source) : source_(std::move(source)) {}
  bool NextLine(absl::string_view* line);

  ByteSource source_;
  Parser parser_;
  absl::string_view bytes_;  // Not yet read.
  std::string partial_;      // A line that began in earlier bytes.
  bool partial_is_out_ = false;
  absl::Status status_;
  uint64_t lines_skipped_ = 0;
};

}  // namespace trace
