// A doubly linked ring over segment numbers. See segment_list.h.
#include "cache/seg/eviction/segment_list.h"

#include "cache/seg/segment.h"
#include "core/base/check.h"

namespace seg {

SegmentList::SegmentList(uint32_t segments)
    : links_(size_t{segments} + 1, Link{kNoSegment, kNoSegment}), ring_(segments) {
  links_[ring_] = {ring_, ring_};
}

void SegmentList::Append(uint32_t segment) { InsertBefore(segment, ring_); }

void SegmentList::InsertBefore(uint32_t segment, uint32_t other) {
  DCHECK(links_[segment].before == kNoSegment);
  const uint32_t after =
      other == kNoSegment || links_[other].before == kNoSegment ? ring_ : other;
  const uint32_t before = links_[after].before;
  links_[segment] = {before, after};
  links_[before].after = segment;
  links_[after].before = segment;
}

uint32_t SegmentList::After(uint32_t segment) const {
  const uint32_t after = links_[segment].after;
  return after == ring_ ? kNoSegment : after;
}

void SegmentList::Remove(uint32_t segment) {
  const Link link = links_[segment];
  DCHECK(link.before != kNoSegment);
  links_[link.before].after = link.after;
  links_[link.after].before = link.before;
  links_[segment] = {kNoSegment, kNoSegment};
}

uint32_t SegmentList::First(absl::FunctionRef<bool(uint32_t segment)> may_go) const {
  for (uint32_t at = links_[ring_].after; at != ring_; at = links_[at].after) {
    if (may_go(at)) return at;
  }
  return kNoSegment;
}

void SegmentList::ForEach(absl::FunctionRef<void(uint32_t segment)> visit) const {
  for (uint32_t at = links_[ring_].after; at != ring_; at = links_[at].after) visit(at);
}

}  // namespace seg
