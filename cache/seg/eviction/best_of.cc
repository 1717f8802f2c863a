// One look around. See best_of.h.
#include "cache/seg/eviction/best_of.h"

namespace seg {

uint32_t BestOfEviction::Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) {
  uint32_t best = kNoSegment;
  int64_t least = 0;
  uint32_t looks = 0;
  for (uint32_t i = 0; i < count_ && looks < kLooks; ++i) {
    const uint32_t at = hand_;
    hand_ = hand_ + 1 == count_ ? 0 : hand_ + 1;
    if (!may_go(at)) continue;
    ++looks;
    const int64_t worth = Worth(segments_[at]);
    if (best != kNoSegment && worth >= least) continue;
    best = at;
    least = worth;
  }
  return best;
}

}  // namespace seg
