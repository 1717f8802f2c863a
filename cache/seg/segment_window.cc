// Adjacent segments for an item that is larger than one. See segment_heap.h.
#include <algorithm>
#include <thread>
#include <vector>

#include "cache/seg/segment_heap.h"
#include "core/base/check.h"

namespace seg {
namespace {

// How many places are looked at for a large item, besides those that were left last.
constexpr uint32_t kWindows = 64;
constexpr int kRecent = 4;

}  // namespace

bool SegmentHeap::BeginLargeWrite(uint32_t span, const Place& place, size_t bytes, Location* at) {
  ReclaimDead(place.now_ms);
  const size_t end = kSpanBegin + bytes;
  const auto last_bytes = static_cast<uint32_t>(end - (span - 1) * segment_bytes_);
  // With no surplus of segments, a window is the room for the item. With one, there are windows enough,
  // and what is evicted to pay for them is the policy's choice.
  int64_t price = 0;
  if (surplus_ != 0) {
    price = static_cast<int64_t>((span - 1) * segment_bytes_) + PagesFor(last_bytes);
  }
  const auto can_pay = [&](bool) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return FreeBytes() >= price; };
  int seals = 0;
  const auto seal_all = [&] { return ++seals <= kSealTries && SealAllTails(); };
  for (int pinned_tries = 0, pay_tries = 0;;) {
    if (!MakeRoom(place.now_ms, can_pay)) {
      if (!seal_all()) return false;
      continue;
    }
    uint32_t first = kNoSegment;
    std::vector<uint32_t> claimed;
    Held held;
    {
      core::MutexLock lock(mu_);
      Reap();
      held.briefly = in_transit_ > 0;
      first = FindWindow(span, &held);
      if (first != kNoSegment) price = WindowPrice(first, span, last_bytes);
      if (FreeBytes() < price) continue;
      if (first != kNoSegment) TakeWindow(first, span, last_bytes, &claimed);
    }
    if (first == kNoSegment) {
      // Where no reader is in the way, a tail may be.
      if (!held.briefly && !seal_all() && !held.by_reader) return false;
      if (held.by_reader && ++pinned_tries >= kPinnedTries) return false;
      std::this_thread::yield();
      continue;
    }
    for (const uint32_t id : claimed) Drain(id, place.now_ms, Mercy::kUsed);
    if (!HasWindow(first, span)) continue;
    if (!PayForTaken(first, span)) {
      if (++pay_tries >= kPayTries) return false;
      continue;
    }
    JoinWindow(first, span, last_bytes);
    Open(first, span, place, 0);
    Segment& s = segments_[first];
    s.writers.fetch_add(1, std::memory_order_relaxed);
    s.used_bytes.store(static_cast<uint32_t>(end), std::memory_order_relaxed);
    s.used_items.store(1, std::memory_order_relaxed);
    core::MutexLock lock(mu_);
    s.Move(SegmentState::kSealed);
    *at = {first, s.begin()};
    return true;
  }
}

uint32_t SegmentHeap::FindWindow(uint32_t span, Held* held) {
  // What was left last still has its pages, and the next item may well be as large as the one that left
  // it. The last of its segments is in front.
  uint32_t recent = free_.head;
  for (int i = 0; i < kRecent && recent != kNoSegment; ++i, recent = segments_[recent].after) {
    if (recent + 1 < span) continue;
    const uint32_t first = recent + 1 - span;
    if (WindowCost(first, span, held) == 0) return first;
  }
  // Segments that were never in use lie together at the end. From one of them, too, what is behind it
  // may be on its way to somebody.
  const uint32_t woken = std::min(woken_, in_service_);
  const bool has_fresh = woken + span <= in_service_ && WindowCost(woken, span, held) == 0;
  const uint32_t fresh = has_fresh ? woken : kNoSegment;
  if (fresh != kNoSegment && free_count_ == in_service_ - woken) return fresh;
  const uint32_t last = std::max(woken, span) - span;
  const uint32_t step = std::max(span / 2, 1u);
  const uint32_t places = last / step + 2;  // Multiples of step, and the last.
  uint32_t best = kNoSegment;
  int64_t least = 0;
  for (uint32_t i = 0; i < std::min(places, kWindows); ++i) {
    window_hand_ = (window_hand_ + 1) % places;
    const uint32_t first = std::min(window_hand_ * step, last);
    const int64_t cost = WindowCost(first, span, held);
    if (cost < 0 || (best != kNoSegment && cost >= least)) continue;
    best = first;
    least = cost;
    if (cost == 0) return best;
  }
  return fresh != kNoSegment ? fresh : best;
}

