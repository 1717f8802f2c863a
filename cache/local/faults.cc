#include "cache/local/faults.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cache/local/limits.h"

namespace cache::local {
namespace {

constexpr size_t kSessionsMax = 10'000;           // x about 100 bytes; the oldest is forgotten.
constexpr uint64_t kDelayMsMax = 10 * 60 * 1000;  // As fault_delay in the configuration.
constexpr uint64_t kNoLimit = UINT64_MAX;

constexpr std::array<std::pair<absl::string_view, absl::StatusCode>, 16> kStatuses = {{
    {"cancelled", absl::StatusCode::kCancelled},
    {"unknown", absl::StatusCode::kUnknown},
    {"invalid-argument", absl::StatusCode::kInvalidArgument},
    {"deadline-exceeded", absl::StatusCode::kDeadlineExceeded},
    {"not-found", absl::StatusCode::kNotFound},
    {"already-exists", absl::StatusCode::kAlreadyExists},
    {"permission-denied", absl::StatusCode::kPermissionDenied},
    {"resource-exhausted", absl::StatusCode::kResourceExhausted},
    {"failed-precondition", absl::StatusCode::kFailedPrecondition},
    {"aborted", absl::StatusCode::kAborted},
    {"out-of-range", absl::StatusCode::kOutOfRange},
    {"unimplemented", absl::StatusCode::kUnimplemented},
    {"internal", absl::StatusCode::kInternal},
    {"unavailable", absl::StatusCode::kUnavailable},
    {"data-loss", absl::StatusCode::kDataLoss},
    {"unauthenticated", absl::StatusCode::kUnauthenticated},
}};

// The n-th throw of the dice with this seed: splitmix64, whose steps can be taken in any order.
uint64_t Dice(uint64_t seed, uint64_t n) {
  uint64_t x = (seed << 32 | seed) + (n + 1) * 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// SDKs call SetIfNotExists "set-if"; both names reach it.
bool Names(absl::string_view list, Rpc rpc) {
  for (absl::string_view name : absl::StrSplit(list, ' ', absl::SkipEmpty())) {
    if (name == NameOf(rpc)) return true;
    if (rpc == Rpc::kSetIfNotExists && name == NameOf(Rpc::kSetIf)) return true;
  }
  return false;
}

// "get,get-batch"; all for "", nullopt if one is no call.
std::optional<std::bitset<kRpcs>> RpcsOf(absl::string_view list) {
  std::bitset<kRpcs> named;
  for (absl::string_view name : absl::StrSplit(list, ',', absl::SkipEmpty())) {
    const auto at = std::find(kRpcNames.begin(), kRpcNames.end(), name);
    if (at == kRpcNames.end()) return std::nullopt;
    named.set(static_cast<size_t>(at - kRpcNames.begin()));
  }
  return named.any() ? named : named.set();
}

absl::Status BadHeader(absl::string_view name, absl::string_view value) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": \"", value, "\" is not understood"));
}

absl::Status ParseCount(absl::string_view name, std::optional<absl::string_view> text,
                        uint64_t* count) {
  if (text && !absl::SimpleAtoi(*text, count)) return BadHeader(name, *text);
  return absl::OkStatus();
}

}  // namespace

std::optional<absl::StatusCode> StatusNamed(absl::string_view name) {
  for (const auto& [known, code] : kStatuses) {
    if (name == known) return code;
  }
  return std::nullopt;
}

absl::Status Faults::Configure(const config::Local& options) {
  const std::optional<absl::StatusCode> error = StatusNamed(options.fault_error);
  if (!error) {
    return absl::InvalidArgumentError(absl::StrCat("local.fault_error: \"", options.fault_error,
                                                   "\" is not a status such as \"unavailable\""));
  }
  const std::optional<std::bitset<kRpcs>> rpcs = RpcsOf(options.fault_rpcs);
  if (!rpcs) {
    return absl::InvalidArgumentError(absl::StrCat("local.fault_rpcs: \"", options.fault_rpcs,
                                                   "\" is not calls such as \"get,set-if-hash\""));
  }
  core::MutexLock lock(mu_);
  options_ = options;
  error_ = *error;
  rpcs_ = *rpcs;
  calls_ = 0;
  throws_ = 0;
  configured_.store(options.fault_error_percent > 0 || options.fault_delay_percent > 0 ||
                        options.fault_reset_percent > 0,
                    std::memory_order_relaxed);
  return absl::OkStatus();
}

