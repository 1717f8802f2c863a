// memcached's exptime into Momento's time to live.
//
//   exptime            meaning                               becomes
//   0                  keep until evicted                    default_ttl: Momento has no "for ever"
//   1 .. 2592000       seconds from now (30 days)            that many seconds
//   > 2592000          seconds since the Unix epoch          what is left of it
//   < 0, or in the past                                      gone at once
//
// A life longer than max_ttl is shortened to it. Pure functions.
#pragma once

#include <cstdint>

#include "config/momento.h"

namespace proxy::translate {

// memcached doc/protocol.txt, "Expiration times": 60*60*24*30 seconds.
inline constexpr int64_t kRelativeSecMax = 2'592'000;

struct TtlRules {
  uint64_t default_ms = 0;
  uint64_t max_ms = 0;
};
// Both at least 1 ms, the default no longer than the maximum.
TtlRules TtlRulesOf(const config::Cache& cache);

struct Ttl {
  bool gone = false;     // The item is not to exist; `ms` is then 1, the shortest life there is.
  bool clamped = false;  // The client asked for more than max_ttl.
  uint64_t ms = 1;       // 1 .. max_ms.
};
// `wall_ns`: now, nanoseconds since the Unix epoch.
Ttl TtlOf(int64_t exptime, const TtlRules& rules, int64_t wall_ns);

// A life in memcached's seconds: begun ones count, so that an item stored for 30 has 30 left at once.
constexpr int32_t SecondsOf(uint64_t ms) {
  constexpr uint64_t kMost = 2'147'483'647;
  const uint64_t seconds = ms / 1000 + (ms % 1000 != 0 ? 1 : 0);
  return static_cast<int32_t>(seconds < kMost ? seconds : kMost);
}

// Milliseconds from now until an exptime used as a delay (flush_all); 0 = at once.
uint64_t DelayMs(int64_t exptime, int64_t wall_ns);

}  // namespace proxy::translate
