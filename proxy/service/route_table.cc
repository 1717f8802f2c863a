// See route_table.h.
#include "proxy/service/route_table.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/memcache/request.h"

namespace proxy {

static_assert(config::kRoutePrefixMax < proto::memcache::kKeyBytesMax);

RouteTable::RouteTable(const config::Cache& listener)
    : may_own_(listener.no_route == config::Cache::NoRoute::kOwn), caches_{listener.cache_name} {
  for (const config::Route& route : listener.routes) {
    size_t cache = Find(route.cache);
    if (cache == kNone) {
      cache = caches_.size();
      caches_.push_back(route.cache);
    }
    routes_.push_back({route.prefix, static_cast<uint32_t>(cache), route.strip});
  }
  std::sort(routes_.begin(), routes_.end(),
            [](const Route& a, const Route& b) { return a.prefix < b.prefix; });
  for (uint32_t i = 1; i < routes_.size(); ++i) {
    uint32_t up = i - 1;
    while (up != kTop && !absl::StartsWith(routes_[i].prefix, routes_[up].prefix)) {
      up = routes_[up].up;
    }
    routes_[i].up = up;
  }
}

size_t RouteTable::Find(absl::string_view cache_name) const {
  const auto found = std::find(caches_.begin(), caches_.end(), cache_name);
  return found == caches_.end() ? kNone : static_cast<size_t>(found - caches_.begin());
}

std::vector<std::pair<std::string, std::string>> RouteTable::Stats() const {
  std::vector<std::pair<std::string, std::string>> lines;
  for (size_t i = 0; i < routes_.size(); ++i) {
    lines.emplace_back(absl::StrCat(i, ":prefix"), routes_[i].prefix);
    lines.emplace_back(absl::StrCat(i, ":cache"), caches_[routes_[i].cache]);
    lines.emplace_back(absl::StrCat(i, ":strip"), routes_[i].strip ? "yes" : "no");
  }
  lines.emplace_back("no_route", may_own_ ? caches_[kOwn] : "refused");
  return lines;
}

RouteTable::Choice RouteTable::Choose(absl::string_view key, absl::string_view name) const {
  if (!name.empty()) [[unlikely]] {
    const size_t named = Find(name);
    if (named != kNone) return {.cache = named};
  }
  const auto past = std::upper_bound(
      routes_.begin(), routes_.end(), key,
      [](absl::string_view k, const Route& route) { return k < absl::string_view(route.prefix); });
  uint32_t at = past == routes_.begin() ? kTop : static_cast<uint32_t>(past - routes_.begin()) - 1;
  for (; at != kTop; at = routes_[at].up) {
    const Route& route = routes_[at];
    if (!absl::StartsWith(key, route.prefix)) continue;
    if (!route.strip) return {.cache = route.cache};
    // Nothing would be left: the service has no empty keys.
    if (key.size() > route.prefix.size()) return {.cache = route.cache, .strip = route.prefix.size()};
  }
  return {.cache = may_own_ ? kOwn : kNone};
}

}  // namespace proxy
