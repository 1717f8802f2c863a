// A doubly linked ring over segment numbers. See fifo.h.
#include "cache/seg/eviction/fifo.h"

#include "cache/seg/segment.h"

namespace seg {

FifoEviction::FifoEviction(uint32_t segments)
    : links_(size_t{segments} + 1, Link{kNoSegment, kNoSegment}), ring_(segments) {
  links_[ring_] = {ring_, ring_};
}

void FifoEviction::Opened(uint32_t segment) {
  const uint32_t youngest = links_[ring_].before;
  links_[segment] = {youngest, ring_};
  links_[youngest].after = segment;
  links_[ring_].before = segment;
}

void FifoEviction::Reclaimed(uint32_t segment) {
  const Link link = links_[segment];
  links_[link.before].after = link.after;
  links_[link.after].before = link.before;
  links_[segment] = {kNoSegment, kNoSegment};
}

uint32_t FifoEviction::Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) {
  for (uint32_t at = links_[ring_].after; at != ring_; at = links_[at].after) {
    if (may_go(at)) return at;
  }
  return kNoSegment;
}

}  // namespace seg
