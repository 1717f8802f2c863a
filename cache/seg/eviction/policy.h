// Which segment gives way when the heap is full.
//
// A policy keeps whatever order it likes over the segments in use and is asked for a victim. It
// runs under the heap's lock: no method may block or call back into the cache. One file a policy.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "config/seg.h"

namespace seg {

class EvictionPolicy {
 public:
  // The policy that `choice` names, for segments 0 .. segments - 1.
  static std::unique_ptr<EvictionPolicy> Create(config::Seg::Eviction choice, uint32_t segments);
  virtual ~EvictionPolicy() = default;

  // For the label of the metrics.
  virtual absl::string_view name() const = 0;

  // `segment` has been opened: it will hold items.
  virtual void Opened(uint32_t segment) = 0;
  // `segment` is being reclaimed, for whatever reason, this policy's choice included.
  virtual void Reclaimed(uint32_t segment) = 0;

  // The segment to evict: the policy's first choice among those that `may_go`; kNoSegment if it
  // gives up none. Does not change the order; Reclaimed() follows if it is taken.
  virtual uint32_t Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) = 0;
};

}  // namespace seg
