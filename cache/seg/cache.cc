// The engine: the index finds items, the heap holds them, and this makes operations of the two.
//
// Three kinds of locks, in this order:
//   1. a writer's lock, striped by key: held through a whole Set, Delete or Apply, so that writes of
//      one key happen one after another. Nothing but such operations takes it, so one may look for
//      memory, and evict other keys, while holding it.
//   2. the heap's own (see segment_heap.h).
//   3. the lock of a chain in the index: held for the few instructions that change it.
//
// A reader takes none: it holds on to the segment that the index names and looks again (pins.h).
//
// Flush() is one store: segments older than the floor are invisible. A write that looked before a
// flush must not be seen after it: its new item may lie in a young segment, so it enters the index
// only if the floor is still the one it looked under, and it looks again if that changed meanwhile.
#include "cache/seg/cache.h"

#include <algorithm>
#include <random>
#include <utility>

#include "cache/seg/hash_table.h"
#include "cache/seg/memory.h"
#include "cache/seg/metrics.h"
#include "cache/seg/plan.h"
#include "cache/seg/segment_heap.h"
#include "core/base/check.h"
#include "core/base/mutex.h"
#include "core/base/status.h"

namespace seg {
namespace {

constexpr size_t kWriterLocks = 256;  // More than threads, so that different keys rarely meet.

// How many segments a write may have evicted for the sake of an overflow bucket. One has hundreds of
// items in as many chains, and one chain that gives a bucket back is enough.
constexpr int kIndexTries = 16;

// A use is counted exactly up to here, and beyond with a chance of 1 in the count (Segcache's
// approximate counter, NSDI'21 section 3.4).
constexpr uint32_t kFreqExact = 16;

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

// 1 ms at the least has been asked for; what lies past the last deadline is for ever.
int64_t DeadlineFor(int64_t now_ms, int64_t ttl_ms) {
  if (ttl_ms < 0 || ttl_ms >= kDeadlineNever - now_ms) return kDeadlineNever;
  return now_ms + ttl_ms;
}

void CheckKey(absl::string_view key) { CHECK(!key.empty() && key.size() <= kKeyBytesMax); }
void CheckTtl(int64_t ttl_ms) { CHECK(ttl_ms > 0 || ttl_ms == kNever); }

// Whether a use of an item used `freq` times is to be counted.
bool IsToBeCounted(uint32_t freq) {
  if (freq < kFreqExact) return true;
  thread_local std::minstd_rand random(std::random_device{}());
  return random() % freq == 0;
}

}  // namespace

class CacheImpl final : public Cache {
 public:
  // `now_ms` is the time on the cache's own clock.
  CacheImpl(const core::Clock* clock, int64_t now_ms, Memory memory, Arrival arrival,
            std::unique_ptr<Metrics> metrics, std::unique_ptr<HashTable> table,
            std::unique_ptr<SegmentHeap> heap, bool tracks_uses)
      : clock_(clock),
        epoch_ms_(clock->MonotonicMs() - now_ms),
        tracks_uses_(tracks_uses),
        memory_(std::move(memory)),
        arrival_(std::move(arrival)),
        metrics_(std::move(metrics)),
        table_(std::move(table)),
        heap_(std::move(heap)),
        writers_(new WriterLock[kWriterLocks]) {}

  ItemRef Get(absl::string_view key, Token token) override;
  ItemRef Peek(absl::string_view key, Token token) override;
  uint64_t Prefetch(absl::string_view key) const override {
    const uint64_t hash = table_->Hash(key);
    table_->Prefetch(hash);
    return hash;
  }
  void PrefetchItem(uint64_t prefetched) const override {
    const uint64_t word = table_->Guess(prefetched);
    if (word != 0) heap_->item(Slot::LocationOf(word)).PrefetchWhole();
  }
  StoreResult Set(absl::string_view key, absl::string_view value, uint32_t flags, int64_t ttl_ms,
                  uint64_t* cas) override;
  bool Delete(absl::string_view key) override;
  StoreResult Apply(absl::string_view key,
                    absl::FunctionRef<void(const ItemRef& found, Update* update)> decide,
                    Update* update) override;
  void Flush() override;
  void Tick() override { heap_->ReclaimDead(NowMs()); }
  Stats GetStats() const override;
  void VisitSizes(uint32_t stride, absl::FunctionRef<void(size_t bytes)> see) override {
    heap_->VisitSizes(NowMs(), stride, see);
  }
  size_t item_bytes_max() const override {
    return heap_->item_bytes_max() - Item::kOverheadMax;
  }
  uint64_t token_end() const override { return heap_->token_end(); }
  void ListenToEvictions(EvictionListener* listener) override {
    heap_->ListenToEvictions(listener);
  }
  const Arrival& arrival() const override { return arrival_; }
  absl::Status Save(int64_t note, absl::FunctionRef<bool()> cancelled) override;

