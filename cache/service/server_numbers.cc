// getrusage(2) and sums. See server_numbers.h.
#include "cache/service/server_numbers.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "core/net/listener.h"
#include "core/net/worker.h"

namespace cache {
namespace {

uint64_t Micros(const timeval& t) {
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000 + static_cast<uint64_t>(t.tv_usec);
}

}  // namespace

void FillProcess(const core::Clock& clock, int64_t started_ns, proto::memcache::StatsNumbers* out) {
  out->pid = static_cast<uint64_t>(::getpid());
  out->uptime_sec = static_cast<uint64_t>((clock.MonotonicNs() - started_ns) / 1'000'000'000);
  out->time_sec = static_cast<uint64_t>(clock.WallSec());
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    out->rusage_user_us = Micros(usage.ru_utime);
    out->rusage_system_us = Micros(usage.ru_stime);
  }
}

void AddNet(const core::NetMetrics& net, proto::memcache::StatsNumbers* out) {
  proto::memcache::StatsCounters& c = out->counters;
  c.total_connections += net.connection_accept.Value();
  c.rejected_connections += net.connection_reject.Value();
  c.bytes_read += net.read_bytes.Value();
  c.bytes_written += net.written_bytes.Value();
  c.accept_pauses += net.accept_pause.Value();
  c.accept_paused_us = c.accept_pauses * core::Acceptor::kPauseMs * 1000;
  c.idle_kicks += net.connection_idle.Value();
  c.ssl_sessions += net.tls_handshake.Value() - net.tls_resume.Value();
  c.ssl_handshake_errors += net.tls_handshake_fail.Value();
  c.ssl_proto_errors += net.tls_error.Value();
  out->tls_loaded_sec =
      static_cast<uint64_t>(std::max<int64_t>(net.tls_load_time.Value(), 0));
  out->accepting = out->accepting && net.accept_paused.Value() <= 0;
  // A sum over threads read one after another may be short for a moment.
  out->curr_connections +=
      static_cast<uint64_t>(std::max<int64_t>(net.connection_open.Value(), 0));
}

std::optional<proto::memcache::StatsSettings::Tls> TlsSettingsOf(const config::Tls& tls) {
  if (!tls.enabled()) return std::nullopt;
  return proto::memcache::StatsSettings::Tls{
      .certificate_file = tls.certificate_file,
      .key_file = tls.key_file,
      .client_ca_file = tls.client_ca_file,
      .verify_mode = static_cast<int>(tls.client_certificate),
      .min_version = tls.min_version == config::Tls::MinVersion::k13 ? "tlsv1.3" : "tlsv1.2"};
}

void AddAuth(const core::AuthGate* gate, proto::memcache::StatsNumbers* out) {
  if (gate == nullptr) return;
  const uint64_t errors = gate->metrics().failure.Value() + gate->metrics().limit.Value();
  out->counters.auth_cmds += gate->metrics().success.Value() + errors;
  out->counters.auth_errors += errors;
}

void FillThreads(int workers, proto::memcache::StatsNumbers* out) {
  out->threads = static_cast<uint64_t>(workers);
  out->read_buf_bytes = out->threads * core::Worker::kScratchBytes;
}

uint64_t VerbosityOf(config::Log::Level level) {
  if (level == config::Log::Level::kTrace) return 2;
  return level == config::Log::Level::kDebug ? 1 : 0;
}

void FillWatch(const core::WatchMetrics& watch, proto::memcache::StatsNumbers* out) {
  out->counters.watch_written = watch.line_write.Value();
  out->counters.watch_dropped = watch.line_drop.Value();
  out->counters.watch_skipped = watch.line_skip.Value();
  out->counters.watch_sent = watch.line_send.Value();
  out->watchers = static_cast<uint64_t>(std::max<int64_t>(watch.watcher.Value(), 0));
}

}  // namespace cache
