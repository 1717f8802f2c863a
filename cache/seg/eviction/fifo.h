// First in, first out: the segment that was opened longest ago goes first.
#pragma once

#include <vector>

#include "cache/seg/eviction/policy.h"

namespace seg {

class FifoEviction final : public EvictionPolicy {
 public:
  explicit FifoEviction(uint32_t segments);

  absl::string_view name() const override { return "fifo"; }
  void Opened(uint32_t segment) override;
  void Reclaimed(uint32_t segment) override;
  uint32_t Pick(absl::FunctionRef<bool(uint32_t segment)> may_go) override;

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
