// What a front answers to "stats"; see cache_front.h.
#include <utility>

#include "absl/strings/str_cat.h"
#include "cache/service/server_numbers.h"
#include "config/listeners.h"
#include "config/units.h"
#include "proxy/front/cache_front.h"
#include "proxy/service/command_stats.h"

namespace proxy {

using proto::memcache::Response;
using proto::memcache::StatsNumbers;

namespace {

Response Lines(StatLines lines) {
  Response rsp(proto::memcache::Status::kStats);
  for (auto& line : lines) rsp.stats.push_back(std::move(line));
  return rsp;
}

}  // namespace

Response CacheFront::Stats(absl::string_view argument) {
  if (argument == "near") return NearStats();
  if (argument == "breaker") return Lines(BreakerStats());
  if (argument == "overload") return Lines(OverloadStats(guard_, counts_));
  return proto::memcache::AnswerStats(
      argument, [this] { return Numbers(); }, [this] { return Settings(); },
      [this] { ResetCounters(); });
}

// What the near cache has done since the start; nothing without one.
Response CacheFront::NearStats() const {
  Response rsp(proto::memcache::Status::kStats);
  if (near_ == nullptr) return rsp;
  const NearMetrics& m = near_->metrics();
  const std::pair<const char*, uint64_t> lines[] = {
      {"near_size", cache_.near_size},     {"near_items", near_->items()},
      {"near_bytes", near_->item_bytes()}, {"near_hits", m.hit.Value()},
      {"near_negative_hits", m.negative_hit.Value()}, {"near_misses", m.miss.Value()},
      {"near_kept", m.keep.Value()},       {"near_raced", m.raced.Value()},
      {"near_too_large", m.too_large.Value()}, {"near_stale", m.stale.Value()}};
  for (const auto& [name, value] : lines) rsp.stats.emplace_back(name, absl::StrCat(value));
  return rsp;
}

StatsNumbers CacheFront::TotalNumbers() const {
  StatsNumbers n;
  cache::FillProcess(shared_.clock, shared_.started_ns, &n);
  if (net_ != nullptr) cache::AddNet(*net_, &n);
  cache::FillThreads(shared_.pool.size(), &n);
  cache::FillWatch(watch_.metrics(), &n);
  n.max_connections = shared_.connections.max();
  n.kicks_idle = told().allowed.limits.idle_timeout > absl::ZeroDuration();
  cache::AddAuth(gate_.get(), &n);
  for (const CacheFront* front : behind_) AddCommands(front->counts_.metrics, &n.counters);
  return n;
}

StatsNumbers CacheFront::Numbers() const {
  StatsNumbers n = TotalNumbers();
  core::MutexLock lock(mu_);
  n.counters = n.counters - reset_at_;
  return n;
}

void CacheFront::ResetCounters() {
  const StatsNumbers n = TotalNumbers();
  core::MutexLock lock(mu_);
  reset_at_ = n.counters;
}

proto::memcache::StatsSettings CacheFront::Settings() const {
  const Told now = told();
  const config::ProxyServer& s = now.allowed.limits;
  return {.maxbytes = 0,
          .maxconns = s.connections_max,
          .tcpport = port_,
          .inter = cache_.tcp ? cache_.host : "NULL",
          .domain_socket = cache_.unix_socket,
          .umask = *config::ModeOf(cache_.unix_mask),
          .verbosity = cache::VerbosityOf(now.level),
          .evictions = false,
          .num_threads = static_cast<uint64_t>(shared_.pool.size()),
          .tcp_backlog = s.backlog,
          .item_size_max = s.item_size_max,
          .flush_enabled = now.allowed.cache.flush_all,
          .idle_timeout = static_cast<uint64_t>(absl::ToInt64Seconds(s.idle_timeout)),
          .tls = cache::TlsSettingsOf(config::ListenerOf(shared_.config.server, cache_).tls),
          .auth_enabled = gate_ != nullptr};
}

}  // namespace proxy
