// See overload_stats.h.
#include "proxy/service/overload_stats.h"

#include "absl/strings/str_cat.h"

namespace proxy {

StatLines BreakerStats(const Guard& guard, int64_t now_ms) {
  const CircuitBreaker& breaker = guard.breaker();
  const OverloadMetrics& m = guard.metrics();
  const std::string reason = breaker.Reason();
  const int64_t since_ms = breaker.SinceMs();
  return {{"breaker_state",
           std::string(CircuitBreaker::kStateNames[static_cast<size_t>(breaker.state())])},
          // Never changed: since the start, which this does not know.
          {"breaker_state_seconds",
           since_ms == 0 ? "none" : absl::StrCat((now_ms - since_ms) / 1000)},
          {"breaker_reason", reason.empty() ? "none" : reason},
          {"breaker_opened", absl::StrCat(m.breaker_to_open.Value())},
          {"breaker_closed", absl::StrCat(m.breaker_to_closed.Value())},
          {"breaker_probes", absl::StrCat(m.breaker_probe.Value())},
          {"breaker_refused", absl::StrCat(m.breaker_refused.Value())}};
}

StatLines OverloadStats(const Guard& guard, const CacheShared& cache) {
  const OverloadMetrics& m = guard.metrics();
  const std::pair<const char*, uint64_t> numbers[] = {
      {"calls", guard.calls()},
      {"waiting", guard.waiting()},
      {"request_bytes", cache.bytes.used()},
      {"busy_late", m.busy_late.Value()},
      {"busy_waiting", m.busy_waiting.Value()},
      {"busy_bytes", cache.metrics.busy_bytes.Value()},
      {"busy_quota", m.busy_quota.Value()},
      {"quota_waits", m.quota_wait.Value()},
      {"limit_operations", m.limit_operations.Value()},
      {"limit_throughput", m.limit_throughput.Value()},
      {"limit_size", m.limit_size.Value()},
      {"limit_other", m.limit_other.Value()}};
  StatLines lines;
  for (const auto& [name, value] : numbers) lines.emplace_back(name, absl::StrCat(value));
  return lines;
}

}  // namespace proxy
