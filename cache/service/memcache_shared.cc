// Pending flushes and statistics: what workers have in common. See memcache_service.h.
#include <utility>

#include "cache/service/memcache_service.h"

namespace cache {
namespace {

uint64_t Seconds(int64_t ms) { return static_cast<uint64_t>(ms / 1000); }

}  // namespace

MemcacheShared::MemcacheShared(seg::Cache* cache, const core::Clock* clock,
                               core::Registry* registry, MemcacheOptions options,
                               MemcacheStatsSource source)
    : cache_(cache),
      clock_(clock),
      options_(std::move(options)),
      source_(std::move(source)),
      metrics_(registry),
      flush_enabled_(options_.flush_enabled),
      settings_(options_.settings) {}

void MemcacheShared::FlushAfter(int64_t delay_ms) {
  core::MutexLock lock(mu_);
  metrics_.flush.Add();
  if (delay_ms > 0) {
    flush_at_ms_.store(clock_->MonotonicMs() + delay_ms, std::memory_order_release);
    return;
  }
  cache_->Flush();
  flush_at_ms_.store(kNoFlush, std::memory_order_release);
}

void MemcacheShared::FlushIfDueSlow() {
  const int64_t now_ms = clock_->MonotonicMs();
  if (now_ms < flush_at_ms_.load(std::memory_order_acquire)) return;
  core::MutexLock lock(mu_);
  if (now_ms < flush_at_ms_.load(std::memory_order_relaxed)) return;  // Somebody else's work.
  cache_->Flush();
  // Pairs with the acquire in FlushIfDue(): who sees no flush pending sees it done.
  flush_at_ms_.store(kNoFlush, std::memory_order_release);
}

proto::memcache::StatsNumbers MemcacheShared::TotalNumbers() const {
  proto::memcache::StatsNumbers n;
  source_(&n);
  const seg::Cache::Stats stats = cache_->GetStats();
  n.limit_maxbytes = options_.settings.maxbytes;
  n.bytes = stats.item_bytes;
  n.curr_items = stats.items;
  n.hash_bytes = stats.index_bytes;
  n.hash_slots = stats.index_slots;
  n.segments = stats.segments;
  n.segments_free = stats.segments_free;
  n.segment_bytes = stats.segment_bytes;
  n.age_sec = Seconds(stats.age_ms);
  n.evicted_age_sec = Seconds(stats.evicted_age_ms);
  proto::memcache::StatsCounters& c = n.counters;
  c.get_expired = stats.found_expired;
  c.get_flushed = stats.found_flushed;
  c.evictions = stats.evicted_items;
  c.evicted_with_ttl = stats.evicted_with_ttl;
  c.evicted_active = stats.evicted_used;
  c.evicted_unfetched = stats.evicted_unused;
  c.reclaimed = stats.expired_items;
  c.expired_unfetched = stats.expired_unused;
  c.direct_reclaims = stats.evicted_segments;
  c.cmd_set = metrics_.store.Value();
  c.cmd_flush = metrics_.flush.Value();
  c.get_hits = metrics_.get_hit.Value();
  c.get_misses = metrics_.get_miss.Value();
  c.delete_hits = metrics_.delete_hit.Value();
  c.delete_misses = metrics_.delete_miss.Value();
  c.incr_hits = metrics_.incr_hit.Value();
  c.incr_misses = metrics_.incr_miss.Value();
  c.decr_hits = metrics_.decr_hit.Value();
  c.decr_misses = metrics_.decr_miss.Value();
  c.cas_hits = metrics_.cas_hit.Value();
  c.cas_misses = metrics_.cas_miss.Value();
  c.cas_badval = metrics_.cas_badval.Value();
  c.touch_hits = metrics_.touch_hit.Value();
  c.touch_misses = metrics_.touch_miss.Value();
  c.store_too_large = metrics_.store_too_large.Value();
  c.store_no_memory = metrics_.store_no_memory.Value();
  c.total_items = metrics_.stored.Value() + metrics_.made.Value();
  c.cmd_meta = metrics_.debug.Value();
  return n;
}

proto::memcache::StatsNumbers MemcacheShared::Numbers() const {
  proto::memcache::StatsNumbers n = TotalNumbers();
  core::MutexLock lock(mu_);
  n.counters = n.counters - reset_at_;
  return n;
}

void MemcacheShared::ResetCounters() {
  const proto::memcache::StatsNumbers n = TotalNumbers();
  core::MutexLock lock(mu_);
  reset_at_ = n.counters;
}

}  // namespace cache
