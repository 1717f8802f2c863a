// Zeroed memory straight from the kernel, given back when the object dies. Pages that are never
// touched cost nothing.
#pragma once

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"

namespace seg {

class Mapping {
 public:
  // RESOURCE_EXHAUSTED if the kernel has no `bytes` of address space.
  static absl::StatusOr<Mapping> Create(size_t bytes);

  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping();

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  Mapping(char* data, size_t bytes) : data_(data), bytes_(bytes) {}

  char* data_;
  size_t bytes_;
};

}  // namespace seg
