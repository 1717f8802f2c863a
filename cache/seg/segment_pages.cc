// What the segments take of the heap's memory. See segment_heap.h.
//
// Addresses are cheap and memory is not, so there are more segments than memory for them. It is counted
// in bytes:
//
//   a free segment        what is behind it (Segment::backed): what it had when it was freed
//   an open one           all of it: what is not there yet comes with the first write to it
//   a sealed one          the pages up to its last item. What is behind them goes back to the kernel,
//                         unless it never was there
//
// The sum never exceeds what was planned. A free segment that has less than an open one needs takes it
// from what is behind no segment, or else from other free ones, whose pages are given back first
// (PayForTaken): those that were free for the longest time. So a cache whose items are all of one size
// gives nothing back in the long run: what is freed has the pages that the next one needs.
//
// Pages are given back without any lock held. What keeps the segment from being used meanwhile: of a
// sealed one a writer's count, taken while it was open; a free one is in no list.
#include <algorithm>
#include <thread>

#include "cache/seg/segment_heap.h"
#include "core/base/check.h"

namespace seg {
namespace {

// A tail of less than this part of its segment stays: giving it back is a system call, and so many
// page faults when it is used again.
constexpr uint32_t kTailShare = 32;

// How long a heap in a file that others leave no room does with the memory that it has. Then it asks
// again for what it should have.
constexpr int64_t kWithheldMs = 1000;

}  // namespace

void SegmentHeap::Charge(uint32_t id, uint32_t bytes) {
  charged_bytes_ += int64_t{bytes} - int64_t{segments_[id].charged};
  segments_[id].charged = bytes;
}

uint32_t SegmentHeap::PagesFor(uint32_t used_bytes) const {
  constexpr uint32_t kPage = Pages::kBytes;
  return std::min((used_bytes + kPage - 1) / kPage * kPage, static_cast<uint32_t>(segment_bytes_));
}

bool SegmentHeap::Settle(uint32_t id, uint32_t used_bytes) {
  if (surplus_ == 0) return false;
  Segment& s = segments_[id];
  const uint32_t filled = PagesFor(used_bytes);
  s.backed = std::max(s.backed, filled);
  Charge(id, s.backed);
  return (s.backed - filled) * kTailShare >= segment_bytes_;
}

void SegmentHeap::ReleaseTail(uint32_t id, uint32_t used_bytes) {
  Segment& s = segments_[id];
  const uint32_t from = PagesFor(used_bytes);
  uint32_t to = 0;
  {
    core::MutexLock lock(mu_);
    to = s.backed;
  }
  if (!pages_->Release(size_t{id} * segment_bytes_ + from, to - from)) return;
  metrics_->page_release.Add(to - from);
  core::MutexLock lock(mu_);
  s.backed = from;
  Charge(id, from);
}

bool SegmentHeap::PayForTaken(uint32_t first, uint32_t span) {
  if (surplus_ == 0) return true;
  const auto owes = [this] {
    core::MutexLock lock(mu_);
    return UnbackedBytes() < 0;
  };
  bool paid = true;
  while (paid && owes()) paid = ReleaseFree() || !owes();
  bool provided = true;
  if (!pages_->come_by_themselves()) {
    for (uint32_t id = first; paid && provided && id < first + span; ++id) {
      provided = ProvidePages(id);
    }
  }
  if (paid && provided) return true;
  for (uint32_t id = first; id < first + span; ++id) GiveBack(id);
  if (!provided) Withhold();
  return false;
}

void SegmentHeap::Withhold() {
  core::MutexLock lock(mu_);
  withheld_bytes_ += std::max(UnbackedBytes(), int64_t{0});
  withheld_until_ms_ = kNotYet;
}

void SegmentHeap::LookWhatIsWithheld(int64_t now_ms) {
  if (withheld_until_ms_ == kNotYet) withheld_until_ms_ = now_ms + kWithheldMs;
  if (now_ms >= withheld_until_ms_) withheld_bytes_ = 0;
}

bool SegmentHeap::ProvidePages(uint32_t id) {
  Segment& s = segments_[id];
  uint32_t from = 0;
  uint32_t to = 0;
  {
    core::MutexLock lock(mu_);
    from = s.backed;
    to = s.charged;
  }
  if (from == to) return true;
  // Somebody else may have taken what was given back.
  while (!pages_->Provide(size_t{id} * segment_bytes_ + from, to - from)) {
    if (!ReleaseFree()) return false;
  }
  core::MutexLock lock(mu_);
  s.backed = to;
  return true;
}

bool SegmentHeap::ReleaseFree() {
  for (;;) {
    uint32_t id = kNoSegment;
    uint32_t bytes = 0;
    {
      core::MutexLock lock(mu_);
      if (free_backed_bytes_ == 0) return false;
      id = free_.tail;
      if (id != kNoSegment) {
        UnlistFree(id);
        ++in_transit_;
        bytes = segments_[id].backed;
      }
    }
    if (id == kNoSegment) {  // Another thread has what there is in hand.
      std::this_thread::yield();
      continue;
    }
    const bool released = pages_->Release(size_t{id} * segment_bytes_, bytes);
    core::MutexLock lock(mu_);
    if (released) {
      metrics_->page_release.Add(bytes);
      segments_[id].backed = 0;
      free_backed_bytes_ -= bytes;
    }
    ListFree(id);
    --in_transit_;
    return released;
  }
}

}  // namespace seg
