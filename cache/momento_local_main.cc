// momento_local: a Momento-compatible gRPC server on this machine, for development and tests.
// Official Momento SDKs work against it unchanged. Data is gone when it ends.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cache/local/directory.h"
#include "cache/local/metrics.h"
#include "cache/local/server.h"
#include "config/loader.h"
#include "config/products.h"
#include "core/base/status.h"
#include "core/process/main.h"
#include "core/process/reload.h"

namespace {

using cache::local::LocalServer;

// Below Kubernetes' grace period of 30 s; a call that is delayed by a fault is answered at once.
constexpr absl::Duration kDrain = absl::Seconds(5);

// "error_percent=20 error=internal": the fault_* knobs of [local] without their prefix.
std::string ChangeFaults(const config::MomentoLocal& base, absl::string_view words,
                         LocalServer* server) {
  config::Source source;
  source.overrides.push_back({"local.fault_seed", absl::StrCat(base.local.fault_seed), "faults"});
  for (const absl::string_view word : absl::StrSplit(words, ' ', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(word, absl::MaxSplits('=', 1));
    source.overrides.push_back({absl::StrCat("local.fault_", pair.first), pair.second, "faults"});
  }
  const auto loaded = config::Load<config::MomentoLocal>(source);
  if (!loaded.ok()) return absl::StrCat("CLIENT_ERROR ", loaded.status().message(), "\n");
  const absl::Status status = server->SetFaults(loaded->config.local);
  return status.ok() ? "OK\n" : absl::StrCat("CLIENT_ERROR ", status.message(), "\n");
}

absl::StatusOr<int> Serve(const core::Invocation<config::MomentoLocal>& start,
                          core::Process& process) {
  const config::MomentoLocal& c = start.config;
  const core::RealClock clock;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<LocalServer> server,
      LocalServer::Start(c.local, c.seg, &clock, process.metrics(), process.log()));
  core::AdminHooks hooks;
  hooks.commands["faults"] = {
      "replaces the fault_* settings by the key=value words after it, for tests; without any, by none",
      [&](absl::string_view words) { return ChangeFaults(c, words, server.get()); }};
  RETURN_IF_ERROR(process.StartAdmin(std::move(hooks)));
  process.log()->Info("gRPC on %s; data stays in this process and ends with it", server->target());
  process.Ready();
  core::Reload<config::MomentoLocal> reload(start, &process, {});
  return process.ServeUntilSignal(
      {.begin_drain = [&] { server->Shutdown(kDrain); }, .drained = [] { return true; },
       .on_reload = [&] { reload.Run(); }});
}

void Metrics(core::Registry* registry) {
  static const core::RealClock clock;  // The gauges of `registry` may outlive this function.
  const cache::local::Metrics local(
      registry, std::make_shared<cache::local::Directory>(config::Seg(), &clock, 1));
}

}  // namespace

int main(int argc, char** argv) {
  return core::Main<config::MomentoLocal>(argc, argv, {.serve = Serve, .metrics = Metrics});
}
