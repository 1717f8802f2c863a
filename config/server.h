// [server]: the runtime that every product shares: threads, connections and their limits.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "config/knob.h"
#include "config/tls.h"

namespace config {

struct Server {
  enum class Io : uint8_t { kAuto, kEpoll, kIoUring };
  static constexpr std::array<absl::string_view, 3> kIos = {"auto", "epoll", "io_uring"};

  uint32_t workers = 0;               // 0: one per CPU the process may use.
  Io io = Io::kAuto;                  // core/net/README.md, "Two ways to wait", has figures.
  uint32_t connections_max = 10'000;  // Over all listeners; past it an error line and a close.
  uint32_t backlog = 1024;            // memcached's -b default.
  absl::Duration idle_timeout = absl::ZeroDuration();  // Zero: never, memcached's default.
  absl::Duration stall_timeout = absl::Minutes(5);  // Else output_max is lost to every dead reader.
  // Zero: whoever asks for an end wants it now. A balancer that looks at /readyz needs its period.
  absl::Duration drain_delay = absl::ZeroDuration();
  absl::Duration drain_timeout = absl::Seconds(10);    // Below Kubernetes' 30 s grace period.
  uint32_t in_flight_max = 1024;                       // Unanswered requests a connection may have.
  uint64_t output_max = 4 * kMB;      // Unsent reply bytes at which a connection stops being read.
  uint64_t item_size_max = 1 * kMB;   // memcached's -I default.
  std::string user;      // Empty: stay who started it.
  std::string pid_file;  // Empty: none.
  std::string handover_socket;  // Empty: none.

  template <class V>
  void Visit(V& v) {
    v.Int("workers", &workers, 0, 128, "event-loop threads; 0 means one per CPU");
    v.Choice("io", &io, kIos,
             "how connections are served: by what is faster (in segcache and pingserver the kernel's "
             "io_uring where there is one, else epoll), by epoll, or by io_uring or not at all");
    v.Int("connections_max", &connections_max, 1, 1u << 20,
          Live("client connections over all listeners; one more gets an error line and is closed"));
    v.Int("backlog", &backlog, 1, 65535, "connections the kernel may queue before accept");
    v.Duration("idle_timeout", &idle_timeout, absl::ZeroDuration(), absl::Hours(24 * 365),
               Live("close a connection that is silent this long; 0s means never"));
    v.Duration("stall_timeout", &stall_timeout, absl::ZeroDuration(), absl::Hours(24 * 365),
               Live("close a connection whose peer takes no reply bytes this long; 0s means never"));
    v.Duration("drain_delay", &drain_delay, absl::ZeroDuration(), absl::Hours(1),
               Live("how long SIGTERM goes on accepting and answering, /readyz already false, before "
                    "the drain begins; a handover does not wait for it"));
    v.Duration("drain_timeout", &drain_timeout, absl::ZeroDuration(), absl::Hours(1),
               Live("how long SIGTERM waits for requests in flight before closing anyway"));
    v.Size("output_max", &output_max, 16 * kKB, kGB,
           Live("unsent reply bytes per connection before it is no longer read"));
    v.Text("user", &user, "user to become at start, if started as root; empty changes nothing");
    v.Text("pid_file", &pid_file,
           "file that holds the process id while it runs; empty writes none");
    v.Text("handover_socket", &handover_socket,
           "path where the next process finds this one and takes over listening sockets and "
           "connections; empty hands nothing over");
  }
};

// A product offers only the knobs that do something in it.

// Where items are stored.
struct MemcacheServer : Server {
  std::string auth_file;  // Empty: everybody may.
  bool watch = true;      // As memcached without -W.

  template <class V>
  void Visit(V& v) {
    Server::Visit(v);
    v.Bool("watch", &watch,
           "let clients see with \"watch\" which keys others get, store and lose, and who connects");
    v.Text("auth_file", &auth_file,
           "file of user:password lines, as memcached's -Y: clients must log in; read again on "
           "SIGHUP; empty lets everybody in");
    v.Size("item_size_max", &item_size_max, kKB, 128 * kMB,
           "largest item accepted, as memcached counts it (key, value and 59 bytes); a larger one is "
           "swallowed and refused");
  }
};

// Where this process is the cache that clients may empty; a proxy says it cache by cache.
struct StoreServer : MemcacheServer {
  bool flush_all = true;  // As memcached without -F.

  template <class V>
  void Visit(V& v) {
    MemcacheServer::Visit(v);
    v.Bool("flush_all", &flush_all, Live("let clients forget everything with flush_all"));
  }
};

// Where a request waits for somebody else's answer; elsewhere each is answered as it is read.
struct ProxyServer : MemcacheServer {
  Tls tls;  // Of every cache that names no certificate of its own.

  template <class V>
  void Visit(V& v) {
    MemcacheServer::Visit(v);
    v.Int("in_flight_max", &in_flight_max, 1, 1u << 16,
          Live("unanswered requests per connection before it is no longer read"));
    tls.Visit(v);
  }
};

// Where one protocol is spoken to clients.
struct Listener {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  bool tcp = true;
  std::string unix_socket = {};   // Empty: none.
  std::string unix_mask = "700";  // memcached's -a default.
  std::vector<std::string> allow = {};  // Empty: everybody.
  // TLS and allow concern TCP: a unix socket has its permissions.
  Tls tls = {};

  // Whether a client can connect at all; see IsRoutedTo() in validate.cc.
  bool listens() const { return tcp || !unix_socket.empty(); }

  template <class V>
  void Visit(V& v) {
    v.Text("host", &host, "address to listen on; several, separated by commas, share the port");
    v.Port("port", &port, "port to listen on; 0 picks a free one and logs it");
    v.Bool("tcp", &tcp, "listen on host and port; off where the unix socket shall be the only way");
    v.Text("unix_socket", &unix_socket, "path of a unix socket to listen on as well; empty is none");
    v.Text("unix_mask", &unix_mask, "permissions of the unix socket, in octal");
    v.Texts("allow", &allow,
            "blocks of addresses that may connect over TCP, such as \"10.0.0.0/8\" or \"::1\"; "
            "empty lets everybody");
    tls.Visit(v);
  }
};

// The permission bits that `octal` spells; nothing if it spells none.
inline std::optional<uint32_t> ModeOf(absl::string_view octal) {
  if (octal.empty() || octal.size() > 4) return std::nullopt;
  uint32_t mode = 0;
  for (const char c : octal) {
    if (c < '0' || c > '7') return std::nullopt;
    mode = mode * 8 + static_cast<uint32_t>(c - '0');
  }
  if (mode > 0777) return std::nullopt;
  return mode;
}

}  // namespace config
