// The engine: the index finds items, the heap holds them, and this makes operations of the two.
//
// Three kinds of locks, in this order:
//   1. a writer's lock, striped by key: held through a whole Set, Delete or Apply, so that writes of
//      one key happen one after another. Nothing but such operations takes it, so one may look for
//      memory, and evict other keys, while holding it.
//   2. a stripe of the index: held for the few instructions that look at or change a chain.
//   3. the heap's own (see segment_heap.h), never together with 2 except to free a segment.
//
// A reader takes 2, pins the segment, lets go. Flush() is one store: segments older than the floor
// are invisible. A write that looked before a flush must not be seen after it: its new item may lie
// in a young segment, so it enters the index only if the floor is still the one it looked under.
#include "cache/seg/cache.h"

#include <algorithm>
#include <bit>
#include <random>
#include <utility>

#include "cache/seg/hash_table.h"
#include "cache/seg/metrics.h"
#include "cache/seg/segment_heap.h"
#include "core/base/check.h"
#include "core/base/mutex.h"
#include "core/base/status.h"

namespace seg {
namespace {

// One bucket (seven slots) per this much heap: 6 % of the heap, and chains of one bucket while items
// average 146 bytes or more. Smaller ones make chains longer, at the same 9 bytes an item.
constexpr uint64_t kHeapBytesPerBucket = 1024;
constexpr size_t kWriterLocks = 1024;  // Far more than threads, so that different keys rarely meet.

uint64_t BucketCount(const config::Seg& options) {
  if (options.hash_power != 0) return std::max(uint64_t{1} << options.hash_power >> 3, uint64_t{1});
  return std::bit_ceil(std::max(options.heap_size / kHeapBytesPerBucket, uint64_t{1}));
}

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// Unique to one write: no two openings of a segment share a sequence, and no two writes in one
// opening share an offset. 2^44 openings of 8 MB are beyond any process.
uint64_t CasToken(uint64_t sequence, uint32_t offset) {
  return (sequence << Slot::kOffsetBits) | (offset / kItemAlign);
}

}  // namespace

class CacheImpl final : public Cache {
 public:
  CacheImpl(const core::Clock* clock, std::unique_ptr<Metrics> metrics,
            std::unique_ptr<HashTable> table, std::unique_ptr<SegmentHeap> heap)
      : clock_(clock),
        epoch_ms_(clock->MonotonicMs()),
        metrics_(std::move(metrics)),
        table_(std::move(table)),
        heap_(std::move(heap)),
        writers_(new WriterLock[kWriterLocks]) {}

  ItemRef Get(absl::string_view key) override;
  ItemRef Peek(absl::string_view key) override;
  StoreResult Set(absl::string_view key, absl::string_view value, uint32_t flags, int64_t ttl_ms,
                  uint64_t* cas) override;
  bool Delete(absl::string_view key) override;
  StoreResult Apply(absl::string_view key,
                    absl::FunctionRef<void(const ItemRef& found, Update* update)> decide,
                    Update* update) override;
  void Flush() override;
  void Tick() override { heap_->ReclaimDead(NowMs()); }
  Stats GetStats() const override;
  size_t item_bytes_max() const override {
    return heap_->segment_bytes() - Item::kOverheadMax;
  }

 private:
  struct alignas(64) WriterLock {
    core::Mutex mu;
  };
  // What a write needs to know of the moment it began.
  struct Moment {
    int64_t now_ms;
    uint64_t floor;
  };

  int64_t NowMs() const { return clock_->MonotonicMs() - epoch_ms_; }
  Moment Now() const { return {NowMs(), heap_->floor()}; }
  // Other bits of the hash than the index uses for its stripes, so that the two spread apart.
  core::Mutex& WriterLockOf(uint64_t hash) { return writers_[(hash >> 32) % kWriterLocks].mu; }

  // REQUIRES: the stripe is held.
  HashTable::Word* FindSlot(uint64_t hash, absl::string_view key) {
    return table_->Find(hash, [&](Location at) { return heap_->item(at).key() == key; });
  }
  bool Visible(Location at, int64_t now_ms) {
    return heap_->segment(at.segment)->sequence.load(std::memory_order_relaxed) >= heap_->floor() &&
           IsAlive(heap_->item(at).deadline_ms(), now_ms);
  }
  // The live item, pinned, and where it lies.
  ItemRef Lookup(uint64_t hash, absl::string_view key, int64_t now_ms, Location* at);
  StoreResult Store(uint64_t hash, const ItemSpec& spec, int64_t ttl_ms, Moment moment,
                    uint64_t* cas);
  void Link(uint64_t hash, absl::string_view key, Location at, uint64_t floor);
  bool Remove(uint64_t hash, absl::string_view key, int64_t now_ms);
  StoreResult Touch(uint64_t hash, absl::string_view key, ItemRef found, Location at,
                    int64_t ttl_ms, Moment moment);
  void TouchInPlace(uint64_t hash, Location at, int64_t deadline_ms);

