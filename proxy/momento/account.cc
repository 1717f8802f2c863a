// See account.h.
#include "proxy/momento/account.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace proxy::momento {
namespace {

// Shorter tokens are words that a message may hold by chance, and no key of the service.
constexpr size_t kScrubbedBytesMin = 16;

}  // namespace

KeyMetrics::KeyMetrics(core::Registry* registry, absl::string_view account,
                       absl::AnyInvocable<int64_t() const> wall_s)
    : MetricGroup(registry, "proxy_key", {{"account", std::string(account)}}),
      expiry_(this, "expiry_seconds",
              "Seconds until the API key in use expires; negative: ago; +Inf: it does not say.",
              [at = expires_at_s_, now = std::move(wall_s)] {
                const int64_t expires = at->load(std::memory_order_relaxed);
                if (expires == 0) return std::numeric_limits<double>::infinity();
                return static_cast<double>(expires - now());
              }),
      pending_gauge_(this, "pending",
                     "1 while the key file holds a key that is not in use: refused, or not "
                     "checked yet.",
                     [pending = pending_] {
                       return pending->load(std::memory_order_relaxed) ? 1.0 : 0.0;
                     }) {}

Account::Account(Credentials credentials, KeyMetrics* metrics)
    : metrics_(metrics), current_(std::make_shared<const Credentials>(std::move(credentials))) {
  if (metrics_ != nullptr) metrics_->SetExpiry(current()->expires_at_s);
}

void Account::Replace(Credentials credentials) {
  auto next = std::make_shared<const Credentials>(std::move(credentials));
  if (metrics_ != nullptr) metrics_->SetExpiry(next->expires_at_s);
  {
    core::MutexLock lock(mu_);
    current_.swap(next);
  }
  generation_.fetch_add(1, std::memory_order_release);
}  // What was in use is wiped here, or by the last pool that lets go of it.

void Scrub(const Secret& key, std::string* text) {
  if (key.view().size() < kScrubbedBytesMin) return;
  absl::StrReplaceAll({{key.view(), "***"}}, text);
}

}  // namespace proxy::momento
