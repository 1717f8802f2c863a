// segcache: memcached's protocol answered by the Segcache engine in this process.
#include <algorithm>

#include "cache/seg/cache.h"
#include "cache/seg/metrics.h"
#include "cache/service/memcache_service.h"
#include "cache/service/server_numbers.h"
#include "config/products.h"
#include "core/base/status.h"
#include "core/log/klog_metrics.h"
#include "core/net/server.h"
#include "core/process/main.h"
#include "proto/memcache/klog.h"
#include "proto/memcache/text_codec.h"

namespace {

using Service = proto::memcache::WithKlog<cache::MemcacheService>;
using MemcacheServer = core::Server<proto::memcache::TextCodec, Service>;

// Reclaims expired segments once a second, on the first worker's loop.
class Housekeeping final : public core::Timer {
 public:
  Housekeeping(seg::Cache* cache, core::EventLoop* loop) : cache_(cache), loop_(loop) {
    loop_->Arm(this, kEveryMs);
  }
  void OnTimer() override {
    cache_->Tick();
    loop_->Arm(this, kEveryMs);
  }

 private:
  static constexpr int64_t kEveryMs = 1000;
  seg::Cache* cache_;
  core::EventLoop* loop_;
};

proto::memcache::StatsSettings Settings(const config::Segcache& c, int workers) {
  return {.maxbytes = c.seg.heap_size,
          .maxconns = c.server.connections_max,
          .inter = c.listen.host,
          .verbosity = c.log.level <= config::Log::Level::kDebug ? 1u : 0u,
          .evictions = c.seg.eviction != config::Seg::Eviction::kNone,
          .num_threads = static_cast<uint64_t>(workers),
          .tcp_backlog = c.server.backlog,
          .item_size_max = c.server.item_size_max,
          .flush_enabled = true,
          .idle_timeout =
              static_cast<uint64_t>(absl::ToInt64Seconds(c.server.idle_timeout))};
}

absl::StatusOr<int> Serve(const core::Invocation<config::Segcache>& start,
                          core::Process& process) {
  const config::Segcache& c = start.config;
  const core::RealClock clock;
  std::unique_ptr<core::CommandLog> klog;  // Outlives every reply.
  if (c.klog.enabled()) {
    ASSIGN_OR_RETURN(klog, core::CommandLog::Open(c.klog, &clock));
  }
  const core::KlogMetrics klog_metrics(process.metrics(), klog.get());
  const int64_t started_ns = clock.MonotonicNs();
  ASSIGN_OR_RETURN(const std::unique_ptr<seg::Cache> engine,
                   seg::Cache::Create(c.seg, &clock, process.metrics(), "main"));
  core::ConnectionLimit connections(c.server.connections_max);
  core::WorkerPool pool(static_cast<int>(c.server.workers), &clock, process.metrics());
  MemcacheServer* serving = nullptr;
  cache::MemcacheShared shared(
      engine.get(), &clock, process.metrics(),
      {.item_bytes_max = c.server.item_size_max,
       .flush_enabled = true,
       .settings = Settings(c, pool.size())},
      [&](proto::memcache::StatsNumbers* out) {
        cache::FillProcess(clock, started_ns, out);
        out->threads = static_cast<uint64_t>(pool.size());
        out->max_connections = c.server.connections_max;
        if (serving != nullptr) cache::AddNet(serving->metrics(), out);
      });
  ASSIGN_OR_RETURN(
      const std::unique_ptr<MemcacheServer> server,
      MemcacheServer::Create(
          c.server, c.listen, "memcache", &pool, process.metrics(), &connections,
          proto::memcache::TextCodec({.item_bytes_max = c.server.item_size_max}),
          [&](core::Worker&) { return std::make_unique<Service>(klog.get(), c.klog.sample, &shared); }));
  serving = server.get();
  shared.set_port(server->port());
  Housekeeping housekeeping(engine.get(), &pool.worker(0).loop);
  const core::ScopedRun run(&pool);
  RETURN_IF_ERROR(process.StartAdmin({}));
  process.log()->Info("memcache on %s:%d, %d workers, %d MB", c.listen.host, server->port(),
                      pool.size(), c.seg.heap_size / config::kMB);
  process.Ready();
  return process.ServeUntilSignal({.begin_drain = [&] { server->BeginDrain(); },
                                   .drained = [&] { return server->live() == 0; },
                                   .on_reload = [&] {
         if (klog == nullptr) return;
         const absl::Status status = klog->Reopen();
         if (!status.ok()) process.log()->Error("%s", status.message());
       }});
}

void Metrics(core::Registry* registry) {
  const core::NetMetrics net(registry, {{"server", "memcache"}});
  const cache::MemcacheMetrics memcache(registry);
  const seg::Metrics engine(registry, "main");
  const core::KlogMetrics klog(registry, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  return core::Main<config::Segcache>(argc, argv, {.serve = Serve, .metrics = Metrics});
}