 private:
  struct alignas(64) WriterLock {
    core::Mutex mu;
  };
  // What a write needs to know of the moment it began.
  struct Moment {
    int64_t now_ms;
    uint64_t floor;
  };
  struct Lookup {
    uint64_t hash;
    absl::string_view key;
    int64_t now_ms;
    Token token;
    bool counts;  // As a use of the item, for the eviction policy,
    bool marks;   // and in its marks.
  };

  // Never negative, whatever the clock does: deadlines are unsigned.
  int64_t NowMs() const { return std::max(clock_->MonotonicMs() - epoch_ms_, int64_t{0}); }
  Moment Now() const { return {NowMs(), heap_->floor()}; }
  // Other bits of the hash than the index uses, so that the two spread apart.
  core::Mutex& WriterLockOf(uint64_t hash) { return writers_[hash % kWriterLocks].mu; }

  // REQUIRES: the chain is locked.
  HashTable::Word* FindSlot(uint64_t hash, absl::string_view key) {
    return table_->Find(hash, [&](Location at) { return heap_->item(at).key() == key; });
  }
  // REQUIRES: the chain is locked, or the segment is held.
  bool Visible(Location at, int64_t now_ms) {
    const uint64_t floor = heap_->floor();
    if (floor != 0 &&
        heap_->segment(at.segment)->sequence.load(std::memory_order_relaxed) < floor) {
      return false;
    }
    return IsAlive(heap_->item(at).deadline_ms(), now_ms);
  }
  // A lookup met an item that is not visible.
  void CountInvisible(Location at) {
    const bool flushed =
        heap_->segment(at.segment)->sequence.load(std::memory_order_relaxed) < heap_->floor();
    (flushed ? metrics_->find_flushed : metrics_->find_expired).Add();
  }
  // The live item, held.
  ItemRef Find(const Lookup& sought);
  // Looks at the item that `slot` names. False: not the one, or no longer there.
  bool Look(const Lookup& sought, HashTable::Word& slot, uint64_t word, ItemRef* found);
  // Tells the `marks` that the item had, and marks this use. REQUIRES: the segment is held.
  static void TakeMarks(const Lookup& sought, Item item, uint32_t marks, ItemRef* found);
  // Of an item that is stored now and follows none.
  uint32_t FirstMarks(int64_t now_ms) const { return tracks_uses_ ? MarkWord::Stored(now_ms) : 0; }
  // What a write was decided by: the token of the item that was found, 0 if there was none. Nothing:
  // whatever is there.
  using Expected = std::optional<uint64_t>;
  // kStored, kTooLarge, kNoMemory. Nothing, and the item never was, if another write came between.
  std::optional<StoreResult> Store(uint64_t hash, const ItemSpec& spec, int64_t ttl_ms,
                                   Moment moment, Token token, Expected expected, uint64_t* cas);
  // Writes an item that the index does not know. If it is kStored, EndWrite(at->segment) is due.
  StoreResult Write(uint64_t hash, const ItemSpec& spec, int64_t ttl_ms, Moment moment,
                    Location* at);
  // kStored, kNoMemory if the index has no room; else and then the item never was.
  std::optional<StoreResult> Link(uint64_t hash, absl::string_view key, Location at, Moment moment,
                                  Token token, Expected expected);
  // kStored if a live item was removed, else kNotStored.
  std::optional<StoreResult> Remove(uint64_t hash, absl::string_view key, int64_t now_ms,
                                    Expected expected);
  // What is changed of an item that keeps its bytes.
  struct Amendment {
    uint64_t cas;  // Of the item.
    std::optional<int64_t> deadline_ms;
    std::optional<Marks> marks;
  };
  // For kTouch and kMark.
  std::optional<StoreResult> Amend(const Lookup& sought, const ItemRef& found,
                                   const Update& update, Moment moment);
  // `decide` once, and what it decided, unless another write came between.
  std::optional<StoreResult> TryApply(
      uint64_t hash, absl::string_view key,
      absl::FunctionRef<void(const ItemRef& found, Update* update)> decide, Update* update);
  // REQUIRES: the chain is locked.
  bool IsAsExpected(const HashTable::Word* slot, Expected expected, int64_t now_ms);
  enum class Moved : uint8_t {
    kYes,
    kTold,   // The token was told and the copy does not have it; *token is the token.
    kGone,   // Evicted or expired meanwhile.
    kOther,  // Another write came between.
  };
  // Lets the index find the copy at `at` of the item with the token `cas`, which has it or 0.
  Moved LinkCopy(uint64_t hash, absl::string_view key, Location at, uint64_t floor, uint64_t cas,
                 uint64_t* token);
  // kNotStored: not in the index any more; kNoMemory: the item has no room for marks, would outlive its
  // segment, or with `must_belong`, had better live elsewhere.
  std::optional<StoreResult> AmendInPlace(const Lookup& sought, const Amendment& amendment,
                                          bool must_belong);

