// See near_cache.h.
#include "proxy/service/near_cache.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cache/seg/cache.h"
#include "core/base/status.h"

namespace proxy {

NearMetrics::NearMetrics(core::Registry* registry, core::Labels labels,
                         std::shared_ptr<seg::Cache> engine)
    : core::MetricGroup(registry, "proxy_near", std::move(labels)),
      items(this, "items", "Copies held.",
            [engine] { return engine == nullptr ? 0.0 : static_cast<double>(engine->GetStats().items); }),
      item_bytes(this, "item_bytes", "Bytes of keys, values and headers of the copies held.", [engine] {
        return engine == nullptr ? 0.0 : static_cast<double>(engine->GetStats().item_bytes);
      }) {}

absl::StatusOr<std::unique_ptr<NearCache>> NearCache::Create(const config::Cache& cache,
                                                             const WriteMarks* marks,
                                                             const core::Clock* clock,
                                                             core::Registry* registry,
                                                             core::Labels labels) {
  config::Seg engine_options;
  engine_options.heap_size = cache.near_size;
  // With --local an engine under the cache's own name is in this process too.
  ASSIGN_OR_RETURN(std::shared_ptr<seg::Cache> engine,
                   seg::Cache::Create(engine_options, clock, registry,
                                      absl::StrCat("near:", cache.cache_name)));
  return std::unique_ptr<NearCache>(
      new NearCache(cache, marks, clock, registry, std::move(labels), std::move(engine)));
}

NearCache::NearCache(const config::Cache& cache, const WriteMarks* marks, const core::Clock* clock,
                     core::Registry* registry, core::Labels labels,
                     std::shared_ptr<seg::Cache> engine)
    : staleness_ms_(absl::ToInt64Milliseconds(cache.near_staleness)),
      negative_ms_(absl::ToInt64Milliseconds(cache.near_negative)),
      stale_ms_(absl::ToInt64Milliseconds(cache.near_stale)),
      value_bytes_max_(cache.near_value_max),
      marks_(marks),
      clock_(clock),
      engine_(std::move(engine)),
      metrics_(registry, std::move(labels), engine_) {}

NearCache::Head NearCache::HeadOf(absl::string_view copy) {
  int64_t words[2];
  static_assert(sizeof(words) == kHeadBytes);
  std::memcpy(words, copy.data(), kHeadBytes);
  return {words[0] >> 1, words[1], (words[0] & 1) != 0};
}

NearCache::Answer NearCache::Find(absl::string_view key, Look look, std::string* value,
                                  uint32_t* flags) {
  const seg::ItemRef found = look.counts ? engine_->Get(key, seg::Token::kQuiet)
                                         : engine_->Peek(key, seg::Token::kQuiet);
  if (found.found()) {
    const Head head = HeadOf(found.value());
    if (clock_->MonotonicMs() < FreshUntil(head) && (look.misses || !head.absent)) {
      if (head.absent) {
        metrics_.negative_hit.Add();
        return Answer::kMiss;
      }
      metrics_.hit.Add();
      const absl::string_view bytes = found.value().substr(kHeadBytes);
      value->assign(bytes.data(), bytes.size());
      *flags = found.flags();
      return Answer::kHit;
    }
  }
  metrics_.miss.Add();
  return Answer::kUnknown;
}

bool NearCache::FindStale(absl::string_view key, std::string* value, uint32_t* flags) {
  if (stale_ms_ == 0) return false;
  const seg::ItemRef found = engine_->Peek(key, seg::Token::kQuiet);  // It holds none longer.
  if (!found.found() || HeadOf(found.value()).absent) return false;
  const absl::string_view bytes = found.value().substr(kHeadBytes);
  value->assign(bytes.data(), bytes.size());
  *flags = found.flags();
  metrics_.stale.Add();
  return true;
}

void NearCache::KeepRead(const Copy& copy) { Keep(copy, 0, false); }

void NearCache::KeepMiss(const Copy& copy) {
  if (negative_ms() > 0) Keep(copy, 0, true);
}

void NearCache::KeepWritten(const Copy& copy) { Keep(copy, 1, false); }

bool NearCache::Admits(size_t key_bytes, size_t value_bytes) const {
  return value_bytes <= value_bytes_max_.load(std::memory_order_relaxed) &&
         key_bytes + value_bytes + kHeadBytes <= engine_->item_bytes_max();
}

void NearCache::Keep(const Copy& copy, uint64_t writers, bool absent) {
  if (!Admits(copy.key.size(), copy.value.size())) return metrics_.too_large.Add();
  Head head{copy.since_ms, copy.dies_ms, absent};
  if (stale_ms_ == 0 && clock_->MonotonicMs() >= FreshUntil(head)) return;  // Over already.
  bool raced = false;
  seg::Update update;
  const seg::StoreResult result = engine_->Apply(
      copy.key,
      [&](const seg::ItemRef& found, seg::Update* to) {
        raced = copy.moment.writers() != writers || !(marks_->Now(copy.key_hash) == copy.moment);
        if (raced) return;
        if (found.found()) {
          const Head old = HeadOf(found.value());
          if (old.since_ms > head.since_ms) return;
          // What lives on unchanged lives as long as was known.
          if (found.flags() == copy.flags && found.value().substr(kHeadBytes) == copy.value) {
            head.dies_ms = std::min(head.dies_ms, old.dies_ms);
          }
        }
        const int64_t stale_ms = head.dies_ms == kLifeUnknown ? 0 : stale_ms_;
        to->ttl_ms = std::min(FreshUntil(head) + stale_ms, head.dies_ms) - clock_->MonotonicMs();
        if (to->ttl_ms <= 0) return;
        const int64_t words[2] = {head.since_ms << 1 | static_cast<int64_t>(absent), head.dies_ms};
        to->value.reserve(kHeadBytes + copy.value.size());
        to->value.append(reinterpret_cast<const char*>(words), kHeadBytes);
        to->value.append(copy.value.data(), copy.value.size());
        to->flags = copy.flags;
        to->token = seg::Token::kQuiet;
        to->action = seg::Update::Action::kStore;
      },
      &update);
  if (raced) return metrics_.raced.Add();
  if (result == seg::StoreResult::kStored) metrics_.keep.Add();
}

void NearCache::Forget(absl::string_view key) { engine_->Delete(key); }
void NearCache::ForgetAll() { engine_->Flush(); }
void NearCache::Retune(const config::Cache& cache) {
  const int64_t staleness_ms = absl::ToInt64Milliseconds(cache.near_staleness);
  // The engine lets go of what is past near_stale by the staleness that it was kept with.
  if (stale_ms_ > 0 && staleness_ms < this->staleness_ms()) ForgetAll();
  staleness_ms_.store(staleness_ms, std::memory_order_relaxed);
  negative_ms_.store(absl::ToInt64Milliseconds(cache.near_negative), std::memory_order_relaxed);
  value_bytes_max_.store(cache.near_value_max, std::memory_order_relaxed);
}

void NearCache::Tick() { engine_->Tick(); }

uint64_t NearCache::items() const { return engine_->GetStats().items; }
uint64_t NearCache::item_bytes() const { return engine_->GetStats().item_bytes; }

}  // namespace proxy
