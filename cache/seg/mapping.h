// Memory straight from the kernel, given back when the object dies: zeroed, or a file's. Pages that
// are never touched cost nothing, and pages that are not needed any more can be given back before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace seg {

class Mapping {
 public:
  // RESOURCE_EXHAUSTED if the kernel has no `bytes` of address space.
  static absl::StatusOr<Mapping> Create(size_t bytes);
  // The first `bytes` of the file, shared: what is written is in the file. `fd` may be closed.
  static absl::StatusOr<Mapping> OfFile(int fd, size_t bytes);

  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping();

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  Mapping(char* data, size_t bytes) : data_(data), bytes_(bytes) {}

  char* data_ = nullptr;
  size_t bytes_ = 0;
};

// How the pages of a stretch of mapped memory shall come.
struct PageWishes {
  bool huge_pages = false;  // In pieces of 2 MB, where the kernel has them (and its settings let it).
  bool prefault = false;    // Now rather than at the first touch.
};
// RESOURCE_EXHAUSTED if the pages are to come now and there are not enough.
absl::Status WishPages(char* data, size_t bytes, const PageWishes& wishes);

// Gives pages of a stretch of mapped memory back to the kernel. Copies are the same; borrows the memory.
// Any thread.
class Pages {
 public:
  static constexpr size_t kBytes = 4096;

  // Gives nothing back.
  Pages() = default;
  // Of private, anonymous memory, of which the last page is not in use. From now on the kernel does not
  // join its pages into huge ones, which would take again what was given back. Gives nothing back if
  // the kernel's pages are of another size, or it will not have them.
  static Pages Anonymous(char* data, size_t bytes);

  bool can_release() const { return data_ != nullptr; }
  // Gives back `bytes` from `from` on, which read as zeros afterwards. Returns false if the kernel says
  // no; then they are as they were. REQUIRES: whole pages, and nobody writes to them.
  bool Release(size_t from, size_t bytes) const;

 private:
  char* data_ = nullptr;
};

}  // namespace seg
