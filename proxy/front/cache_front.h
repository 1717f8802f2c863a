// One [[cache]]: a listener, unless it is reached by the routes of others alone, and on every
// worker a client of Momento and a service over it.
//
//   own port:     Server -> watch, klog -> ProxyService -> GuardedClient -> the worker's client
//   with routes:  Server -> watch, klog -> RoutedService -> whose ProxyService has the key -> ...
//   no port:                               ProxyService, which the routes of others lead to
//
// A listener of one cache and one that routes are two types, so that the first pays nothing for
// what the second does.
//
// While the process before still writes (core/process/handover.h) every key counts as being
// written: no answer is shared or kept that a write of its might overtake (write_marks.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/momento.h"
#include "config/products.h"
#include "core/auth/gate.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/log/command_log.h"
#include "core/net/event_loop.h"
#include "core/net/server.h"
#include "core/net/worker.h"
#include "core/process/process.h"
#include "core/watch/hub.h"
#include "proto/memcache/codec.h"
#include "proto/memcache/klog.h"
#include "proto/memcache/stats_names.h"
#include "proto/memcache/watch.h"
#include "proxy/front/allowed.h"
#include "proxy/front/backend_watch.h"
#include "proxy/momento/backend.h"
#include "proxy/momento/meter.h"
#include "proxy/service/guard.h"
#include "proxy/service/metrics.h"
#include "proxy/service/near_cache.h"
#include "proxy/service/overload_stats.h"
#include "proxy/service/route_table.h"
#include "proxy/service/routed_service.h"
#include "proxy/service/service.h"

namespace proxy {

// What every cache of the process has in common. Outlives their fronts.
struct FrontShared {
  const config::MomentoProxy& config;
  const core::Clock& clock;
  const int64_t started_ns;  // Of clock.MonotonicNs().
  core::Process& process;
  core::WorkerPool& pool;
  core::ConnectionLimit& connections;
  momento::Backend& backend;
  core::CommandLog* klog;  // Null: off.
};

// Main thread, unless it says otherwise.
class CacheFront {
 public:
  // Listens, and opens the connections to the service. `item_bytes_max`: what the listener lets in,
  // for whichever cache it is. Fails where a file cannot be used or an address not be had. Workers
  // not running.
  static absl::StatusOr<std::unique_ptr<CacheFront>> Open(const FrontShared& shared,
                                                          const Allowed& allowed,
                                                          uint64_t item_bytes_max);
  // Workers stopped, and every front told to Forsake().
  ~CacheFront();
  CacheFront(const CacheFront&) = delete;
  CacheFront& operator=(const CacheFront&) = delete;

  // Tells a listener that routes where to. `front_of` finds another cache by its name; all of them
  // live until every one has been told to Forsake(). Workers not running.
  void Lead(absl::FunctionRef<CacheFront*(const std::string& cache_name)> front_of);
  // Drops what is under way. Of all fronts before the first is destroyed: the answers of one may be
  // awaited by another. Workers stopped.
  void Forsake();

  // A line in the log of where it listens, and one for each route.
  void LogPlace() const;
  // Takes nothing new, answers what is under way; clients go to the next process, if one has taken
  // over.
  void BeginDrain();
  // Goes on with what is live in both. Workers running.
  void Retune(const Allowed& allowed, const config::MomentoProxy& config);
  // Reads certificates and users again, and logs what comes of it.
  void ReadFilesAgain();

  const config::Cache& cache() const { return cache_; }
  // Whether no client is connected and nothing that one asked for is under way: writes outlive the
  // connection they came from. Any thread.
  bool idle() const;
  // How the circuit breaker is. Any thread.
  StatLines BreakerStats() const {
    return proxy::BreakerStats(guard_, shared_.clock.MonotonicMs());
  }
  // Workers that have no connection to the service. Any thread.
  int workers_without_backend() const;

  // Registers what a front counts, without one: for --describe-metrics. Reads as zeros.
  static void RegisterMetrics(core::Registry* registry);

 private:
  using PlainService = proto::memcache::WithWatch<proto::memcache::WithKlog<ProxyService>>;
  using PlainServer = core::Server<proto::memcache::Codec, PlainService>;
  using RoutingService = proto::memcache::WithWatch<proto::memcache::WithKlog<RoutedService>>;
  using RoutingServer = core::Server<proto::memcache::Codec, RoutingService>;

