// segcache: memcached's protocol answered by the Segcache engine in this process.
#include <algorithm>
#include <atomic>
#include <utility>

#include "cache/seg/cache.h"
#include "cache/seg/metrics.h"
#include "cache/seg/restart_file.h"
#include "cache/service/eviction_lines.h"
#include "cache/service/memcache_service.h"
#include "cache/service/server_numbers.h"
#include "cache/service/sizes.h"
#include "cache/service/warm_restart.h"
#include "config/products.h"
#include "core/auth/gate.h"
#include "core/base/status.h"
#include "core/log/klog_metrics.h"
#include "core/net/listener.h"
#include "core/net/server.h"
#include "core/net/turn_clock.h"
#include "core/process/core_dump.h"
#include "core/process/main.h"
#include "core/process/reload.h"
#include "proto/memcache/codec.h"
#include "proto/memcache/klog.h"
#include "proto/memcache/watch.h"

namespace {

using Logged = proto::memcache::WithKlog<cache::MemcacheService>;
using Service = proto::memcache::WithWatch<Logged>;
using MemcacheServer = core::Server<proto::memcache::Codec, Service>;

// How long a client may be in the middle of a request, or of taking an answer, while all others wait
// for the process that takes over: what is complete takes milliseconds.
constexpr absl::Duration kTakenTimeout = absl::Milliseconds(500);

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
  return {.maxbytes = c.seg.memory != 0 ? c.seg.memory : c.seg.heap_size,
          .maxconns = c.server.connections_max,
          .inter = c.listen.tcp ? c.listen.host : "NULL",
          .domain_socket = c.listen.unix_socket,
          .umask = *config::ModeOf(c.listen.unix_mask),
          .verbosity = cache::VerbosityOf(c.log.level),
          .evictions = c.seg.eviction != config::Seg::Eviction::kNone,
          .num_threads = static_cast<uint64_t>(workers),
          .tcp_backlog = c.server.backlog,
          .item_size_max = c.server.item_size_max,
          .flush_enabled = c.server.flush_all,
          .idle_timeout =
              static_cast<uint64_t>(absl::ToInt64Seconds(c.server.idle_timeout)),
          .tls = cache::TlsSettingsOf(c.listen.tls),
          .auth_enabled = !c.server.auth_file.empty()};
}

