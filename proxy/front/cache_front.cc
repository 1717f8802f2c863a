// See cache_front.h. Here: how a front is built, and what main does with it.
#include "proxy/front/cache_front.h"

#include <algorithm>
#include <utility>

#include "cache/seg/metrics.h"
#include "config/listeners.h"
#include "core/base/status.h"

namespace proxy {

absl::StatusOr<std::unique_ptr<CacheFront>> CacheFront::Open(const FrontShared& shared,
                                                             const Allowed& allowed,
                                                             uint64_t item_bytes_max) {
  std::unique_ptr<CacheFront> front(new CacheFront(shared, allowed));
  RETURN_IF_ERROR(front->MakeNear());
  if (!allowed.cache.listens()) {
    front->ServeRoutesAlone();
  } else {
    RETURN_IF_ERROR(front->MakeGate());
    RETURN_IF_ERROR(front->Listen(item_bytes_max));
  }
  front->JoinHandover();
  return front;
}

CacheFront::CacheFront(const FrontShared& shared, const Allowed& allowed)
    : shared_(shared),
      cache_(allowed.cache),
      limits_(allowed.limits),
      counts_(shared.process.metrics(), {{"cache", cache_.cache_name}}),
      guard_(cache_, shared.pool.size(), shared.process.metrics(), {{"cache", cache_.cache_name}},
             shared.process.log()),
      meter_(shared.process.metrics(), {{"cache", cache_.cache_name}}),
      watch_(shared.process.metrics(), {{"server", cache_.cache_name}}),
      ready_(shared.pool.size()),
      behind_{this},
      told_{allowed, shared.config.log.level} {
  counts_.bytes.SetMax(cache_.request_bytes_max);
}

CacheFront::~CacheFront() = default;

void CacheFront::Lead(absl::FunctionRef<CacheFront*(const std::string& cache_name)> front_of) {
  if (!table_.has_value()) return;
  behind_.clear();
  for (const std::string& name : table_->caches()) behind_.push_back(front_of(name));
  for (size_t worker = 0; worker < routed_services_.size(); ++worker) {
    std::vector<ProxyService*> services;
    for (CacheFront* front : behind_) services.push_back(front->services_[worker]);
    routed_services_[worker]->Lead(std::move(services));
  }
}

void CacheFront::Forsake() {
  for (ProxyService* service : services_) service->Forsake();
}

void CacheFront::LogPlace() const {
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

void CacheFront::BeginDrain() {
  const core::GiveConnection give = shared_.process.handover().GiveTo(cache_.cache_name);
  WithServer([&give](auto& server) { server.BeginDrain(give); });
}

void CacheFront::Retune(const Allowed& allowed, const config::MomentoProxy& config) {
  const config::Cache& cache = allowed.cache;
  {
    core::MutexLock lock(mu_);
    told_ = {allowed, config.log.level};
  }
  if (near_ != nullptr) near_->Retune(cache);
  guard_.Retune(cache);
  WithServer([&](auto& server) {
    server.Retune(allowed.limits, [sample = config.klog.sample](auto& service) {
      service.within().set_sample(sample);
    });
  });
  for (size_t i = 0; i < services_.size(); ++i) {
    shared_.pool.worker(static_cast<int>(i)).loop.Post([service = services_[i], cache] {
      service->Retune(cache);
    });
  }
}

void CacheFront::ReadFilesAgain() {
  WithServer([](auto& server) { (void)server.ReloadTls(); });  // It logs what comes of it.
  if (gate_ == nullptr) return;
  const absl::Status users = gate_->Reload();
  if (!users.ok()) shared_.process.log()->Error("%s: users stay as they are", users.message());
}

bool CacheFront::idle() const {
  int live = 0;
  WithServer([&live](const auto& server) { live = server.live(); });
  return live == 0 && counts_.metrics.in_flight.Value() == 0;
}

int CacheFront::workers_without_backend() const {
  return static_cast<int>(std::count_if(ready_.begin(), ready_.end(), [](const auto& ready) {
    return !ready.load(std::memory_order_relaxed);
  }));
}

absl::Status CacheFront::MakeGate() {
  const auto [knob, file] = config::AuthFileOf(shared_.config.server, cache_);
  if (file.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(gate_,
                   core::AuthGate::Open(knob, file, &shared_.clock, shared_.process.metrics(),
                                        {{"server", cache_.cache_name}}));
  return absl::OkStatus();
}

absl::Status CacheFront::MakeNear() {
  if (cache_.near_size == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(near_,
                   NearCache::Create(cache_, &counts_.marks, &shared_.clock,
                                     shared_.process.metrics(), {{"cache", cache_.cache_name}}));
  counts_.near = near_.get();
  return absl::OkStatus();
}

absl::Status CacheFront::Listen(uint64_t item_bytes_max) {
  if (cache_.routes.empty()) {
    return ListenWith(
        item_bytes_max, [this](core::Worker& worker) { return MakePlain(worker); },
        &plain_server_);
  }
  table_.emplace(cache_);
  route_metrics_.emplace(shared_.process.metrics(), core::Labels{{"cache", cache_.cache_name}});
  return ListenWith(
      item_bytes_max, [this](core::Worker& worker) { return MakeRouting(worker); },
      &routing_server_);
}

template <class Server, class MakeService>
absl::Status CacheFront::ListenWith(uint64_t item_bytes_max, const MakeService& make,
                                    std::unique_ptr<Server>* server) {
  ASSIGN_OR_RETURN(
      *server,
      Server::Create(limits_, config::ListenerOf(shared_.config.server, cache_), cache_.cache_name,
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

void CacheFront::ServeRoutesAlone() {
  for (int i = 0; i < shared_.pool.size(); ++i) {
    core::Worker& worker = shared_.pool.worker(i);
    turns_.emplace_back(&worker.loop, MakeOwn(worker));
  }
}

void CacheFront::JoinHandover() {
  // While two processes serve the same clients, each may be asked for what the other has written.
  core::Handover& handover = shared_.process.handover();
  handover.WhenShared(
      [this] {
        counts_.marks.BeginAll();
        if (near_ != nullptr) near_->ForgetAll();
      },
      [this] { counts_.marks.EndAll(); });
  if (!handover.has_predecessor()) return;
  counts_.marks.BeginAll();
  handover.WhenAlone([this] { counts_.marks.EndAll(); });
}

std::unique_ptr<CacheFront::PlainService> CacheFront::MakePlain(core::Worker& worker) {
  auto service = std::make_unique<PlainService>(
      &watch_, &worker.loop, limits_.watch, shared_.klog, shared_.config.klog.sample,
      MakeClient(worker), cache_, limits_, &worker.loop, &counts_, StatsOfThis());
  services_.push_back(&service->within().within());
  return service;
}

ProxyService* CacheFront::MakeOwn(core::Worker& worker) {
  own_services_.push_back(std::make_unique<ProxyService>(MakeClient(worker), cache_, limits_,
                                                         &worker.loop, &counts_, StatsOfThis()));
  services_.push_back(own_services_.back().get());
  return services_.back();
}

std::unique_ptr<CacheFront::RoutingService> CacheFront::MakeRouting(core::Worker& worker) {
  MakeOwn(worker);
  auto service = std::make_unique<RoutingService>(
      &watch_, &worker.loop, limits_.watch, shared_.klog, shared_.config.klog.sample, &*table_,
      &*route_metrics_, cache_.route_flag);
  routed_services_.push_back(&service->within().within());
  return service;
}

momento::Client* CacheFront::MakeClient(core::Worker& worker) {
  const int connections = ConnectionsOf(worker.index);
  clients_.push_back(shared_.backend.NewClient(&worker.loop, cache_, connections, &meter_));
  guarded_.emplace_back(
      clients_.back().get(), cache_, &guard_, worker.index,
      GuardedClient::ShareOf(cache_, shared_.pool.size(), worker.index, connections),
      &worker.loop);
  backend_watches_.emplace_back(&worker.loop, clients_.back().get(), &ready_[worker.index],
                                worker.index == 0 ? near_.get() : nullptr);
  return &guarded_.back();
}

int CacheFront::ConnectionsOf(int worker) const {
  const int workers = shared_.pool.size();
  const int all = static_cast<int>(cache_.connections);
  return std::max(1, all / workers + (worker < all % workers ? 1 : 0));
}

void CacheFront::RegisterMetrics(core::Registry* registry) {
  const core::Labels cache = {{"cache", "default-cache"}};
  const core::Labels server = {{"server", "default-cache"}};
  const core::NetMetrics net(registry, server);
  const CacheShared counts(registry, cache);
  const RouteMetrics routes(registry, cache);
  const OverloadMetrics overload(registry, cache,
                                 {[] { return 0; }, [] { return 0; }, [] { return 0; }});
  const NearMetrics near(registry, cache, nullptr);
  const seg::Metrics near_engine(registry, "near:default-cache");
  const momento::Meter meter(registry, cache);
  const core::WatchMetrics watch(registry, server);
  const core::AuthMetrics auth(registry, server);
}

}  // namespace proxy
