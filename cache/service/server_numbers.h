// The part of memcached's statistics that is about the process and its connections, the same in
// every product.
#pragma once

#include <cstdint>
#include <optional>

#include "config/log.h"
#include "config/tls.h"
#include "core/auth/gate.h"
#include "core/base/clock.h"
#include "core/net/metrics.h"
#include "core/watch/metrics.h"
#include "proto/memcache/stats_names.h"

namespace cache {

// Sets pid, time, uptime since `started_ns` (of clock.MonotonicNs()) and rusage.
void FillProcess(const core::Clock& clock, int64_t started_ns, proto::memcache::StatsNumbers* out);

// Adds what one server counted to the connection and byte numbers.
void AddNet(const core::NetMetrics& net, proto::memcache::StatsNumbers* out);

// What "stats settings" tells of a listener's TLS; nothing if it speaks plaintext.
std::optional<proto::memcache::StatsSettings::Tls> TlsSettingsOf(const config::Tls& tls);

// Adds what one server's gate counted; `gate` may be null.
void AddAuth(const core::AuthGate* gate, proto::memcache::StatsNumbers* out);

// Sets the numbers of the threads that serve.
void FillThreads(int workers, proto::memcache::StatsNumbers* out);

// What memcached's -v, -vv stand for.
uint64_t VerbosityOf(config::Log::Level level);

// Sets what the watchers of one server got.
void FillWatch(const core::WatchMetrics& watch, proto::memcache::StatsNumbers* out);

}  // namespace cache
