// momento_proxy: memcache in front, Momento behind.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cache/service/server_numbers.h"
#include "config/products.h"
#include "core/base/status.h"
#include "core/log/klog_metrics.h"
#include "core/net/server.h"
#include "core/process/main.h"
#include "proto/memcache/klog.h"
#include "proto/memcache/stats_names.h"
#include "proto/memcache/text_codec.h"
#include "proxy/momento/backend.h"
#include "proxy/momento/metrics.h"
#include "proxy/service/metrics.h"
#include "proxy/service/service.h"
#ifdef MP_GRPC
#include "cache/local/server.h"
#endif

namespace {

using Service = proto::memcache::WithKlog<proxy::ProxyService>;
using MemcacheServer = core::Server<proto::memcache::TextCodec, Service>;
using proto::memcache::StatsCounters;
using proto::memcache::StatsNumbers;

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// What every cache of the process has in common.
struct Shared {
  const config::MomentoProxy& config;
  const core::Clock& clock;
  const int64_t started_ns;
  core::Process& process;
  core::WorkerPool& pool;
  core::ConnectionLimit& connections;
  proxy::momento::Backend& backend;
  core::CommandLog* klog;  // Null: off.
};

// One [[cache]]: a listener, and on every worker a client of Momento and a service over it.
class CacheFront {
 public:
  static absl::StatusOr<std::unique_ptr<CacheFront>> Open(const Shared& shared,
                                                          const config::Cache& cache) {
    std::unique_ptr<CacheFront> front(new CacheFront(shared, cache));
    RETURN_IF_ERROR(front->Listen());
    return front;
  }

  MemcacheServer& server() { return *server_; }
  const config::Cache& cache() const { return cache_; }
  // Whether no client is connected and nothing that one asked for is under way: writes outlive the
  // connection they came from. Any thread.
  bool idle() const { return server_->live() == 0 && counts_.metrics.in_flight.Value() == 0; }
  // Workers that have no connection to the service. Any thread.
  int workers_without_backend() const {
    return static_cast<int>(std::count_if(ready_.begin(), ready_.end(), [](const auto& ready) {
      return !ready.load(std::memory_order_relaxed);
    }));
  }

 private:
  // Notes now and then, on a worker, whether its client can carry a call: what /readyz tells.
  struct Watch final : core::Timer {
    Watch(core::EventLoop* l, proxy::momento::Client* c, std::atomic<bool>* r)
        : loop(l), client(c), ready(r) {
      OnTimer();
    }
    void OnTimer() override {
      ready->store(client->ready_connections() > 0, std::memory_order_relaxed);
      loop->Arm(this, kEveryMs);
    }
    static constexpr int64_t kEveryMs = 200;
    core::EventLoop* loop;
    proxy::momento::Client* client;
    std::atomic<bool>* ready;
  };

  CacheFront(const Shared& shared, const config::Cache& cache)
      : shared_(shared),
        cache_(cache),
        counts_(shared.process.metrics(), {{"cache", cache.cache_name}}),
        ready_(shared.pool.size()) {}

  absl::Status Listen() {
    const config::Server& limits = shared_.config.server;
    ASSIGN_OR_RETURN(
        server_,
        MemcacheServer::Create(
            limits, {.host = cache_.host, .port = cache_.port}, cache_.cache_name, &shared_.pool,
            shared_.process.metrics(), &shared_.connections,
            proto::memcache::TextCodec({.item_bytes_max = limits.item_size_max}),
            [this](core::Worker& worker) { return MakeService(worker); }));
    return absl::OkStatus();
  }

  std::unique_ptr<Service> MakeService(core::Worker& worker) {
    clients_.push_back(
        shared_.backend.NewClient(&worker.loop, cache_, ConnectionsOf(worker.index)));
    watches_.emplace_back(&worker.loop, clients_.back().get(), &ready_[worker.index]);
    return std::make_unique<Service>(
        shared_.klog, shared_.config.klog.sample, clients_.back().get(), cache_, shared_.config.server, &worker.loop, &counts_,
        [this](absl::string_view argument) { return Stats(argument); });
  }

  // This worker's part of the cache's connections; every worker needs one.
  int ConnectionsOf(int worker) const {
    const int workers = shared_.pool.size();
    const int all = static_cast<int>(cache_.connections);
    return std::max(1, all / workers + (worker < all % workers ? 1 : 0));
  }

  proto::memcache::Response Stats(absl::string_view argument) {
    return proto::memcache::AnswerStats(
        argument, [this] { return Numbers(); }, [this] { return Settings(); },
        [this] { ResetCounters(); });
  }
  StatsNumbers TotalNumbers() const;
  StatsNumbers Numbers() const {
    StatsNumbers n = TotalNumbers();
    core::MutexLock lock(mu_);
    n.counters = n.counters - reset_at_;
    return n;
  }
  void ResetCounters() {
    const StatsNumbers n = TotalNumbers();
    core::MutexLock lock(mu_);
    reset_at_ = n.counters;
  }
  proto::memcache::StatsSettings Settings() const;

