// One segment: a stretch of the heap that items are appended to, and its header.
//
// Life of a segment; nothing else is legal, and Move() checks it:
//
//   kFree ──────► kOpen ──────► kSealed ──────► kDraining ──────► kFree
//     taken by a     full, expired,   claimed: expired,   its items are out of the
//     TTL bucket     flushed or       evicted, flushed    index and nobody reads them
//                    wanted back      or empty
//   kDraining ──► kSealed
//     spared: the large item that fills it stays, or there is no room to move its items to
//   kFree ──────► kPart ──────► kFree
//     joined to the segment before it, which then holds one item larger than a segment
//   kFree ──────► kRetired
//     its memory belongs to the index from now on
//
// There may be more segments than memory for them. Which of the free ones have memory behind them, and
// how much, is no matter of state: `backed` says it, and whoever opens one pays for the rest
// (segment_pages.cc).
//
// `writers` holds a segment back: reservations whose bytes are not yet in the index; a segment is
// only claimed at 0, and a sealed one gets no new ones. Readers hold it back by what pins.h says,
// or by counting themselves in `pins`.
#pragma once

#include <atomic>
#include <cstdint>

#include "cache/seg/gone_counts.h"
#include "core/base/check.h"

namespace seg {

enum class SegmentState : uint8_t { kFree, kOpen, kSealed, kDraining, kPart, kRetired };

constexpr bool CanMove(SegmentState from, SegmentState to) {
  using enum SegmentState;
  switch (from) {
    case kFree:
      return to == kOpen || to == kPart || to == kRetired;
    case kOpen:
      return to == kSealed;
    case kSealed:
      return to == kDraining;
    case kDraining:
      return to == kFree || to == kSealed;
    case kPart:
      return to == kFree;
    case kRetired:
      return false;
  }
  return false;
}

// Which of two queues a segment is in, for eviction policies that tell new items from proven ones.
enum class Rank : uint8_t { kNew, kProven };
inline constexpr int kRanks = 2;

inline constexpr uint32_t kNoSegment = UINT32_MAX;

// A large item does not lie at the very start of its segments. There, its value would follow as many
// bytes of item as a reply has before it, give or take a few; the kernel, which copies a reply to
// pages of its own from their start, would then write each byte a little further into a page than
// where it reads, and processors take such a write for one that the next reads must wait for (AMD
// EPYC: 1 to 15 bytes ahead, a copy takes up to fourteen times as long). 64 bytes are more than any
// reply has before the value that the item has not.
inline constexpr uint32_t kSpanBegin = 64;

struct alignas(64) Segment {
  // This line is written by who moves the segment through its life, and now and then by readers.
  GoneCounts::Cell* gone = nullptr;  // The first of this segment's: see GoneCounts.
  uint32_t gone_columns = 0;
  std::atomic<uint32_t> pins{0};
  std::atomic<SegmentState> state{SegmentState::kFree};  // Moves under the heap's lock.

  // Guarded by the heap's lock: the queue of the TTL bucket, or of the free.
  uint32_t before = kNoSegment;
  uint32_t after = kNoSegment;
  uint32_t first = kNoSegment;  // kPart: the segment it belongs to.
  bool listed = false;          // kFree: in the list of the free.
  bool wanted = false;          // For a large item: not to be given to anyone else.
  // Bytes from the start on, whole pages, that may be resident. Grows when it is opened or sealed.
  uint32_t backed = 0;
  uint32_t charged = 0;         // Not free: what of the heap's memory it is counted with.

  // This line is written by the threads of one shard. Guarded by the shard's lock while open, then
  // unchanged.
  alignas(64) std::atomic<uint32_t> writers{0};
  std::atomic<uint32_t> used_bytes{0};
  std::atomic<uint32_t> used_items{0};
  std::atomic<int64_t> death_ms{0};  // The latest deadline inside.

  // Set when the segment opens, unchanged until it is free again.
  std::atomic<uint64_t> sequence{0};  // The how-manieth opening; never 0 in use.
  int64_t opened_ms = 0;
  uint16_t ttl_bucket = 0;
  uint16_t shard = 0;
  Rank rank = Rank::kNew;
  bool gathered = false;  // Opened for what was moved out of sparse segments.
  uint32_t span = 1;  // How many adjacent segments this one is made of.

  // Where the first item lies.
  uint32_t begin() const { return span > 1 ? kSpanBegin : 0; }

  // In the index, or about to be. What is gone is read first: an item comes before it goes, so the
  // difference is never less than 0, even of a segment that others write to.
  uint32_t live_items() const {
    const auto items = static_cast<uint32_t>(GoneCounts::Sum(gone, gone_columns) >> 32);
    return used_items.load(std::memory_order_relaxed) - items;
  }
  uint32_t live_bytes() const {
    const auto bytes = static_cast<uint32_t>(GoneCounts::Sum(gone, gone_columns));
    return used_bytes.load(std::memory_order_relaxed) - bytes;
  }

  bool Is(SegmentState s) const { return state.load(std::memory_order_seq_cst) == s; }
  // seq_cst pairs the move to kSealed with the count of the gone in SegmentHeap::ReclaimIfEmpty:
  // of "sealed" and "emptied", whoever comes second sees the other.
  void Move(SegmentState to) {
    CHECK(CanMove(state.load(std::memory_order_relaxed), to));
    state.store(to, std::memory_order_seq_cst);
  }
};

static_assert(sizeof(Segment) == 128);

}  // namespace seg
