// Which segment gives way when the heap is full, and which of its items may stay.
//
// A policy keeps whatever order it likes over the segments in use and is asked for a victim; the
// items of the victim are then judged, and those that stay are copied to an open segment. One file
// a policy.
//
// Threads: Opened, OpenedBefore, After, Reclaimed, Pick and InOrder run under the heap's lock and may
// neither block nor call back into the cache. Everything else is constant and is asked by any thread.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "cache/seg/segment.h"
#include "config/seg.h"

namespace seg {

class EvictionPolicy {
 public:
  // The policy that `choice` names, for segments[0 .. count - 1], which outlive it. `full` of them
  // are as much as there is memory for.
  static std::unique_ptr<EvictionPolicy> Create(config::Seg::Eviction choice,
                                                const Segment* segments, uint32_t count,
                                                uint32_t full);
  virtual ~EvictionPolicy() = default;

  // `segment` has been opened: it will hold items.
  virtual void Opened(uint32_t segment) = 0;
  // `segment` has been opened for items of a segment that went before `other`, and takes that one's
  // place in the order. With kNoSegment, or if `other` is no longer there: as Opened().
  virtual void OpenedBefore(uint32_t segment, uint32_t /*other*/) { Opened(segment); }
  // The segment that goes after `segment`; kNoSegment if there is none, or no order.
  virtual uint32_t After(uint32_t /*segment*/) const { return kNoSegment; }
  // `segment` is being reclaimed, for whatever reason, this policy's choice included.
  virtual void Reclaimed(uint32_t segment) = 0;
  // The segment to evict: the policy's first choice among those that `may_go`; kNoSegment if it
  // gives up none. Does not change the order; Reclaimed() follows if it is taken.
  virtual uint32_t Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) = 0;

  // Calls `visit` for the segments in use in such an order that a new policy told Opened() of one
  // after the other would have this one's order; for none if Opened() changes nothing.
  virtual void InOrder(absl::FunctionRef<void(uint32_t segment)> /*visit*/) const {}

  // Uses of an item are counted up to here; 0 = not at all. At most Slot::kFreqMax.
  virtual uint32_t freq_max() const { return 0; }
  // Whether items that this policy dropped while kNew are remembered for a while, and are kProven
  // when they come back.
  virtual bool remembers() const { return false; }

  // What may stay of a victim: at most `share` of its live bytes, best score first, and nothing that
  // scores 0.
  struct Mercy {
    double share = 0;
  };
  virtual Mercy MercyFor(Rank) const { return {}; }
  virtual double Score(uint32_t /*freq*/, size_t /*bytes*/) const { return 0; }
  // The count of an item that stays, having been in a segment of this rank.
  virtual uint32_t FreqAfter(uint32_t freq, Rank) const { return freq; }
};

}  // namespace seg
