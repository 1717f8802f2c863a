// [server]: the runtime that every product shares: threads, connections and their limits.
#pragma once

#include "config/knob.h"

namespace config {

struct Server {
  uint32_t workers = 0;               // 0: one per CPU the process may use.
  uint32_t connections_max = 10'000;  // Over all listeners; past it an error line and a close.
  uint32_t backlog = 1024;            // memcached's -b default.
  absl::Duration idle_timeout = absl::ZeroDuration();  // Zero: never, memcached's default.
  absl::Duration stall_timeout = absl::Minutes(5);  // Else output_max is lost to every dead reader.
  absl::Duration drain_timeout = absl::Seconds(10);    // Below Kubernetes' 30 s grace period.
  uint32_t in_flight_max = 1024;                       // Unanswered requests a connection may have.
  uint64_t output_max = 4 * kMB;      // Unsent reply bytes at which a connection stops being read.
  uint64_t item_size_max = 1 * kMB;   // memcached's -I default.

  template <class V>
  void Visit(V& v) {
    v.Int("workers", &workers, 0, 128, "event-loop threads; 0 means one per CPU");
    v.Int("connections_max", &connections_max, 1, 1u << 20,
          "client connections over all listeners; one more gets an error line and is closed");
    v.Int("backlog", &backlog, 1, 65535, "connections the kernel may queue before accept");
    v.Duration("idle_timeout", &idle_timeout, absl::ZeroDuration(), absl::Hours(24 * 365),
               "close a connection that is silent this long; 0s means never");
    v.Duration("stall_timeout", &stall_timeout, absl::ZeroDuration(), absl::Hours(24 * 365),
               "close a connection whose peer takes no reply bytes this long; 0s means never");
    v.Duration("drain_timeout", &drain_timeout, absl::ZeroDuration(), absl::Hours(1),
               "how long SIGTERM waits for requests in flight before closing anyway");
    v.Size("output_max", &output_max, 16 * kKB, kGB,
           "unsent reply bytes per connection before it is no longer read");
  }
};

// A product offers only the knobs that do something in it.

// Where items are stored.
struct MemcacheServer : Server {
  template <class V>
  void Visit(V& v) {
    Server::Visit(v);
    v.Size("item_size_max", &item_size_max, kKB, 128 * kMB,
           "largest item accepted, as memcached counts it (key, value and 59 bytes); a larger one is "
           "swallowed and refused");
  }
};

// Where a request waits for somebody else's answer; elsewhere each is answered as it is read.
struct ProxyServer : MemcacheServer {
  template <class V>
  void Visit(V& v) {
    MemcacheServer::Visit(v);
    v.Int("in_flight_max", &in_flight_max, 1, 1u << 16,
          "unanswered requests per connection before it is no longer read");
  }
};

// Where one protocol is spoken to clients.
struct Listener {
  std::string host = "127.0.0.1";
  uint16_t port = 0;

  template <class V>
  void Visit(V& v) {
    v.Text("host", &host, "address to listen on");
    v.Port("port", &port, "port to listen on; 0 picks a free one and logs it");
  }
};

}  // namespace config
