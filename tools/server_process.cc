// See clock_getcpuclockid(3) and proc(5).
#include "tools/server_process.h"

#include <time.h>

#include <fstream>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"

namespace tools {

absl::StatusOr<ServerProcess> ServerProcess::Look(int pid) {
  clockid_t clock;
  struct timespec used;
  if (pid <= 0 || ::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &used) != 0) {
    return absl::NotFoundError(absl::StrCat("no process ", pid));
  }
  ServerProcess found;
  found.cpu_seconds = static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string name; status >> name;) {
    uint64_t kilobytes = 0;
    if (name == "VmRSS:" && status >> kilobytes) found.rss_bytes = kilobytes << 10;
    if (name == "RssAnon:" && status >> kilobytes) found.anonymous_bytes = kilobytes << 10;
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return found;
}

}  // namespace tools
