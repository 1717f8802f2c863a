// Tells systemd how a Type=notify service is doing; sd_notify(3) documents the protocol.
#pragma once

#include "absl/strings/string_view.h"

namespace core {

// Sends `state` ("READY=1", "STOPPING=1") to the socket named by $NOTIFY_SOCKET. Without one, or
// when nobody listens there, nothing happens. Main thread: reads the environment. Never waits.
void NotifySupervisor(absl::string_view state);

}  // namespace core
