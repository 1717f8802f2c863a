// Memory and CPU of another process, or of this one, as the kernel tells.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace tools {

struct ServerProcess {
  double cpu_seconds = 0;  // User and system, all threads, since its start; to the nanosecond.
  uint64_t rss_bytes = 0;
  uint64_t anonymous_bytes = 0;

  // NOT_FOUND if there is no such process, or none that may be looked at.
  static absl::StatusOr<ServerProcess> Look(int pid);
};

}  // namespace tools
