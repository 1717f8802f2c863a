// A codec and a service on a port: what makes a product.
//
//   core::Server<ping::Codec, PingService> server(...);   // one `using` apart from the others
//
// Listening sockets (one a TCP address, and perhaps a unix socket) on the first worker feeds all workers, each new connection going to the one
// with the fewest: with few, long-lived connections (a sidecar's) that is even, where SO_REUSEPORT's
// hashing is not, and a port in use is an error instead of a silent share.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/base/status.h"
#include "core/net/allow_list.h"
#include "core/net/listener.h"
#include "core/net/peer.h"
#include "core/net/shard.h"

namespace core {

template <Codec C, class S>
class Server {
 public:
  // Makes the service object of one worker.
  using MakeService = std::function<std::unique_ptr<S>(Worker&)>;

  // Listens on all that `listen` says and attaches to every worker of `pool`, which has not started yet.
  // Connections are accepted once it starts. `pool`, `registry` and `connections` outlive the
  // server; `name` labels its metrics; `log`, if given, hears of peers that are turned away, and of
  // certificates. The server is destroyed after pool->Stop().
  static absl::StatusOr<std::unique_ptr<Server>> Create(const config::Server& limits,
                                                        const config::Listener& listen,
                                                        absl::string_view name, WorkerPool* pool,
                                                        Registry* registry,
                                                        ConnectionLimit* connections, C codec,
                                                        const MakeService& make_service,
                                                        Log* log = nullptr,
                                                        ListenSockets* sockets = nullptr) {
    ASSIGN_OR_RETURN(Listening listening,
                     ListenOn(listen, static_cast<int>(limits.backlog), sockets));
    return CreateOn(std::move(listening), limits, listen, name, pool, registry, connections,
                    std::move(codec), make_service, log);
  }
  // The same on sockets that ListenOn() has opened for `listen`; clients wait in them until the pool
  // starts.
  static absl::StatusOr<std::unique_ptr<Server>> CreateOn(
      Listening listening, const config::Server& limits, const config::Listener& listen,
      absl::string_view name, WorkerPool* pool, Registry* registry, ConnectionLimit* connections,
      C codec, const MakeService& make_service, Log* log = nullptr) {
    std::unique_ptr<TlsContext> tls;
    if (listen.tcp && listen.tls.enabled()) {
      ASSIGN_OR_RETURN(tls, TlsContext::Create(listen.tls, name, log));
    }
    return std::unique_ptr<Server>(new Server(limits, std::move(listening), std::move(tls),
                                              AllowList(listen.allow), name, pool, registry,
                                              connections, std::move(codec), make_service, log));
  }

  // The TCP port; 0 if there is none.
  uint16_t port() const { return port_; }
  // Where it listens, for the log: "127.0.0.1:11211 and unix:/run/cache.sock".
  const std::string& where() const { return where_; }
  NetMetrics& metrics() { return metrics_; }

  // Takes a changed certificate, key or list of authorities into use; see TlsContext::Reload(). OK
  // without TLS. Main.
  absl::Status ReloadTls() { return tls_ == nullptr ? absl::OkStatus() : tls_->Reload(); }

  // Stops accepting; sessions answer what they have accepted and close. With `give` another process
  // has the listening sockets: sessions answer what was read and go there. Any thread, pool running.
  void BeginDrain(const GiveConnection& give = nullptr) {
    pool_.worker(0).loop.Post([this, gives = give != nullptr] { StopAccepting(gives); });
    for (auto& shard : shards_) {
      shard->worker().loop.Post([s = shard.get(), give] { s->BeginDrain(give); });
    }
  }
  // Goes on with a connection of the process before, of which it had read `unread`. It counts as one
  // more than the limit if need be. Any thread, pool running.
  void Inherit(Fd fd, std::string unread) {
    connections_.Readmit();
    metrics_.connection_inherit.Add();
    Shard<C, S>* chosen = LeastLoaded();
    chosen->Expect();
    chosen->worker().loop.Post(
        [chosen, fd = std::move(fd), unread = std::move(unread)]() mutable {
          chosen->Adopt(std::move(fd), nullptr, unread);
        });
  }
  // Other limits from now on, and `tell` for every worker's service, on its thread. The backlog stays.
  // Any thread, pool running.
  void Retune(const config::Server& limits, const std::function<void(S&)>& tell = nullptr) {
    for (auto& shard : shards_) {
      shard->worker().loop.Post([s = shard.get(), limits, tell] {
        s->Retune(limits);
        if (tell) tell(s->service());
      });
    }
  }
  // Client connections open now. Any thread.
  int live() const {
    int sum = 0;
    for (const auto& shard : shards_) sum += shard->live();
    return sum;
  }

