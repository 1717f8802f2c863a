// momento_proxy: memcache in front, Momento behind.
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/products.h"
#include "core/base/status.h"
#include "core/log/command_log.h"
#include "core/log/klog_metrics.h"
#include "core/net/shard.h"
#include "core/net/worker.h"
#include "core/process/core_dump.h"
#include "core/process/main.h"
#include "core/process/reload.h"
#include "proxy/front/allowed.h"
#include "proxy/front/cache_front.h"
#include "proxy/front/fronts.h"
#include "proxy/momento/account.h"
#include "proxy/momento/backend.h"
#include "proxy/momento/metrics.h"
#ifdef MP_GRPC
#include "cache/local/directory.h"
#include "cache/local/metrics.h"
#include "cache/local/server.h"
#endif

namespace {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

#ifdef MP_GRPC
// --local: a Momento-compatible service in this process, reached over gRPC like any other.
absl::StatusOr<std::unique_ptr<cache::local::LocalServer>> Embed(config::MomentoProxy* c,
                                                                 const core::Clock* clock,
                                                                 core::Process& process) {
  config::Local local;
  static_cast<config::LocalService&>(local) = c->local;
  local.host = absl::StrCat("unix-abstract:momento-proxy-", ::getpid());
  ASSIGN_OR_RETURN(std::unique_ptr<cache::local::LocalServer> server,
                   cache::local::LocalServer::Start(local, c->seg, clock, process.metrics(),
                                                    process.log()));
  for (const config::Cache& cache : c->caches) {
    RETURN_IF_ERROR(server->CreateCache(cache.cache_name));
  }
  c->momento.endpoint_override = server->target();
  c->momento.tls = config::Momento::Tls::kOff;
  process.log()->Warning(
      "--local: an embedded momento_local answers; data stays in this process and ends with it");
  return server;
}
#endif

absl::StatusOr<int> Serve(const core::Invocation<config::MomentoProxy>& start,
                          core::Process& process) {
  config::MomentoProxy c = start.config;
  if (!c.momento.core_dumps) core::ForbidCoreDumps();
  const core::RealClock clock;
  std::unique_ptr<core::CommandLog> klog;  // Outlives every reply.
  if (!c.klog.file.empty()) {
    ASSIGN_OR_RETURN(klog, core::CommandLog::Open(c.klog, &clock));
  }
  const core::KlogMetrics klog_metrics(process.metrics(), klog.get());
#ifdef MP_GRPC
  std::unique_ptr<cache::local::LocalServer> local;
  if (start.local) {
    ASSIGN_OR_RETURN(local, Embed(&c, &clock, process));
  }
#else
  if (start.local) return absl::UnimplementedError("--local: this build has no momento_local");
#endif
  ASSIGN_OR_RETURN(const std::unique_ptr<proxy::momento::Backend> backend,
                   proxy::momento::Backend::Create(c.momento, c.caches, &clock, process.metrics(),
                                                   process.log(), FromEnvironment));
  const absl::StatusOr<std::vector<proxy::momento::CheckedCache>> told =
      backend->CheckService([&process] { return process.ToldToStop(); });
  if (absl::IsCancelled(told.status()) && process.ToldToStop()) {
    process.log()->Info("%s stops: told to before it was ready", config::MomentoProxy::kName);
    return 0;
  }
  RETURN_IF_ERROR(told.status());
  const std::vector<proxy::momento::CheckedCache>& checked = *told;
  const std::vector<proxy::Allowed> allowed = proxy::AllowedOf(c, checked, process.log());
  core::ConnectionLimit connections(c.server.connections_max);
  core::WorkerPool pool(static_cast<int>(c.server.workers), &clock, process.metrics());
  // Connections to the service are epoll's, so a worker with a ring would wait in both, and that costs
  // a pipelined get 5 % more than epoll alone (core/net/README.md).
  using Io = config::Server::Io;
  const Io io = c.server.io == Io::kAuto ? Io::kEpoll : c.server.io;
  RETURN_IF_ERROR(pool.ChooseIo(io, process.log()));
  const proxy::FrontShared shared{c,           clock,    clock.MonotonicNs(), process, pool,
                                  connections, *backend, klog.get()};
  proxy::Fronts fronts;
  RETURN_IF_ERROR(fronts.Open(shared, allowed));
  const core::ScopedRun run(&pool);
  backend->WatchKeys();
  core::AdminHooks hooks;
  hooks.ready = [&fronts] { return fronts.Ready(); };
  hooks.commands["breaker"] = {"the state of each cache's circuit breaker, and why",
                               [&fronts](absl::string_view) { return fronts.BreakerText(); }};
  RETURN_IF_ERROR(process.StartAdmin(std::move(hooks)));
  fronts.LogPlaces();
  // The same list of caches as at the start: one that came or went waits for a restart.
  core::Reload<config::MomentoProxy> reload(
      start, &process, [&](const config::MomentoProxy& next) {
        connections.set_max(next.server.connections_max);
        fronts.Retune(proxy::AllowedOf(next, checked, process.log()), next);
      });
  process.Ready();
  return process.ServeUntilSignal(
      {.begin_drain = [&fronts] { fronts.BeginDrain(); },
       .drained = [&fronts] { return fronts.idle(); },
       .on_reload = [&] {
         reload.Run();
         backend->LookAtKeysNow();
         fronts.ReadFilesAgain();
         if (klog == nullptr) return;
         const absl::Status status = klog->Reopen();
         if (!status.ok()) process.log()->Error("%s", status.message());
       }});
}

void Metrics(core::Registry* registry) {
  proxy::CacheFront::RegisterMetrics(registry);
  const core::RingMetrics ring(registry);
  const proxy::momento::Metrics momento(registry);
  const proxy::momento::KeyMetrics key(registry, "momento", [] { return 0; });
  const core::KlogMetrics klog(registry, nullptr);
#ifdef MP_GRPC
  static const core::RealClock clock;  // The gauges of `registry` may outlive this function.
  const cache::local::Metrics of_local(
      registry, std::make_shared<cache::local::Directory>(config::Seg(), &clock, 1));
#endif
}

}  // namespace

int main(int argc, char** argv) {
  return core::Main<config::MomentoProxy>(argc, argv, {.serve = Serve, .metrics = Metrics});
}
