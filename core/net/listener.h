// Listening sockets, and the acceptor that empties one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/server.h"
#include "core/base/fd.h"
#include "core/net/event_loop.h"
#include "core/net/listen_sockets.h"
#include "core/net/metrics.h"
#include "core/net/unix_socket.h"

namespace core {

// Binds and listens on `host`:`port` (name or address, v4 or v6; port 0 picks a free one). Not for
// workers: it may look a name up. An error names the address and the reason.
// `sockets`, if given: where one that listens already may be, and where this one is noted.
absl::StatusOr<Fd> Listen(absl::string_view host, uint16_t port, int backlog,
                          ListenSockets* sockets = nullptr);

// The port `fd` is bound to; 0 for a unix socket.
uint16_t BoundPort(const Fd& fd);

// Everything that one server listens on.
struct Listening {
  std::vector<Fd> fds;
  uint16_t port = 0;  // Of those that are TCP.
  std::unique_ptr<UnixSocketFile> unix_file;
  std::string where;  // "127.0.0.1:11211 (TLS) and unix:/run/cache.sock".
};
// As for Listen(). REQUIRES: `listen` is valid.
absl::StatusOr<Listening> ListenOn(const config::Listener& listen, int backlog,
                                   ListenSockets* sockets = nullptr);

// What Listen() would say of an address that cannot be found, without binding any: INVALID_ARGUMENT.
// Not for workers, as above.
absl::Status CheckHosts(const config::Listener& listen);

// Accepts connections on one loop and hands each on, TCP_NODELAY set. All methods belong to the
// loop's thread, or to main before it runs and after it has ended.
class Acceptor final : public EventHandler {
 public:
  using Take = std::function<void(Fd)>;
  static constexpr int64_t kPauseMs = 50;  // How long accepting rests when descriptors ran out.

  // `loop` and `metrics` outlive the acceptor.
  Acceptor(EventLoop* loop, Fd listening, NetMetrics* metrics, Take take);
  ~Acceptor() { Close(); }

  uint16_t port() const { return port_; }
  // Stops accepting and frees the port.
  void Close();

  void OnEvents(uint32_t events) override;

 private:
  // Comes back when descriptors may be free again.
  struct Retry final : Timer {
    explicit Retry(Acceptor* owner) : acceptor(owner) {}
    void OnTimer() override { acceptor->Resume(); }
    Acceptor* acceptor;
  };
  void Watch();
  void Pause();
  void Resume();

  EventLoop* loop_;
  Fd fd_;
  uint16_t port_;
  NetMetrics* metrics_;
  Take take_;
  Retry retry_{this};
};

}  // namespace core
