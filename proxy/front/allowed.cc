// See allowed.h.
#include "proxy/front/allowed.h"

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "config/units.h"

namespace proxy {
namespace {

// The longest max_ttl (config/momento.h): a service that allows more allows anything.
constexpr uint64_t kTtlSecondsMax = 10ull * 365 * 24 * 3600;

void Obey(const momento::CacheInfo& info, config::Cache* cache, config::ProxyServer* limits,
          core::Log* log) {
  const uint64_t seconds = std::min<uint64_t>(info.ttl_seconds_max, kTtlSecondsMax);
  const absl::Duration ttl = absl::Seconds(static_cast<int64_t>(seconds));
  log->Info("cache %s: Momento allows a TTL of %s and items of %s", info.name,
            seconds == 0 ? "any length" : config::SpellDuration(ttl),
            info.item_bytes_max == 0 ? "any size" : config::SpellSize(info.item_bytes_max));
  if (info.item_bytes_max != 0 && limits->item_size_max > info.item_bytes_max) {
    log->Warning("cache %s: item_size_max is %s, the service allows %s: that is used", info.name,
                 config::SpellSize(limits->item_size_max), config::SpellSize(info.item_bytes_max));
    limits->item_size_max = info.item_bytes_max;
  }
  if (seconds == 0 || cache->max_ttl <= ttl) return;
  log->Warning("cache %s: max_ttl is %s, the service allows %s: that is used", info.name,
               config::SpellDuration(cache->max_ttl), config::SpellDuration(ttl));
  cache->max_ttl = ttl;
  cache->default_ttl = std::min(cache->default_ttl, ttl);
}

}  // namespace

std::vector<Allowed> AllowedOf(const config::MomentoProxy& config,
                               const std::vector<momento::CheckedCache>& checked, core::Log* log) {
  std::vector<Allowed> allowed;
  for (const config::Cache& cache : config.caches) allowed.push_back({cache, config.server});
  for (const auto& [index, info] : checked) {
    Obey(info, &allowed[index].cache, &allowed[index].limits, log);
  }
  return allowed;
}

}  // namespace proxy
