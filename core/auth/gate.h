// What stands between a listener and those who have not said who they are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/auth/peer_limit.h"
#include "core/auth/users.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/metrics/metrics.h"

namespace core {

struct AuthMetrics : MetricGroup {
  AuthMetrics(Registry* registry, Labels labels) : MetricGroup(registry, "core_auth", labels) {}

  Counter success{this, "success_total", "Attempts of clients to log in that were right."};
  Counter failure{this, "failure_total", "Attempts that named no user or the wrong password."};
  Counter limit{this, "limit_total",
                "Attempts refused unread because too many of that address had failed."};
};

class AuthGate {
 public:
  enum class Verdict : uint8_t { kWelcome, kRefused, kTooMany };

  // `clock` and `registry` outlive the gate. An error says which `knob` and file and what is wrong.
  static absl::StatusOr<std::unique_ptr<AuthGate>> Open(std::string knob, std::string file,
                                                        const Clock* clock, Registry* registry,
                                                        Labels labels);

  // What Open() would say of the file, without a gate.
  static absl::Status Check(absl::string_view knob, const std::string& file);

  // Reads the file again. On an error the users stay who they were. Connections that are in stay.
  // Waits for the disk: not for workers.
  absl::Status Reload();

  // `peer`: the address, see PeerAddress(). Any thread.
  Verdict Try(absl::string_view peer, absl::string_view name, absl::string_view password);

  const AuthMetrics& metrics() const { return metrics_; }

 private:
  static absl::StatusOr<std::shared_ptr<const Users>> Read(absl::string_view knob,
                                                           const std::string& file);
  AuthGate(std::string knob, std::string file, const Clock* clock, Registry* registry,
           Labels labels)
      : knob_(std::move(knob)),
        file_(std::move(file)),
        clock_(clock),
        metrics_(registry, std::move(labels)) {}

  const std::string knob_;
  const std::string file_;
  const Clock* const clock_;
  AuthMetrics metrics_;
  Mutex mu_;
  std::shared_ptr<const Users> users_ ABSL_GUARDED_BY(mu_);  // Shared with attempts under way.
  PeerLimit limit_ ABSL_GUARDED_BY(mu_);
};

}  // namespace core
