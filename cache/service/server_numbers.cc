// getrusage(2) and sums. See server_numbers.h.
#include "cache/service/server_numbers.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

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
  // A sum over threads read one after another may be short for a moment.
  out->curr_connections +=
      static_cast<uint64_t>(std::max<int64_t>(net.connection_open.Value(), 0));
}

}  // namespace cache
