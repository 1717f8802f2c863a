// What sizes an engine has: from the options to segments, buckets and fingerprints.
#pragma once

#include "absl/status/statusor.h"
#include "cache/seg/cache.h"
#include "cache/seg/segment_heap.h"
#include "config/seg.h"

namespace seg {

struct Plan {
  HeapPlan heap;
  uint64_t buckets = 0;
  uint64_t items_max = 0;

  // Whole pages, so that segments begin on one.
  uint64_t table_bytes() const {
    constexpr uint64_t kPageBytes = Pages::kBytes;
    return (buckets * HashTable::kBucketBytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  }
  // What the heap takes of memory at the most,
  uint64_t heap_bytes() const { return uint64_t{heap.segments} * heap.segment_bytes; }
  // and of addresses.
  uint64_t heap_span_bytes() const { return uint64_t{heap.segment_count()} * heap.segment_bytes; }
  uint64_t ghost_bytes() const { return Ghosts::BytesFor(heap.ghosts); }
};

// INVALID_ARGUMENT for sizes that do not go together.
absl::StatusOr<Plan> PlanFor(const config::Seg& options, const Lodging& lodging);

}  // namespace seg
