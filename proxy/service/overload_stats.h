// "stats breaker" and "stats overload", for the memcache port; the first for the operator's too.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proxy/service/guard.h"

namespace proxy {

using StatLines = std::vector<std::pair<std::string, std::string>>;

// State, for how long and why. `now_ms`: of the monotonic clock. Any thread.
StatLines BreakerStats(const Guard& guard, int64_t now_ms);
// What is under way and waits, and what was refused. Any thread.
StatLines OverloadStats(const Guard& guard, const CacheShared& cache);

}  // namespace proxy
