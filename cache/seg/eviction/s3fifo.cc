// The queues. See s3fifo.h.
#include "cache/seg/eviction/s3fifo.h"

namespace seg {

void S3FifoEviction::Opened(uint32_t segment) { OpenedBefore(segment, kNoSegment); }

void S3FifoEviction::OpenedBefore(uint32_t segment, uint32_t other) {
  Of(segment).InsertBefore(segment, other);
  if (segments_[segment].rank == Rank::kNew) fresh_segments_ += segments_[segment].span;
}

void S3FifoEviction::Reclaimed(uint32_t segment) {
  Of(segment).Remove(segment);
  if (segments_[segment].rank == Rank::kNew) fresh_segments_ -= segments_[segment].span;
}

uint32_t S3FifoEviction::Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) {
  const bool fresh_first = fresh_segments_ >= new_max_;
  const uint32_t first = (fresh_first ? fresh_ : proven_).First(may_go);
  if (first != kNoSegment) return first;
  return (fresh_first ? proven_ : fresh_).First(may_go);
}

}  // namespace seg
