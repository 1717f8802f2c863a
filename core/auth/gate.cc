#include "core/auth/gate.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace core {

absl::StatusOr<std::unique_ptr<AuthGate>> AuthGate::Open(std::string knob, std::string file,
                                                         const Clock* clock, Registry* registry,
                                                         Labels labels) {
  std::unique_ptr<AuthGate> gate(
      new AuthGate(std::move(knob), std::move(file), clock, registry, std::move(labels)));
  RETURN_IF_ERROR(gate->Reload());
  return gate;
}

absl::StatusOr<std::shared_ptr<const Users>> AuthGate::Read(absl::string_view knob,
                                                            const std::string& file) {
  absl::StatusOr<std::shared_ptr<const Users>> users = Users::Read(file.c_str());
  if (users.ok()) return users;
  return absl::Status(users.status().code(), absl::StrCat(knob, ": ", users.status().message()));
}

absl::Status AuthGate::Check(absl::string_view knob, const std::string& file) {
  return Read(knob, file).status();
}

absl::Status AuthGate::Reload() {
  ASSIGN_OR_RETURN(std::shared_ptr<const Users> users, Read(knob_, file_));
  MutexLock lock(mu_);
  users_.swap(users);  // The old ones go after the lock.
  return absl::OkStatus();
}

AuthGate::Verdict AuthGate::Try(absl::string_view peer, absl::string_view name,
                                absl::string_view password) {
  const int64_t now_ms = clock_->MonotonicMs();
  std::shared_ptr<const Users> users;
  {
    MutexLock lock(mu_);
    if (limit_.Allows(peer, now_ms)) users = users_;
  }
  if (users == nullptr) {
    metrics_.limit.Add();
    return Verdict::kTooMany;
  }
  if (users->Match(name, password)) {
    metrics_.success.Add();
    return Verdict::kWelcome;
  }
  metrics_.failure.Add();
  MutexLock lock(mu_);
  limit_.Fail(peer, now_ms);
  return Verdict::kRefused;
}

}  // namespace core
