// How much may be sent on top of what was asked: a bucket that fills with a share of each first call
// and is emptied by the extra ones, so that retries or hedges never become most of the load, however
// many calls fail or are slow.
//
// A share of the load with room for a burst: Finagle's RetryBudget (twitter.github.io/finagle,
// "RetryBudget") and gRPC's retry throttling (grpc/proposal, A6). Counted in operations, one a key,
// because that is what the service does and bills.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace proxy::momento {

class CallBudget {
 public:
  // Operations that may be spent at once after a quiet time: as many as there are streams on a
  // connection, whose loss fails them all together.
  static constexpr int64_t kBurst = 100;

  // `percent`: operations to spend of a hundred earned; 0: none ever, no burst either.
  explicit CallBudget(uint32_t percent) : percent_(percent), cents_(percent == 0 ? 0 : kFull) {}

  // First calls of so many operations were made.
  void Earn(size_t operations) {
    cents_ = std::min(kFull, cents_ + static_cast<int64_t>(operations) * percent_);
  }
  // Whether Spend() would take it.
  bool Affords(size_t operations) const {
    return percent_ != 0 && cents_ >= std::min(PriceOf(operations), kFull);
  }
  // Takes the price of an extra call of so many operations; false, and nothing taken, when there is
  // too little. A call larger than a full bucket is let pass by a full one, which then owes.
  bool Spend(size_t operations) {
    if (!Affords(operations)) return false;
    cents_ -= PriceOf(operations);
    return true;
  }

 private:
  static constexpr int64_t kUnit = 100;  // An operation, in hundredths.
  static constexpr int64_t kFull = kBurst * kUnit;

  static int64_t PriceOf(size_t operations) { return static_cast<int64_t>(operations) * kUnit; }

  const int64_t percent_;
  int64_t cents_;
};

}  // namespace proxy::momento
