// momento_proxy: memcache in front, Momento behind.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "cache/seg/metrics.h"
#include "cache/service/server_numbers.h"
#include "config/listeners.h"
#include "config/products.h"
#include "config/units.h"
#include "core/auth/gate.h"
#include "core/base/check.h"
#include "core/base/status.h"
#include "core/log/klog_metrics.h"
#include "core/net/server.h"
#include "core/process/core_dump.h"
#include "core/process/main.h"
#include "core/process/reload.h"
#include "proto/memcache/codec.h"
#include "proto/memcache/klog.h"
#include "proto/memcache/stats_names.h"
#include "proto/memcache/watch.h"
#include "proxy/momento/account.h"
#include "proxy/momento/backend.h"
#include "proxy/momento/meter.h"
#include "proxy/momento/metrics.h"
#include "proxy/service/command_stats.h"
#include "proxy/service/guard.h"
#include "proxy/service/metrics.h"
#include "proxy/service/near_cache.h"
#include "proxy/service/overload_stats.h"
#include "proxy/service/route_table.h"
#include "proxy/service/routed_service.h"
#include "proxy/service/service.h"
#ifdef MP_GRPC
#include "cache/local/server.h"
#endif

namespace {

// A listener of one cache, and one that routes. Two types, so that the first pays nothing for what the
// second does.
using PlainService = proto::memcache::WithWatch<proto::memcache::WithKlog<proxy::ProxyService>>;
using PlainServer = core::Server<proto::memcache::Codec, PlainService>;
using RoutedService = proto::memcache::WithWatch<proto::memcache::WithKlog<proxy::RoutedService>>;
using RoutedServer = core::Server<proto::memcache::Codec, RoutedService>;
using proto::memcache::StatsCounters;
using proto::memcache::StatsNumbers;

// The longest max_ttl (config/momento.h): a service that allows more allows anything.
constexpr uint64_t kTtlSecondsMax = 10ull * 365 * 24 * 3600;

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

// One [[cache]]: a listener, unless it is reached by the routes of others alone, and on every worker a
// client of Momento and a service over it.
class CacheFront {
 public:
  // `limits`: those of [server], no wider than the service's for this cache. `item_bytes_max`: what the
  // listener lets in, for whichever cache it is.
  static absl::StatusOr<std::unique_ptr<CacheFront>> Open(const Shared& shared,
                                                          const config::Cache& cache,
                                                          const config::ProxyServer& limits,
                                                          uint64_t item_bytes_max) {
    std::unique_ptr<CacheFront> front(new CacheFront(shared, cache, limits));
    RETURN_IF_ERROR(front->MakeNear());
    if (!cache.listens()) {
      front->ServeRoutesAlone();
    } else {
      RETURN_IF_ERROR(front->MakeGate());
      RETURN_IF_ERROR(front->Listen(item_bytes_max));
    }
    front->JoinHandover();
    return front;
  }

  // Tells a listener that routes where to. `front_of` finds another cache by its name. Workers not
  // running.
  void Lead(absl::FunctionRef<CacheFront*(const std::string& cache_name)> front_of) {
    if (!table_.has_value()) return;
    behind_.clear();
    for (const std::string& name : table_->caches()) behind_.push_back(front_of(name));
    for (size_t worker = 0; worker < routed_services_.size(); ++worker) {
      std::vector<proxy::ProxyService*> services;
      for (CacheFront* front : behind_) services.push_back(front->services_[worker]);
      routed_services_[worker]->Lead(std::move(services));
    }
  }
  // Drops what is under way. Of all fronts before the first is destroyed: the answers of one may be
  // awaited by another. Workers stopped.
  void Forsake() {
    for (proxy::ProxyService* service : services_) service->Forsake();
  }

