// When a read is worth a second question over another connection, and whether it may be afforded.
//
// After a percentile of the latencies of late, so that only the slow ones are asked twice, and
// within a budget, so that a service that is slow as a whole is not asked twice for everything
// (Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013, "hedged requests").
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "config/momento.h"
#include "proxy/momento/call_budget.h"
#include "proxy/momento/latency_percentile.h"

namespace proxy::momento {

class Hedges {
 public:
  // Batches take longer than gets: each has a percentile of its own.
  enum class Of : uint8_t { kGet, kGetBatch };

  explicit Hedges(const config::Cache& cache)
      : on_(cache.hedge_percentile > 0),
        least_ms_(std::max<int64_t>(absl::ToInt64Milliseconds(cache.hedge_after), 1)),
        budget_(on_ ? cache.hedge_budget_percent : 0),
        percentiles_{LatencyPercentile(cache.hedge_percentile),
                     LatencyPercentile(cache.hedge_percentile)} {}

  bool on() const { return on_; }

  // A read of so many operations is made for the first time. After how many ms it is to be asked
  // again; nullopt: not at all, nothing is known yet. REQUIRES: on().
  std::optional<int64_t> DelayOf(Of what, size_t operations) {
    budget_.Earn(operations);
    const int64_t ns = percentiles_[static_cast<size_t>(what)].ns();
    if (ns < 0) return std::nullopt;
    return std::max(least_ms_, (ns + 999'999) / 1'000'000);
  }
  // A read has been answered so long after it was made. REQUIRES: on().
  void Record(Of what, int64_t ns) { percentiles_[static_cast<size_t>(what)].Record(ns); }
  // Whether Spend() would take it.
  bool Affords(size_t operations) const { return budget_.Affords(operations); }
  // Takes the price of a second question; false when there is too little.
  bool Spend(size_t operations) { return budget_.Spend(operations); }

 private:
  const bool on_;
  const int64_t least_ms_;
  CallBudget budget_;
  std::array<LatencyPercentile, 2> percentiles_;
};

}  // namespace proxy::momento
