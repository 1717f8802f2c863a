// A look at every item, for the operator. See segment_heap.h.
#include <thread>

#include "cache/seg/segment_heap.h"

namespace seg {
namespace {

// How often to look again at a segment that is being written to. A write holds it for a microsecond.
constexpr int kTries = 100;

}  // namespace

void SegmentHeap::VisitSizes(int64_t now_ms, uint32_t stride,
                             absl::FunctionRef<void(size_t bytes)> see) {
  for (uint64_t next = 0; next < segment_count_; next += stride) {
    const auto id = static_cast<uint32_t>(next);
    // Held before it is looked at: if it is in use then, whoever reclaims it from now on sees the
    // hold (pins.h, with the state in place of the index).
    const Hold hold = HoldOn(id);
    const uint32_t end = WrittenBytes(id);
    if (end == 0) continue;
    for (Location at{id, segments_[id].begin()}; at.offset < end;) {
      const Item one = item(at);
      const size_t bytes = one.bytes();
      if (IsAlive(one.deadline_ms(), now_ms) && WordAt(at, table_->Hash(one.key())).has_value()) {
        see(bytes);
      }
      at.offset += static_cast<uint32_t>(bytes);
    }
  }
}

// Room is reserved, and a writer counted with it, under the shard's lock while a segment is open, and
// before a large one is sealed. If there are no writers then, what is reserved has been written.
uint32_t SegmentHeap::WrittenBytes(uint32_t id) {
  const Segment& s = segments_[id];
  uint16_t shard = 0;
  {
    core::MutexLock lock(mu_);
    if (!s.Is(SegmentState::kSealed) && !(s.Is(SegmentState::kOpen) && s.span == 1)) return 0;
    if (s.sequence.load(std::memory_order_relaxed) < floor()) return 0;
    shard = s.shard;
  }
  for (int i = 0; i < kTries; ++i) {
    {
      core::MutexLock lock(shards_[shard].mu);
      // Pairs with the release in EndWrite().
      if (s.writers.load(std::memory_order_acquire) == 0) {
        return s.used_bytes.load(std::memory_order_relaxed);
      }
    }
    std::this_thread::yield();
  }
  return 0;
}

}  // namespace seg