  // Ends the turns of a service that no server does it for.
  struct TurnOf final : core::TurnEnd {
    TurnOf(core::EventLoop* l, ProxyService* s) : loop(l), service(s) {
      loop->AddTurnEnd(core::EventLoop::Phase::kService, this);
    }
    ~TurnOf() { loop->RemoveTurnEnd(this); }
    void OnTurnEnd() override { service->EndTurn(); }
    core::EventLoop* loop;
    ProxyService* service;
  };
  // What "stats" tells of the configuration.
  struct Told {
    Allowed allowed;
    config::Log::Level level;
  };

  CacheFront(const FrontShared& shared, const Allowed& allowed);

  absl::Status MakeGate();
  absl::Status MakeNear();
  absl::Status Listen(uint64_t item_bytes_max);
  template <class Server, class MakeService>
  absl::Status ListenWith(uint64_t item_bytes_max, const MakeService& make,
                          std::unique_ptr<Server>* server);
  void ServeRoutesAlone();
  void JoinHandover();
  // Calls `f` with the server, of whichever type; not at all if there is none.
  template <class F>
  void WithServer(F f) const {
    if (plain_server_ != nullptr) f(*plain_server_);
    if (routing_server_ != nullptr) f(*routing_server_);
  }

  // What a worker serves the cache with, by who owns the ProxyService: the server, or this.
  std::unique_ptr<PlainService> MakePlain(core::Worker& worker);
  ProxyService* MakeOwn(core::Worker& worker);
  std::unique_ptr<RoutingService> MakeRouting(core::Worker& worker);
  momento::Client* MakeClient(core::Worker& worker);
  // This worker's part of the cache's connections; every worker needs one.
  int ConnectionsOf(int worker) const;

  // --- cache_stats.cc: the answers to "stats"; any worker's thread ---
  StatsSource StatsOfThis() {
    return [this](absl::string_view argument) { return Stats(argument); };
  }
  proto::memcache::Response Stats(absl::string_view argument);
  proto::memcache::Response NearStats() const;
  proto::memcache::StatsNumbers TotalNumbers() const;
  proto::memcache::StatsNumbers Numbers() const;
  void ResetCounters();
  proto::memcache::StatsSettings Settings() const;
  Told told() const {
    core::MutexLock lock(mu_);
    return told_;
  }

  const FrontShared& shared_;
  const config::Cache cache_;
  const config::ProxyServer limits_;
  CacheShared counts_;
  std::unique_ptr<core::AuthGate> gate_;  // Null: nobody is asked.
  std::unique_ptr<NearCache> near_;       // Null: off.
  Guard guard_;
  momento::Meter meter_;
  core::WatchHub watch_;                  // Of this cache's clients alone.
  std::vector<std::atomic<bool>> ready_;  // By worker.
  std::vector<std::unique_ptr<momento::Client>> clients_;  // Outlive their services.
  std::deque<GuardedClient> guarded_;                      // Over them, likewise.
  std::deque<BackendWatch> backend_watches_;
  // By worker.
  std::vector<std::unique_ptr<ProxyService>> own_services_;  // Unless the server has them.
  std::vector<ProxyService*> services_;
  std::vector<RoutedService*> routed_services_;  // If it routes.
  std::deque<TurnOf> turns_;                     // If it has no server.
  std::optional<RouteTable> table_;              // If it routes.
  std::optional<RouteMetrics> route_metrics_;
  std::vector<CacheFront*> behind_;  // Whom clients of the listener reach; itself is the first.
  std::unique_ptr<PlainServer> plain_server_;  // One of the two, or neither.
  std::unique_ptr<RoutingServer> routing_server_;
  core::NetMetrics* net_ = nullptr;  // The server's; null: none.
  uint16_t port_ = 0;
  std::string where_;  // Empty: no server.

  mutable core::Mutex mu_;
  // As of "stats reset".
  proto::memcache::StatsCounters reset_at_ ABSL_GUARDED_BY(mu_);
  Told told_ ABSL_GUARDED_BY(mu_);
};

}  // namespace proxy
