// The engine's evictions, for those who watch them.
#pragma once

#include <algorithm>

#include "cache/seg/cache.h"
#include "core/watch/hub.h"
#include "proto/memcache/watch.h"

namespace cache {

class EvictionLines final : public seg::EvictionListener {
 public:
  // `hub` outlives this object. The cache is written to by the hub's workers alone.
  explicit EvictionLines(core::WatchHub* hub) : hub_(*hub) {}

  bool listens() const override {
    return (hub_.kinds() & proto::memcache::kWatchEvictions) != 0;
  }
  void OnEvict(const seg::Evicted& item) override {
    core::WatchDesk* const desk = hub_.DeskHere();
    if (desk == nullptr) return hub_.CountLost();
    desk->Write(proto::memcache::kWatchEvictions,
                proto::memcache::EvictionLine(
                    {.key = item.key,
                     .value_bytes = item.value_bytes,
                     .fetched = item.used,
                     .ttl_sec = item.ttl_ms == seg::kNever ? -1 : std::max<int64_t>(item.ttl_ms, 0) / 1000,
                     .age_sec = item.age_ms / 1000}));
  }

 private:
  core::WatchHub& hub_;
};

}  // namespace cache
