// Policies that look at segments one by one and take the best: random, cte (closest to expiration)
// and util (least live bytes).
//
// A hand goes round and the best of the next kLooks that may go is taken, so a choice costs the same
// in any heap. In heaps of up to kLooks segments it is the best of all.
#pragma once

#include <random>

#include "cache/seg/eviction/policy.h"

namespace seg {

class BestOfEviction : public EvictionPolicy {
 public:
  BestOfEviction(const Segment* segments, uint32_t count) : segments_(segments), count_(count) {}

  void Opened(uint32_t) override {}
  void Reclaimed(uint32_t) override {}
  uint32_t Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) override;

 private:
  static constexpr uint32_t kLooks = 256;

  // The smallest goes first.
  virtual int64_t Worth(const Segment& segment) = 0;

  const Segment* const segments_;
  const uint32_t count_;
  uint32_t hand_ = 0;
};

class RandomEviction final : public BestOfEviction {
 public:
  using BestOfEviction::BestOfEviction;

 private:
  int64_t Worth(const Segment&) override { return static_cast<int64_t>(random_()); }
  std::minstd_rand random_;  // Which segment goes is no secret, so any seed will do.
};

class CteEviction final : public BestOfEviction {
 public:
  using BestOfEviction::BestOfEviction;

 private:
  int64_t Worth(const Segment& segment) override {
    return segment.death_ms.load(std::memory_order_relaxed);
  }
};

class UtilEviction final : public BestOfEviction {
 public:
  using BestOfEviction::BestOfEviction;

 private:
  int64_t Worth(const Segment& segment) override {
    return segment.live_bytes();
  }
};

}  // namespace seg
