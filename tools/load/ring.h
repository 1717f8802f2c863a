// A queue in one block of memory that doubles when it is full.
#pragma once

#include <cstddef>
#include <vector>

namespace tools::load {

template <class T>
class Ring {
 public:
  bool empty() const { return first_ == end_; }
  size_t size() const { return end_ - first_; }
  void Push(const T& value) {
    if (size() == slots_.size()) Grow();
    slots_[end_++ & (slots_.size() - 1)] = value;
  }
  // REQUIRES: i < size().
  T& operator[](size_t i) { return slots_[(first_ + i) & (slots_.size() - 1)]; }
  T& back() { return (*this)[size() - 1]; }
  // REQUIRES: n <= size().
  void Drop(size_t n = 1) { first_ += n; }

 private:
  void Grow() {
    std::vector<T> more(slots_.empty() ? 16 : slots_.size() * 2);
    const size_t n = size();
    for (size_t i = 0; i < n; ++i) more[i] = (*this)[i];
    slots_.swap(more);
    first_ = 0;
    end_ = n;
  }

  std::vector<T> slots_;  // A power of two, or none.
  size_t first_ = 0;      // Both only grow; the slot is the number modulo the slots.
  size_t end_ = 0;
};

}  // namespace tools::load
