// One segment: a stretch of the heap that items are appended to, and its header.
//
// Life of a segment; nothing else is legal, and Move() checks it:
//
//   kFree ──────► kOpen ──────► kSealed ──────► kDraining ──────► kFree
//     taken by a     full, expired,   claimed: expired,   last reader
//     TTL bucket     flushed or       evicted, flushed    has left
//                    wanted back      or empty
//
// Two counts hold a segment back. `writers`: reservations whose bytes are not yet in the index; a
// segment is only claimed at 0, and a sealed one gets no new ones. `pins`: readers of its bytes,
// plus one of its own from opening until its items have left the index; at 0 the bytes may be
// reused.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/check.h"

namespace seg {

enum class SegmentState : uint8_t { kFree, kOpen, kSealed, kDraining };

constexpr bool CanMove(SegmentState from, SegmentState to) {
  using enum SegmentState;
  switch (from) {
    case kFree:
      return to == kOpen;
    case kOpen:
      return to == kSealed;
    case kSealed:
      return to == kDraining;
    case kDraining:
      return to == kFree;
  }
  return false;
}

inline constexpr uint32_t kNoSegment = UINT32_MAX;

struct alignas(64) Segment {
  // Written by readers and writers of items, from any thread.
  std::atomic<uint32_t> pins{0};
  std::atomic<uint32_t> writers{0};
  std::atomic<uint32_t> live_items{0};  // In the index; changed under the item's stripe.
  std::atomic<uint32_t> live_bytes{0};
  std::atomic<SegmentState> state{SegmentState::kFree};  // Moves under the heap's lock.

  // Set when the segment opens, unchanged until it is free again.
  uint16_t ttl_bucket = 0;
  std::atomic<uint64_t> sequence{0};  // The how-manieth opening this is; never 0 in use.
  int64_t opened_ms = 0;

  // Guarded by the TTL bucket's lock while open, then unchanged.
  uint32_t used_bytes = 0;
  std::atomic<int64_t> death_ms{0};  // The latest deadline inside.

  // Guarded by the heap's lock: the queue of the TTL bucket.
  uint32_t before = kNoSegment;
  uint32_t after = kNoSegment;

  // Unchanged for ever.
  uint32_t id = 0;
  class SegmentHeap* heap = nullptr;
  char* data = nullptr;

  bool Is(SegmentState s) const { return state.load(std::memory_order_seq_cst) == s; }
  // seq_cst pairs the move to kSealed with the count of live_items in SegmentHeap::ReclaimIfEmpty:
  // of "sealed" and "emptied", whoever comes second sees the other.
  void Move(SegmentState to) {
    CHECK(CanMove(state.load(std::memory_order_relaxed), to));
    state.store(to, std::memory_order_seq_cst);
  }
};

}  // namespace seg
