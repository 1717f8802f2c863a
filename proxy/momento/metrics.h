// What the Momento client counts. One for the process; every worker adds to its own shard.
#pragma once

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "core/metrics/metrics.h"
#include "proxy/momento/client.h"

namespace proxy::momento {

// The calls, by what they ask. Values index the tables below.
enum class Rpc : uint8_t {
  kGet, kGetBatch, kGetWithHash, kSet, kSetIf, kSetIfHash, kDelete, kKeysExist, kUpdateTtl,
  kItemGetTtl, kSetBatch, kFlushCache, kListCaches, kCreateCache, kPing,
};
inline constexpr std::array<absl::string_view, 15> kRpcNames = {
    "get",    "get_batch",  "get_with_hash", "set",          "set_if",      "set_if_hash",
    "delete", "keys_exist", "update_ttl",    "item_get_ttl", "set_batch",   "flush_cache",
    "list_caches", "create_cache", "ping"};

inline constexpr std::array<absl::string_view, 17> kCodeNames = {
    "ok",                  "cancelled",        "unknown",            "invalid_argument",
    "deadline_exceeded",   "not_found",        "already_exists",     "permission_denied",
    "resource_exhausted",  "failed_precondition", "aborted",         "out_of_range",
    "unimplemented",       "internal",         "unavailable",        "data_loss",
    "unauthenticated"};

struct ClientMetrics : core::MetricGroup {
  explicit ClientMetrics(core::Registry* registry) : MetricGroup(registry, "proxy_momento") {}

  core::Gauge connections{this, "connections", "Connections to the service that can carry calls."};
  core::Counter connects{this, "connect_total", "Connections to the service opened."};
  core::Counter connect_failures{this, "connect_failed_total",
                                 "Attempts to connect to the service that failed."};
  core::Counter lost{this, "connection_lost_total",
                     "Open connections that ended without the service's goodbye."};
  core::Counter goaway{this, "goaway_total", "Connections the service asked to leave."};
  core::Counter retries{this, "retry_total",
                        "Calls sent again because the service had certainly not seen them."};
  core::Counter retry_sent{this, "retry_sent_total",
                           "Failed calls sent again after a pause, on the retry budget."};
  core::Counter retry_succeeded{this, "retry_succeeded_total",
                                "Calls that were answered after such attempts."};
  core::Counter retry_refused{this, "retry_refused_total",
                              "Failed calls not sent again because the retry budget was spent."};
  core::Counter retry_limited{this, "retry_limited_total",
                              "Failed calls not sent again because the cache's own rate limit was "
                              "used up."};
  core::Counter hedge_sent{this, "hedge_sent_total",
                           "Slow reads asked again over a second connection."};
  core::Counter hedge_won{this, "hedge_won_total",
                          "Those that the second connection answered first."};
  core::Counter hedge_refused{this, "hedge_refused_total",
                              "Slow reads not asked again because the hedge budget was spent."};
  core::Counter hedge_limited{this, "hedge_limited_total",
                              "Slow reads not asked again because the cache's own rate limit was "
                              "used up."};
  core::Counter hedge_unplaced{this, "hedge_unplaced_total",
                               "Slow reads not asked again because no other connection had room."};
  core::Counter overload{this, "overload_total",
                         "Calls refused because too many waited for a stream."};
  core::Counter resolves{this, "resolve_total",
                         "Times the service's name was asked for again while connections to it work."};
  core::Counter resolve_failures{this, "resolve_failed_total", "Those that had no answer."};
  core::Counter moved{this, "address_moved_total",
                      "Connections replaced because the service's name leads elsewhere."};
  core::Gauge waiting{this, "waiting", "Calls that wait for a stream or a connection."};
  core::Counter sent_bytes{this, "sent_bytes_total",
                           "Bytes sent to the service, HTTP/2 framing included."};
  core::Counter received_bytes{this, "received_bytes_total",
                               "Bytes received from the service, HTTP/2 framing included."};
};

// Calls of one kind.
struct RpcMetrics : core::MetricGroup {
  RpcMetrics(core::Registry* registry, Rpc rpc)
      : MetricGroup(registry, "proxy_rpc",
                    {{"rpc", std::string(kRpcNames[static_cast<size_t>(rpc)])}}) {}

  core::Histogram ok{this, "seconds", "Time from call to answer, by how it ended.",
                     {{"code", "ok"}}};
  core::Histogram failed{this, "seconds", "Time from call to answer, by how it ended.",
                         {{"code", "error"}}};
};

// Failed calls with one code.
struct CodeMetrics : core::MetricGroup {
  CodeMetrics(core::Registry* registry, Code code)
      : MetricGroup(registry, "proxy_rpc",
                    {{"code", std::string(kCodeNames[static_cast<size_t>(code)])}}) {}

  core::Counter errors{this, "error_total", "Calls that failed, by gRPC status."};
};

struct Metrics : ClientMetrics {
  explicit Metrics(core::Registry* registry) : ClientMetrics(registry) {
    for (size_t i = 0; i < rpcs.size(); ++i) {
      rpcs[i] = std::make_unique<RpcMetrics>(registry, static_cast<Rpc>(i));
    }
    for (size_t i = 1; i < codes.size(); ++i) {
      codes[i] = std::make_unique<CodeMetrics>(registry, static_cast<Code>(i));
    }
  }

  void CallEnded(Rpc rpc, Code code, int64_t ns) {
    RpcMetrics& one = *rpcs[static_cast<size_t>(rpc)];
    if (code == Code::kOk) return one.ok.RecordNs(ns);
    one.failed.RecordNs(ns);
    codes[static_cast<size_t>(code)]->errors.Add();
  }

  std::array<std::unique_ptr<RpcMetrics>, kRpcNames.size()> rpcs;
  std::array<std::unique_ptr<CodeMetrics>, kCodeNames.size()> codes;  // [0], ok, is not counted.
};

}  // namespace proxy::momento
