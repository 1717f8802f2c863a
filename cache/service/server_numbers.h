// The part of memcached's statistics that is about the process and its connections, the same in
// every product.
#pragma once

#include <cstdint>

#include "core/base/clock.h"
#include "core/net/metrics.h"
#include "proto/memcache/stats_names.h"

namespace cache {

// Sets pid, time, uptime since `started_ns` (of clock.MonotonicNs()) and rusage.
void FillProcess(const core::Clock& clock, int64_t started_ns, proto::memcache::StatsNumbers* out);

// Adds what one server counted to the connection and byte numbers.
void AddNet(const core::NetMetrics& net, proto::memcache::StatsNumbers* out);

}  // namespace cache
