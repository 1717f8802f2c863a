// Input that could not be parsed yet: the rest of a request whose end has not arrived. Owns memory
// only while it holds bytes, so an idle connection costs none. One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>

#include "absl/strings/string_view.h"

namespace core {

class InputBuffer {
 public:
  bool empty() const { return begin_ == end_; }
  absl::string_view view() const { return {data_.get() + begin_, end_ - begin_}; }

  void Append(absl::string_view bytes) {
    if (bytes.empty()) return;
    Reserve(bytes.size());
    std::memcpy(data_.get() + end_, bytes.data(), bytes.size());
    end_ += bytes.size();
  }

  // Makes room for `n` more bytes at tail().
  void Reserve(size_t n) {
    if (capacity_ - end_ >= n) return;
    const size_t size = end_ - begin_;
    if (size + n > capacity_) {
      const size_t grown = std::max({size + n, std::min(2 * capacity_, size + kGrowMax), kLeast});
      std::unique_ptr<char[]> bigger(new char[grown]);
      if (size > 0) std::memcpy(bigger.get(), data_.get() + begin_, size);
      data_ = std::move(bigger);
      capacity_ = grown;
    } else {
      std::memmove(data_.get(), data_.get() + begin_, size);
    }
    begin_ = 0;
    end_ = size;
  }
  char* tail() { return data_.get() + end_; }
  size_t room() const { return capacity_ - end_; }
  void Commit(size_t n) { end_ += n; }

  void Consume(size_t n) {
    begin_ += n;
    if (begin_ < end_) return;
    data_.reset();
    begin_ = end_ = capacity_ = 0;
  }

 private:
  static constexpr size_t kLeast = 2048;
  static constexpr size_t kGrowMax = 1 << 20;  // Doubling stops here; more is asked for by need.

  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace core
