// pingserver: PING, PONG. What the runtime can do when a request costs nothing.
//
// How to add a protocol, in full:
//   1. proto/ping/codec.h        how requests are spelled   (core/net/codec.h, the first seam)
//   2. cache/service/ping_service.h   what they mean        (core/net/service.h, the second)
//   3. config/products.h         the knobs: sections, composed
//   4. this file                 one `using`, and the order in which things are built
#include "cache/service/ping_service.h"
#include "config/products.h"
#include "core/base/status.h"
#include "core/net/server.h"
#include "core/process/main.h"
#include "core/process/reload.h"
#include "proto/ping/codec.h"

namespace {

using PingServer = core::Server<proto::ping::Codec, cache::PingService>;

absl::StatusOr<int> Serve(const core::Invocation<config::Pingserver>& start,
                          core::Process& process) {
  const config::Pingserver& c = start.config;
  const core::RealClock clock;
  core::ConnectionLimit connections(c.server.connections_max);
  core::WorkerPool pool(static_cast<int>(c.server.workers), &clock, process.metrics());
  RETURN_IF_ERROR(pool.ChooseIo(c.server.io, process.log()));
  ASSIGN_OR_RETURN(const std::unique_ptr<PingServer> server,
                   PingServer::Create(c.server, c.listen, "ping", &pool, process.metrics(),
                                      &connections, proto::ping::Codec(), [](core::Worker&) {
                                        return std::make_unique<cache::PingService>();
                                      },
                                      process.log(), process.sockets()));
  const core::ScopedRun run(&pool);
  RETURN_IF_ERROR(process.StartAdmin({}));
  process.handover().Receive("ping", [&](core::Fd fd, std::string unread) {
    server->Inherit(std::move(fd), std::move(unread));
  });
  process.log()->Info("ping on %s, %d workers", server->where(), pool.size());
  process.Ready();
  core::Reload<config::Pingserver> reload(start, &process, [&](const config::Pingserver& next) {
    connections.set_max(next.server.connections_max);
    server->Retune(next.server);
  });
  return process.ServeUntilSignal({.begin_drain = [&] { server->BeginDrain(process.handover().GiveTo("ping")); },
                                   .drained = [&] { return server->live() == 0; },
                                   .on_reload = [&] {
                                     reload.Run();
                                     (void)server->ReloadTls();  // It logs what comes of it.
                                   }});
}

void Metrics(core::Registry* registry) {
  const core::NetMetrics net(registry, {{"server", "ping"}});
  const core::RingMetrics ring(registry);
}

}  // namespace

int main(int argc, char** argv) {
  return core::Main<config::Pingserver>(argc, argv, {.serve = Serve, .metrics = Metrics});
}
