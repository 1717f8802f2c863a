// The heap: all segments, the TTL buckets that queue them, and their reclamation.
//
// A write reserves room at the tail of its TTL bucket; a full tail is sealed and a free segment
// becomes the tail. When none is free, room is made in this order: segments whose items are all
// dead (flushed or expired), then the eviction policy's choice among sealed segments, then its
// choice among the open tails of other buckets. A write therefore fails only while every segment is
// pinned by readers, or with eviction off.
//
// Open tails may take up to half of the segments. When that many are open, a bucket without a tail
// borrows room in the nearest one that has some, instead of evicting a hardly used segment: items
// carry their own deadlines, so nothing but the time of reclamation depends on the bucket.
//
// Reclaiming takes three steps: claim (kDraining; nobody else will), take every item that the index
// still finds here out of it, and drop the segment's own pin; whoever drops the last pin frees it.
//
// Lock order: TtlBucket::mu, then mu_. A stripe of the index is taken inside neither. mu_ may be
// taken inside anything.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "cache/seg/eviction/policy.h"
#include "cache/seg/hash_table.h"
#include "cache/seg/mapping.h"
#include "cache/seg/metrics.h"
#include "cache/seg/segment.h"
#include "cache/seg/ttl_buckets.h"
#include "config/seg.h"
#include "core/base/mutex.h"

namespace seg {

class SegmentHeap {
 public:
  // `table` and `metrics` outlive the heap. INVALID_ARGUMENT for sizes that do not go together.
  static absl::StatusOr<std::unique_ptr<SegmentHeap>> Create(const config::Seg& options,
                                                             HashTable* table, Metrics* metrics);

  // Room for `bytes` in a segment that is a writer's: it stays until EndWrite(at.segment).
  // Returns false if no segment could be reclaimed.
  // REQUIRES: bytes <= segment_bytes(); no stripe of the index is held.
  [[nodiscard]] bool BeginWrite(size_t bytes, int64_t ttl_ms, int64_t deadline_ms, int64_t now_ms,
                                Location* at);
  // The item written at BeginWrite's place is in the index, or never will be.
  void EndWrite(uint32_t segment);

  // Keeps the bytes of a segment. REQUIRES: the index holds an item in it, under the held stripe.
  void Pin(Segment* segment) { segment->pins.fetch_add(1, std::memory_order_relaxed); }
  // Any thread. release(owner) for core::Bytes: `segment` is a Segment*.
  static void Unpin(void* segment);

  // Counts an item in or out. REQUIRES: its stripe is held.
  void CountIn(Location at) {
    Segment& s = segments_[at.segment];
    s.live_items.fetch_add(1, std::memory_order_seq_cst);
    s.live_bytes.fetch_add(ItemBytes(at), std::memory_order_relaxed);
  }
  void CountOut(Location at) {
    Segment& s = segments_[at.segment];
    s.live_bytes.fetch_sub(ItemBytes(at), std::memory_order_relaxed);
    s.live_items.fetch_sub(1, std::memory_order_seq_cst);
  }
  // To be called after an item left `segment`, with no stripe held: frees a sealed segment at once
  // when nothing in it is live.
  void ReclaimIfEmpty(uint32_t segment);

  // Makes everything in segments opened so far invisible; they are reclaimed later.
  void Flush();
  // Reclaims the segments in which everything is flushed or past its deadline.
  void ReclaimDead(int64_t now_ms);

  // Segments with an older sequence are flushed. Grows.
  uint64_t floor() const { return floor_.load(std::memory_order_seq_cst); }

  Segment* segment(uint32_t id) { return &segments_[id]; }
  Item item(Location at) { return Item(segments_[at.segment].data + at.offset); }

  size_t segment_bytes() const { return segment_bytes_; }
  uint32_t segments() const { return segment_count_; }
  struct Usage {
    uint64_t items = 0;
    uint64_t item_bytes = 0;
    uint64_t segments_free = 0;
  };
  Usage usage() const;

