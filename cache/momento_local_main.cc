// momento_local: a Momento-compatible gRPC server on this machine, for development and tests.
// Official Momento SDKs work against it unchanged. Data is gone when it ends.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cache/local/metrics.h"
#include "cache/local/server.h"
#include "config/loader.h"
#include "config/products.h"
#include "core/base/status.h"
#include "core/process/main.h"

namespace {

using cache::local::LocalServer;

// Below Kubernetes' grace period of 30 s; a call that is delayed by a fault is answered at once.
constexpr absl::Duration kDrain = absl::Seconds(5);

absl::StatusOr<int> Serve(const core::Invocation<config::MomentoLocal>& start,
                          core::Process& process) {
  const config::MomentoLocal& c = start.config;
  const core::RealClock clock;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<LocalServer> server,
      LocalServer::Start(c.local, c.seg, &clock, process.metrics(), process.log()));
  RETURN_IF_ERROR(process.StartAdmin({}));
  process.log()->Info("gRPC on %s; data stays in this process and ends with it", server->target());
  process.Ready();
  return process.ServeUntilSignal(
      {.begin_drain = [&] { server->Shutdown(kDrain); }, .drained = [] { return true; },
       .on_reload = {}});
}

void Metrics(core::Registry* registry) { cache::local::RegisterForDescription(registry); }

}  // namespace

int main(int argc, char** argv) {
  return core::Main<config::MomentoLocal>(argc, argv, {.serve = Serve, .metrics = Metrics});
}
