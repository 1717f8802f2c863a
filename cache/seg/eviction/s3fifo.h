// Two first-in-first-out queues: new items must be used once to get into the second.
//
// After S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP'23), with
// segments in the queues. New items are in segments of rank kNew, a quarter of the heap; when such a
// segment goes, items that were used since move to segments of rank kProven, and the others are
// forgotten but for a fingerprint: one that comes back soon is kProven at once. When a segment of
// kProven goes, its used items go round again with one use less.
//
// The paper gives new items a tenth. A quarter does better on the traces of the README, where many
// items live shortly and segments fill slowly.
#pragma once

#include <algorithm>

#include "cache/seg/eviction/policy.h"
#include "cache/seg/eviction/segment_list.h"

namespace seg {

class S3FifoEviction final : public EvictionPolicy {
 public:
  S3FifoEviction(const Segment* segments, uint32_t count, uint32_t full)
      : segments_(segments),
        full_(full),
        fresh_(count),
        proven_(count) {}

  void Opened(uint32_t segment) override;
  void OpenedBefore(uint32_t segment, uint32_t other) override;
  uint32_t After(uint32_t segment) const override { return Of(segment).After(segment); }
  void Reclaimed(uint32_t segment) override;
  uint32_t Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) override;

  void InOrder(absl::FunctionRef<void(uint32_t segment)> visit) const override {
    fresh_.ForEach(visit);
    proven_.ForEach(visit);
  }

  uint32_t freq_max() const override { return 3; }
  bool remembers() const override { return true; }
  Mercy MercyFor(Rank) const override { return {.share = 1}; }
  double Score(uint32_t freq, size_t) const override { return freq; }
  uint32_t FreqAfter(uint32_t freq, Rank rank) const override {
    return rank == Rank::kNew ? 0 : freq - 1;
  }

 private:
  const SegmentList& Of(uint32_t segment) const {
    return segments_[segment].rank == Rank::kNew ? fresh_ : proven_;
  }
  SegmentList& Of(uint32_t segment) {
    return segments_[segment].rank == Rank::kNew ? fresh_ : proven_;
  }
  uint32_t& CountOf(uint32_t segment) {
    return segments_[segment].rank == Rank::kNew ? fresh_segments_ : proven_segments_;
  }

  const Segment* const segments_;
  const uint32_t full_;
  SegmentList fresh_;
  SegmentList proven_;
  uint32_t fresh_segments_ = 0;
  uint32_t proven_segments_ = 0;
};

}  // namespace seg