void Faults::Roll(Rpc rpc, Verdict* verdict) {
  core::MutexLock lock(mu_);
  if (!rpcs_.test(static_cast<size_t>(rpc))) return;
  if (options_.fault_calls_max != 0 && calls_ == options_.fault_calls_max) return;
  ++calls_;
  // Four throws a call whatever they decide: what hits a call depends on its place in line only,
  // the line of those that may be hit.
  const uint64_t seed = options_.fault_seed;
  const uint64_t delay_roll = Dice(seed, throws_++) % 100;
  const uint64_t jitter_roll = Dice(seed, throws_++);
  const uint64_t reset_roll = Dice(seed, throws_++) % 100;
  const uint64_t error_roll = Dice(seed, throws_++) % 100;
  if (delay_roll < options_.fault_delay_percent) {
    const double share = static_cast<double>(jitter_roll >> 11) * 0x1p-53;  // In [0, 1).
    verdict->delay += options_.fault_delay + options_.fault_delay_jitter * share;
  }
  if (reset_roll < options_.fault_reset_percent) verdict->reset = true;
  if (error_roll < options_.fault_error_percent) {
    verdict->error = absl::Status(error_, "injected by the server's configuration");
    if (!options_.fault_detail.empty()) {
      verdict->error.SetPayload(kErrTrailer, absl::Cord(options_.fault_detail));
    }
  }
  verdict->applied = options_.fault_applied;
}

void Faults::Obey(Rpc rpc, const FaultHeaders& headers, Verdict* verdict) {
  absl::Status status = ObeyDelay(rpc, headers, verdict);
  if (status.ok()) status = ObeyError(rpc, headers, verdict);
  if (!status.ok()) verdict->error = std::move(status);
}

absl::Status Faults::ObeyDelay(Rpc rpc, const FaultHeaders& headers, Verdict* verdict) {
  if (!headers.delay_rpcs || !headers.delay_ms || !Names(*headers.delay_rpcs, rpc)) return {};
  uint64_t ms = 0;
  if (!absl::SimpleAtoi(*headers.delay_ms, &ms) || ms > kDelayMsMax) {
    return BadHeader("delay-ms", *headers.delay_ms);
  }
  uint64_t max = kNoLimit;
  absl::Status status = ParseCount("delay-count", headers.delay_count, &max);
  if (status.ok() && Spend(rpc, headers.session, &Uses::delays, max)) {
    verdict->delay += absl::Milliseconds(ms);
  }
  return status;
}

absl::Status Faults::ObeyError(Rpc rpc, const FaultHeaders& headers, Verdict* verdict) {
  if (!headers.error_rpcs || !headers.return_error || !Names(*headers.error_rpcs, rpc)) return {};
  const std::optional<absl::StatusCode> code = StatusNamed(*headers.return_error);
  if (!code) return BadHeader("return-error", *headers.return_error);
  uint64_t max = kNoLimit;
  absl::Status status = ParseCount("error-count", headers.error_count, &max);
  if (status.ok() && Spend(rpc, headers.session, &Uses::errors, max)) {
    verdict->error = absl::Status(*code, "injected at the call's own request");
  }
  return status;
}

bool Faults::Spend(Rpc rpc, absl::string_view session, uint64_t Uses::*field, uint64_t max) {
  if (max == kNoLimit) return true;
  std::string name = absl::StrCat(NameOf(rpc), " ", session);
  core::MutexLock lock(mu_);
  const auto [at, is_new] = uses_.try_emplace(name);
  uint64_t& spent = at->second.*field;
  const bool allowed = spent < max;
  if (allowed) ++spent;
  if (is_new) {
    use_order_.push_back(std::move(name));
    if (use_order_.size() > kSessionsMax) {
      uses_.erase(use_order_.front());
      use_order_.pop_front();
    }
  }
  return allowed;
}

}  // namespace cache::local
