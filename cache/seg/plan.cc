// See plan.h.
#include "cache/seg/plan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cache/seg/gone_counts.h"
#include "core/base/status.h"

namespace seg {
namespace {

// Enough segments for every TTL in use to have a tail, and for eviction to choose from: eight times as
// many miss a per mille or two less (README, "Miss ratios"), but items of some kilobytes leave much of
// them empty. Not smaller than two pages; not larger than what is emptied in a fraction of a
// millisecond.
constexpr uint64_t kSegmentsWanted = 128;
constexpr uint64_t kSegmentBytesLeast = 8 << 10;
constexpr uint64_t kSegmentBytesMost = 256 << 10;

// One bucket (seven slots) per this much heap: 6 % of the heap, and chains of one bucket while items
// average 146 bytes or more. Smaller ones make chains longer, at the same 9 bytes an item.
constexpr uint64_t kHeapBytesPerBucket = 1024;

// One item remembered per this much heap, at two bytes: about as many as the heap holds.
constexpr uint64_t kHeapBytesPerGhost = 256;

// A large item may take this part of the heap.
constexpr uint32_t kSpanShare = 4;

// A heap that shares its memory with the index may lose up to half of its segments to it, and then
// still has enough to choose from.
constexpr uint64_t kSegmentsLeastShared = 8;

// What does not grow with the heap: cells of readers, locks of writers, queues; and for each processor
// a shard with four sets of tails.
constexpr uint64_t kFixedBytes = 144 << 10;
constexpr uint64_t kBytesPerShard = 18 << 10;

// A header, the links of the policy, the time at which to look for the dead, and what has left.
double BytesPerSegment() {
  return static_cast<double>(
      sizeof(Segment) + 24 +
      sizeof(GoneCounts::Cell) * GoneCounts::ColumnsFor(std::thread::hardware_concurrency()));
}

// Segments whose tails are given back to the kernel are as many as the memory is for, and as many
// again: they are half full at the least, or else two would be one. Tails are whole pages, so segments
// of a few pages would gain little, and headers are paid for.
constexpr uint32_t kPagesPerSegmentLeast = 4;

bool GivesTailsBack(const config::Seg& options, uint64_t segment_bytes) {
  return !options.huge_pages && segment_bytes % Pages::kBytes == 0 &&
         segment_bytes >= kPagesPerSegmentLeast * Pages::kBytes;
}

uint64_t SegmentBytesFor(const config::Seg& options, uint64_t heap) {
  // Overflow buckets come to lie behind the segments or in the last of them, each on a cache line.
  constexpr uint64_t kGrain = HashTable::kBucketBytes;
  static_assert(kGrain % kItemAlign == 0);
  if (options.segment_size != 0) return options.segment_size / kGrain * kGrain;
  return std::clamp(std::bit_floor(std::max(heap / kSegmentsWanted, uint64_t{1})),
                    kSegmentBytesLeast, kSegmentBytesMost);
}

uint64_t BucketsFor(const config::Seg& options, uint64_t heap) {
  return std::max(options.hash_power != 0 ? uint64_t{1} << options.hash_power >> 3
                                          : heap / kHeapBytesPerBucket,
                  uint64_t{1});
}

// How memory for everything divides: what is fixed, and what a byte of heap takes, itself included.
struct Shares {
  double fixed;
  double per_heap_byte;
};
Shares SharesFor(const config::Seg& options, uint64_t segment_bytes) {
  Shares shares;
  const double headers = GivesTailsBack(options, segment_bytes) ? 2 : 1;
  shares.fixed = static_cast<double>(
      kFixedBytes + kBytesPerShard * std::max(std::thread::hardware_concurrency(), 1u));
  shares.per_heap_byte =
      1 + headers * BytesPerSegment() / static_cast<double>(segment_bytes) +
      2.0 / static_cast<double>(kHeapBytesPerGhost);
  constexpr auto kBucketBytes = static_cast<double>(HashTable::kBucketBytes);
  if (options.hash_power != 0) {
    shares.fixed += static_cast<double>(BucketsFor(options, 0)) * kBucketBytes;
  } else {
    shares.per_heap_byte += kBucketBytes / static_cast<double>(kHeapBytesPerBucket);
  }
  return shares;
}

// The heap that fits.
absl::StatusOr<uint64_t> HeapFor(const config::Seg& options, const Lodging& lodging) {
  const uint64_t segment_bytes =
      SegmentBytesFor(options, lodging.memory - std::min(lodging.beside, lodging.memory));
  const auto segment = static_cast<double>(segment_bytes);
  const Shares shares = SharesFor(options, segment_bytes);
  const double room =
      static_cast<double>(lodging.memory) - static_cast<double>(lodging.beside) - shares.fixed;
  const double heap = room / shares.per_heap_byte;
  if (heap >= segment * kSegmentsLeastShared) return static_cast<uint64_t>(heap);
  const uint64_t least_bytes = SegmentBytesFor(options, 0);
  const auto least_segment = static_cast<double>(least_bytes);
  const Shares at_least = SharesFor(options, least_bytes);
  const double least = static_cast<double>(lodging.beside) + at_least.fixed +
                       at_least.per_heap_byte * least_segment * kSegmentsLeastShared;
  return absl::InvalidArgumentError(
      absl::StrCat("seg.memory: ", lodging.memory, " bytes is less than ",
                   static_cast<uint64_t>(std::ceil(least / 1024)), "KB, of which ",
                   lodging.beside >> 10, "KB are for the process and ", kSegmentsLeastShared,
                   " segments are the least"));
}

}  // namespace

absl::StatusOr<Plan> PlanFor(const config::Seg& options, const Lodging& lodging) {
  Plan plan;
  uint64_t heap = options.heap_size;
  if (lodging.memory != 0) {
    ASSIGN_OR_RETURN(heap, HeapFor(options, lodging));
  }
  const bool automatic = options.segment_size == 0;
  plan.heap.segment_bytes = SegmentBytesFor(options, heap);
  if (plan.heap.segment_bytes > kSegmentBytesMax ||
      plan.heap.segment_bytes <= Item::kOverheadMax) {
    return absl::InvalidArgumentError(absl::StrCat("seg.segment_size: ", options.segment_size,
                                                   " is not a usable size, the largest is ",
                                                   kSegmentBytesMax));
  }
  plan.heap.shares = lodging.memory != 0 || !lodging.file.empty();
  const uint64_t least = plan.heap.shares ? kSegmentsLeastShared : 2;
  const uint64_t count = heap / plan.heap.segment_bytes;
  if (count < least) {
    return absl::InvalidArgumentError(absl::StrCat("seg.heap_size: ", heap,
                                                   " bytes is less than ", least == 2 ? "two" : "eight",
                                                   " segments (",
                                                   least * plan.heap.segment_bytes, ")"));
  }
  if (count > kSegmentsMax) {
    return absl::InvalidArgumentError(absl::StrCat("seg.heap_size: ", count,
                                                   " segments are more than ", kSegmentsMax,
                                                   "; raise seg.segment_size"));
  }
  plan.heap.segments = static_cast<uint32_t>(count);
  if (GivesTailsBack(options, plan.heap.segment_bytes)) {
    plan.heap.surplus = std::min(plan.heap.segments, kSegmentsMax - plan.heap.segments);
  }
  plan.heap.stocked = options.prefault || !lodging.file.empty();
  if (automatic) {
    plan.heap.span_max = static_cast<uint32_t>(
        std::clamp(count / kSpanShare, uint64_t{1}, kSegmentBytesMax / plan.heap.segment_bytes));
  }
  plan.heap.ghosts = heap / kHeapBytesPerGhost;
  plan.items_max = heap / Item::BytesFor(1, 0, false, false);
  plan.buckets = BucketsFor(options, heap);
  return plan;
}

}  // namespace seg
