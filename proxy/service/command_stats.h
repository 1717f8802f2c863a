// What the commands of one cache have come to, in the names that "stats" tells.
#pragma once

#include "proto/memcache/stats_names.h"
#include "proxy/service/metrics.h"

namespace proxy {

// Adds what was done to one cache: a port may be for several.
inline void AddCommands(const Metrics& m, proto::memcache::StatsCounters* c) {
  c->cmd_set += m.store.Value();
  c->cmd_flush += m.flush.Value();
  c->store_too_large += m.store_too_large.Value();
  c->get_hits += m.get_hit.Value();
  c->get_misses += m.get_miss.Value();
  c->delete_hits += m.delete_hit.Value();
  c->delete_misses += m.delete_miss.Value();
  c->incr_hits += m.incr_hit.Value();
  c->incr_misses += m.incr_miss.Value();
  c->decr_hits += m.decr_hit.Value();
  c->decr_misses += m.decr_miss.Value();
  c->cas_hits += m.cas_hit.Value();
  c->cas_misses += m.cas_miss.Value();
  c->cas_badval += m.cas_badval.Value();
  c->touch_hits += m.touch_hit.Value();
  c->touch_misses += m.touch_miss.Value();
}

}  // namespace proxy