absl::StatusOr<int> Serve(const core::Invocation<config::Segcache>& start,
                          core::Process& process) {
  const config::Segcache& c = start.config;
  const core::RealClock clock;
  const core::TurnClock turn_clock(&clock);  // Of the requests.
  std::unique_ptr<core::CommandLog> klog;  // Outlives every reply.
  if (!c.klog.file.empty()) {
    ASSIGN_OR_RETURN(klog, core::CommandLog::Open(c.klog, &clock));
  }
  const core::KlogMetrics klog_metrics(process.metrics(), klog.get());
  std::unique_ptr<core::AuthGate> gate;  // Null: nobody is asked.
  if (!c.server.auth_file.empty()) {
    core::ForbidCoreDumps();
    ASSIGN_OR_RETURN(gate, core::AuthGate::Open("server.auth_file", c.server.auth_file, &clock,
                                                process.metrics(), {{"server", "memcache"}}));
  }
  // What the process before keeps in memory is there for this one once it is gone. Nobody serves
  // meanwhile: what can fail without it comes before, and nobody is waited for long.
  if (!c.seg.restart_file.empty()) RETURN_IF_ERROR(seg::RestartFile::Check(c.seg.restart_file));
  ASSIGN_OR_RETURN(core::Listening listening,
                   core::ListenOn(c.listen, static_cast<int>(c.server.backlog), process.sockets()));
  if (!process.handover().TakeAllNow([&process] { return process.ToldToStop(); })) {
    process.log()->Info("%s stops: told to before it was ready", config::Segcache::kName);
    return 0;
  }
  core::WatchHub watch(process.metrics(), {{"server", "memcache"}});
  cache::EvictionLines evictions(&watch);
  const int64_t started_ns = clock.MonotonicNs();
  const int workers =
      c.server.workers != 0 ? static_cast<int>(c.server.workers) : core::UsableCpus();
  ASSIGN_OR_RETURN(const std::unique_ptr<seg::Cache> engine,
                   seg::Cache::Create(c.seg, &turn_clock, process.metrics(), "main",
                                      cache::LodgingFor(c.seg, workers)));
  if (c.server.watch) engine->ListenToEvictions(&evictions);
  cache::WarmRestart warm(c.seg, engine.get(), &process);
  core::ConnectionLimit connections(c.server.connections_max);
  core::WorkerPool pool(workers, &clock, process.metrics());
  RETURN_IF_ERROR(pool.ChooseIo(c.server.io, process.log()));
  MemcacheServer* serving = nullptr;
  std::atomic<bool> kicks_idle{c.server.idle_timeout > absl::ZeroDuration()};
  cache::MemcacheShared shared(
      engine.get(), &turn_clock, process.metrics(),
      {.item_bytes_max = c.server.item_size_max,
       .flush_enabled = c.server.flush_all,
       .settings = Settings(c, pool.size())},
      [&](proto::memcache::StatsNumbers* out) {
        cache::FillProcess(clock, started_ns, out);
        cache::FillThreads(pool.size(), out);
        cache::FillWatch(watch.metrics(), out);
        out->max_connections = connections.max();
        out->kicks_idle = kicks_idle.load(std::memory_order_relaxed);
        cache::AddAuth(gate.get(), out);
        if (serving != nullptr) cache::AddNet(serving->metrics(), out);
      });
  ASSIGN_OR_RETURN(
      const std::unique_ptr<MemcacheServer> server,
      MemcacheServer::CreateOn(
          std::move(listening), c.server, c.listen, "memcache", &pool, process.metrics(), &connections,
          proto::memcache::Codec({.item_bytes_max = c.server.item_size_max}, gate.get()),
          [&](core::Worker& worker) {
            return std::make_unique<Service>(&watch, &worker.loop, c.server.watch, klog.get(),
                                             c.klog.sample, &shared);
          },
          process.log()));
  process.handover().Receive("memcache", [&](core::Fd fd, std::string unread) {
    server->Inherit(std::move(fd), std::move(unread));
  });
  serving = server.get();
  if (warm.flush_in_ms() >= 0) shared.FlushAfter(warm.flush_in_ms());
  shared.set_port(server->port());
  Housekeeping housekeeping(engine.get(), &pool.worker(0).loop);
  const core::ScopedRun run(&pool);
  core::AdminHooks hooks;
  hooks.commands["save"] = warm.SaveCommand();
  hooks.commands["sizes"] = {
      .help = "how many items there are of each size, in steps of 32 bytes",
      .run = [&](absl::string_view) { return cache::SizesText(engine.get()); }};
  RETURN_IF_ERROR(process.StartAdmin(std::move(hooks)));
  process.log()->Info("memcache on %s, %d workers, %d MB", server->where(), pool.size(),
                      Settings(c, pool.size()).maxbytes / config::kMB);
  process.Ready();
  core::Reload<config::Segcache> reload(start, &process, [&](const config::Segcache& next) {
    connections.set_max(next.server.connections_max);
    kicks_idle.store(next.server.idle_timeout > absl::ZeroDuration(), std::memory_order_relaxed);
    shared.Retune(next.server.flush_all, Settings(next, pool.size()));
    server->Retune(next.server,
                   [sample = next.klog.sample](Service& service) {
                     service.within().set_sample(sample);
                   });
  });
  const int code = process.ServeUntilSignal(
      {.begin_drain = [&] { server->BeginDrain(process.handover().GiveTo("memcache")); },
       .drained = [&] { return server->live() == 0; },
       .on_reload = [&] {
         reload.Run();
         (void)server->ReloadTls();  // It logs what comes of it.
         if (gate != nullptr) {
           const absl::Status users = gate->Reload();
           if (!users.ok()) process.log()->Error("%s: users stay as they are", users.message());
         }
         if (klog == nullptr) return;
         const absl::Status status = klog->Reopen();
         if (!status.ok()) process.log()->Error("%s", status.message());
       },
       .taken_timeout = kTakenTimeout});
  warm.set_flush_in_ms(shared.flush_in_ms());
  return code;
}

void Metrics(core::Registry* registry) {
  const core::NetMetrics net(registry, {{"server", "memcache"}});
  const core::RingMetrics ring(registry);
  const cache::MemcacheMetrics memcache(registry);
  const seg::Metrics engine(registry, "main");
  const core::KlogMetrics klog(registry, nullptr);
  const core::WatchMetrics watch(registry, {{"server", "memcache"}});
  const core::AuthMetrics auth(registry, {{"server", "memcache"}});
}

}  // namespace

int main(int argc, char** argv) {
  return core::Main<config::Segcache>(argc, argv, {.serve = Serve, .metrics = Metrics});
}