  const core::Clock* const clock_;
  const int64_t epoch_ms_;  // Deadlines count from here.
  const std::unique_ptr<Metrics> metrics_;
  const std::unique_ptr<HashTable> table_;
  const std::unique_ptr<SegmentHeap> heap_;
  const std::unique_ptr<WriterLock[]> writers_;
};

absl::StatusOr<std::unique_ptr<Cache>> Cache::Create(const config::Seg& options,
                                                     const core::Clock* clock,
                                                     core::Registry* registry,
                                                     absl::string_view name) {
  auto metrics = std::make_unique<Metrics>(registry, name);
  const uint64_t items_max = options.heap_size / Item::BytesFor(1, 0, false, false);
  ASSIGN_OR_RETURN(std::unique_ptr<HashTable> table,
                   HashTable::Create(BucketCount(options), items_max, RandomSeed()));
  ASSIGN_OR_RETURN(std::unique_ptr<SegmentHeap> heap,
                   SegmentHeap::Create(options, table.get(), metrics.get()));
  return std::unique_ptr<Cache>(std::make_unique<CacheImpl>(clock, std::move(metrics),
                                                            std::move(table), std::move(heap)));
}

namespace {

// 1 ms at the least has been asked for; what lies past the last deadline is for ever.
int64_t DeadlineFor(int64_t now_ms, int64_t ttl_ms) {
  if (ttl_ms < 0 || ttl_ms >= kDeadlineNever - now_ms) return kDeadlineNever;
  return now_ms + ttl_ms;
}

void CheckKey(absl::string_view key) { CHECK(!key.empty() && key.size() <= kKeyBytesMax); }
void CheckTtl(int64_t ttl_ms) { CHECK(ttl_ms > 0 || ttl_ms == kNever); }

}  // namespace

ItemRef CacheImpl::Get(absl::string_view key) {
  ItemRef found = Peek(key);
  (found.found() ? metrics_->get_hit : metrics_->get_miss).Add();
  return found;
}

ItemRef CacheImpl::Peek(absl::string_view key) {
  CheckKey(key);
  Location at;
  return Lookup(table_->Hash(key), key, NowMs(), &at);
}

ItemRef CacheImpl::Lookup(uint64_t hash, absl::string_view key, int64_t now_ms, Location* at) {
  ItemRef ref;
  core::MutexLock lock(table_->stripe(hash));
  const HashTable::Word* slot = FindSlot(hash, key);
  if (slot == nullptr) return ref;
  *at = Slot::LocationOf(slot->load(std::memory_order_relaxed));
  if (!Visible(*at, now_ms)) return ref;

  Segment* segment = heap_->segment(at->segment);
  const Item item = heap_->item(*at);
  heap_->Pin(segment);
  ref.found_ = true;
  ref.value_ = core::Bytes::Pinned(item.value(), segment, &SegmentHeap::Unpin);
  ref.flags_ = item.flags();
  ref.cas_ = item.kept_cas();
  if (ref.cas_ == 0) {
    ref.cas_ = CasToken(segment->sequence.load(std::memory_order_relaxed), at->offset);
  }
  const int64_t deadline_ms = item.deadline_ms();
  ref.ttl_ms_ = deadline_ms == kDeadlineNever ? kNever : deadline_ms - now_ms;
  return ref;
}

StoreResult CacheImpl::Set(absl::string_view key, absl::string_view value, uint32_t flags,
                           int64_t ttl_ms, uint64_t* cas) {
  CheckKey(key);
  CheckTtl(ttl_ms);
  const uint64_t hash = table_->Hash(key);
  core::MutexLock lock(WriterLockOf(hash));
  const Moment moment = Now();
  const ItemSpec spec{key, value, flags, 0, DeadlineFor(moment.now_ms, ttl_ms)};
  const StoreResult result = Store(hash, spec, ttl_ms, moment, cas);
  if (result == StoreResult::kStored) metrics_->item_store.Add();
  return result;
}

StoreResult CacheImpl::Store(uint64_t hash, const ItemSpec& spec, int64_t ttl_ms, Moment moment,
                             uint64_t* cas) {
  if (spec.key.size() + spec.value.size() > item_bytes_max()) {
    metrics_->store_too_large.Add();
    return StoreResult::kTooLarge;
  }
  Location at;
  if (!heap_->BeginWrite(Item::BytesFor(spec), ttl_ms, spec.deadline_ms, moment.now_ms, &at)) {
    metrics_->store_no_memory.Add();
    return StoreResult::kNoMemory;
  }
  heap_->item(at).Write(spec);
  if (cas != nullptr) {
    *cas = CasToken(heap_->segment(at.segment)->sequence.load(std::memory_order_relaxed),
                    at.offset);
  }
  Link(hash, spec.key, at, moment.floor);
  heap_->EndWrite(at.segment);
  return StoreResult::kStored;
}

void CacheImpl::Link(uint64_t hash, absl::string_view key, Location at, uint64_t floor) {
  uint32_t left = kNoSegment;
  {
    core::MutexLock lock(table_->stripe(hash));
    // Flushed since the write began: it counts as stored before the flush, and is forgotten.
    if (heap_->floor() != floor) return;
    heap_->CountIn(at);
    HashTable::Word* slot = FindSlot(hash, key);
    if (slot == nullptr) {
      table_->Insert(hash, at);
      return;
    }
    const Location old = Slot::LocationOf(slot->load(std::memory_order_relaxed));
    table_->Replace(hash, slot, at);
    heap_->CountOut(old);
    left = old.segment;
  }
  heap_->ReclaimIfEmpty(left);
}

bool CacheImpl::Delete(absl::string_view key) {
  CheckKey(key);
  const uint64_t hash = table_->Hash(key);
  core::MutexLock lock(WriterLockOf(hash));
  return Remove(hash, key, NowMs());
}

bool CacheImpl::Remove(uint64_t hash, absl::string_view key, int64_t now_ms) {
  Location at;
  bool was_live = false;
  {
    core::MutexLock lock(table_->stripe(hash));
    HashTable::Word* slot = FindSlot(hash, key);
    if (slot == nullptr) return false;
    at = Slot::LocationOf(slot->load(std::memory_order_relaxed));
    was_live = Visible(at, now_ms);
    table_->Remove(hash, slot);
    heap_->CountOut(at);
  }
  heap_->ReclaimIfEmpty(at.segment);
  if (was_live) metrics_->item_delete.Add();
  return was_live;
}

StoreResult CacheImpl::Apply(absl::string_view key,
                             absl::FunctionRef<void(const ItemRef& found, Update* update)> decide,
                             Update* update) {
  CheckKey(key);
  const uint64_t hash = table_->Hash(key);
  core::MutexLock lock(WriterLockOf(hash));
  const Moment moment = Now();
  Location at;
  ItemRef found = Lookup(hash, key, moment.now_ms, &at);
  decide(found, update);
  switch (update->action) {
    case Update::Action::kKeep:
      return StoreResult::kNotStored;
    case Update::Action::kDelete:
      found = ItemRef();
      return Remove(hash, key, moment.now_ms) ? StoreResult::kStored : StoreResult::kNotStored;
    case Update::Action::kTouch:
      if (!found.found()) return StoreResult::kNotStored;
      return Touch(hash, key, std::move(found), at, update->ttl_ms, moment);
    case Update::Action::kStore:
      break;
  }
  CheckTtl(update->ttl_ms);
  found = ItemRef();  // Its segment may be the one to give way.
  const ItemSpec spec{key, update->value, update->flags, 0,
                      DeadlineFor(moment.now_ms, update->ttl_ms)};
  const StoreResult result = Store(hash, spec, update->ttl_ms, moment, &update->new_cas);
  if (result == StoreResult::kStored) metrics_->item_store.Add();
  return result;
}

// A life that ends before its segment does is changed in place. A longer one, and one that ends in a
// segment that would never die, is carried over to where it belongs, with its token.
StoreResult CacheImpl::Touch(uint64_t hash, absl::string_view key, ItemRef found, Location at,
                             int64_t ttl_ms, Moment moment) {
  CheckTtl(ttl_ms);
  const int64_t deadline_ms = DeadlineFor(moment.now_ms, ttl_ms);
  const int64_t death_ms = heap_->segment(at.segment)->death_ms.load(std::memory_order_relaxed);
  const bool fits = deadline_ms <= death_ms;
  const bool belongs = death_ms != kDeadlineNever || deadline_ms == kDeadlineNever;
  if (fits && belongs) {
    TouchInPlace(hash, at, deadline_ms);
    return StoreResult::kStored;
  }
  const ItemSpec spec{key, found.value(), found.flags(), found.cas(), deadline_ms};
  const StoreResult result = Store(hash, spec, ttl_ms, moment, nullptr);
  if (result == StoreResult::kStored) {
    metrics_->item_move.Add();
    return result;
  }
  if (!fits) return result;
  TouchInPlace(hash, at, deadline_ms);
  return StoreResult::kStored;
}

// Nothing happens if the item has been evicted meanwhile: it was touched first.
void CacheImpl::TouchInPlace(uint64_t hash, Location at, int64_t deadline_ms) {
  core::MutexLock lock(table_->stripe(hash));
  if (table_->Find(hash, [at](Location there) { return there == at; }) == nullptr) return;
  heap_->item(at).set_deadline_ms(deadline_ms);
}

void CacheImpl::Flush() {
  heap_->Flush();
  metrics_->flush.Add();
}

Cache::Stats CacheImpl::GetStats() const {
  const SegmentHeap::Usage usage = heap_->usage();
  Stats stats;
  stats.items = usage.items;
  stats.item_bytes = usage.item_bytes;
  stats.heap_bytes = uint64_t{heap_->segments()} * heap_->segment_bytes();
  stats.index_bytes = table_->bytes() + uint64_t{heap_->segments()} * sizeof(Segment);
  stats.segments = heap_->segments();
  stats.segments_free = usage.segments_free;
  stats.evicted_items = metrics_->item_evict.Value();
  stats.expired_items = metrics_->item_expire.Value();
  stats.total_items = metrics_->item_store.Value();
  return stats;
}

}  // namespace seg
