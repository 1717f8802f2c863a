// Bytes on their way out: small writes gathered in chunks, large values kept where they are.
//
// A codec appends; the session hands the pieces to one sendmsg() and consumes what the kernel
// took. Chunks come from a ChunkPool and go back when they are empty, so an idle session owns no
// output memory. One thread.
#pragma once

#include <sys/uio.h>

#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/base/bytes.h"

namespace core {

// Free chunks of one size, owned by one worker. Not thread-safe.
class ChunkPool {
 public:
  static constexpr size_t kChunkBytes = 16 * 1024;
  static constexpr size_t kFreeMax = 256;  // x 16 KiB = 4 MiB kept per worker at most.

  std::unique_ptr<char[]> Get() {
    if (free_.empty()) return std::unique_ptr<char[]>(new char[kChunkBytes]);
    std::unique_ptr<char[]> chunk = std::move(free_.back());
    free_.pop_back();
    return chunk;
  }
  void Put(std::unique_ptr<char[]> chunk) {
    if (free_.size() < kFreeMax) free_.push_back(std::move(chunk));
  }

 private:
  std::vector<std::unique_ptr<char[]>> free_;
};

class OutBuffer {
 public:
  // Values at least this long are kept by reference; below it a copy is cheaper than an iovec.
  static constexpr size_t kReferenceMin = 4 * 1024;
  // The same for brief ones, which must be sent at once. Below it a copy into chunks, which allocates
  // nothing, is cheaper than a system call of their own (measured: 31 us a get of 40 KB sent alone,
  // 23 us copied and sent with others; at 1 MB it is 280 us sent alone, 840 us copied).
  static constexpr size_t kBriefReferenceMin = 256 * 1024;

  // `pool`, if given, outlives this buffer. Without one, chunks start small and grow, which suits
  // a single stored reply.
  explicit OutBuffer(ChunkPool* pool = nullptr) : pool_(pool) {}
  OutBuffer(OutBuffer&&) noexcept = default;
  OutBuffer& operator=(OutBuffer&&) noexcept = default;
  ~OutBuffer() { Clear(); }

  // Copies `bytes` to the end.
  void Append(absl::string_view bytes) {
    if (bytes.size() > static_cast<size_t>(limit_ - cursor_)) return AppendSlow(bytes);
    if (bytes.empty()) return;
    std::memcpy(cursor_, bytes.data(), bytes.size());
    cursor_ += bytes.size();
    size_ += bytes.size();
  }

  // Moves `bytes` to the end: kept by reference when long and not merely borrowed.
  void Append(Bytes bytes);
  // Whether brief bytes are kept by reference: send, then KeepBrief().
  bool has_brief() const { return has_brief_; }
  // Copies what is left of brief bytes and lets their pins go.
  void KeepBrief();

  // Appends everything in `other` and leaves it empty.
  void Append(OutBuffer&& other);

  static constexpr size_t kReserveMax = 2 * 1024;  // A fraction of a chunk, for the rest of one is lost.
  // Room for `n` contiguous bytes (n <= kReserveMax); the caller writes k <= n of them and calls
  // Commit(k).
  char* Reserve(size_t n) {
    if (n > static_cast<size_t>(limit_ - cursor_)) NewChunk(n);
    return cursor_;
  }
  void Commit(size_t n) {
    cursor_ += n;
    size_ += n;
  }

  // Appends `value` in decimal.
  void AppendNumber(uint64_t value);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Describes the first pieces, at most `max` of them. Returns how many.
  int Gather(struct iovec* iov, int max) const;
  // Drops the first `n` bytes, n <= size().
  void Consume(size_t n);
  void Clear();

  std::string ToString() const;

 private:
  struct Piece {
    std::unique_ptr<char[]> chunk;  // Null when `bytes` holds the data.
    size_t capacity = 0;
    size_t begin = 0;
    size_t end = 0;  // Stale for the open tail chunk: cursor_ tells.
    Bytes bytes;
  };

  void AppendSlow(absl::string_view bytes);
  void NewChunk(size_t at_least);
  void SealTail();
  void Free(Piece& piece);

  ChunkPool* pool_;
  std::deque<Piece> pieces_;
  bool has_brief_ = false;  // Among pieces_, or was until it was sent.
  bool tail_open_ = false;  // The last piece is a chunk that cursor_ writes into.
  char* cursor_ = nullptr;
  char* limit_ = nullptr;
  size_t size_ = 0;
};

}  // namespace core
