// memcache requests answered by the Segcache engine, with memcached's semantics.
//
// Every command that depends on what is stored is one seg::Cache::Apply, so it is atomic against all
// other connections and workers. Answers are given before Execute returns.
//
// Where it differs from memcached 1.6, whose clock ticks once a second: an exptime or a flush_all
// delay of N seconds takes effect after N seconds, not somewhere between N - 1 and N.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
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
  // As of the last Retune().
  bool flush_enabled() const { return flush_enabled_.load(std::memory_order_relaxed); }
  proto::memcache::StatsSettings settings() const {
    core::MutexLock lock(mu_);
    return settings_;
  }
  // Other options than those it was made with; the port stays. Any thread.
  void Retune(bool flush_enabled, const proto::memcache::StatsSettings& settings) {
    flush_enabled_.store(flush_enabled, std::memory_order_relaxed);  // Of no other memory.
    core::MutexLock lock(mu_);
    const uint16_t port = settings_.tcpport;
    settings_ = settings;
    settings_.tcpport = port;
  }

  // The port that was picked, for "stats settings". REQUIRES: no worker runs yet.
  void set_port(uint16_t port) {
    core::MutexLock lock(mu_);
    settings_.tcpport = port;
  }

  // Forgets everything `delay_ms` from now; 0 = before this returns. Replaces a pending one.
  void FlushAfter(int64_t delay_ms);
  // How long until the pending flush; -1 if none is, 0 if it is due.
  int64_t flush_in_ms() const {
    const int64_t at_ms = flush_at_ms_.load(std::memory_order_acquire);
    return at_ms == kNoFlush ? -1 : std::max<int64_t>(at_ms - clock_->MonotonicMs(), 0);
  }
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
  const MemcacheOptions options_;  // As it was made.
  const MemcacheStatsSource source_;
  MemcacheMetrics metrics_;

  // The monotonic time of the pending flush. Changes under mu_; back to kNoFlush only after the
  // flush, which makes every other worker wait for it.
  std::atomic<int64_t> flush_at_ms_{kNoFlush};
  mutable core::Mutex mu_;
  proto::memcache::StatsCounters reset_at_ ABSL_GUARDED_BY(mu_);  // As of "stats reset".
  std::atomic<bool> flush_enabled_;
  proto::memcache::StatsSettings settings_ ABSL_GUARDED_BY(mu_);
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
  void Execute(Connection& connection, const Request& req, core::Reply<Response>&& reply);
  // Begins to load the place in the index; the first of those foreseen to be executed begins to load
  // the items of all.
  bool Foresee(const Request& req) {
    if (req.keys.size() != 1) return false;
    Foretell(req.keys[0]);
    return true;
  }
  void Foretell(absl::string_view key) {
    if (foreseen_count_ == foreseen_.size()) foreseen_count_ = 0;  // Never executed: their peer left.
    foreseen_[foreseen_count_++] = cache_.Prefetch(key);
  }
  void EndTurn() {}

 private:
  using Status = proto::memcache::Status;
  // How long an item shall live.
  struct Life {
    bool gone = false;  // Not at all.
    int64_t ttl_ms = seg::kNever;
  };

  void LoadForeseen();
  Response Answer(const Request& req);
  void Get(const Request& req, core::Reply<Response>&& reply);
  void MissKey(const Request& req);
  void MetaGet(const Request& req, core::Reply<Response>&& reply);
  core::Bytes ForOutput(seg::ItemRef* found, bool one_of_many);
  seg::ItemRef GetAndTouch(absl::string_view key, Life life, seg::Token token);
  // What a meta command makes of an item, memcache_meta.cc.
  struct Meeting;
  Meeting Meet(const Request& req);
  void Decide(const Request& req, const seg::ItemRef& now, Meeting* met, seg::Update* update) const;
  int64_t ToldTtlMs(const Request& req, const Meeting& met) const;
  Response Debug(const Request& req);
  Response MetaDelete(const Request& req);
  Response Store(const Request& req);
  Response Set(const Request& req, Life life);
  Response StoreIf(const Request& req, Life life);
  Response AfterStore(const Request& req, seg::StoreResult result, uint64_t cas, uint64_t bytes);
  Response Delete(const Request& req);
  Response Arithmetic(const Request& req);
  Response Touch(const Request& req);
  Response TouchAndTell(const Request& req, Life life);
  Response FlushAll(const Request& req);
  Response Stats(const Request& req);

  Life LifeOf(std::optional<int64_t> exptime) const;

  MemcacheShared& shared_;
  seg::Cache& cache_;
  MemcacheMetrics& metrics_;
  std::array<uint64_t, 16> foreseen_;  // What Prefetch() said of them.
  size_t foreseen_count_ = 0;

  // An answer to a get on its way, and copies of its short values: kept for the next one, so that a
  // get allocates nothing.
  static constexpr size_t kItemsKeptMax = 256;       // x 72 bytes.
  static constexpr size_t kCopiesBytes = 64 * 1024;  // Past it values are held, at more cost.
  static constexpr int kHeldMax = 8;                 // Segments that one get may keep from reclaim.
  Response got_{Status::kValues};
  std::unique_ptr<char[]> copies_;
  size_t copied_bytes_ = 0;
  int held_ = 0;
};

}  // namespace cache
