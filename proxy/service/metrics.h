// What the proxy counts about one cache: commands and their outcomes, in memcached's terms, and what
// the translation itself does. The calls to Momento are counted by the client.
//
// Every lookup, store or touch is one outcome: hit + miss = lookups, where a lookup whose backend
// call failed is a miss and is counted again as failed.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "absl/random/random.h"
#include "core/metrics/metrics.h"
#include "proxy/service/byte_budget.h"
#include "proxy/service/write_marks.h"
#include "proxy/translate/errors.h"

namespace proxy {

struct Metrics : core::MetricGroup {
  // Prefix "proxy", with the cache's label.
  explicit Metrics(core::Registry* registry, core::Labels labels = {})
      : core::MetricGroup(registry, "proxy", std::move(labels)) {}

  core::Counter get{this, "get_total", "Keys looked up by get and gets."};
  core::Counter get_hit{this, "get_hit_total", "Keys looked up and found."};
  core::Counter get_miss{this, "get_miss_total", "Keys looked up and not found, failed ones too."};
  core::Counter get_failed{this, "get_failed_total", "Keys of get, gets, gat and gats whose lookup failed."};
  core::Counter store{this, "store_total",
                      "set, add, replace, append, prepend and cas whose value was read."};
  core::Counter store_too_large{this, "store_too_large_total",
                                "Those refused because the value is past server.item_size_max."};
  core::Counter touch{this, "touch_total", "Keys touched by touch, gat and gats."};
  core::Counter touch_hit{this, "touch_hit_total", "Keys touched and found."};
  core::Counter touch_miss{this, "touch_miss_total", "Keys touched and not found."};
  core::Counter delete_hit{this, "delete_hit_total", "Deletes answered DELETED."};
  core::Counter delete_miss{this, "delete_miss_total", "Deletes answered NOT_FOUND."};
  core::Counter incr_hit{this, "incr_hit_total", "incr of keys that were found."};
  core::Counter incr_miss{this, "incr_miss_total", "incr of keys that were not found."};
  core::Counter decr_hit{this, "decr_hit_total", "decr of keys that were found."};
  core::Counter decr_miss{this, "decr_miss_total", "decr of keys that were not found."};
  core::Counter cas_hit{this, "cas_hit_total", "cas commands that stored."};
  core::Counter cas_miss{this, "cas_miss_total", "cas commands on keys that were not found."};
  core::Counter cas_badval{this, "cas_badval_total", "cas commands whose token was out of date."};
  core::Counter win_absent{this, "win_total", "mg answered with W, by what was to be made anew.",
                           {{"item", "absent"}}};
  core::Counter win_recache{this, "win_total", "mg answered with W, by what was to be made anew.",
                            {{"item", "short_lived"}}};
  core::Counter win_stale{this, "win_total", "mg answered with W, by what was to be made anew.",
                          {{"item", "stale"}}};
  core::Counter flush{this, "flush_total", "flush_all commands accepted."};

  core::Gauge in_flight{this, "in_flight", "Keys of commands under way."};
  core::Counter failed{this, "command_failed_total",
                       "Commands other than lookups that failed at the backend."};
  core::Counter busy_bytes{this, "busy_total",
                           "Calls and commands refused as busy, by the reason.",
                           {{"reason", "bytes"}}};
  core::Counter ttl_clamped{this, "ttl_clamped_total",
                            "Items whose life was shortened to the cache's max_ttl."};
  core::Counter batch{this, "batch_total", "Groups of keys fetched with one call."};
  core::Counter batch_key{this, "batch_key_total", "Keys fetched in such groups."};
  core::Counter get_shared{this, "get_shared_total",
                           "Keys named twice in one command and fetched once."};
  core::Counter get_coalesced{this, "get_coalesced_total",
                              "Keys answered from another get's call for the same key."};
  core::Counter set_batch{this, "set_batch_total", "Groups of plain sets sent with one call."};
  core::Counter set_batch_key{this, "set_batch_key_total", "Keys stored in such groups."};
  core::Counter order_wait{this, "order_wait_total",
                           "Keys that waited for an earlier command of their connection."};
  core::Counter update_retry{this, "update_retry_total",
                             "Read-modify-write rounds lost to another writer and repeated."};
  core::Counter update_exhausted{this, "update_exhausted_total",
                                 "Updates given up after too many such rounds."};
};

// What overload, a failing service and its limits have led to; see guard.h.
struct OverloadMetrics : core::MetricGroup {
  // What the gauges read, at scrape, from any thread, as long as the registry may.
  struct Readings {
    absl::AnyInvocable<double() const> calls;
    absl::AnyInvocable<double() const> waiting;
    absl::AnyInvocable<double() const> breaker;
  };
  // Prefix "proxy", with the cache's label.
  OverloadMetrics(core::Registry* registry, core::Labels labels, Readings read)
      : core::MetricGroup(registry, "proxy", std::move(labels)),
        calls(this, "calls", "Calls at the service.", std::move(read.calls)),
        waiting(this, "waiting", "Calls that wait for one of those to end, or for the rate limit.",
                std::move(read.waiting)),
        breaker(this, "breaker_state", "The circuit breaker: 0 closed, 1 half open, 2 open.",
                std::move(read.breaker)) {}

