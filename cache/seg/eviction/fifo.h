// First in, first out: the segment that was opened longest ago goes first.
#pragma once

#include "cache/seg/eviction/policy.h"
#include "cache/seg/eviction/segment_list.h"

namespace seg {

class FifoEviction : public EvictionPolicy {
 public:
  explicit FifoEviction(uint32_t count) : in_use_(count) {}

  void Opened(uint32_t segment) override { in_use_.Append(segment); }
  void OpenedBefore(uint32_t segment, uint32_t other) override {
    in_use_.InsertBefore(segment, other);
  }
  uint32_t After(uint32_t segment) const override { return in_use_.After(segment); }
  void Reclaimed(uint32_t segment) override { in_use_.Remove(segment); }
  uint32_t Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) override {
    return in_use_.First(may_go);
  }
  void InOrder(absl::FunctionRef<void(uint32_t segment)> visit) const override {
    in_use_.ForEach(visit);
  }

 private:
  SegmentList in_use_;
};

}  // namespace seg
