// No eviction: when the heap is full of live items, writes are refused.
#pragma once

#include "cache/seg/eviction/policy.h"

namespace seg {

class NoEviction final : public EvictionPolicy {
 public:
  void Opened(uint32_t) override {}
  void Reclaimed(uint32_t) override {}
  uint32_t Pick(absl::FunctionRef<bool(uint32_t segment)>) override { return kNoSegment; }
};

}  // namespace seg
