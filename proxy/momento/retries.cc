// See retries.h.
#include "proxy/momento/retries.h"

#include <algorithm>

namespace proxy::momento {

using Kind = config::Cache::Kind;

Retries::Retries(const config::Cache& cache, Metrics* metrics, uint32_t seed)
    : attempts_max_(cache.retry_budget_percent == 0 ? 0 : cache.retry_attempts),
      backoff_ms_(std::max<int64_t>(absl::ToInt64Milliseconds(cache.retry_backoff), 1)),
      writes_(cache.retry_writes),
      budget_(cache.retry_budget_percent),
      metrics_(metrics),
      random_(seed) {}

bool Retries::MayRepeat(Kind kind, const Error& error) const {
  if (error.code != Code::kUnavailable && error.code != Code::kInternal) return false;
  return !error.sent || kind == Kind::kRead || (kind == Kind::kWrite && writes_);
}

std::optional<int64_t> Retries::PauseBefore(const Failed& call, const Error& error, Admit admit) {
  if (call.retries >= attempts_max_ || !MayRepeat(call.kind, error)) return std::nullopt;
  // Ten attempts at most: the shift cannot overflow.
  const int64_t most_ms = backoff_ms_ << call.retries;
  const int64_t pause_ms = std::uniform_int_distribution<int64_t>(0, most_ms)(random_);
  if (pause_ms >= call.left_ms) return std::nullopt;  // The answer would come too late.
  if (!budget_.Affords(call.operations)) {
    metrics_->retry_refused.Add();
    return std::nullopt;
  }
  if (!admit(pause_ms)) {
    metrics_->retry_limited.Add();
    return std::nullopt;
  }
  budget_.Spend(call.operations);
  metrics_->retry_sent.Add();
  return pause_ms;
}

}  // namespace proxy::momento
