// The queues. See s3fifo.h.
#include "cache/seg/eviction/s3fifo.h"

namespace seg {

void S3FifoEviction::Opened(uint32_t segment) { OpenedBefore(segment, kNoSegment); }

void S3FifoEviction::OpenedBefore(uint32_t segment, uint32_t other) {
  Of(segment).InsertBefore(segment, other);
  CountOf(segment) += segments_[segment].span;
}

void S3FifoEviction::Reclaimed(uint32_t segment) {
  Of(segment).Remove(segment);
  CountOf(segment) -= segments_[segment].span;
}

uint32_t S3FifoEviction::Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) {
  // Of the heap, or of more segments than it has memory for, if they are not full.
  const uint32_t all = std::max(full_, fresh_segments_ + proven_segments_);
  const bool fresh_first = fresh_segments_ >= std::max(all / 4, 1u);
  const uint32_t first = (fresh_first ? fresh_ : proven_).First(may_go);
  if (first != kNoSegment) return first;
  return (fresh_first ? proven_ : fresh_).First(may_go);
}

}  // namespace seg
