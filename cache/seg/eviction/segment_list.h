// Segments in the order in which they were added, each removable in a step.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"

namespace seg {

class SegmentList {
 public:
  explicit SegmentList(uint32_t segments);

  // REQUIRES: not in the list / in the list.
  void Append(uint32_t segment);
  void Remove(uint32_t segment);
  // Puts `segment` in front of `other`; at the end if that one is not in the list.
  void InsertBefore(uint32_t segment, uint32_t other);
  // The next younger; kNoSegment after the youngest.
  uint32_t After(uint32_t segment) const;
  // The oldest for which `may_go` says yes, or kNoSegment.
  uint32_t First(absl::FunctionRef<bool(uint32_t segment)> may_go) const;
  // The oldest first.
  void ForEach(absl::FunctionRef<void(uint32_t segment)> visit) const;

 private:
  struct Link {
    uint32_t before;
    uint32_t after;
  };
  // A ring through links_[segments], the sentinel: its `after` is the oldest.
  std::vector<Link> links_;
  const uint32_t ring_;
};

}  // namespace seg
