// The ordered reply slots of a session: requests go in at the tail, answers may arrive in any
// order, replies leave at the head. A ring that grows to the depth of the pipeline and is given
// back when the session falls idle. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "core/base/check.h"
#include "core/net/out_buffer.h"

namespace core {

template <class Context>
class Slots {
 public:
  struct Slot {
    Context context;
    uint32_t request_bytes = 0;        // What the service may be holding for it.
    std::unique_ptr<OutBuffer> ready;  // The composed reply of a slot that is not yet the head.
  };

  Slots() = default;
  Slots(Slots&&) = delete;
  ~Slots() {
    for (; !empty(); ++head_) Release(At(head_));
  }

  bool empty() const { return head_ == tail_; }
  size_t size() const { return tail_ - head_; }
  // Sequence numbers of the oldest unanswered request and of the next one.
  uint64_t head() const { return head_; }
  uint64_t tail() const { return tail_; }

  uint64_t Push(const Context& context, uint32_t request_bytes = 0) {
    if (size() == capacity_) Grow();
    Slot& slot = At(tail_);
    slot.context = context;
    slot.request_bytes = request_bytes;
    slot.ready.reset();
    return tail_++;
  }
  Slot& At(uint64_t sequence) { return ring_[sequence & (capacity_ - 1)]; }
  void PopHead() {
    DCHECK(!empty());
    ++head_;
  }
  // Lets go of what the context of `slot` owns, whose reply is composed.
  static void Release(Slot& slot) {
    if constexpr (requires { slot.context.Release(); }) slot.context.Release();
  }
  // Gives memory back. REQUIRES: empty().
  void Shrink() {
    if (capacity_ <= kKeep) return;
    ring_.reset();
    capacity_ = 0;
  }

 private:
  static constexpr size_t kFirst = 4;
  static constexpr size_t kKeep = 16;  // x 40 bytes: what an idle session may keep.

  void Grow() {
    const size_t grown = capacity_ == 0 ? kFirst : 2 * capacity_;
    auto bigger = std::make_unique<Slot[]>(grown);
    for (uint64_t i = head_; i != tail_; ++i) bigger[i & (grown - 1)] = std::move(At(i));
    ring_ = std::move(bigger);
    capacity_ = grown;
  }

  std::unique_ptr<Slot[]> ring_;
  size_t capacity_ = 0;  // A power of two.
  uint64_t head_ = 0;
  uint64_t tail_ = 0;
};

}  // namespace core
