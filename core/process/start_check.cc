// See start_check.h.
#include "core/process/start_check.h"

#include "core/auth/gate.h"
#include "core/base/status.h"
#include "core/net/listener.h"
#include "core/process/user.h"

namespace core {

absl::Status CheckStart(const std::string& user,
                        const std::vector<config::PlacedListener>& listeners) {
  RETURN_IF_ERROR(CheckUser(user));
  for (const config::PlacedListener& one : listeners) {
    if (!one.listener.listens()) continue;
    if (!one.auth.file.empty()) RETURN_IF_ERROR(AuthGate::Check(one.auth.knob, one.auth.file));
    RETURN_IF_ERROR(CheckHosts(one.listener));
  }
  return absl::OkStatus();
}

}  // namespace core