 private:
  struct alignas(64) TtlBucket {
    core::Mutex mu;
    uint32_t tail ABSL_GUARDED_BY(mu) = kNoSegment;  // The open segment, if any.
  };
  // Both ends of a TTL bucket's queue.
  struct Queue {
    uint32_t head = kNoSegment;
    uint32_t tail = kNoSegment;
  };
  // What a search for memory came back with.
  struct Claim {
    enum class Kind : uint8_t { kNothing, kDrain, kSeal } kind = Kind::kNothing;
    uint32_t segment = kNoSegment;
    int bucket = 0;  // With kSeal: the TTL bucket whose tail it was.
  };
  // Why a search came back with nothing, as far as waiting helps.
  struct Held {
    bool briefly = false;    // By a thread that is at work on a segment and needs none itself.
    bool by_reader = false;  // By a pin.
  };

  SegmentHeap(const config::Seg& options, Mapping memory, size_t segment_bytes, uint32_t count,
              HashTable* table, Metrics* metrics);

  uint32_t ItemBytes(Location at) { return static_cast<uint32_t>(item(at).bytes()); }
  bool AppendToTail(TtlBucket* bucket, size_t bytes, int64_t deadline_ms, Location* at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(bucket->mu);
  // Returns what was sealed, or kNoSegment.
  uint32_t SealTail(TtlBucket* bucket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(bucket->mu);
  void SealIfTail(int bucket, uint32_t id);
  // Appends to the tail of another bucket, if too many are open.
  bool Borrow(int bucket, size_t bytes, int64_t deadline_ms, int64_t now_ms, Location* at);
  // The first bucket with a tail at `from`, from + step, ...; -1 if none.
  int NearestTail(int from, int step) const;
  void NoteTail(int bucket, bool has);
  void Open(uint32_t id, int bucket, int64_t now_ms, int64_t deadline_ms);

  // A free segment for the caller to Open() or GiveBack(); kNoSegment if there is none to be had.
  uint32_t TakeSegment(int64_t now_ms);
  void GiveBack(uint32_t id);
  Claim FindDead(int64_t now_ms, Held* held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Claim FindEvictable(SegmentState state, Held* held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // kSeal for an open segment; a sealed one is moved to kDraining and is the caller's to Drain().
  Claim ClaimFor(Segment* segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Empties a claimed segment. Returns whether it is now free and the caller's; otherwise the last
  // reader frees it.
  bool Drain(uint32_t id, int64_t now_ms);
  bool TakeOut(Location at);
  void CountReclaim(const Segment& segment, int64_t now_ms);
  void Enqueue(Segment* segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Dequeue(Segment* segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Mapping memory_;
  const size_t segment_bytes_;
  const uint32_t segment_count_;
  const uint32_t open_tails_max_;
  HashTable* const table_;
  Metrics* const metrics_;
  const std::unique_ptr<Segment[]> segments_;
  const std::unique_ptr<TtlBucket[]> buckets_;
  std::atomic<uint64_t> floor_{0};
  // Hints of which buckets have a tail, changed under their locks.
  std::array<std::atomic<uint64_t>, kTtlBuckets / 64> has_tail_{};
  std::atomic<uint32_t> open_tails_{0};

  mutable core::Mutex mu_;  // Guards everything below, and the states of segments.
  const std::unique_ptr<EvictionPolicy> policy_ ABSL_PT_GUARDED_BY(mu_);
  std::vector<uint32_t> free_ ABSL_GUARDED_BY(mu_);
  std::array<Queue, kTtlBuckets> queues_ ABSL_GUARDED_BY(mu_);
  // A bit a bucket whose queue is not empty.
  std::array<uint64_t, kTtlBuckets / 64> queued_ ABSL_GUARDED_BY(mu_){};
  uint64_t next_sequence_ ABSL_GUARDED_BY(mu_) = 1;
  int in_transit_ ABSL_GUARDED_BY(mu_) = 0;  // Segments some thread is draining or about to open.
};

}  // namespace seg