  const Shared& shared_;
  const config::Cache cache_;
  proxy::CacheShared counts_;
  std::vector<std::atomic<bool>> ready_;  // By worker.
  std::vector<std::unique_ptr<proxy::momento::Client>> clients_;  // Outlive their services.
  std::deque<Watch> watches_;
  std::unique_ptr<MemcacheServer> server_;
  mutable core::Mutex mu_;
  StatsCounters reset_at_ ABSL_GUARDED_BY(mu_);  // As of "stats reset".
};

StatsNumbers CacheFront::TotalNumbers() const {
  const proxy::Metrics& m = counts_.metrics;
  StatsNumbers n;
  cache::FillProcess(shared_.clock, shared_.started_ns, &n);
  cache::AddNet(server_->metrics(), &n);
  n.threads = static_cast<uint64_t>(shared_.pool.size());
  n.max_connections = shared_.config.server.connections_max;
  StatsCounters& c = n.counters;
  c.cmd_set = m.store.Value();
  c.cmd_flush = m.flush.Value();
  c.get_hits = m.get_hit.Value();
  c.get_misses = m.get_miss.Value();
  c.delete_hits = m.delete_hit.Value();
  c.delete_misses = m.delete_miss.Value();
  c.incr_hits = m.incr_hit.Value();
  c.incr_misses = m.incr_miss.Value();
  c.decr_hits = m.decr_hit.Value();
  c.decr_misses = m.decr_miss.Value();
  c.cas_hits = m.cas_hit.Value();
  c.cas_misses = m.cas_miss.Value();
  c.cas_badval = m.cas_badval.Value();
  c.touch_hits = m.touch_hit.Value();
  c.touch_misses = m.touch_miss.Value();
  return n;
}

proto::memcache::StatsSettings CacheFront::Settings() const {
  const config::Server& s = shared_.config.server;
  return {.maxbytes = 0,
          .maxconns = s.connections_max,
          .tcpport = server_->port(),
          .inter = cache_.host,
          .verbosity = shared_.config.log.level <= config::Log::Level::kDebug ? 1u : 0u,
          .evictions = false,
          .num_threads = static_cast<uint64_t>(shared_.pool.size()),
          .tcp_backlog = s.backlog,
          .item_size_max = s.item_size_max,
          .flush_enabled = cache_.flush_all,
          .idle_timeout = static_cast<uint64_t>(absl::ToInt64Seconds(s.idle_timeout))};
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

absl::Status Ready(const std::deque<std::unique_ptr<CacheFront>>& fronts) {
  for (const auto& front : fronts) {
    const int without = front->workers_without_backend();
    if (without == 0) continue;
    return absl::UnavailableError(absl::StrCat("cache ", front->cache().cache_name, ": ", without,
                                               " workers have no connection to Momento"));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Serve(const core::Invocation<config::MomentoProxy>& start,
                          core::Process& process) {
  config::MomentoProxy c = start.config;
  const core::RealClock clock;
  std::unique_ptr<core::CommandLog> klog;  // Outlives every reply.
  if (c.klog.enabled()) {
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
                   proxy::momento::Backend::Create(c.momento, process.metrics(), process.log(),
                                                   FromEnvironment));
  core::ConnectionLimit connections(c.server.connections_max);
  core::WorkerPool pool(static_cast<int>(c.server.workers), &clock, process.metrics());
  const Shared shared{c, clock, clock.MonotonicNs(), process, pool, connections, *backend,
                      klog.get()};
  std::deque<std::unique_ptr<CacheFront>> fronts;
  for (const config::Cache& cache : c.caches) {
    ASSIGN_OR_RETURN(std::unique_ptr<CacheFront> front, CacheFront::Open(shared, cache));
    fronts.push_back(std::move(front));
  }
  const core::ScopedRun run(&pool);
  core::AdminHooks hooks;
  hooks.ready = [&fronts] { return Ready(fronts); };
  RETURN_IF_ERROR(process.StartAdmin(std::move(hooks)));
  for (const auto& front : fronts) {
    process.log()->Info("memcache on %s:%d for cache %s, %d workers", front->cache().host,
                        front->server().port(), front->cache().cache_name, pool.size());
  }
  process.Ready();
  return process.ServeUntilSignal(
      {.begin_drain =
           [&fronts] {
             for (const auto& front : fronts) front->server().BeginDrain();
           },
       .drained =
           [&fronts] {
             return std::all_of(fronts.begin(), fronts.end(), [](const auto& front) {
               return front->idle();
             });
           },
       .on_reload = [&] {
         if (klog == nullptr) return;
         const absl::Status status = klog->Reopen();
         if (!status.ok()) process.log()->Error("%s", status.message());
       }});
}

void Metrics(core::Registry* registry) {
  const core::NetMetrics net(registry, {{"server", "default-cache"}});
  const proxy::CacheShared cache(registry, {{"cache", "default-cache"}});
  const proxy::momento::Metrics momento(registry);
  const core::KlogMetrics klog(registry, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  return core::Main<config::MomentoProxy>(argc, argv, {.serve = Serve, .metrics = Metrics});
}
