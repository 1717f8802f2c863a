// memcache requests answered by the Segcache engine, with memcached's semantics.
//
// Every command that depends on what is stored is one seg::Cache::Apply, so it is atomic against all
// other connections and workers. Answers are given before Execute returns.
//
// Where it differs from memcached 1.6, whose clock ticks once a second: an exptime or a flush_all
// delay of N seconds takes effect after N seconds, not somewhere between N - 1 and N.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "cache/seg/cache.h"
#include "cache/service/metrics.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/net/reply.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"
#include "proto/memcache/stats_names.h"

namespace cache {

// Fills in what the runtime knows and the cache does not: process, connections, bytes, threads.
// Called by any worker; must not block.
using MemcacheStatsSource = absl::AnyInvocable<void(proto::memcache::StatsNumbers*) const>;

struct MemcacheOptions {
  // Longest value of an item; appends stop at it. The codec limits what is sent at once.
  uint64_t item_bytes_max = 1 << 20;
  bool flush_enabled = true;  // Off: flush_all is refused, as by memcached -F.
  proto::memcache::StatsSettings settings;
};

// What the services of all workers share. Outlives them. Any thread.
class MemcacheShared {
 public:
  // `cache`, `clock` and `registry` outlive this object.
  MemcacheShared(seg::Cache* cache, const core::Clock* clock, core::Registry* registry,
                 MemcacheOptions options, MemcacheStatsSource source);

  seg::Cache& cache() { return *cache_; }
  const core::Clock& clock() const { return *clock_; }
  MemcacheMetrics& metrics() { return metrics_; }
  const MemcacheOptions& options() const { return options_; }

  // The port that was picked, for "stats settings". REQUIRES: no worker runs yet.
  void set_port(uint16_t port) { options_.settings.tcpport = port; }

  // Forgets everything `delay_ms` from now; 0 = before this returns. Replaces a pending one.
  void FlushAfter(int64_t delay_ms);
  // Carries out a pending flush whose time has come. Called before every request, so that none
  // sees or writes anything between that time and the flush. One load if none is pending.
  void FlushIfDue() {
    if (flush_at_ms_.load(std::memory_order_acquire) != kNoFlush) [[unlikely]] FlushIfDueSlow();
  }

  proto::memcache::StatsNumbers Numbers() const;
  void ResetCounters();

 private:
  static constexpr int64_t kNoFlush = INT64_MAX;

  void FlushIfDueSlow();
  proto::memcache::StatsNumbers TotalNumbers() const;

  seg::Cache* const cache_;
  const core::Clock* const clock_;
  MemcacheOptions options_;  // Constant while workers run.
  const MemcacheStatsSource source_;
  MemcacheMetrics metrics_;

  // The monotonic time of the pending flush. Changes under mu_; back to kNoFlush only after the
  // flush, which makes every other worker wait for it.
  std::atomic<int64_t> flush_at_ms_{kNoFlush};
  mutable core::Mutex mu_;
  proto::memcache::StatsCounters reset_at_ ABSL_GUARDED_BY(mu_);  // As of "stats reset".
};

// One a worker.
class MemcacheService {
 public:
  using Request = proto::memcache::Request;
  using Response = proto::memcache::Response;
  struct Connection {};  // A connection has no state of its own.

  explicit MemcacheService(MemcacheShared* shared)
      : shared_(*shared), cache_(shared->cache()), metrics_(shared->metrics()) {}

  Connection Connect() { return {}; }
  void Execute(Connection& connection, const Request& req, core::Reply<Response> reply);
  void EndTurn() {}

 private:
  using Status = proto::memcache::Status;
  // How long an item shall live.
  struct Life {
    bool gone = false;  // Not at all.
    int64_t ttl_ms = seg::kNever;
  };

  Response Answer(const Request& req);
  Response Get(const Request& req);
  seg::ItemRef GetAndTouch(absl::string_view key, Life life);
  Response Store(const Request& req);
  Response Set(const Request& req, Life life);
  Response StoreIf(const Request& req, Life life);
  Response AfterStore(const Request& req, seg::StoreResult result, uint64_t cas);
  Response Delete(const Request& req);
  Response Arithmetic(const Request& req);
  Response Touch(const Request& req);
  Response FlushAll(const Request& req);
  Response Stats(const Request& req);

  Life LifeOf(std::optional<int64_t> exptime) const;

  MemcacheShared& shared_;
  seg::Cache& cache_;
  MemcacheMetrics& metrics_;
};

}  // namespace cache
