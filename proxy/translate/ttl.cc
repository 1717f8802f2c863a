// See ttl.h for the table.
#include "proxy/translate/ttl.h"

#include <algorithm>

#include "absl/time/time.h"

namespace proxy::translate {
namespace {

// 10,000 years: past any max_ttl, and safe to multiply by 1000.
constexpr int64_t kFarSec = 315'569'520'000;

uint64_t PositiveMs(absl::Duration d) {
  return static_cast<uint64_t>(std::max<int64_t>(1, absl::ToInt64Milliseconds(d)));
}

// Milliseconds left, 0 or less = none. REQUIRES: exptime != 0.
int64_t LeftMs(int64_t exptime, int64_t wall_ns) {
  if (exptime < 0) return -1;
  const int64_t ms = std::min(exptime, kFarSec) * 1000;
  return exptime <= kRelativeSecMax ? ms : ms - wall_ns / 1'000'000;
}

}  // namespace

TtlRules TtlRulesOf(const config::Cache& cache) {
  TtlRules rules;
  rules.max_ms = PositiveMs(cache.max_ttl);
  rules.default_ms = std::min(PositiveMs(cache.default_ttl), rules.max_ms);
  return rules;
}

Ttl TtlOf(int64_t exptime, const TtlRules& rules, int64_t wall_ns) {
  Ttl ttl;
  if (exptime == 0) {
    ttl.ms = rules.default_ms;
    return ttl;
  }
  const int64_t left_ms = LeftMs(exptime, wall_ns);
  ttl.gone = left_ms <= 0;
  if (ttl.gone) return ttl;
  ttl.clamped = static_cast<uint64_t>(left_ms) > rules.max_ms;
  ttl.ms = std::min(static_cast<uint64_t>(left_ms), rules.max_ms);
  return ttl;
}

uint64_t DelayMs(int64_t exptime, int64_t wall_ns) {
  if (exptime == 0) return 0;
  return static_cast<uint64_t>(std::max<int64_t>(0, LeftMs(exptime, wall_ns)));
}

}  // namespace proxy::translate
