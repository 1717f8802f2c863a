// Segcache's own: the oldest segments are merged, and of their items those stay that were used most
// for their size (Yang et al., NSDI'21, section 4.3).
//
// The paper merges four segments of one TTL bucket into one at a time. Here each victim gives its
// best quarter to the open segment of the items' TTL bucket, which amounts to the same and copies a
// segment at a time.
#pragma once

#include "cache/seg/eviction/fifo.h"

namespace seg {

class MergeEviction final : public FifoEviction {
 public:
  using FifoEviction::FifoEviction;

  // The paper's counter: exact to 16, then one in `freq`, up to 127.
  uint32_t freq_max() const override { return 127; }
  Mercy MercyFor(Rank) const override { return {.share = 0.25}; }
  double Score(uint32_t freq, size_t bytes) const override {
    return static_cast<double>(freq) / static_cast<double>(bytes);
  }
  // What was used long ago fades: else it would stay for ever.
  uint32_t FreqAfter(uint32_t freq, Rank) const override { return freq / 2; }
};

}  // namespace seg
