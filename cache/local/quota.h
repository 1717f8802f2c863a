// The account's rate: operations of the data plane a second, past which calls are refused as the
// service refuses them. Counted by the second: what the service's own counting is, is not published.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/clock.h"

namespace cache::local {

// Any thread.
class Quota {
 public:
  // 0: no quota. `clock` outlives it.
  Quota(uint32_t operations_per_second, const core::Clock* clock)
      : per_second_(operations_per_second), clock_(clock) {}

  // Whether this second has an operation left.
  bool Allows() const {
    if (per_second_ == 0) return true;
    const uint64_t word = spent_.load(std::memory_order_relaxed);
    return word >> 32 != Second() || (word & 0xffffffff) < per_second_;
  }
  void Spend(uint64_t operations) {
    if (per_second_ == 0) return;
    const uint64_t second = Second();
    uint64_t word = spent_.load(std::memory_order_relaxed);
    uint64_t next;
    do {
      next = (word >> 32 == second ? word : second << 32) + operations;
      // Relaxed: nothing is published with it.
    } while (!spent_.compare_exchange_weak(word, next, std::memory_order_relaxed));
  }

 private:
  uint64_t Second() const {
    return static_cast<uint64_t>(clock_->MonotonicMs() / 1000) & 0xffffffff;
  }

  const uint64_t per_second_;
  const core::Clock* const clock_;
  std::atomic<uint64_t> spent_{0};  // | second: 32 | operations: 32 |
};

}  // namespace cache::local