  void CountLimit(translate::Limit limit) {
    using translate::Limit;
    switch (limit) {
      case Limit::kNone: return;
      case Limit::kOperations: return limit_operations.Add();
      case Limit::kThroughput: return limit_throughput.Add();
      case Limit::kSize: return limit_size.Add();
      case Limit::kOther: return limit_other.Add();
    }
  }

  core::Gauge calls;
  core::Gauge waiting;
  core::Gauge breaker;
  core::Counter busy_late{this, "busy_total", "Calls and commands refused as busy, by the reason.",
                          {{"reason", "late"}}};
  core::Counter busy_waiting{this, "busy_total",
                             "Calls and commands refused as busy, by the reason.",
                             {{"reason", "waiting"}}};
  core::Counter busy_quota{this, "busy_total",
                           "Calls and commands refused as busy, by the reason.",
                           {{"reason", "quota"}}};
  core::Counter quota_wait{this, "quota_wait_total", "Calls that waited for the rate limit."};
  core::Counter breaker_refused{this, "breaker_refused_total",
                                "Calls not made because the circuit breaker was not closed."};
  core::Counter breaker_probe{this, "breaker_probe_total", "Calls that it tried the service with."};
  core::Counter breaker_to_open{this, "breaker_change_total", "Its changes, by the new state.",
                                {{"to", "open"}}};
  core::Counter breaker_to_half_open{this, "breaker_change_total",
                                     "Its changes, by the new state.", {{"to", "half_open"}}};
  core::Counter breaker_to_closed{this, "breaker_change_total", "Its changes, by the new state.",
                                  {{"to", "closed"}}};
  core::Counter limit_operations{this, "limit_total",
                                 "Calls that the service refused for a limit of its own.",
                                 {{"limit", "operations"}}};
  core::Counter limit_throughput{this, "limit_total",
                                 "Calls that the service refused for a limit of its own.",
                                 {{"limit", "throughput"}}};
  core::Counter limit_size{this, "limit_total",
                           "Calls that the service refused for a limit of its own.",
                           {{"limit", "size"}}};
  core::Counter limit_other{this, "limit_total",
                            "Calls that the service refused for a limit of its own.",
                            {{"limit", "other"}}};
};

// What the routes of one listener have led to; see routed_service.h.
struct RouteMetrics : core::MetricGroup {
  // Prefix "proxy_route", with the listener's label.
  RouteMetrics(core::Registry* registry, core::Labels labels)
      : core::MetricGroup(registry, "proxy_route", std::move(labels)) {}

  core::Counter spread{this, "spread_total", "Gets whose keys were those of more than one cache."};
  core::Counter refused{this, "refused_total", "Commands refused because a key of theirs has no route."};
};

class NearCache;

// What the services of one [[cache]], one a worker, have in common. Outlives them. Any thread.
struct CacheShared {
  explicit CacheShared(core::Registry* registry, core::Labels labels = {})
      : metrics(registry, std::move(labels)), hash_seed(absl::Uniform<uint64_t>(absl::BitGen())) {}

  Metrics metrics;
  const uint64_t hash_seed;  // Of the keys, alike on all workers: they share the marks.
  WriteMarks marks;
  ByteBudget bytes;
  // Null: off. Set before the services are made, and outlives them.
  NearCache* near = nullptr;
  // Counts flush_all commands: a delayed flush happens only if no later one was accepted, on
  // whichever worker, as memcached's single deadline has it. Relaxed: nothing is published with it.
  std::atomic<uint64_t> flush_generation{0};
};

}  // namespace proxy
