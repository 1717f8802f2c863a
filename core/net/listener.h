// A listening socket and the acceptor that empties it.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/fd.h"
#include "core/net/event_loop.h"
#include "core/net/metrics.h"

namespace core {

// Binds and listens on `host`:`port` (name or address, v4 or v6; port 0 picks a free one). Not for
// workers: it may look a name up. An error names the address and the reason.
absl::StatusOr<Fd> Listen(absl::string_view host, uint16_t port, int backlog);

// The port `fd` is bound to.
uint16_t BoundPort(const Fd& fd);

// Accepts connections on one loop and hands each on, TCP_NODELAY set. All methods belong to the
// loop's thread, or to main before it runs and after it has ended.
class Acceptor final : public EventHandler {
 public:
  using Take = std::function<void(Fd)>;

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
    void OnTimer() override { acceptor->Watch(); }
    Acceptor* acceptor;
  };
  void Watch();
  void Pause();

  EventLoop* loop_;
  Fd fd_;
  uint16_t port_;
  NetMetrics* metrics_;
  Take take_;
  Retry retry_{this};
};

}  // namespace core
