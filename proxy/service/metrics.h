// What the proxy counts about one cache: commands and their outcomes, in memcached's terms, and what
// the translation itself does. The calls to Momento are counted by the client.
//
// Every lookup, store or touch is one outcome: hit + miss = lookups, where a lookup whose backend
// call failed is a miss and is counted again as failed.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/metrics/metrics.h"

namespace proxy {

struct Metrics : core::MetricGroup {
  // Prefix "proxy", with the cache's label.
  explicit Metrics(core::Registry* registry, core::Labels labels = {})
      : core::MetricGroup(registry, "proxy", std::move(labels)) {}

  core::Counter get{this, "get_total", "Keys looked up by get and gets."};
  core::Counter get_hit{this, "get_hit_total", "Keys looked up and found."};
  core::Counter get_miss{this, "get_miss_total", "Keys looked up and not found, failed ones too."};
  core::Counter get_failed{this, "get_failed_total", "Keys of get, gets, gat and gats whose lookup failed."};
  core::Counter store{this, "store_total", "set, add, replace, append, prepend and cas commands."};
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
  core::Counter flush{this, "flush_total", "flush_all commands accepted."};

  core::Gauge in_flight{this, "in_flight", "Keys of commands under way."};
  core::Counter failed{this, "command_failed_total",
                       "Commands other than lookups that failed at the backend."};
  core::Counter ttl_clamped{this, "ttl_clamped_total",
                            "Items whose life was shortened to the cache's max_ttl."};
  core::Counter batch{this, "batch_total", "Groups of keys fetched with one call."};
  core::Counter batch_key{this, "batch_key_total", "Keys fetched in such groups."};
  core::Counter get_shared{this, "get_shared_total",
                           "Keys named twice in one command and fetched once."};
  core::Counter order_wait{this, "order_wait_total",
                           "Keys that waited for an earlier command of their connection."};
  core::Counter update_retry{this, "update_retry_total",
                             "Read-modify-write rounds lost to another writer and repeated."};
  core::Counter update_exhausted{this, "update_exhausted_total",
                                 "Updates given up after too many such rounds."};
};

// What the services of one [[cache]], one a worker, have in common. Outlives them. Any thread.
struct CacheShared {
  explicit CacheShared(core::Registry* registry, core::Labels labels = {})
      : metrics(registry, std::move(labels)) {}

  Metrics metrics;
  // Counts flush_all commands: a delayed flush happens only if no later one was accepted, on
  // whichever worker, as memcached's single deadline has it. Relaxed: nothing is published with it.
  std::atomic<uint64_t> flush_generation{0};
};

}  // namespace proxy
