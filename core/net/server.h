// A codec and a service on a port: what makes a product.
//
//   core::Server<ping::Codec, PingService> server(...);   // one `using` apart from the others
//
// One listening socket on the first worker feeds all workers, each new connection going to the one
// with the fewest: with few, long-lived connections (a sidecar's) that is even, where SO_REUSEPORT's
// hashing is not, and a port in use is an error instead of a silent share.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/base/status.h"
#include "core/net/listener.h"
#include "core/net/shard.h"

namespace core {

template <Codec C, class S>
class Server {
 public:
  // Makes the service object of one worker.
  using MakeService = std::function<std::unique_ptr<S>(Worker&)>;

  // Listens on `listen` and attaches to every worker of `pool`, which has not started yet.
  // Connections are accepted once it starts. `pool`, `registry` and `connections` outlive the
  // server; `name` labels its metrics. The server is destroyed after pool->Stop().
  static absl::StatusOr<std::unique_ptr<Server>> Create(const config::Server& limits,
                                                        const config::Listener& listen,
                                                        absl::string_view name, WorkerPool* pool,
                                                        Registry* registry,
                                                        ConnectionLimit* connections, C codec,
                                                        const MakeService& make_service) {
    ASSIGN_OR_RETURN(Fd fd, Listen(listen.host, listen.port, static_cast<int>(limits.backlog)));
    return std::unique_ptr<Server>(new Server(limits, std::move(fd), name, pool, registry,
                                              connections, std::move(codec), make_service));
  }

  uint16_t port() const { return port_; }
  NetMetrics& metrics() { return metrics_; }

  // Stops accepting; sessions answer what they have accepted and close. Any thread, pool running.
  void BeginDrain() {
    pool_.worker(0).loop.Post([this] { acceptor_->Close(); });
    for (auto& shard : shards_) {
      shard->worker().loop.Post([s = shard.get()] { s->BeginDrain(); });
    }
  }
  // Client connections open now. Any thread.
  int live() const {
    int sum = 0;
    for (const auto& shard : shards_) sum += shard->live();
    return sum;
  }

 private:
  Server(const config::Server& limits, Fd fd, absl::string_view name, WorkerPool* pool,
         Registry* registry, ConnectionLimit* connections, C codec,
         const MakeService& make_service)
      : pool_(*pool),
        connections_(*connections),
        metrics_(registry, {{"server", std::string(name)}}) {
    for (int i = 0; i < pool->size(); ++i) {
      Worker& worker = pool->worker(i);
      shards_.push_back(std::make_unique<Shard<C, S>>(&worker, limits, make_service(worker), codec,
                                                      &metrics_, connections));
    }
    acceptor_ = std::make_unique<Acceptor>(&pool->worker(0).loop, std::move(fd), &metrics_,
                                           [this](Fd client) { Place(std::move(client)); });
    port_ = acceptor_->port();
  }

  // Gives a new connection to the least loaded worker.
  void Place(Fd fd) {
    if (!connections_.Acquire()) {
      metrics_.connection_reject.Add();
      const absl::string_view text = C::kTooManyConnections;
      (void)::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
      return;
    }
    metrics_.connection_accept.Add();
    Shard<C, S>* chosen = shards_[0].get();
    for (auto& shard : shards_) {
      if (shard->live() < chosen->live()) chosen = shard.get();
    }
    chosen->Expect();
    if (chosen == shards_[0].get()) return chosen->Adopt(std::move(fd));
    chosen->worker().loop.Post(
        [chosen, fd = std::move(fd)]() mutable { chosen->Adopt(std::move(fd)); });
  }

  WorkerPool& pool_;
  ConnectionLimit& connections_;
  NetMetrics metrics_;
  uint16_t port_ = 0;
  std::vector<std::unique_ptr<Shard<C, S>>> shards_;
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace core