int64_t SegmentHeap::WindowCost(uint32_t first, uint32_t span, Held* held) const {
  int64_t cost = 0;
  for (uint32_t id = first; id < first + span;) {
    const bool part = segments_[id].Is(SegmentState::kPart);
    const uint32_t owner = part ? segments_[id].first : id;
    const Segment& s = segments_[owner];
    if (s.Is(SegmentState::kFree)) {
      if (!s.listed) {  // On its way to somebody.
        held->briefly = true;
        return -1;
      }
      ++id;
      continue;
    }
    if (!evicts_ || !s.Is(SegmentState::kSealed) || !MayGo(s, held)) return -1;
    // Even an empty one costs the work.
    cost += 1 + s.live_bytes();
    id = owner + s.span;
  }
  return cost;
}

uint32_t SegmentHeap::WindowCharge(uint32_t id, bool is_last, uint32_t last_bytes) const {
  if (surplus_ == 0 || !is_last) return static_cast<uint32_t>(segment_bytes_);
  return std::max(PagesFor(last_bytes), segments_[id].backed);
}

int64_t SegmentHeap::WindowPrice(uint32_t first, uint32_t span, uint32_t last_bytes) const {
  int64_t price = 0;
  for (uint32_t id = first; id < first + span; ++id) {
    price += WindowCharge(id, id + 1 == first + span, last_bytes);
    price -= segments_[id].charged;
  }
  return price;
}

void SegmentHeap::TakeWindow(uint32_t first, uint32_t span, uint32_t last_bytes,
                             std::vector<uint32_t>* claimed) {
  for (uint32_t id = first; id < first + span;) {
    Segment& s = segments_[id];
    if (s.Is(SegmentState::kFree)) {
      TakeFree(id, WindowCharge(id, id + 1 == first + span, last_bytes));
      s.wanted = true;
      ++id;
      continue;
    }
    const uint32_t owner = s.Is(SegmentState::kPart) ? s.first : id;
    const uint32_t end = owner + segments_[owner].span;
    for (uint32_t i = std::max(first, owner); i < std::min(end, first + span); ++i) {
      segments_[i].wanted = true;
      Charge(i, WindowCharge(i, i + 1 == first + span, last_bytes));
    }
    CHECK(ClaimFor(owner).kind == Claim::Kind::kDrain);  // WindowCost() saw that it may go.
    claimed->push_back(owner);
    id = end;
  }
}

bool SegmentHeap::HasWindow(uint32_t first, uint32_t span) {
  core::MutexLock lock(mu_);
  bool whole = true;
  for (uint32_t id = first; id < first + span; ++id) {
    whole = whole && segments_[id].Is(SegmentState::kFree);
  }
  for (uint32_t id = first; id < first + span; ++id) {
    Segment& s = segments_[id];
    s.wanted = false;
    if (whole) continue;
    if (s.Is(SegmentState::kFree)) {
      PushFree(id);
      --in_transit_;
    } else if (surplus_ != 0) {
      Charge(id, s.backed);  // Somebody still reads it, and it is as it was.
    }
  }
  return whole;
}

void SegmentHeap::JoinWindow(uint32_t first, uint32_t span, uint32_t last_bytes) {
  const uint32_t last = first + span - 1;
  bool gives_back = false;
  {
    core::MutexLock lock(mu_);
    for (uint32_t id = first; id <= last; ++id) {
      const bool is_last = id == last;
      gives_back = Settle(id, is_last ? last_bytes : static_cast<uint32_t>(segment_bytes_));
      if (id == first) continue;
      segments_[id].Move(SegmentState::kPart);
      segments_[id].first = first;
    }
  }
  if (gives_back) ReleaseTail(last, last_bytes);
}

}  // namespace seg
