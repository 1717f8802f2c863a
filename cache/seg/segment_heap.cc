// Reservation at tails, the search for a segment, and draining. See segment_heap.h.
#include "cache/seg/segment_heap.h"

#include <algorithm>
#include <bit>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status.h"

namespace seg {
namespace {

// How often a write looks again when only readers' pins stand in its way. A pin normally lasts a
// few microseconds; a yield is about one. Past this the pins are long ones and the write fails.
constexpr int kPinnedTries = 200;

// How many tails above, and as many below, are asked for room before one is sealed.
constexpr int kBorrowTries = 4;

}  // namespace

absl::StatusOr<std::unique_ptr<SegmentHeap>> SegmentHeap::Create(const config::Seg& options,
                                                                 HashTable* table,
                                                                 Metrics* metrics) {
  const size_t segment_bytes = options.segment_size / kItemAlign * kItemAlign;
  if (segment_bytes > kSegmentBytesMax || segment_bytes <= Item::kOverheadMax) {
    return absl::InvalidArgumentError(absl::StrCat("seg.segment_size: ", options.segment_size,
                                                   " is not a usable size, the largest is ",
                                                   kSegmentBytesMax));
  }
  const uint64_t count = options.heap_size / segment_bytes;
  if (count < 2) {
    return absl::InvalidArgumentError(absl::StrCat("seg.heap_size: ", options.heap_size,
                                                   " bytes is less than two segments (",
                                                   2 * segment_bytes, ")"));
  }
  if (count > kSegmentsMax) {
    return absl::InvalidArgumentError(absl::StrCat("seg.heap_size: ", count,
                                                   " segments are more than ", kSegmentsMax,
                                                   "; raise seg.segment_size"));
  }
  ASSIGN_OR_RETURN(Mapping memory, Mapping::Create(count * segment_bytes));
  return std::unique_ptr<SegmentHeap>(new SegmentHeap(
      options, std::move(memory), segment_bytes, static_cast<uint32_t>(count), table, metrics));
}

SegmentHeap::SegmentHeap(const config::Seg& options, Mapping memory, size_t segment_bytes,
                         uint32_t count, HashTable* table, Metrics* metrics)
    : memory_(std::move(memory)),
      segment_bytes_(segment_bytes),
      segment_count_(count),
      open_tails_max_(std::max(count / 2, 1u)),
      table_(table),
      metrics_(metrics),
      segments_(new Segment[count]),
      buckets_(new TtlBucket[kTtlBuckets]),
      policy_(EvictionPolicy::Create(options.eviction, count)) {
  core::MutexLock lock(mu_);
  free_.reserve(count);
  for (uint32_t id = count; id-- > 0;) {
    segments_[id].id = id;
    segments_[id].heap = this;
    segments_[id].data = memory_.data() + size_t{id} * segment_bytes;
    free_.push_back(id);
  }
}

// --- Writing ---

bool SegmentHeap::BeginWrite(size_t bytes, int64_t ttl_ms, int64_t deadline_ms, int64_t now_ms,
                             Location* at) {
  DCHECK(bytes <= segment_bytes_ && bytes % kItemAlign == 0);
  const int index = TtlBucketOf(ttl_ms);
  TtlBucket& bucket = buckets_[index];
  uint32_t opened = kNoSegment;
  for (;;) {  // Again only if a flush or another writer came between.
    uint32_t sealed = kNoSegment;
    bool done = false;
    {
      core::MutexLock lock(bucket.mu);
      done = AppendToTail(&bucket, bytes, deadline_ms, at);
      if (!done) {
        sealed = SealTail(&bucket);
        if (opened != kNoSegment) {
          Open(opened, index, now_ms, deadline_ms);
          bucket.tail = std::exchange(opened, kNoSegment);
          done = AppendToTail(&bucket, bytes, deadline_ms, at);
        }
      }
    }
    if (sealed != kNoSegment) ReclaimIfEmpty(sealed);
    if (done) break;
    // A bucket that filled a tail has earned the next one.
    if (sealed == kNoSegment && Borrow(index, bytes, deadline_ms, now_ms, at)) break;
    opened = TakeSegment(now_ms);
    if (opened == kNoSegment) return false;
  }
  if (opened != kNoSegment) GiveBack(opened);  // Somebody else's tail had room meanwhile.
  return true;
}

bool SegmentHeap::AppendToTail(TtlBucket* bucket, size_t bytes, int64_t deadline_ms,
                               Location* at) {
  if (bucket->tail == kNoSegment) return false;
  Segment& tail = segments_[bucket->tail];
  if (segment_bytes_ - tail.used_bytes < bytes) return false;
  if (tail.sequence.load(std::memory_order_relaxed) < floor()) return false;
  tail.writers.fetch_add(1, std::memory_order_relaxed);
  if (deadline_ms > tail.death_ms.load(std::memory_order_relaxed)) {
    tail.death_ms.store(deadline_ms, std::memory_order_relaxed);
  }
  *at = {bucket->tail, tail.used_bytes};
  tail.used_bytes += static_cast<uint32_t>(bytes);
  return true;
}

bool SegmentHeap::Borrow(int bucket, size_t bytes, int64_t deadline_ms, int64_t now_ms,
                         Location* at) {
  if (open_tails_.load(std::memory_order_relaxed) < open_tails_max_) return false;
  int nearest = -1;
  // Upwards first: there the item dies before its segment, instead of prolonging it.
  for (const int step : {1, -1}) {
    int tries = kBorrowTries;
    for (int i = NearestTail(bucket + (step < 0 ? -1 : 0), step); i >= 0 && tries-- > 0;
         i = NearestTail(i + step, step)) {
      core::MutexLock lock(buckets_[i].mu);
      const uint32_t tail = buckets_[i].tail;
      if (tail == kNoSegment) continue;
      if (!IsAlive(segments_[tail].death_ms.load(std::memory_order_relaxed), now_ms)) continue;
      if (AppendToTail(&buckets_[i], bytes, deadline_ms, at)) return true;
      if (nearest < 0) nearest = i;
    }
  }
  // All as good as full. One makes way, so that the number of tails stays.
  if (nearest >= 0) {
    uint32_t sealed = kNoSegment;
    {
      core::MutexLock lock(buckets_[nearest].mu);
      sealed = SealTail(&buckets_[nearest]);
    }
    if (sealed != kNoSegment) ReclaimIfEmpty(sealed);
  }
  return false;
}

int SegmentHeap::NearestTail(int from, int step) const {
  for (int i = from; i >= 0 && i < kTtlBuckets; i += step) {
    const uint64_t word = has_tail_[static_cast<size_t>(i) / 64].load(std::memory_order_relaxed);
    if ((word >> (i % 64) & 1) != 0) return i;
    // The rest of an empty word at once.
    if (word == 0) i = step > 0 ? i | 63 : i & ~63;
  }
  return -1;
}

void SegmentHeap::NoteTail(int bucket, bool has) {
  const uint64_t bit = uint64_t{1} << (bucket % 64);
  std::atomic<uint64_t>& word = has_tail_[static_cast<size_t>(bucket) / 64];
  if (has) {
    word.fetch_or(bit, std::memory_order_relaxed);
    open_tails_.fetch_add(1, std::memory_order_relaxed);
  } else {
    word.fetch_and(~bit, std::memory_order_relaxed);
    open_tails_.fetch_sub(1, std::memory_order_relaxed);
  }
}

void SegmentHeap::EndWrite(uint32_t segment) {
  // Pairs with the acquire in ClaimFor(): who drains the segment sees the item.
  segments_[segment].writers.fetch_sub(1, std::memory_order_seq_cst);
  ReclaimIfEmpty(segment);
}

uint32_t SegmentHeap::SealTail(TtlBucket* bucket) {
  const uint32_t id = std::exchange(bucket->tail, kNoSegment);
  if (id == kNoSegment) return kNoSegment;
  NoteTail(segments_[id].ttl_bucket, false);
  core::MutexLock lock(mu_);
  segments_[id].Move(SegmentState::kSealed);
  return id;
}

void SegmentHeap::SealIfTail(int bucket, uint32_t id) {
  TtlBucket& of = buckets_[bucket];
  core::MutexLock lock(of.mu);
  if (of.tail == id) SealTail(&of);
}

void SegmentHeap::Open(uint32_t id, int bucket, int64_t now_ms, int64_t deadline_ms) {
  Segment& s = segments_[id];
  core::MutexLock lock(mu_);
  s.Move(SegmentState::kOpen);
  s.pins.store(1, std::memory_order_relaxed);
  s.ttl_bucket = static_cast<uint16_t>(bucket);
  s.sequence.store(next_sequence_++, std::memory_order_relaxed);
  s.opened_ms = now_ms;
  s.used_bytes = 0;
  s.death_ms.store(deadline_ms, std::memory_order_relaxed);
  Enqueue(&s);
  policy_->Opened(id);
  --in_transit_;
  NoteTail(bucket, true);
}

// --- Finding a segment ---

uint32_t SegmentHeap::TakeSegment(int64_t now_ms) {
  for (int pinned_tries = 0;;) {
    Claim claim;
    Held held;
    {
      core::MutexLock lock(mu_);
      if (!free_.empty()) {
        const uint32_t id = free_.back();
        free_.pop_back();
        ++in_transit_;
        return id;
      }
      held.briefly = in_transit_ > 0;
      claim = FindDead(now_ms, &held);
      if (claim.kind == Claim::Kind::kNothing) claim = FindEvictable(SegmentState::kSealed, &held);
      if (claim.kind == Claim::Kind::kNothing) claim = FindEvictable(SegmentState::kOpen, &held);
    }
    switch (claim.kind) {
      case Claim::Kind::kSeal:
        SealIfTail(claim.bucket, claim.segment);
        break;
      case Claim::Kind::kDrain:
        if (Drain(claim.segment, now_ms)) return claim.segment;
        break;
      case Claim::Kind::kNothing:
        if (!held.briefly && !(held.by_reader && ++pinned_tries < kPinnedTries)) return kNoSegment;
        std::this_thread::yield();
        break;
    }
  }
}

void SegmentHeap::GiveBack(uint32_t id) {
  core::MutexLock lock(mu_);
  free_.push_back(id);
  --in_transit_;
}

SegmentHeap::Claim SegmentHeap::FindDead(int64_t now_ms, Held* held) {
  const uint64_t flushed_below = floor();
  for (size_t word = 0; word < queued_.size(); ++word) {
    for (uint64_t bits = queued_[word]; bits != 0; bits &= bits - 1) {
      const int bucket = static_cast<int>(word) * 64 + std::countr_zero(bits);
      const int64_t opened_by_ms = now_ms - TtlBucketFloorMs(bucket);
      for (uint32_t id = queues_[bucket].head; id != kNoSegment; id = segments_[id].after) {
        Segment& s = segments_[id];
        const bool flushed = s.sequence.load(std::memory_order_relaxed) < flushed_below;
        // A segment's first item lives for the bucket's floor at least, and later segments of the
        // queue were opened later.
        if (!flushed && s.opened_ms > opened_by_ms) break;
        if (!flushed && IsAlive(s.death_ms.load(std::memory_order_relaxed), now_ms)) continue;
        const Claim claim = ClaimFor(&s);
        if (claim.kind != Claim::Kind::kNothing) return claim;
        held->briefly = true;
      }
    }
  }
  return {};
}

SegmentHeap::Claim SegmentHeap::FindEvictable(SegmentState state, Held* held) {
  const uint32_t id = policy_->Pick([&](uint32_t candidate) {
    const Segment& s = segments_[candidate];
    if (!s.Is(state)) return false;
    if (s.writers.load(std::memory_order_relaxed) != 0) {
      held->briefly = true;
      return false;
    }
    // More than its own pin: evicting it would lose items and gain no memory.
    if (s.pins.load(std::memory_order_relaxed) != 1) {
      held->by_reader = true;
      return false;
    }
    return true;
  });
  if (id == kNoSegment) return {};
  const Claim claim = ClaimFor(&segments_[id]);
  if (claim.kind == Claim::Kind::kNothing) held->briefly = true;
  return claim;
}

SegmentHeap::Claim SegmentHeap::ClaimFor(Segment* segment) {
  if (segment->Is(SegmentState::kOpen)) {
    return {Claim::Kind::kSeal, segment->id, segment->ttl_bucket};
  }
  // Sealed: no new writers. Pairs with the release in EndWrite().
  if (segment->writers.load(std::memory_order_acquire) != 0) return {};
  segment->Move(SegmentState::kDraining);
  Dequeue(segment);
  policy_->Reclaimed(segment->id);
  ++in_transit_;
  return {Claim::Kind::kDrain, segment->id, segment->ttl_bucket};
}

// --- Reclaiming ---

bool SegmentHeap::Drain(uint32_t id, int64_t now_ms) {
  Segment& s = segments_[id];
  CountReclaim(s, now_ms);
  const bool flushed = s.sequence.load(std::memory_order_relaxed) < floor();
  uint64_t expired = 0;
  uint64_t evicted = 0;
  for (Location at{id, 0}; at.offset < s.used_bytes &&
                           s.live_items.load(std::memory_order_seq_cst) != 0;) {
    const Item found = item(at);
    if (TakeOut(at) && !flushed) ++(IsAlive(found.deadline_ms(), now_ms) ? evicted : expired);
    at.offset += static_cast<uint32_t>(found.bytes());
  }
  CHECK(s.live_items.load(std::memory_order_relaxed) == 0);
  metrics_->item_expire.Add(expired);
  metrics_->item_evict.Add(evicted);

  // The segment's own pin. Pairs with the other decrement in Unpin().
  const bool last = s.pins.fetch_sub(1, std::memory_order_acq_rel) == 1;
  core::MutexLock lock(mu_);
  if (last) {
    s.Move(SegmentState::kFree);
  } else {
    --in_transit_;
  }
  return last;
}

bool SegmentHeap::TakeOut(Location at) {
  const uint64_t hash = table_->Hash(item(at).key());
  core::MutexLock lock(table_->stripe(hash));
  HashTable::Word* slot = table_->Find(hash, [at](Location there) { return there == at; });
  if (slot == nullptr) return false;
  table_->Remove(hash, slot);
  CountOut(at);
  return true;
}

void SegmentHeap::CountReclaim(const Segment& segment, int64_t now_ms) {
  if (segment.sequence.load(std::memory_order_relaxed) < floor()) {
    metrics_->segment_flush.Add();
  } else if (segment.live_items.load(std::memory_order_relaxed) == 0) {
    metrics_->segment_empty.Add();
  } else if (!IsAlive(segment.death_ms.load(std::memory_order_relaxed), now_ms)) {
    metrics_->segment_expire.Add();
  } else {
    metrics_->segment_evict.Add();
  }
}

void SegmentHeap::Unpin(void* segment) {
  auto* s = static_cast<Segment*>(segment);
  if (s->pins.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  SegmentHeap* heap = s->heap;
  core::MutexLock lock(heap->mu_);
  s->Move(SegmentState::kFree);
  heap->free_.push_back(s->id);
}

void SegmentHeap::ReclaimIfEmpty(uint32_t segment) {
  Segment& s = segments_[segment];
  // seq_cst: see Segment::Move().
  if (s.live_items.load(std::memory_order_seq_cst) != 0 || !s.Is(SegmentState::kSealed)) return;
  {
    core::MutexLock lock(mu_);
    if (!s.Is(SegmentState::kSealed)) return;
    if (s.writers.load(std::memory_order_acquire) != 0) return;  // EndWrite() comes back here.
    if (s.live_items.load(std::memory_order_seq_cst) != 0) return;
    if (ClaimFor(&s).kind != Claim::Kind::kDrain) return;
  }
  if (Drain(segment, 0)) GiveBack(segment);
}

void SegmentHeap::ReclaimDead(int64_t now_ms) {
  for (;;) {
    Claim claim;
    {
      Held held;
      core::MutexLock lock(mu_);
      claim = FindDead(now_ms, &held);
    }
    if (claim.kind == Claim::Kind::kNothing) return;
    if (claim.kind == Claim::Kind::kSeal) {
      SealIfTail(claim.bucket, claim.segment);
    } else if (Drain(claim.segment, now_ms)) {
      GiveBack(claim.segment);
    }
  }
}

void SegmentHeap::Flush() {
  core::MutexLock lock(mu_);
  // Tails opened before stay open, but AppendToTail() adds nothing to them any more. The floor moves
  // even if nothing was opened since the last flush: writes under way tell by it.
  floor_.store(++next_sequence_, std::memory_order_seq_cst);
}

SegmentHeap::Usage SegmentHeap::usage() const {
  Usage usage;
  core::MutexLock lock(mu_);
  usage.segments_free = free_.size();
  const uint64_t flushed_below = floor();
  for (uint32_t id = 0; id < segment_count_; ++id) {
    const Segment& s = segments_[id];
    if (s.Is(SegmentState::kFree) || s.sequence.load(std::memory_order_relaxed) < flushed_below) {
      continue;
    }
    usage.items += s.live_items.load(std::memory_order_relaxed);
    usage.item_bytes += s.live_bytes.load(std::memory_order_relaxed);
  }
  return usage;
}

// --- Queues ---

void SegmentHeap::Enqueue(Segment* segment) {
  Queue& queue = queues_[segment->ttl_bucket];
  segment->before = queue.tail;
  segment->after = kNoSegment;
  (queue.tail == kNoSegment ? queue.head : segments_[queue.tail].after) = segment->id;
  queue.tail = segment->id;
  queued_[segment->ttl_bucket / 64] |= uint64_t{1} << (segment->ttl_bucket % 64);
}

void SegmentHeap::Dequeue(Segment* segment) {
  Queue& queue = queues_[segment->ttl_bucket];
  const uint32_t before = segment->before;
  const uint32_t after = segment->after;
  (before == kNoSegment ? queue.head : segments_[before].after) = after;
  (after == kNoSegment ? queue.tail : segments_[after].before) = before;
  if (queue.head == kNoSegment) {
    queued_[segment->ttl_bucket / 64] &= ~(uint64_t{1} << (segment->ttl_bucket % 64));
  }
}

}  // namespace seg
