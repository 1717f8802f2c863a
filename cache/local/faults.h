// Deliberate misbehaviour, for tests: calls that fail, wait, or lose their connection.
//
// Two sources. A call may ask for it in its metadata, the way Momento's SDK tests do:
// `return-error` for the calls in `error-rpcs`, `delay-ms` for those in `delay-rpcs`, at most
// `error-count` or `delay-count` times a session (`request-id`) and call. And the server's
// configuration may ask for it by the percent: seeded dice, thrown in the order in which calls
// arrive, for all calls or for some kinds, as long as it says.
#pragma once

#include <atomic>
#include <bitset>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cache/local/rpc.h"
#include "config/products.h"
#include "core/base/mutex.h"

namespace cache::local {

// What happens to one call: it waits, then loses its connection, or fails, or is carried out.
struct Verdict {
  absl::Duration delay = absl::ZeroDuration();
  bool reset = false;
  bool applied = false;  // It is carried out even so, before that: the caller cannot know.
  absl::Status error;
};

// What a call's metadata asks for; absent headers are nullopt.
struct FaultHeaders {
  absl::string_view session;
  std::optional<absl::string_view> return_error;
  std::optional<absl::string_view> error_rpcs;
  std::optional<absl::string_view> error_count;
  std::optional<absl::string_view> delay_rpcs;
  std::optional<absl::string_view> delay_ms;
  std::optional<absl::string_view> delay_count;
};

// The status called `name` in kebab-case, such as "resource-exhausted"; nullopt if there is none.
std::optional<absl::StatusCode> StatusNamed(absl::string_view name);

// Any thread.
class Faults {
 public:
  // Replaces the configured faults; the dice start again from the seed. INVALID_ARGUMENT for an
  // unknown status or call, and then nothing changes. Only the fault_* fields are read.
  absl::Status Configure(const config::Local& options);

  // Whether Roll() could do anything.
  bool configured() const { return configured_.load(std::memory_order_relaxed); }
  // Adds the configured faults that hit this call.
  void Roll(Rpc rpc, Verdict* verdict);
  // Adds what the call asks for. Malformed headers fail it with INVALID_ARGUMENT.
  void Obey(Rpc rpc, const FaultHeaders& headers, Verdict* verdict);

 private:
  // How often a session's call has been hit.
  struct Uses {
    uint64_t errors = 0;
    uint64_t delays = 0;
  };
  absl::Status ObeyError(Rpc rpc, const FaultHeaders& headers, Verdict* verdict);
  absl::Status ObeyDelay(Rpc rpc, const FaultHeaders& headers, Verdict* verdict);
  // Whether `max` allows one more, which is then counted.
  bool Spend(Rpc rpc, absl::string_view session, uint64_t Uses::*field, uint64_t max);

  std::atomic<bool> configured_{false};  // A stale read only delays a change of configuration.

  core::Mutex mu_;  // Guards everything below.
  config::Local options_ ABSL_GUARDED_BY(mu_);
  absl::StatusCode error_ ABSL_GUARDED_BY(mu_) = absl::StatusCode::kUnavailable;
  std::bitset<kRpcs> rpcs_ ABSL_GUARDED_BY(mu_);  // What the dice are thrown for.
  uint64_t calls_ ABSL_GUARDED_BY(mu_) = 0;       // For how many they were.
  uint64_t throws_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<std::string, Uses> uses_ ABSL_GUARDED_BY(mu_);
  std::deque<std::string> use_order_ ABSL_GUARDED_BY(mu_);  // Oldest first.
};

}  // namespace cache::local
