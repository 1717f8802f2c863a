// Reservation at tails, the search for segments, and the lists they are in. See segment_heap.h; what
// happens to the items of a segment that is reclaimed is in segment_drain.cc.
#include "cache/seg/segment_heap.h"

#include <algorithm>
#include <bit>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status.h"

namespace seg {
namespace {

// How many tails above, and as many below, are asked for room before one is sealed.
constexpr int kBorrowTries = 4;

// How many victims in a row may give items a second life before a write takes what it needs.
constexpr int kMercyRounds = 8;

// Segments with less than this alive are emptied before anything is evicted, by moving what lives.
// Then a segment's worth of room costs the moving of nine at the most, and usually far less: the
// emptiest of the looks is taken. Beside 0.8 it fills the heap to 93 % instead of 88 %, which is worth
// half a per mille to three points of misses, the more the more is overwritten; a set in a full heap
// of which everything is overwritten costs half as much again (README, "Miss ratios"). 0.94 gains
// nothing more.
constexpr double kSparse = 0.9;
constexpr uint32_t kSparseLooks = 128;
// So many of them should make room for one; if items are so large that they do not, something is
// evicted.
constexpr int kGathersMax = 10;

// How many segments a write may sweep before it evicts, chosen from how many. A look is a nanosecond
// or less, a sweep a few for each item.
constexpr int kSweeps = 16;
constexpr uint32_t kStaleLooks = 1024;

// A shard for each processor, as long as each has segments to play with.
constexpr uint32_t kSegmentsPerShardMin = 64;

int ShardCount(uint32_t segments) {
  const uint32_t processors = std::max(std::thread::hardware_concurrency(), 1u);
  return static_cast<int>(std::clamp(segments / kSegmentsPerShardMin, 1u, processors));
}

// Half of every open tail is empty, so a twelfth of the segments costs 4 % of the heap at most.
uint32_t OpenTailsMax(uint32_t segments, int shards) {
  const uint32_t all = std::min(std::max(segments / 12, 2u), segments / 2);
  return std::max(all / static_cast<uint32_t>(shards), 1u);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SegmentHeap>> SegmentHeap::Create(const HeapPlan& plan,
                                                                 config::Seg::Eviction eviction,
                                                                 HashTable* table,
                                                                 Metrics* metrics) {
  Mapping own;
  std::unique_ptr<Pages> own_pages;
  HeapPlan placed = plan;
  if (plan.memory == nullptr) {
    const size_t bytes = size_t{plan.segment_count()} * plan.segment_bytes;
    ASSIGN_OR_RETURN(own, Mapping::Create(bytes));
    placed.memory = own.data();
    if (plan.surplus != 0) own_pages = AnonymousPages(own.data(), bytes);
    placed.pages = own_pages.get();
    if (own_pages == nullptr) placed.surplus = 0;
  }
  std::unique_ptr<SegmentHeap> heap(new SegmentHeap(placed, eviction, table, metrics));
  heap->own_memory_ = std::move(own);
  heap->own_pages_ = std::move(own_pages);
  return heap;
}

SegmentHeap::SegmentHeap(const HeapPlan& plan, config::Seg::Eviction eviction, HashTable* table,
                         Metrics* metrics)
    : memory_(plan.memory),
      pages_(plan.pages),
      segment_bytes_(plan.segment_bytes),
      segment_count_(plan.segment_count()),
      surplus_(plan.surplus),
      span_max_(plan.span_max),
      shard_count_(ShardCount(plan.segments)),
      open_tails_max_(OpenTailsMax(plan.segments, shard_count_)),
      table_(table),
      metrics_(metrics),
      gone_(segment_count_, shard_count_),
      segments_(new Segment[segment_count_]),
      shards_(new Shard[static_cast<size_t>(shard_count_)]),
      stale_ms_(new std::atomic<int64_t>[segment_count_]{}),
      policy_(EvictionPolicy::Create(eviction, segments_.get(), segment_count_, plan.segments)),
      freq_max_(policy_->freq_max()),
      evicts_(eviction != config::Seg::Eviction::kNone),
      reserve_(std::min(2 * static_cast<uint32_t>(shard_count_), plan.segments / 16)),
      in_service_least_(segment_count_ - (plan.shares ? plan.segments / 2 : 0)),
      ghosts_(policy_->remembers() ? plan.ghosts : 0, plan.ghost_memory),
      in_service_(segment_count_),
      paid_(plan.segments) {
  CHECK(surplus_ == 0 || pages_ != nullptr);
  for (int i = 0; i < shard_count_; ++i) {
    core::MutexLock lock(shards_[i].mu);
    for (Shard::Tails& tails : shards_[i].tails) tails.segment.fill(kNoSegment);
  }
  for (uint32_t id = 0; id < segment_count_; ++id) {
    segments_[id].gone = gone_.CellsOf(id);
    segments_[id].gone_columns = gone_.columns();
  }
  core::MutexLock lock(mu_);
  for (uint32_t id = segment_count_; id-- > 0;) {
    // Without a surplus nobody asks what is behind a segment.
    const bool is_backed = surplus_ == 0 || (plan.stocked && id < plan.segments);
    if (is_backed) segments_[id].backed = static_cast<uint32_t>(segment_bytes_);
    PushFree(id);
  }
}

// --- Writing ---

bool SegmentHeap::BeginWrite(size_t bytes, Rank rank, int64_t ttl_ms, int64_t deadline_ms,
                             int64_t now_ms, Location* at) {
  DCHECK(bytes <= item_bytes_max() && bytes % kItemAlign == 0);
  const Place place{rank, TtlBucketOf(ttl_ms), deadline_ms, now_ms};
  if (bytes > segment_bytes_) {
    const size_t span = (kSpanBegin + bytes + segment_bytes_ - 1) / segment_bytes_;
    return BeginLargeWrite(static_cast<uint32_t>(span), place, bytes, at);
  }
  return Reserve(place, bytes, [&] { return TakeSegment(now_ms); }, at);
}

bool SegmentHeap::BeginMove(size_t bytes, const Place& place, Location* at) {
  return Reserve(place, bytes, [&] { return TakeReserved(); }, at);
}

bool SegmentHeap::Reserve(const Place& place, size_t bytes,
                          absl::FunctionRef<uint32_t()> take_segment, Location* at) {
  DCHECK(bytes <= segment_bytes_);
  Shard& shard = MyShard();
  uint32_t taken = kNoSegment;
  for (;;) {  // Again with a segment in hand, or if another writer of the shard came between.
    Sealed sealed;
    bool done = false;
    {
      core::MutexLock lock(shard.mu);
      const uint32_t tail =
          shard.tails[place.lane()].segment[static_cast<size_t>(place.bucket)];
      done = tail != kNoSegment && Append(shard, tail, bytes, place.deadline_ms, at);
      if (!done && taken != kNoSegment) {
        sealed = ReplaceTail(shard, place, std::exchange(taken, kNoSegment));
        done = Append(
            shard,
            shard.tails[place.lane()].segment[static_cast<size_t>(place.bucket)],
            bytes, place.deadline_ms, at);
      } else if (!done && tail == kNoSegment) {
        // A bucket that filled a tail has earned the next one; another one borrows if it must.
        done = Borrow(shard, place, bytes, at, &sealed);
      }
    }
    AfterSeal(sealed);
    if (done) break;
    taken = take_segment();
    if (taken == kNoSegment) return false;
  }
  if (taken != kNoSegment) GiveBack(taken);  // Somebody else's tail had room meanwhile.
  return true;
}

bool SegmentHeap::Append(Shard&, uint32_t tail, size_t bytes, int64_t deadline_ms, Location* at) {
  Segment& s = segments_[tail];
  const uint32_t used = s.used_bytes.load(std::memory_order_relaxed);
  if (segment_bytes_ - used < bytes) return false;
  if (s.sequence.load(std::memory_order_relaxed) < floor()) return false;
  s.writers.fetch_add(1, std::memory_order_relaxed);
  if (deadline_ms > s.death_ms.load(std::memory_order_relaxed)) {
    s.death_ms.store(deadline_ms, std::memory_order_relaxed);
  }
  ExpectDeath(tail, deadline_ms);
  *at = {tail, used};
  s.used_bytes.store(used + static_cast<uint32_t>(bytes), std::memory_order_relaxed);
  s.used_items.store(s.used_items.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return true;
}

bool SegmentHeap::Borrow(Shard& shard, const Place& place, size_t bytes, Location* at,
                         Sealed* sealed) {
  if (shard.open < open_tails_max_) return false;
  const Shard::Tails& tails = shard.tails[place.lane()];
  const auto nearest_open = [&](int from, int step) {
    for (int i = from; i >= 0 && i < kTtlBuckets; i += step) {
      const uint64_t word = tails.is_open[static_cast<size_t>(i) / 64];
      if ((word >> (i % 64) & 1) != 0) return i;
      if (word == 0) i = step > 0 ? i | 63 : i & ~63;  // The rest of an empty word at once.
    }
    return -1;
  };
  int nearest = -1;
  // Upwards first: there the item dies before its segment, instead of prolonging it.
  for (const int step : {1, -1}) {
    int tries = kBorrowTries;
    for (int i = nearest_open(place.bucket + (step < 0 ? -1 : 0), step); i >= 0 && tries-- > 0;
         i = nearest_open(i + step, step)) {
      const uint32_t tail = tails.segment[static_cast<size_t>(i)];
      if (!IsAlive(segments_[tail].death_ms.load(std::memory_order_relaxed), place.now_ms)) {
        continue;
      }
      if (Append(shard, tail, bytes, place.deadline_ms, at)) return true;
      if (nearest < 0) nearest = i;
    }
  }
  // All as good as full. One makes way, so that the number of tails stays.
  if (nearest >= 0) *sealed = SealTail(shard, place.lane(), nearest);
  return false;
}

SegmentHeap::Sealed SegmentHeap::ReplaceTail(Shard& shard, const Place& place, uint32_t id) {
  const Sealed sealed = SealTail(shard, place.lane(), place.bucket);
  Open(id, 1, place, static_cast<uint16_t>(&shard - shards_.get()));
  Shard::Tails& tails = shard.tails[place.lane()];
  const auto bucket = static_cast<size_t>(place.bucket);
  tails.segment[bucket] = id;
  tails.is_open[bucket / 64] |= uint64_t{1} << (bucket % 64);
  ++shard.open;
  return sealed;
}

SegmentHeap::Sealed SegmentHeap::SealTail(Shard& shard, size_t lane, int bucket) {
  Shard::Tails& tails = shard.tails[lane];
  const auto at = static_cast<size_t>(bucket);
  Sealed sealed;
  sealed.segment = std::exchange(tails.segment[at], kNoSegment);
  if (sealed.segment == kNoSegment) return sealed;
  tails.is_open[at / 64] &= ~(uint64_t{1} << (at % 64));
  --shard.open;
  Segment& s = segments_[sealed.segment];
  core::MutexLock lock(mu_);
  sealed.gives_back = Settle(sealed.segment, s.used_bytes.load(std::memory_order_relaxed));
  // Before anybody may claim it: it must not be opened again while its tail is given back.
  if (sealed.gives_back) s.writers.fetch_add(1, std::memory_order_relaxed);
  s.Move(SegmentState::kSealed);
  return sealed;
}

void SegmentHeap::AfterSeal(const Sealed& sealed) {
  if (sealed.segment == kNoSegment) return;
  if (!sealed.gives_back) return ReclaimIfEmpty(sealed.segment);
  // Nothing is added to what is sealed.
  ReleaseTail(sealed.segment, segments_[sealed.segment].used_bytes.load(std::memory_order_relaxed));
  EndWrite(sealed.segment);
}

void SegmentHeap::SealIfTail(const Claim& claim) {
  Shard& shard = shards_[claim.shard];
  Sealed sealed;
  {
    core::MutexLock lock(shard.mu);
    const Shard::Tails& tails = shard.tails[claim.lane];
    if (tails.segment[static_cast<size_t>(claim.bucket)] != claim.segment) return;
    sealed = SealTail(shard, claim.lane, claim.bucket);
  }
  AfterSeal(sealed);
}

bool SegmentHeap::SealAllTails() {
  std::vector<Sealed> sealed;
  for (int i = 0; i < shard_count_; ++i) {
    core::MutexLock lock(shards_[i].mu);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      for (int bucket = 0; bucket < kTtlBuckets; ++bucket) {
        const Sealed one = SealTail(shards_[i], lane, bucket);
        if (one.segment != kNoSegment) sealed.push_back(one);
      }
    }
  }
  for (const Sealed& one : sealed) AfterSeal(one);
  return !sealed.empty();
}

void SegmentHeap::Open(uint32_t id, uint32_t span, const Place& place, uint16_t shard) {
  Segment& s = segments_[id];
  core::MutexLock lock(mu_);
  s.Move(SegmentState::kOpen);
  s.ttl_bucket = static_cast<uint16_t>(place.bucket);
  s.shard = shard;
  s.rank = place.rank;
  s.gathered = place.gathered;
  s.span = span;
  s.sequence.store(next_sequence_++, std::memory_order_relaxed);
  s.opened_ms = place.now_ms;
  // What lies before the first item was never alive.
  s.used_bytes.store(s.begin(), std::memory_order_relaxed);
  s.used_items.store(0, std::memory_order_relaxed);
  gone_.Set(id, s.begin());
  s.death_ms.store(place.deadline_ms, std::memory_order_relaxed);
  stale_ms_[id].store(place.deadline_ms, std::memory_order_relaxed);
  Enqueue(id);
  policy_->OpenedBefore(id, place.beside);
  in_transit_ -= static_cast<int>(span);
}

void SegmentHeap::EndWrite(uint32_t segment) {
  // Pairs with the acquire in MayGo(): who drains the segment sees the item.
  segments_[segment].writers.fetch_sub(1, std::memory_order_seq_cst);
  ReclaimIfEmpty(segment);
}

Rank SegmentHeap::RankFor(uint64_t hash) {
  if (!has_evicted_.load(std::memory_order_relaxed) || !policy_->remembers()) return Rank::kNew;
  bool known = false;
  bool used = false;
  // By the tag alone: a wrong guess costs nothing but an item in the other queue.
  table_->Read(hash, [&](HashTable::Word&, uint64_t word) {
    known = true;
    used = Slot::FreqOf(word) != 0;
    return true;
  });
  return used || (!known && ghosts_.Take(hash)) ? Rank::kProven : Rank::kNew;
}

// --- Finding a segment ---

uint32_t SegmentHeap::TakeSegment(int64_t now_ms) {
  if (table_->wants_overflow()) [[unlikely]] RetireLast(now_ms);
  uint32_t taken = kNoSegment;
  const auto take = [&](bool all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (FreeSegments() <= (all ? 0 : reserve_)) return false;
    taken = PopFree();
    return true;
  };
  for (int tries = 0; tries < kPayTries; ++tries) {
    if (!MakeRoom(now_ms, take)) return kNoSegment;
    if (PayForTaken(taken)) return taken;
  }
  return kNoSegment;
}

bool SegmentHeap::MakeRoom(int64_t now_ms, absl::FunctionRef<bool(bool all)> enough) {
  uint32_t swept = kNoSegment;
  for (int rounds = 0, gathers = 0, sweeps = 0, pinned_tries = 0;;) {
    Claim claim;
    Held held;
    Mercy mercy = rounds < kMercyRounds ? Mercy::kUsed : Mercy::kNone;
    {
      core::MutexLock lock(mu_);
      if (withheld_bytes_ != 0) [[unlikely]] LookWhatIsWithheld(now_ms);
      if (enough(/*all=*/false)) return true;
      if (!limbo_.empty()) {
        Reap();
        if (enough(/*all=*/false)) return true;
      }
      held.briefly = in_transit_ > 0;
      const bool has_reserve = FreeSegments() > 0;
      claim = FindDead(now_ms, &held);
      if (claim.kind == Claim::Kind::kNothing && has_reserve && gathers < kGathersMax) {
        claim = FindSparse(std::exchange(swept, kNoSegment), &held);
        if (claim.kind != Claim::Kind::kNothing) mercy = Mercy::kAll;
      }
      if (claim.kind == Claim::Kind::kNothing && has_reserve && sweeps < kSweeps) {
        claim = FindStale(now_ms, &held);
      }
      if (claim.kind == Claim::Kind::kNothing) claim = FindEvictable(SegmentState::kSealed, &held);
      if (claim.kind == Claim::Kind::kNothing) claim = FindEvictable(SegmentState::kOpen, &held);
      if (claim.kind == Claim::Kind::kNothing && enough(/*all=*/true)) return true;
    }
    switch (claim.kind) {
      case Claim::Kind::kSeal:
        SealIfTail(claim);
        break;
      case Claim::Kind::kDrain:
        Drain(claim.segment, now_ms, mercy, claim.beside);
        ++(mercy == Mercy::kAll ? gathers : rounds);
        break;
      case Claim::Kind::kSweep:
        Sweep(claim.segment, now_ms);
        swept = claim.segment;
        ++sweeps;
        break;
      case Claim::Kind::kNothing:
        if (!held.briefly && !(held.by_reader && ++pinned_tries < kPinnedTries)) return false;
        std::this_thread::yield();
        break;
    }
  }
}

uint32_t SegmentHeap::TakeReserved() {
  uint32_t taken = kNoSegment;
  {
    core::MutexLock lock(mu_);
    if (FreeSegments() == 0) return kNoSegment;
    taken = PopFree();
  }
  return PayForTaken(taken) ? taken : kNoSegment;
}

void SegmentHeap::GiveBack(uint32_t id) {
  core::MutexLock lock(mu_);
  PushFree(id);
  --in_transit_;
}

SegmentHeap::Claim SegmentHeap::FindDead(int64_t now_ms, Held* held) {
  const uint64_t flushed_below = floor();
  for (size_t word = 0; word < queued_.size(); ++word) {
    for (uint64_t bits = queued_[word]; bits != 0; bits &= bits - 1) {
      const int bucket = static_cast<int>(word) * 64 + std::countr_zero(bits);
      const int64_t opened_by_ms = now_ms - TtlBucketFloorMs(bucket);
      for (uint32_t id = queues_[static_cast<size_t>(bucket)].head; id != kNoSegment;
           id = segments_[id].after) {
        Segment& s = segments_[id];
        const bool flushed = s.sequence.load(std::memory_order_relaxed) < flushed_below;
        // A segment's first item lives for the bucket's floor at least, and later segments of the
        // queue were opened later.
        if (!flushed && s.opened_ms > opened_by_ms) break;
        if (!flushed && IsAlive(s.death_ms.load(std::memory_order_relaxed), now_ms)) continue;
        const Claim claim = ClaimFor(id);
        if (claim.kind != Claim::Kind::kNothing) return claim;
        held->briefly = true;
      }
    }
  }
  return {};
}

SegmentHeap::Claim SegmentHeap::FindSparse(uint32_t swept, Held* held) {
  uint32_t best = kNoSegment;
  double least = kSparse;  // Of what the segment takes, the part that lives.
  const auto look = [&](uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const Segment& s = segments_[id];
    if (!s.Is(SegmentState::kSealed) || s.span != 1) return;
    const uint32_t live = s.live_bytes();
    if (live == s.used_bytes.load(std::memory_order_relaxed)) {
      // What was moved together once and is whole still will not lie closer another time, and of two
      // that are half full with the rest given back one cannot be made.
      if (s.gathered || (surplus_ != 0 && live >= segment_bytes_ / 2)) return;
    }
    if (live >= least * s.charged || !MayGo(s, held)) return;
    best = id;
    least = static_cast<double>(live) / s.charged;
  };
  if (swept != kNoSegment) look(swept);
  const uint32_t looks = best != kNoSegment ? 0 : std::min(kSparseLooks, woken_);
  for (uint32_t i = 0; i < looks; ++i) {
    sparse_hand_ = sparse_hand_ + 1 >= woken_ ? 0 : sparse_hand_ + 1;
    look(sparse_hand_);
  }
  if (best == kNoSegment) return {};
  const uint32_t beside = policy_->After(best);
  Claim claim = ClaimFor(best);
  claim.beside = beside;
  return claim;
}

SegmentHeap::Claim SegmentHeap::FindStale(int64_t now_ms, Held* held) {
  uint32_t stalest = kNoSegment;
  int64_t earliest = now_ms + 1;
  for (uint32_t i = 0; i < std::min(kStaleLooks, woken_); ++i) {
    stale_hand_ = stale_hand_ + 1 >= woken_ ? 0 : stale_hand_ + 1;
    const int64_t stale = stale_ms_[stale_hand_].load(std::memory_order_relaxed);
    if (stale >= earliest) continue;
    const Segment& s = segments_[stale_hand_];
    if (!s.Is(SegmentState::kSealed) || s.span != 1 || !MayGo(s, held)) continue;
    stalest = stale_hand_;
    earliest = stale;
  }
  if (stalest == kNoSegment) return {};
  Pin(stalest);
  Claim claim;
  claim.kind = Claim::Kind::kSweep;
  claim.segment = stalest;
  return claim;
}

bool SegmentHeap::MayGo(const Segment& s, Held* held) const {
  // Pairs with the release in EndWrite().
  if (s.writers.load(std::memory_order_acquire) != 0) {
    held->briefly = true;
    return false;
  }
  // Evicting it would lose items and gain no memory.
  if (IsRead(static_cast<uint32_t>(&s - segments_.get()))) {
    held->by_reader = true;
    return false;
  }
  return true;
}

SegmentHeap::Claim SegmentHeap::FindEvictable(SegmentState state, Held* held) {
  if (!evicts_) return {};
  const uint32_t id = policy_->Pick([&](uint32_t candidate) {
    const Segment& s = segments_[candidate];
    return s.Is(state) && MayGo(s, held);
  });
  if (id == kNoSegment) return {};
  if (!has_evicted_.load(std::memory_order_relaxed)) {
    has_evicted_.store(true, std::memory_order_relaxed);
  }
  const Claim claim = ClaimFor(id);
  if (claim.kind == Claim::Kind::kNothing) held->briefly = true;
  return claim;
}

SegmentHeap::Claim SegmentHeap::ClaimFor(uint32_t id) {
  Segment& s = segments_[id];
  const Claim claim{Claim::Kind::kDrain, id, s.shard, LaneOf(s.rank, s.gathered), s.ttl_bucket};
  if (s.Is(SegmentState::kOpen)) {
    Claim seal = claim;
    seal.kind = Claim::Kind::kSeal;
    return seal;
  }
  // Sealed: no new writers. Pairs with EndWrite().
  if (s.writers.load(std::memory_order_acquire) != 0) return {};
  s.Move(SegmentState::kDraining);
  Dequeue(id);
  policy_->Reclaimed(id);
  in_transit_ += static_cast<int>(s.span);
  return claim;
}

void SegmentHeap::ReclaimEmpty(uint32_t segment) {
  Segment& s = segments_[segment];
  {
    core::MutexLock lock(mu_);
    if (!s.Is(SegmentState::kSealed)) return;
    // seq_cst: of "emptied" and "written", whoever comes second sees the other. EndWrite() comes
    // back here.
    if (s.writers.load(std::memory_order_seq_cst) != 0) return;
    if (s.live_items() != 0) return;
    if (ClaimFor(segment).kind != Claim::Kind::kDrain) return;
  }
  Drain(segment, 0, Mercy::kNone);
}

void SegmentHeap::ReclaimDead(int64_t now_ms) {
  for (;;) {
    Claim claim;
    {
      Held held;
      core::MutexLock lock(mu_);
      Reap();
      claim = FindDead(now_ms, &held);
    }
    if (claim.kind == Claim::Kind::kNothing) return;
    if (claim.kind == Claim::Kind::kSeal) {
      SealIfTail(claim);
    } else {
      Drain(claim.segment, now_ms, Mercy::kNone);
    }
  }
}

void SegmentHeap::Flush() {
  core::MutexLock lock(mu_);
  // Tails opened before stay open, but Append() adds nothing to them any more. The floor moves even
  // if nothing was opened since the last flush: writes under way tell by it.
  floor_.store(++next_sequence_, std::memory_order_seq_cst);
}

// --- Numbers and lists ---

SegmentHeap::Usage SegmentHeap::usage() {
  Usage usage;
  core::MutexLock lock(mu_);
  Reap();
  usage.segments = paid_;
  usage.segments_free = FreeSegments();
  const uint64_t flushed_below = floor();
  for (uint32_t id = 0; id < std::min(woken_, in_service_); ++id) {
    const Segment& s = segments_[id];
    if (s.Is(SegmentState::kFree) || s.Is(SegmentState::kPart)) continue;
    if (s.sequence.load(std::memory_order_relaxed) < flushed_below) continue;
    usage.items += s.live_items();
    usage.item_bytes += s.live_bytes();
    if (s.live_items() != 0) usage.oldest_ms = std::min(usage.oldest_ms, s.opened_ms);
  }
  usage.evicted_age_ms = evicted_age_ms_;
  return usage;
}

uint64_t SegmentHeap::overhead_bytes() const {
  return uint64_t{segment_count_} * (sizeof(Segment) + sizeof(stale_ms_[0])) +
         static_cast<uint64_t>(shard_count_) * sizeof(Shard) + gone_.bytes() + ghosts_.bytes();
}

void SegmentHeap::PushFree(uint32_t id) {
  Charge(id, 0);
  free_backed_bytes_ += segments_[id].backed;
  ListFree(id);
}

uint32_t SegmentHeap::PopFree() {
  const uint32_t id = free_.head != kNoSegment ? free_.head : bare_.head;
  TakeFree(id, static_cast<uint32_t>(segment_bytes_));
  return id;
}

void SegmentHeap::TakeFree(uint32_t id, uint32_t charge) {
  UnlistFree(id);
  free_backed_bytes_ -= segments_[id].backed;
  Charge(id, charge);
  woken_ = std::max(woken_, id + 1);
  ++in_transit_;
}

// In front: the one that was used last is still in the processor's cache.
void SegmentHeap::ListFree(uint32_t id) {
  Segment& s = segments_[id];
  InsertAfter(FreeQueueOf(id), kNoSegment, id);
  s.listed = true;
  ++free_count_;
}

void SegmentHeap::UnlistFree(uint32_t id) {
  Remove(FreeQueueOf(id), id);
  segments_[id].listed = false;
  --free_count_;
}

void SegmentHeap::Enqueue(uint32_t id) {
  const uint16_t bucket = segments_[id].ttl_bucket;
  const uint64_t sequence = segments_[id].sequence.load(std::memory_order_relaxed);
  // A new one is the last. One that is put back has only those behind it that opened meanwhile.
  uint32_t before = queues_[bucket].tail;
  while (before != kNoSegment &&
         segments_[before].sequence.load(std::memory_order_relaxed) > sequence) {
    before = segments_[before].before;
  }
  InsertAfter(queues_[bucket], before, id);
  queued_[bucket / 64] |= uint64_t{1} << (bucket % 64);
}

void SegmentHeap::Dequeue(uint32_t id) {
  const uint16_t bucket = segments_[id].ttl_bucket;
  Remove(queues_[bucket], id);
  if (queues_[bucket].head == kNoSegment) {
    queued_[bucket / 64] &= ~(uint64_t{1} << (bucket % 64));
  }
}

void SegmentHeap::InsertAfter(Queue& queue, uint32_t before, uint32_t id) {
  Segment& s = segments_[id];
  uint32_t& from_before = before == kNoSegment ? queue.head : segments_[before].after;
  s.before = before;
  s.after = std::exchange(from_before, id);
  (s.after == kNoSegment ? queue.tail : segments_[s.after].before) = id;
}

void SegmentHeap::Remove(Queue& queue, uint32_t id) {
  const uint32_t before = segments_[id].before;
  const uint32_t after = segments_[id].after;
  (before == kNoSegment ? queue.head : segments_[before].after) = after;
  (after == kNoSegment ? queue.tail : segments_[after].before) = before;
}

}  // namespace seg