 private:
  Server(const config::Server& limits, Listening listening, std::unique_ptr<TlsContext> tls,
         AllowList allow, absl::string_view name, WorkerPool* pool, Registry* registry,
         ConnectionLimit* connections, C codec, const MakeService& make_service, Log* log)
      : name_(name),
        log_(log),
        allow_(std::move(allow)),
        tls_(std::move(tls)),
        pool_(*pool),
        connections_(*connections),
        metrics_(registry, {{"server", std::string(name)}}),
        port_(listening.port),
        where_(std::move(listening.where)),
        unix_file_(std::move(listening.unix_file)) {
    for (int i = 0; i < pool->size(); ++i) {
      Worker& worker = pool->worker(i);
      shards_.push_back(std::make_unique<Shard<C, S>>(&worker, limits, make_service(worker), codec,
                                                      &metrics_, connections));
    }
    if (tls_ != nullptr) tls_->CountIn(&metrics_);
    for (Fd& fd : listening.fds) {
      const bool tcp = BoundPort(fd) != 0;
      acceptors_.push_back(
          std::make_unique<Acceptor>(&pool->worker(0).loop, std::move(fd), &metrics_,
                                     [this, tcp](Fd client) { Place(std::move(client), tcp); }));
    }
  }

  void StopAccepting(bool gives) {
    for (const auto& acceptor : acceptors_) acceptor->Close();
    if (gives && unix_file_ != nullptr) unix_file_->Leave();
    unix_file_.reset();
  }

  Shard<C, S>* LeastLoaded() {
    Shard<C, S>* chosen = shards_[0].get();
    for (auto& shard : shards_) {
      if (shard->live() < chosen->live()) chosen = shard.get();
    }
    return chosen;
  }

  // Whether the peer's address is one of those that may connect.
  bool Admits(const Fd& fd) {
    if (allow_.AdmitsPeerOf(fd.get())) return true;
    metrics_.connection_forbid.Add();
    std::string more;
    if (log_ != nullptr && refusals_.Admit(pool_.worker(0).loop.now_ms(), &more)) {
      log_->Warning("%s: %s refused, its address is not in allow%s", name_, PeerText(fd.get()),
                    more);
    }
    return false;
  }

  // Gives a new connection to the least loaded worker.
  void Place(Fd fd, bool tcp) {
    if (tcp && !Admits(fd)) return;
    TlsContext* const tls = tcp ? tls_.get() : nullptr;
    if (!connections_.Acquire()) {
      metrics_.connection_reject.Add();
      if (tls != nullptr) return;  // It would take a handshake to say so.
      const absl::string_view text = C::kTooManyConnections;
      (void)::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
      return;
    }
    metrics_.connection_accept.Add();
    Shard<C, S>* chosen = LeastLoaded();
    chosen->Expect();
    if (chosen == shards_[0].get()) return chosen->Adopt(std::move(fd), tls);
    chosen->worker().loop.Post(
        [chosen, tls, fd = std::move(fd)]() mutable { chosen->Adopt(std::move(fd), tls); });
  }

  const std::string name_;
  Log* const log_;  // May be null.
  LineLimit refusals_;
  const AllowList allow_;
  const std::unique_ptr<TlsContext> tls_;  // Of TCP; null: plaintext.
  WorkerPool& pool_;
  ConnectionLimit& connections_;
  NetMetrics metrics_;
  const uint16_t port_;
  const std::string where_;
  std::unique_ptr<UnixSocketFile> unix_file_;
  std::vector<std::unique_ptr<Shard<C, S>>> shards_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
};

}  // namespace core
