// A bare momento_local for scripts that want one without configuration: prints the port it serves
// on, and serves until its standard input ends.
#include <unistd.h>

#include <cstdio>

#include "cache/local/server.h"
#include "core/log/memory_log.h"

int main() {
  config::Local options;
  options.port = 0;
  const core::RealClock clock;
  core::Registry registry;
  core::NullLog log;
  auto server = cache::local::LocalServer::Start(options, config::Seg(), &clock, &registry, &log);
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.status().ToString().c_str());
    return 69;  // EX_UNAVAILABLE.
  }
  std::printf("%d\n", (*server)->port());
  std::fflush(stdout);
  char byte;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  (*server)->Shutdown(absl::Seconds(1));
  return 0;
}
