// One struct a product: its sections, composed.
#pragma once

#include <vector>

#include "config/admin.h"
#include "config/klog.h"
#include "config/log.h"
#include "config/momento.h"
#include "config/seg.h"
#include "config/server.h"

namespace config {

// A Momento-compatible service and its faults, wherever it is reached; what momento_proxy --local
// embeds.
struct LocalService {
  std::string token;       // Empty, and no file: any authorization is accepted.
  std::string token_file;  // More of them, a line each; read again every second.
  bool create_unknown = false;
  uint64_t item_size_max = 4883 * kKB;       // What the service reports.
  absl::Duration ttl_max = absl::Hours(24);  // Likewise.
  uint32_t caches_max = 64;
  uint32_t operations_per_second = 0;        // Off.
  // Faults, for tests.
  uint32_t fault_error_percent = 0;
  std::string fault_error = "unavailable";
  absl::Duration fault_delay = absl::ZeroDuration();
  absl::Duration fault_delay_jitter = absl::ZeroDuration();
  uint32_t fault_delay_percent = 0;
  uint32_t fault_reset_percent = 0;
  uint32_t fault_seed = 1;
  std::string fault_rpcs;        // Empty: any call.
  uint32_t fault_calls_max = 0;  // No limit.
  std::string fault_detail;      // Empty: no trailer.
  bool fault_applied = false;

  template <class V>
  void Visit(V& v) {
    v.Secret("token", &token, "authorization every call must carry; empty accepts any");
    v.Text("token_file", &token_file,
           "file of further tokens that are accepted, a line each, looked at every second");
    v.Bool("create_unknown", &create_unknown, "create a cache at its first use");
    v.Size("item_size_max", &item_size_max, kKB, 128 * kMB, "longest key plus value");
    v.Ttl("ttl_max", &ttl_max, absl::Milliseconds(1), absl::Hours(24 * 365 * 10),
          "longest TTL accepted");
    v.Int("caches_max", &caches_max, 1, 10'000, "caches that may exist at once");
    v.Int("operations_per_second", &operations_per_second, 0, 1'000'000'000,
          "operations of the data plane past which calls are refused until the second is over; 0 is "
          "no quota");
    v.Int("fault_error_percent", &fault_error_percent, 0, 100, "calls that fail, of a hundred");
    v.Text("fault_error", &fault_error, "status of those calls, in kebab-case");
    v.Duration("fault_delay", &fault_delay, absl::ZeroDuration(), absl::Minutes(10),
               "delay before the answer of a delayed call");
    v.Duration("fault_delay_jitter", &fault_delay_jitter, absl::ZeroDuration(), absl::Minutes(10),
               "uniform extra delay on top");
    v.Int("fault_delay_percent", &fault_delay_percent, 0, 100, "calls delayed, of a hundred");
    v.Int("fault_reset_percent", &fault_reset_percent, 0, 100,
          "calls, of a hundred, whose connection is reset without a status");
    v.Int("fault_seed", &fault_seed, 0, ~0u, "seed of the fault dice");
    v.Text("fault_rpcs", &fault_rpcs,
           "calls that faults may hit, as \"set-if-hash,get-batch\"; empty means any");
    v.Int("fault_calls_max", &fault_calls_max, 0, ~0u,
          "how many of those calls the dice are thrown for, the first ones; 0 is no limit");
    v.Text("fault_detail", &fault_detail, "err trailer of the calls that fail; empty sends none");
    v.Bool("fault_applied", &fault_applied,
           "carry out calls that fail, lose their connection or are delayed first: only the answer is "
           "lost, or late");
  }
};

// The same on a port of its own: momento_local.
struct Local : LocalService {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // momento-local's port.

  template <class V>
  void Visit(V& v) {
    v.Text("host", &host, "address of the gRPC port");
    v.Port("port", &port, "gRPC port, plaintext HTTP/2; 0 picks a free one and logs it");
    LocalService::Visit(v);
  }
};

struct MomentoProxy {
  static constexpr absl::string_view kName = "momento_proxy";

  ProxyServer server;
  Admin admin;
  Log log;
  Klog klog;
  Momento momento;
  std::vector<Cache> caches;
  LocalService local;  // Used with --local only.
  Seg seg;             // Likewise: the embedded server's engine.

  template <class V>
  void Visit(V& v) {
    v.Section("server", &server, "threads, connections and limits");
    v.Section("admin", &admin, "the operator's ports");
    v.Section("log", &log, "the diagnostic log");
    v.Section("klog", &klog, "the command log");
    v.Section("momento", &momento, "the account and how to reach it");
    v.List("cache", &caches, "one memcache listener and the Momento cache behind it");
    v.Section("local", &local, "the embedded momento_local, used with --local only");
    v.Section("seg", &seg, "the engine of the embedded momento_local");
  }
};

struct Segcache {
  static constexpr absl::string_view kName = "segcache";

  StoreServer server;
  Listener listen{.port = 12321};  // Pelikan's data port.
  Admin admin;
  Log log;
  Klog klog;
  MainSeg seg;

  template <class V>
  void Visit(V& v) {
    v.Section("server", &server, "threads, connections and limits");
    v.Section("listen", &listen, "where memcache clients connect");
    v.Section("admin", &admin, "the operator's ports");
    v.Section("log", &log, "the diagnostic log");
    v.Section("klog", &klog, "the command log");
    v.Section("seg", &seg, "the storage engine");
  }
};

struct Pingserver {
  static constexpr absl::string_view kName = "pingserver";

  Server server;
  Listener listen{.port = 12321};
  Admin admin;
  Log log;

  template <class V>
  void Visit(V& v) {
    v.Section("server", &server, "threads, connections and limits");
    v.Section("listen", &listen, "where ping clients connect");
    v.Section("admin", &admin, "the operator's ports");
    v.Section("log", &log, "the diagnostic log");
  }
};

struct MomentoLocal {
  static constexpr absl::string_view kName = "momento_local";

  Local local;
  Admin admin;
  Log log;
  Seg seg;

  template <class V>
  void Visit(V& v) {
    v.Section("local", &local, "the gRPC service and its faults");
    v.Section("admin", &admin, "the operator's ports");
    v.Section("log", &log, "the diagnostic log");
    v.Section("seg", &seg, "the storage engine, one heap a cache");
  }
};

}  // namespace config
