// Reused objects of one type: no allocation per request once warm. One thread.
//
// The pool owns every object, in use or free, so that what is under way when the worker ends is
// freed with it. T gives `T* pool_prev` and `T* pool_next` and a Reset() that empties it.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace proxy {

template <class T>
class Pool {
 public:
  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    for (T* object : free_) delete object;
    while (used_ != nullptr) {
      T* object = used_;
      Unlink(object);
      delete object;
    }
  }

  T* Take() {
    T* object;
    if (free_.empty()) {
      object = new T();
    } else {
      object = free_.back();
      free_.pop_back();
    }
    object->pool_prev = nullptr;
    object->pool_next = used_;
    if (used_ != nullptr) used_->pool_prev = object;
    used_ = object;
    ++used_count_;
    return object;
  }

  // REQUIRES: `object` came from Take() and was not given back since.
  void Put(T* object) {
    Unlink(object);
    object->Reset();
    if (free_.size() < kFreeMax) {
      free_.push_back(object);
    } else {
      delete object;
    }
  }

  T* first_used() const { return used_; }
  size_t used_count() const { return used_count_; }

 private:
  static constexpr size_t kFreeMax = 1024;  // One deep pipeline's worth; x 904 bytes = 0.9 MB.

  void Unlink(T* object) {
    if (object->pool_prev != nullptr) object->pool_prev->pool_next = object->pool_next;
    if (object->pool_next != nullptr) object->pool_next->pool_prev = object->pool_prev;
    if (used_ == object) used_ = object->pool_next;
    --used_count_;
  }

  std::vector<T*> free_;
  T* used_ = nullptr;  // A list through pool_next.
  size_t used_count_ = 0;
};

}  // namespace proxy