  const core::Clock* const clock_;
  const int64_t epoch_ms_;  // Deadlines count from here.
  const bool tracks_uses_;
  const Memory memory_;  // Of the table and the heap.
  const Arrival arrival_;
  const std::unique_ptr<Metrics> metrics_;
  const std::unique_ptr<HashTable> table_;
  const std::unique_ptr<SegmentHeap> heap_;
  const std::unique_ptr<WriterLock[]> writers_;
};

// How long a file was away, by the wall clock. If that was set back meanwhile, lives are longer by as
// much as it was set back, and by no more than the file was away.
int64_t AwayMs(const core::Clock& clock, int64_t since_wall_ms) {
  return std::max<int64_t>(clock.WallNs() / 1'000'000 - since_wall_ms, 0);
}

absl::StatusOr<std::unique_ptr<Cache>> Cache::Create(const config::Seg& options,
                                                     const core::Clock* clock,
                                                     core::Registry* registry,
                                                     absl::string_view name,
                                                     const Lodging& lodging) {
  ASSIGN_OR_RETURN(const Plan plan, PlanFor(options, lodging));
  auto metrics = std::make_unique<Metrics>(registry, name);
  ASSIGN_OR_RETURN(Memory memory, Memory::Create(plan, {options.huge_pages, options.prefault},
                                                 lodging.file));
  RestartFile* const file = memory.file();
  std::unique_ptr<HashTable> table;
  std::unique_ptr<SegmentHeap> heap;
  const auto build = [&](uint64_t seed) {
    table = HashTable::On(memory.ForTable(), plan.buckets, seed);
    auto built = SegmentHeap::Create(memory.ForHeap(), options.eviction, table.get(),
                                     metrics.get());
    if (built.ok()) heap = *std::move(built);
    return built.status();
  };
  if (file == nullptr || !file->restored()) {
    RETURN_IF_ERROR(build(RandomSeed()));
  } else {
    const CacheState& state = file->state();
    RETURN_IF_ERROR(build(state.table.seed));
    absl::Status resumed = heap->Resume(state.heap, file->records());
    if (resumed.ok() && !table->Resume(state.table)) {
      resumed = absl::DataLossError("its index makes no sense");
    }
    if (!resumed.ok()) {
      heap = nullptr;
      RETURN_IF_ERROR(file->Refuse(std::string(resumed.message())));
      RETURN_IF_ERROR(build(RandomSeed()));
    }
  }
  Arrival arrival;
  int64_t now_ms = 0;
  if (file != nullptr) {
    arrival.refusal = file->refusal();
    arrival.restored = file->restored();
    if (arrival.restored) {
      arrival.away_ms = AwayMs(*clock, file->state().wall_ms);
      arrival.note = file->state().note;
      now_ms = file->state().now_ms + arrival.away_ms;
    }
  }
  return std::unique_ptr<Cache>(std::make_unique<CacheImpl>(
      clock, now_ms, std::move(memory), std::move(arrival), std::move(metrics), std::move(table),
      std::move(heap), options.track_access));
}

ItemRef CacheImpl::Get(absl::string_view key, Token token) {
  CheckKey(key);
  ItemRef found = Find({table_->Hash(key), key, NowMs(), token, heap_->freq_max() != 0, true});
  (found.found() ? metrics_->get_hit : metrics_->get_miss).Add();
  return found;
}

ItemRef CacheImpl::Peek(absl::string_view key, Token token) {
  CheckKey(key);
  return Find({table_->Hash(key), key, NowMs(), token, false, false});
}

ItemRef CacheImpl::Find(const Lookup& sought) {
  ItemRef found;
  table_->Read(sought.hash, [&](HashTable::Word& slot, uint64_t word) {
    return Look(sought, slot, word, &found);
  });
  return found;
}

bool CacheImpl::Look(const Lookup& sought, HashTable::Word& slot, uint64_t word, ItemRef* found) {
  for (;;) {
    const Location at = Slot::LocationOf(word);
    const Item item = heap_->item(at);
    item.Prefetch();
    SegmentHeap::Hold hold = heap_->HoldOn(at.segment);
    uint64_t now = slot.load(std::memory_order_seq_cst);
    if (!Slot::SamePlace(now, word)) {  // Written, moved or gone meanwhile.
      if (now == 0 || !Slot::SameTag(now, word)) return false;
      word = now;
      continue;
    }
    if (item.key() != sought.key) return false;
    if (!Visible(at, sought.now_ms)) {
      CountInvisible(at);
      return true;
    }

    uint64_t next = now;
    if (sought.token == Token::kTold) next |= Slot::kOut;
    if (const uint32_t freq = Slot::FreqOf(now);
        sought.counts && freq < heap_->freq_max() && IsToBeCounted(freq)) {
      next += Slot::kFreqOne;
    }
    // Another reader's count may get lost; a token that is told may not, nor be one of the past.
    while (next != now &&
           !slot.compare_exchange_strong(now, next, std::memory_order_seq_cst)) {
      if (!Slot::SamePlace(now, word)) break;
      next = sought.token == Token::kTold ? now | Slot::kOut : now;
    }
    if (!Slot::SamePlace(now, word)) {
      if (now == 0 || !Slot::SameTag(now, word)) return false;
      word = now;
      continue;
    }
    found->found_ = true;
    const Item::Extras extras = item.extras();
    found->flags_ = extras.flags;
    static_assert(ItemRef::kPlaceBits == Slot::kPlaceBits);  // As in SegmentHeap::TokenOf().
    found->kept_cas_ = extras.kept_cas;
    if (extras.marks != 0) TakeMarks(sought, item, extras.marks, found);
    found->place_ = at.offset / kItemAlign;
    found->sequence_ = &heap_->segment(at.segment)->sequence;
    found->token_ = Slot::IsOut(next) ? Token::kTold : Token::kQuiet;
    const int64_t deadline_ms = item.deadline_ms();
    found->ttl_ms_ = deadline_ms == kDeadlineNever ? kNever : deadline_ms - sought.now_ms;
    found->value_ = hold.GoWith(item.value());
    return true;
  }
}

void CacheImpl::TakeMarks(const Lookup& sought, Item item, uint32_t marks, ItemRef* found) {
  found->marks_ = marks;
  if (!MarkWord::KnowsUses(marks)) return;
  found->idle_sec_ = MarkWord::IdleSec(marks, sought.now_ms);
  if (!sought.marks) return;
  // The segment is held: should the item have gone, this is lost and does no harm.
  item.ChangeMarks([&](uint32_t now) { return MarkWord::Used(now, sought.now_ms); });
}

StoreResult CacheImpl::Set(absl::string_view key, absl::string_view value, uint32_t flags,
                           int64_t ttl_ms, uint64_t* cas) {
  CheckKey(key);
  CheckTtl(ttl_ms);
  const uint64_t hash = table_->Hash(key);
  table_->PrefetchForWrite(hash);
  // No writer's lock: the index changes in one step, and an Apply that this comes between sees it.
  const Moment moment = Now();
  const ItemSpec spec{key, value, flags, 0, DeadlineFor(moment.now_ms, ttl_ms),
                      FirstMarks(moment.now_ms)};
  const StoreResult result = *Store(hash, spec, ttl_ms, moment,
                                    cas == nullptr ? Token::kQuiet : Token::kTold, {}, cas);
  if (result == StoreResult::kStored) metrics_->item_store.Add();
  return result;
}

std::optional<StoreResult> CacheImpl::Store(uint64_t hash, const ItemSpec& spec, int64_t ttl_ms,
                                            Moment moment, Token token, Expected expected,
                                            uint64_t* cas) {
  Location at;
  const StoreResult result = Write(hash, spec, ttl_ms, moment, &at);
  if (result != StoreResult::kStored) return result;
  if (cas != nullptr) *cas = heap_->TokenOf(at);
  const std::optional<StoreResult> linked = Link(hash, spec.key, at, moment, token, expected);
  heap_->EndWrite(at.segment);
  if (linked == StoreResult::kNoMemory) metrics_->store_no_memory.Add();
  return linked;
}

StoreResult CacheImpl::Write(uint64_t hash, const ItemSpec& spec, int64_t ttl_ms, Moment moment,
                             Location* at) {
  if (spec.key.size() + spec.value.size() > item_bytes_max()) {
    metrics_->store_too_large.Add();
    return StoreResult::kTooLarge;
  }
  if (!heap_->BeginWrite(Item::BytesFor(spec), heap_->RankFor(hash), ttl_ms, spec.deadline_ms,
                         moment.now_ms, at)) {
    metrics_->store_no_memory.Add();
    return StoreResult::kNoMemory;
  }
  heap_->item(*at).Write(spec);
  return StoreResult::kStored;
}

bool CacheImpl::IsAsExpected(const HashTable::Word* slot, Expected expected, int64_t now_ms) {
  if (!expected.has_value()) return true;
  if (slot == nullptr) return *expected == 0;
  const Location at = Slot::LocationOf(slot->load(std::memory_order_relaxed));
  return *expected == 0 ? !Visible(at, now_ms) : heap_->TokenOf(at) == *expected;
}

std::optional<StoreResult> CacheImpl::Link(uint64_t hash, absl::string_view key, Location at,
                                           Moment moment, Token token, Expected expected) {
  Location old;
  for (int tries = 0;;) {
    {
      HashTable::ChainLock lock(*table_, hash);
      // Flushed since the write began: it counts as stored before the flush, and is forgotten.
      if (heap_->floor() != moment.floor) {
        heap_->CountOut(at);
        return StoreResult::kStored;
      }
      HashTable::Word* slot = FindSlot(hash, key);
      if (!IsAsExpected(slot, expected, moment.now_ms)) {
        heap_->CountOut(at);
        return std::nullopt;
      }
      if (slot != nullptr) {
        old = Slot::LocationOf(table_->Replace(slot, at, token == Token::kTold));
        heap_->CountOut(old);
        break;
      }
      if (table_->Insert(hash, at, token == Token::kTold)) return StoreResult::kStored;
    }
    if (++tries > kIndexTries || !heap_->MakeRoomInIndex(moment.now_ms)) {
      heap_->CountOut(at);
      return StoreResult::kNoMemory;
    }
  }
  heap_->ReclaimIfEmpty(old.segment);
  return StoreResult::kStored;
}

bool CacheImpl::Delete(absl::string_view key) {
  CheckKey(key);
  const uint64_t hash = table_->Hash(key);
  core::MutexLock lock(WriterLockOf(hash));
  return *Remove(hash, key, NowMs(), {}) == StoreResult::kStored;
}

std::optional<StoreResult> CacheImpl::Remove(uint64_t hash, absl::string_view key, int64_t now_ms,
                                             Expected expected) {
  Location at;
  bool was_live = false;
  {
    HashTable::ChainLock lock(*table_, hash);
    HashTable::Word* slot = FindSlot(hash, key);
    if (slot == nullptr) return StoreResult::kNotStored;
    if (!IsAsExpected(slot, expected, now_ms)) return std::nullopt;
    at = Slot::LocationOf(slot->load(std::memory_order_relaxed));
    was_live = Visible(at, now_ms);
    table_->Remove(hash, slot);
    heap_->CountOut(at);
  }
  heap_->ReclaimIfEmpty(at.segment);
  if (was_live) metrics_->item_delete.Add();
  return was_live ? StoreResult::kStored : StoreResult::kNotStored;
}

// The writer's lock keeps out every other write but a Set. That one is noticed by its token, when the
// index is about to be changed, and then all is done again.
StoreResult CacheImpl::Apply(absl::string_view key,
                             absl::FunctionRef<void(const ItemRef& found, Update* update)> decide,
                             Update* update) {
  CheckKey(key);
  const uint64_t hash = table_->Hash(key);
  core::MutexLock lock(WriterLockOf(hash));
  const Update given = *update;
  for (;;) {
    if (const auto result = TryApply(hash, key, decide, update); result.has_value()) return *result;
    *update = given;
  }
}

std::optional<StoreResult> CacheImpl::TryApply(
    uint64_t hash, absl::string_view key,
    absl::FunctionRef<void(const ItemRef& found, Update* update)> decide, Update* update) {
  Moment moment = Now();
  Lookup sought{hash, key, moment.now_ms, Token::kQuiet, false, false};
  ItemRef found = Find(sought);
  // What is decided must be about the moment, or an add could find nothing because of a flush, and
  // be forgotten by it.
  while (heap_->floor() != moment.floor) {
    moment = Now();
    sought.now_ms = moment.now_ms;
    found = Find(sought);
  }
  decide(found, update);
  const uint64_t cas = found.found() ? found.cas() : 0;
  switch (update->action) {
    case Update::Action::kKeep:
      return StoreResult::kNotStored;
    case Update::Action::kDelete:
      found = ItemRef();
      return Remove(hash, key, moment.now_ms, cas);
    case Update::Action::kTouch:
    case Update::Action::kMark:
      if (!found.found()) return StoreResult::kNotStored;
      return Amend(sought, found, *update, moment);
    case Update::Action::kStore:
      break;
  }
  CheckTtl(update->ttl_ms);
  uint32_t marks = update->inherits_marks && found.found() ? found.marks_
                                                           : FirstMarks(moment.now_ms);
  if (update->marks.has_value()) marks = MarkWord::With(marks, *update->marks);
  // A token may be kept, too, and then it is named if it was.
  marks = MarkWord::Named(marks, update->cas != 0 && (update->cas != cas || found.cas_is_named()));
  found = ItemRef();  // Its segment may be the one to give way.
  const ItemSpec spec{key, update->value, update->flags, update->cas,
                      DeadlineFor(moment.now_ms, update->ttl_ms), marks};
  const std::optional<StoreResult> result =
      Store(hash, spec, update->ttl_ms, moment, update->token, cas, &update->new_cas);
  if (result == StoreResult::kStored) metrics_->item_store.Add();
  return result;
}

// A life that ends before its segment does is changed in place, and so are marks where there are
// some. A longer life, and one that ends in a segment that would never die, is carried over to where
// it belongs, with its token; so is an item that gets its first marks.
std::optional<StoreResult> CacheImpl::Amend(const Lookup& sought, const ItemRef& found,
                                            const Update& update, Moment moment) {
  const int64_t ttl_ms =
      update.action == Update::Action::kTouch ? update.ttl_ms : found.ttl_ms();
  CheckTtl(ttl_ms);
  Amendment amendment{found.cas(), std::nullopt, update.marks};
  const int64_t deadline_ms = DeadlineFor(moment.now_ms, ttl_ms);
  if (update.action == Update::Action::kTouch) amendment.deadline_ms = deadline_ms;
  const std::optional<StoreResult> in_place = AmendInPlace(sought, amendment, true);
  if (in_place != StoreResult::kNoMemory) return in_place;
  // One that is carried may have been named, and then somebody knows it.
  uint64_t token =
      found.token_ == Token::kTold || found.kept_cas_ != 0 ? amendment.cas : 0;
  const uint32_t marks =
      update.marks.has_value() ? MarkWord::With(found.marks_, *update.marks) : found.marks_;
  for (;;) {  // Again if a reader was told the token meanwhile.
    const ItemSpec spec{sought.key, found.value(), found.flags(), token, deadline_ms, marks};
    Location at;
    const StoreResult result = Write(sought.hash, spec, ttl_ms, moment, &at);
    if (result != StoreResult::kStored) return AmendInPlace(sought, amendment, false);
    const Moved moved =
        LinkCopy(sought.hash, sought.key, at, moment.floor, amendment.cas, &token);
    heap_->EndWrite(at.segment);
    if (moved == Moved::kOther) return std::nullopt;
    if (moved == Moved::kGone) return StoreResult::kNotStored;
    if (moved == Moved::kYes) break;
  }
  metrics_->item_move.Add();
  return StoreResult::kStored;
}

CacheImpl::Moved CacheImpl::LinkCopy(uint64_t hash, absl::string_view key, Location at,
                                     uint64_t floor, uint64_t cas, uint64_t* token) {
  Location old;
  {
    HashTable::ChainLock lock(*table_, hash);
    if (heap_->floor() != floor) {  // As in Link().
      heap_->CountOut(at);
      return Moved::kYes;
    }
    HashTable::Word* slot = FindSlot(hash, key);
    if (slot == nullptr) {
      heap_->CountOut(at);
      return Moved::kGone;
    }
    const uint64_t word = slot->load(std::memory_order_relaxed);
    old = Slot::LocationOf(word);
    if (heap_->TokenOf(old) != cas) {
      heap_->CountOut(at);
      return Moved::kOther;
    }
    heap_->item(at).TakeUsesOf(heap_->item(old));
    if (!table_->MoveTo(slot, at, Slot::FreqOf(word), *token != 0)) {
      *token = heap_->TokenOf(old);
      heap_->CountOut(at);
      return Moved::kTold;
    }
    heap_->CountOut(old);
  }
  heap_->ReclaimIfEmpty(old.segment);
  return Moved::kYes;
}

std::optional<StoreResult> CacheImpl::AmendInPlace(const Lookup& sought,
                                                   const Amendment& amendment,
                                                   bool must_belong) {
  HashTable::ChainLock lock(*table_, sought.hash);
  const HashTable::Word* slot = FindSlot(sought.hash, sought.key);
  // A reader may have missed it since, so it must not come back.
  if (slot == nullptr) return StoreResult::kNotStored;
  const Location at = Slot::LocationOf(slot->load(std::memory_order_relaxed));
  if (heap_->TokenOf(at) != amendment.cas) return std::nullopt;
  Item item = heap_->item(at);
  const bool has_marks = item.marks() != 0;
  const bool needs_marks = amendment.marks.has_value() && *amendment.marks != Marks();
  if (needs_marks && !has_marks) return StoreResult::kNoMemory;
  if (amendment.deadline_ms.has_value()) {
    const int64_t deadline_ms = *amendment.deadline_ms;
    const int64_t death_ms = heap_->segment(at.segment)->death_ms.load(std::memory_order_relaxed);
    if (deadline_ms > death_ms) return StoreResult::kNoMemory;
    if (must_belong && death_ms == kDeadlineNever && deadline_ms != kDeadlineNever) {
      return StoreResult::kNoMemory;
    }
    item.set_deadline_ms(deadline_ms);
    heap_->ExpectDeath(at.segment, deadline_ms);
  }
  if (amendment.marks.has_value() && has_marks) {
    item.ChangeMarks([&](uint32_t now) { return MarkWord::With(now, *amendment.marks); });
  }
  return StoreResult::kStored;
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
  stats.heap_bytes = usage.segments * heap_->segment_bytes();
  stats.index_bytes = table_->bytes() + heap_->overhead_bytes() +
                      kWriterLocks * sizeof(WriterLock) + sizeof(Pins::Cell) *
                      Pins::kThreadsMax * Pins::kCellsPerThread;
  stats.index_slots = table_->buckets() * HashTable::kSlotsPerBucket;
  stats.segments = usage.segments;
  stats.segments_free = usage.segments_free;
  stats.segment_bytes = heap_->segment_bytes();
  stats.age_ms = usage.oldest_ms == kDeadlineNever ? 0 : NowMs() - usage.oldest_ms;
  stats.evicted_age_ms = usage.evicted_age_ms;
  stats.found_expired = metrics_->find_expired.Value();
  stats.found_flushed = metrics_->find_flushed.Value();
  stats.evicted_items = metrics_->item_evict.Value();
  stats.evicted_with_ttl = metrics_->item_evict_ttl.Value();
  stats.evicted_used = metrics_->item_evict_used.Value();
  stats.evicted_unused = metrics_->item_evict_unused.Value();
  stats.expired_items = metrics_->item_expire.Value();
  stats.expired_unused = metrics_->item_expire_unused.Value();
  stats.evicted_segments = metrics_->segment_evict.Value();
  stats.total_items = metrics_->item_store.Value();
  return stats;
}

absl::Status CacheImpl::Save(int64_t note, absl::FunctionRef<bool()> cancelled) {
  RestartFile* const file = memory_.file();
  if (file == nullptr) return absl::FailedPreconditionError("no file to save the cache in");
  CacheState state;
  state.heap = heap_->Rest(file->records());
  state.table = table_->Rest();
  state.now_ms = NowMs();
  state.wall_ms = clock_->WallNs() / 1'000'000;
  state.note = note;
  return file->Seal(state, cancelled);
}

}  // namespace seg