  void LogPlace() const {
    core::Log* const log = shared_.process.log();
    if (where_.empty()) {
      log->Info("cache %s is reached by routes, %d workers", cache_.cache_name, shared_.pool.size());
    } else {
      log->Info("memcache on %s for cache %s, %d workers", where_, cache_.cache_name,
                shared_.pool.size());
    }
    for (const config::Route& route : cache_.routes) {
      log->Info("cache %s: keys that begin with %s are those of cache %s%s", cache_.cache_name,
                route.prefix, route.cache, route.strip ? ", the prefix stripped" : "");
    }
  }
  void BeginDrain(const core::GiveConnection& give) {
    WithServer([&](auto& server) { server.BeginDrain(give); });
  }
  void ReloadTls() {
    WithServer([](auto& server) { (void)server.ReloadTls(); });  // It logs what comes of it.
  }
  // Goes on with what is live in all of these. Main thread, workers running.
  void Retune(const config::Cache& cache, const config::ProxyServer& limits,
              const config::MomentoProxy& all) {
    {
      core::MutexLock lock(mu_);
      told_ = {cache, limits, all.log.level};
    }
    if (near_ != nullptr) near_->Retune(cache);
    guard_.Retune(cache);
    WithServer([&](auto& server) {
      server.Retune(limits, [sample = all.klog.sample](auto& service) {
        service.within().set_sample(sample);
      });
    });
    for (size_t i = 0; i < services_.size(); ++i) {
      shared_.pool.worker(static_cast<int>(i)).loop.Post([service = services_[i], cache] {
        service->Retune(cache);
      });
    }
  }
  const config::Cache& cache() const { return cache_; }
  // Whether no client is connected and nothing that one asked for is under way: writes outlive the
  // connection they came from. Any thread.
  bool idle() const {
    int live = 0;
    WithServer([&](const auto& server) { live = server.live(); });
    return live == 0 && counts_.metrics.in_flight.Value() == 0;
  }
  // Reads again who may use it. Main thread.
  absl::Status ReloadUsers() { return gate_ == nullptr ? absl::OkStatus() : gate_->Reload(); }
  // How the circuit breaker is. Any thread.
  proxy::StatLines BreakerStats() const {
    return proxy::BreakerStats(guard_, shared_.clock.MonotonicMs());
  }
  // Workers that have no connection to the service. Any thread.
  int workers_without_backend() const {
    return static_cast<int>(std::count_if(ready_.begin(), ready_.end(), [](const auto& ready) {
      return !ready.load(std::memory_order_relaxed);
    }));
  }

 private:
  // Notes now and then, on a worker, whether its client can carry a call: what /readyz tells. One
  // of them also tidies the near cache, about once a second.
  struct Watch final : core::Timer {
    Watch(core::EventLoop* l, proxy::momento::Client* c, std::atomic<bool>* r,
          proxy::NearCache* n)
        : loop(l), client(c), ready(r), near(n) {
      OnTimer();
    }
    void OnTimer() override {
      ready->store(client->ready_connections() > 0, std::memory_order_relaxed);
      if (near != nullptr && ++turns % kTurnsPerTick == 0) near->Tick();
      loop->Arm(this, kEveryMs);
    }
    static constexpr int64_t kEveryMs = 200;
    static constexpr int kTurnsPerTick = 5;
    core::EventLoop* loop;
    proxy::momento::Client* client;
    std::atomic<bool>* ready;
    proxy::NearCache* near;  // Null: none, or another worker's.
    int turns = 0;
  };

  // Ends the turns of a service that no server does it for.
  struct TurnOf final : core::TurnEnd {
    TurnOf(core::EventLoop* l, proxy::ProxyService* s) : loop(l), service(s) {
      loop->AddTurnEnd(core::EventLoop::Phase::kService, this);
    }
    ~TurnOf() { loop->RemoveTurnEnd(this); }
    void OnTurnEnd() override { service->EndTurn(); }
    core::EventLoop* loop;
    proxy::ProxyService* service;
  };

  CacheFront(const Shared& shared, const config::Cache& cache, const config::ProxyServer& limits)
      : shared_(shared),
        cache_(cache),
        limits_(limits),
        counts_(shared.process.metrics(), {{"cache", cache.cache_name}}),
        guard_(cache, shared.pool.size(), shared.process.metrics(), {{"cache", cache.cache_name}},
               shared.process.log()),
        meter_(shared.process.metrics(), {{"cache", cache.cache_name}}),
        watch_(shared.process.metrics(), {{"server", cache.cache_name}}),
        ready_(shared.pool.size()),
        behind_{this},
        told_{cache, limits, shared.config.log.level} {
    counts_.bytes.SetMax(cache.request_bytes_max);
  }

