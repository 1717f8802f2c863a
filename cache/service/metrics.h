// What memcache commands did: cache_memcache_*. The same numbers, renamed, are memcached's "stats".
//
// hit + miss = lookups; a gat counts as a touch and not as a get, as in memcached.
#pragma once

#include "core/metrics/metrics.h"

namespace cache {

struct MemcacheMetrics : core::MetricGroup {
  explicit MemcacheMetrics(core::Registry* registry) : MetricGroup(registry, "cache_memcache") {}

  core::Counter get_hit{this, "get_hit_total", "Keys of get, gets and mg that were found, or made by an N."};
  core::Counter get_miss{this, "get_miss_total", "Keys of get, gets and mg that were not found."};
  core::Counter touch_hit{this, "touch_hit_total", "Keys of touch, gat, gats and mg with T that were found."};
  core::Counter touch_miss{this, "touch_miss_total",
                           "Keys of touch, gat and gats that were not found."};
  core::Counter store{this, "store_total",
                      "set, add, replace, append, prepend, cas and ms whose value was read, whatever their outcome."};
  core::Counter stored{this, "stored_total", "Those of them that were answered STORED."};
  core::Counter made{this, "made_total",
                     "Items made where there was none, by counts with an initial value and by mg with N."};
  core::Counter store_too_large{this, "store_too_large_total",
                                "Stores refused because the item is too large."};
  core::Counter store_no_memory{this, "store_no_memory_total",
                                "Stores refused because no memory could be reclaimed."};
  core::Counter cas_hit{this, "cas_hit_total", "cas, and ms with a token, that stored."};
  core::Counter cas_miss{this, "cas_miss_total", "cas, and ms with a token, of keys that were not found."};
  core::Counter cas_badval{this, "cas_badval_total", "cas, and ms with a token, whose token was out of date."};
  core::Counter delete_hit{this, "delete_hit_total", "Deletes of items that were found; of md, but for those with I alone."};
  core::Counter delete_miss{this, "delete_miss_total", "Deletes of keys that were not found; of md, also those whose token was out of date."};
  core::Counter incr_hit{this, "incr_hit_total", "incr and ma that counted up."};
  core::Counter incr_miss{this, "incr_miss_total", "incr of keys that were not found."};
  core::Counter decr_hit{this, "decr_hit_total", "decr and ma that counted down."};
  core::Counter decr_miss{this, "decr_miss_total", "decr of keys that were not found."};
  core::Counter won{this, "won_total", "mg that were told to make the item anew (W)."};
  core::Counter invalidated{this, "invalidated_total", "Items marked stale by md and ms with I."};
  core::Counter debug{this, "debug_total", "me, whatever it found."};
  core::Counter flush{this, "flush_total", "flush_all commands accepted."};
};

}  // namespace cache
