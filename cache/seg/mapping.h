// Memory straight from the kernel, given back when the object dies: zeroed, or a file's. Pages that
// are never touched cost nothing.
#pragma once

#include <cstddef>
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

}  // namespace seg