  absl::Status MakeGate() {
    const bool own = !cache_.auth_file.empty();
    const std::string& file = own ? cache_.auth_file : limits_.auth_file;
    if (file.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(gate_, core::AuthGate::Open(own ? "cache.auth_file" : "server.auth_file", file,
                                                 &shared_.clock, shared_.process.metrics(),
                                                 {{"server", cache_.cache_name}}));
    return absl::OkStatus();
  }

  absl::Status MakeNear() {
    if (cache_.near_size == 0) return absl::OkStatus();
    ASSIGN_OR_RETURN(near_, proxy::NearCache::Create(cache_, &counts_.marks, &shared_.clock,
                                                     shared_.process.metrics(),
                                                     {{"cache", cache_.cache_name}}));
    counts_.near = near_.get();
    return absl::OkStatus();
  }

  // Calls `f` with the server, of whichever type; not at all if there is none.
  template <class F>
  void WithServer(F f) const {
    if (plain_server_ != nullptr) f(*plain_server_);
    if (routed_server_ != nullptr) f(*routed_server_);
  }

  template <class Server, class MakeService>
  absl::Status Open(uint64_t item_bytes_max, const MakeService& make,
                    std::unique_ptr<Server>* server) {
    ASSIGN_OR_RETURN(
        *server,
        Server::Create(
            limits_, config::ListenerOf(shared_.config.server, cache_), cache_.cache_name,
            &shared_.pool, shared_.process.metrics(), &shared_.connections,
            proto::memcache::Codec({.item_bytes_max = item_bytes_max}, gate_.get()), make,
            shared_.process.log(), shared_.process.sockets()));
    net_ = &(*server)->metrics();
    port_ = (*server)->port();
    where_ = (*server)->where();
    shared_.process.handover().Receive(
        cache_.cache_name, [to = server->get()](core::Fd fd, std::string unread) {
          to->Inherit(std::move(fd), std::move(unread));
        });
    return absl::OkStatus();
  }

  absl::Status Listen(uint64_t item_bytes_max) {
    if (cache_.routes.empty()) {
      return Open(
          item_bytes_max, [this](core::Worker& worker) { return MakePlain(worker); },
          &plain_server_);
    }
    table_.emplace(cache_);
    route_metrics_.emplace(shared_.process.metrics(),
                           core::Labels{{"cache", cache_.cache_name}});
    return Open(
        item_bytes_max, [this](core::Worker& worker) { return MakeRouted(worker); },
        &routed_server_);
  }

  void ServeRoutesAlone() {
    for (int i = 0; i < shared_.pool.size(); ++i) {
      core::Worker& worker = shared_.pool.worker(i);
      turns_.emplace_back(&worker.loop, MakeOwn(worker));
    }
  }

  // While the process before still writes, every key counts as being written: no answer is shared or
  // kept that a write of its might overtake (write_marks.h).
  void JoinHandover() {
    core::Handover& handover = shared_.process.handover();
    if (!handover.has_predecessor()) return;
    counts_.marks.BeginAll();
    handover.WhenAlone([this] { counts_.marks.EndAll(); });
  }

  proxy::momento::Client* MakeClient(core::Worker& worker) {
    const int connections = ConnectionsOf(worker.index);
    clients_.push_back(shared_.backend.NewClient(&worker.loop, cache_, connections, &meter_));
    guarded_.emplace_back(clients_.back().get(), cache_, &guard_, worker.index,
                          proxy::GuardedClient::ShareOf(cache_, shared_.pool.size(), worker.index,
                                                        connections),
                          &worker.loop);
    watches_.emplace_back(&worker.loop, clients_.back().get(), &ready_[worker.index],
                          worker.index == 0 ? near_.get() : nullptr);
    return &guarded_.back();
  }
  proxy::StatsSource StatsOfThis() {
    return [this](absl::string_view argument) { return Stats(argument); };
  }

  // What a worker serves the cache with, by who owns the ProxyService: the server, or this.
  std::unique_ptr<PlainService> MakePlain(core::Worker& worker) {
    auto service = std::make_unique<PlainService>(
        &watch_, &worker.loop, limits_.watch, shared_.klog, shared_.config.klog.sample,
        MakeClient(worker), cache_, limits_, &worker.loop, &counts_, StatsOfThis());
    services_.push_back(&service->within().within());
    return service;
  }
  proxy::ProxyService* MakeOwn(core::Worker& worker) {
    own_services_.push_back(std::make_unique<proxy::ProxyService>(
        MakeClient(worker), cache_, limits_, &worker.loop, &counts_, StatsOfThis()));
    services_.push_back(own_services_.back().get());
    return services_.back();
  }
  std::unique_ptr<RoutedService> MakeRouted(core::Worker& worker) {
    MakeOwn(worker);
    auto service = std::make_unique<RoutedService>(
        &watch_, &worker.loop, limits_.watch, shared_.klog, shared_.config.klog.sample, &*table_,
        &*route_metrics_, cache_.route_flag);
    routed_services_.push_back(&service->within().within());
    return service;
  }

  // This worker's part of the cache's connections; every worker needs one.
  int ConnectionsOf(int worker) const {
    const int workers = shared_.pool.size();
    const int all = static_cast<int>(cache_.connections);
    return std::max(1, all / workers + (worker < all % workers ? 1 : 0));
  }

  proto::memcache::Response Stats(absl::string_view argument) {
    if (argument == "near") return NearStats();
    if (argument == "breaker") return Lines(BreakerStats());
    if (argument == "overload") return Lines(proxy::OverloadStats(guard_, counts_));
    return proto::memcache::AnswerStats(
        argument, [this] { return Numbers(); }, [this] { return Settings(); },
        [this] { ResetCounters(); });
  }
  static proto::memcache::Response Lines(proxy::StatLines lines) {
    proto::memcache::Response rsp(proto::memcache::Status::kStats);
    for (auto& line : lines) rsp.stats.push_back(std::move(line));
    return rsp;
  }
  proto::memcache::Response NearStats() const;
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
  const config::ProxyServer limits_;
  proxy::CacheShared counts_;
  std::unique_ptr<core::AuthGate> gate_;    // Null: nobody is asked.
  std::unique_ptr<proxy::NearCache> near_;  // Null: off.
  proxy::Guard guard_;
  proxy::momento::Meter meter_;
  core::WatchHub watch_;  // Of this cache's clients alone.
  std::vector<std::atomic<bool>> ready_;  // By worker.
  std::vector<std::unique_ptr<proxy::momento::Client>> clients_;  // Outlive their services.
  std::deque<proxy::GuardedClient> guarded_;  // Over them, likewise.
  std::deque<Watch> watches_;
  // By worker.
  std::vector<std::unique_ptr<proxy::ProxyService>> own_services_;  // Unless the server has them.
  std::vector<proxy::ProxyService*> services_;
  std::vector<proxy::RoutedService*> routed_services_;  // If it routes.
  std::deque<TurnOf> turns_;  // If it has no server.
  std::optional<proxy::RouteTable> table_;  // If it routes.
  std::optional<proxy::RouteMetrics> route_metrics_;
  std::vector<CacheFront*> behind_;  // The caches that clients of the listener reach: it is the first.
  std::unique_ptr<PlainServer> plain_server_;  // One of the two, or neither.
  std::unique_ptr<RoutedServer> routed_server_;
  core::NetMetrics* net_ = nullptr;  // The server's; null: none.
  uint16_t port_ = 0;
  std::string where_;  // Empty: no server.
  mutable core::Mutex mu_;
  StatsCounters reset_at_ ABSL_GUARDED_BY(mu_);  // As of "stats reset".
  // What "stats" tells of the configuration.
  struct Told {
    config::Cache cache;
    config::ProxyServer limits;
    config::Log::Level level;
  };
  Told told() const {
    core::MutexLock lock(mu_);
    return told_;
  }
  Told told_ ABSL_GUARDED_BY(mu_);
};

// "stats near": what the near cache has done since the start; nothing without one.
proto::memcache::Response CacheFront::NearStats() const {
  proto::memcache::Response rsp(proto::memcache::Status::kStats);
  if (near_ == nullptr) return rsp;
  const proxy::NearMetrics& m = near_->metrics();
  const std::pair<const char*, uint64_t> lines[] = {
      {"near_size", cache_.near_size},     {"near_items", near_->items()},
      {"near_bytes", near_->item_bytes()}, {"near_hits", m.hit.Value()},
      {"near_negative_hits", m.negative_hit.Value()}, {"near_misses", m.miss.Value()},
      {"near_kept", m.keep.Value()},       {"near_raced", m.raced.Value()},
      {"near_too_large", m.too_large.Value()}, {"near_stale", m.stale.Value()}};
  for (const auto& [name, value] : lines) rsp.stats.emplace_back(name, absl::StrCat(value));
  return rsp;
}

StatsNumbers CacheFront::TotalNumbers() const {
  StatsNumbers n;
  cache::FillProcess(shared_.clock, shared_.started_ns, &n);
  if (net_ != nullptr) cache::AddNet(*net_, &n);
  cache::FillThreads(shared_.pool.size(), &n);
  cache::FillWatch(watch_.metrics(), &n);
  n.max_connections = shared_.connections.max();
  n.kicks_idle = told().limits.idle_timeout > absl::ZeroDuration();
  cache::AddAuth(gate_.get(), &n);
  for (const CacheFront* front : behind_) proxy::AddCommands(front->counts_.metrics, &n.counters);
  return n;
}

proto::memcache::StatsSettings CacheFront::Settings() const {
  const Told now = told();
  const config::ProxyServer& s = now.limits;
  return {.maxbytes = 0,
          .maxconns = s.connections_max,
          .tcpport = port_,
          .inter = cache_.tcp ? cache_.host : "NULL",
          .domain_socket = cache_.unix_socket,
          .umask = *config::ModeOf(cache_.unix_mask),
          .verbosity = cache::VerbosityOf(now.level),
          .evictions = false,
          .num_threads = static_cast<uint64_t>(shared_.pool.size()),
          .tcp_backlog = s.backlog,
          .item_size_max = s.item_size_max,
          .flush_enabled = now.cache.flush_all,
          .idle_timeout = static_cast<uint64_t>(absl::ToInt64Seconds(s.idle_timeout)),
          .tls = cache::TlsSettingsOf(config::ListenerOf(shared_.config.server, cache_).tls),
          .auth_enabled = gate_ != nullptr};
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

// Asks of a cache no more than the service said it allows.
void Obey(const proxy::momento::CacheInfo& info, config::Cache* cache,
          config::ProxyServer* limits, core::Log* log) {
  const uint64_t seconds = std::min<uint64_t>(info.ttl_seconds_max, kTtlSecondsMax);
  const absl::Duration ttl = absl::Seconds(static_cast<int64_t>(seconds));
  log->Info("cache %s: Momento allows a TTL of %s and items of %s", info.name,
            seconds == 0 ? "any length" : config::SpellDuration(ttl),
            info.item_bytes_max == 0 ? "any size" : config::SpellSize(info.item_bytes_max));
  if (info.item_bytes_max != 0 && limits->item_size_max > info.item_bytes_max) {
    log->Warning("cache %s: item_size_max is %s, the service allows %s: that is used", info.name,
                 config::SpellSize(limits->item_size_max), config::SpellSize(info.item_bytes_max));
    limits->item_size_max = info.item_bytes_max;
  }
  if (seconds == 0 || cache->max_ttl <= ttl) return;
  log->Warning("cache %s: max_ttl is %s, the service allows %s: that is used", info.name,
               config::SpellDuration(cache->max_ttl), config::SpellDuration(ttl));
  cache->max_ttl = ttl;
  cache->default_ttl = std::min(cache->default_ttl, ttl);
}

// The caches of `c` and their limits, as the service allows them.
struct Allowed {
  std::vector<config::Cache> caches;
  std::vector<config::ProxyServer> limits;
};

Allowed AllowedOf(const config::MomentoProxy& c,
                  const std::vector<proxy::momento::CheckedCache>& checked, core::Log* log) {
  Allowed allowed{c.caches, std::vector<config::ProxyServer>(c.caches.size(), c.server)};
  for (const auto& [index, info] : checked) {
    Obey(info, &allowed.caches[index], &allowed.limits[index], log);
  }
  return allowed;
}

// The front of every [[cache]], in their order.
class Fronts {
 public:
  // What is under way goes before what answers it would reach.
  ~Fronts() {
    for (const auto& front : all_) front->Forsake();
  }
  absl::Status Open(const Shared& shared, const Allowed& allowed) {
    for (size_t i = 0; i < allowed.caches.size(); ++i) {
      ASSIGN_OR_RETURN(std::unique_ptr<CacheFront> front,
                       CacheFront::Open(shared, allowed.caches[i], allowed.limits[i],
                                        ItemBytesMax(allowed, allowed.caches[i])));
      all_.push_back(std::move(front));
    }
    for (const auto& front : all_) {
      front->Lead([this](const std::string& name) { return Find(name); });
    }
    return absl::OkStatus();
  }

  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }
  CacheFront& operator[](size_t i) { return *all_[i]; }
  size_t size() const { return all_.size(); }

 private:
  // The largest item that one of the caches behind a listener takes; one that takes less says so.
  static uint64_t ItemBytesMax(const Allowed& allowed, const config::Cache& listener) {
    uint64_t most = 0;
    for (size_t i = 0; i < allowed.caches.size(); ++i) {
      const std::string& name = allowed.caches[i].cache_name;
      const bool reached =
          name == listener.cache_name ||
          std::any_of(listener.routes.begin(), listener.routes.end(),
                      [&](const config::Route& route) { return route.cache == name; });
      if (reached) most = std::max(most, allowed.limits[i].item_size_max);
    }
    return most;
  }
  CacheFront* Find(const std::string& name) const {
    const auto found = std::find_if(all_.begin(), all_.end(), [&](const auto& front) {
      return front->cache().cache_name == name;
    });
    CHECK(found != all_.end());  // config/validate.h.
    return found->get();
  }

  std::vector<std::unique_ptr<CacheFront>> all_;
};

absl::Status Ready(const Fronts& fronts) {
  for (const auto& front : fronts) {
    const int without = front->workers_without_backend();
    if (without == 0) continue;
    return absl::UnavailableError(absl::StrCat("cache ", front->cache().cache_name, ": ", without,
                                               " workers have no connection to Momento"));
  }
  return absl::OkStatus();
}

std::string BreakerText(const Fronts& fronts) {
  std::string text;
  for (const auto& front : fronts) {
    for (const auto& [name, value] : front->BreakerStats()) {
      absl::StrAppend(&text, "STAT ", front->cache().cache_name, ":", name, " ", value, "\r\n");
    }
  }
  return absl::StrCat(text, "END\r\n");
}

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
  const Allowed allowed = AllowedOf(c, checked, process.log());
  core::ConnectionLimit connections(c.server.connections_max);
  core::WorkerPool pool(static_cast<int>(c.server.workers), &clock, process.metrics());
  const Shared shared{c, clock, clock.MonotonicNs(), process, pool, connections, *backend,
                      klog.get()};
  Fronts fronts;
  RETURN_IF_ERROR(fronts.Open(shared, allowed));
  const core::ScopedRun run(&pool);
  backend->WatchKeys();
  core::AdminHooks hooks;
  hooks.ready = [&fronts] { return Ready(fronts); };
  hooks.commands["breaker"] = {"the state of each cache's circuit breaker, and why",
                               [&fronts](absl::string_view) { return BreakerText(fronts); }};
  RETURN_IF_ERROR(process.StartAdmin(std::move(hooks)));
  for (const auto& front : fronts) front->LogPlace();
  // The same list of caches as at the start: one that came or went waits for a restart.
  core::Reload<config::MomentoProxy> reload(
      start, &process, [&](const config::MomentoProxy& next) {
        connections.set_max(next.server.connections_max);
        const Allowed now = AllowedOf(next, checked, process.log());
        for (size_t i = 0; i < fronts.size(); ++i) {
          fronts[i].Retune(now.caches[i], now.limits[i], next);
        }
      });
  process.Ready();
  return process.ServeUntilSignal(
      {.begin_drain =
           [&fronts, &process] {
             for (const auto& front : fronts) {
               front->BeginDrain(process.handover().GiveTo(front->cache().cache_name));
             }
           },
       .drained =
           [&fronts] {
             return std::all_of(fronts.begin(), fronts.end(), [](const auto& front) {
               return front->idle();
             });
           },
       .on_reload = [&] {
         reload.Run();
         backend->LookAtKeysNow();
         for (const auto& front : fronts) {
           front->ReloadTls();
           const absl::Status users = front->ReloadUsers();
           if (!users.ok()) process.log()->Error("%s: users stay as they are", users.message());
         }
         if (klog == nullptr) return;
         const absl::Status status = klog->Reopen();
         if (!status.ok()) process.log()->Error("%s", status.message());
       }});
}

void Metrics(core::Registry* registry) {
  const core::NetMetrics net(registry, {{"server", "default-cache"}});
  const proxy::CacheShared cache(registry, {{"cache", "default-cache"}});
  const proxy::RouteMetrics routes(registry, {{"cache", "default-cache"}});
  const proxy::OverloadMetrics overload(registry, {{"cache", "default-cache"}},
                                        {[] { return 0; }, [] { return 0; }, [] { return 0; }});
  const proxy::NearMetrics near(registry, {{"cache", "default-cache"}}, nullptr);
  const seg::Metrics near_engine(registry, "near:default-cache");
  const proxy::momento::Meter meter(registry, {{"cache", "default-cache"}});
  const proxy::momento::Metrics momento(registry);
  const proxy::momento::KeyMetrics key(registry, "momento", [] { return 0; });
  const core::KlogMetrics klog(registry, nullptr);
  const core::WatchMetrics watch(registry, {{"server", "default-cache"}});
  const core::AuthMetrics auth(registry, {{"server", "default-cache"}});
}

}  // namespace

int main(int argc, char** argv) {
  return core::Main<config::MomentoProxy>(argc, argv, {.serve = Serve, .metrics = Metrics});
}
