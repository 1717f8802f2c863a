// Emptying a segment: what becomes of its items, and of itself. See segment_heap.h.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "cache/seg/segment_heap.h"
#include "core/base/check.h"

namespace seg {
namespace {

// Items that leave a segment for good.
struct Losses {
  uint64_t items = 0;
  uint64_t unused = 0;
  uint64_t used = 0;
  uint64_t with_ttl = 0;
};

// A sweep comes again when another 1/kSweepShare of the segment has died.
constexpr uint64_t kSweepShare = 8;

}  // namespace

void SegmentHeap::Drain(uint32_t id, int64_t now_ms, Mercy mercy, uint32_t beside) {
  Segment& s = segments_[id];
  CountReclaim(s, now_ms, mercy);
  const uint64_t floor_now = floor();
  const bool flushed = s.sequence.load(std::memory_order_relaxed) < floor_now;
  const bool is_large = s.span > 1;  // Not to be asked of a segment that was put back.
  const bool remembers = s.rank == Rank::kNew && policy_->remembers();
  const double least = flushed ? kNothingStays : LeastScore(id, now_ms, mercy);
  // Past the queue of new items a count says nothing of the uses before.
  const bool tells_unused = freq_max_ != 0 && s.rank == Rank::kNew;
  EvictionListener* const listener =
      listener_ != nullptr && listener_->listens() ? listener_ : nullptr;
  Losses expired, evicted;
  bool stays = false;
  const uint32_t used = s.used_bytes.load(std::memory_order_relaxed);
  for (Location at{id, s.begin()}; at.offset < used && s.live_items() != 0;) {
    const Item found = item(at);
    const uint64_t hash = table_->Hash(found.key());
    const Location next{id, at.offset + static_cast<uint32_t>(found.bytes())};
    const bool alive = !flushed && IsAlive(found.deadline_ms(), now_ms);
    const std::optional<uint64_t> word = alive ? WordAt(at, hash) : std::nullopt;
    const uint32_t freq = Slot::FreqOf(word.value_or(0));
    if (word.has_value() && policy_->Score(freq, next.offset - at.offset) >= least) {
      const bool evicts = mercy == Mercy::kUsed;
      const uint32_t freq_after = evicts ? policy_->FreqAfter(freq, s.rank) : freq;
      if (is_large ? Spare(id, at, hash, freq_after)
                   : MoveItem(at, hash, freq_after, Slot::IsOut(*word), floor_now,
                              {.rank = evicts ? Rank::kProven : s.rank,
                               .now_ms = now_ms,
                               .gathered = !evicts,
                               .beside = beside})) {
        if (is_large) return;
        at = next;
        continue;
      }
      // No room to move it to, and it is not for lack of use that it lies here.
      stays = mercy == Mercy::kAll;
      if (stays) break;
    }
    uint32_t uses = 0;
    const Taken taken = TakeOut(
        at, hash, alive || flushed ? std::nullopt : std::optional<int64_t>(now_ms), &uses);
    if (taken == Taken::kTouched) continue;
    if (taken == Taken::kYes && !flushed) {
      Losses& losses = alive ? evicted : expired;
      ++losses.items;
      if (uses != 0) ++losses.used;
      if (uses == 0 && tells_unused) ++losses.unused;
      if (found.deadline_ms() != kDeadlineNever) ++losses.with_ttl;
      if (alive && remembers) ghosts_.Add(hash);
      if (alive && listener != nullptr) [[unlikely]] {
        const int64_t deadline_ms = found.deadline_ms();
        listener->OnEvict({.key = found.key(),
                           .value_bytes = found.value().size(),
                           .ttl_ms = deadline_ms == kDeadlineNever ? -1 : deadline_ms - now_ms,
                           .used = uses != 0,
                           .age_ms = now_ms - s.opened_ms});
      }
    }
    at = next;
  }
  metrics_->item_expire.Add(expired.items);
  metrics_->item_expire_unused.Add(expired.unused);
  metrics_->item_evict.Add(evicted.items);
  metrics_->item_evict_ttl.Add(evicted.with_ttl);
  metrics_->item_evict_used.Add(evicted.used);
  metrics_->item_evict_unused.Add(evicted.unused);
  if (stays) return PutBack(id, beside);

  CHECK(s.live_items() == 0);
  core::MutexLock lock(mu_);
  if (evicted.items != 0) evicted_age_ms_ = now_ms - s.opened_ms;
  if (IsRead(id)) {
    limbo_.push_back(id);
    in_transit_ -= static_cast<int>(s.span);
  } else {
    Free(id);
  }
}

// The rest of the items stay where they are.
void SegmentHeap::PutBack(uint32_t id, uint32_t beside) {
  {
    core::MutexLock lock(mu_);
    segments_[id].Move(SegmentState::kSealed);
    Enqueue(id);
    policy_->OpenedBefore(id, beside);
    in_transit_ -= static_cast<int>(segments_[id].span);
  }
  ReclaimIfEmpty(id);
}

// Nobody reads the segment and the caller counts it as in transit.
void SegmentHeap::Free(uint32_t id) {
  const uint32_t span = segments_[id].span;
  for (uint32_t i = id; i < id + span; ++i) {
    Segment& s = segments_[i];
    s.span = 1;
    s.Move(SegmentState::kFree);
    if (s.wanted) continue;  // JoinWindow() takes it from here.
    PushFree(i);
    --in_transit_;
  }
}

void SegmentHeap::Reap() {
  for (size_t i = 0; i < limbo_.size();) {
    const uint32_t id = limbo_[i];
    if (IsRead(id)) {
      ++i;
      continue;
    }
    limbo_[i] = limbo_.back();
    limbo_.pop_back();
    in_transit_ += static_cast<int>(segments_[id].span);
    Free(id);
  }
}

std::optional<uint64_t> SegmentHeap::WordAt(Location at, uint64_t hash) {
  std::optional<uint64_t> found;
  table_->Read(hash, [&](HashTable::Word&, uint64_t word) {
    if (Slot::LocationOf(word) != at) return false;
    found = word;
    return true;
  });
  return found;
}

// What an item must score to stay; more than any does if nothing shall.
double SegmentHeap::LeastScore(uint32_t id, int64_t now_ms, Mercy mercy) {
  if (mercy != Mercy::kUsed) return mercy == Mercy::kAll ? kAllStays : kNothingStays;
  const Segment& s = segments_[id];
  const double share = policy_->MercyFor(s.rank).share;
  if (share == 0) return kNothingStays;
  if (share >= 1) return kLeastScore;
  struct Scored {
    double score;
    uint32_t bytes;
  };
  std::vector<Scored> scored;
  uint64_t live = 0;
  for (Location at{id, s.begin()}; at.offset < s.used_bytes.load(std::memory_order_relaxed);) {
    const Item found = item(at);
    const auto bytes = static_cast<uint32_t>(found.bytes());
    if (IsAlive(found.deadline_ms(), now_ms)) {
      if (const auto word = WordAt(at, table_->Hash(found.key())); word.has_value()) {
        scored.push_back({policy_->Score(Slot::FreqOf(*word), bytes), bytes});
        live += bytes;
      }
    }
    at.offset += bytes;
  }
  std::sort(scored.begin(), scored.end(),
            [](const Scored& a, const Scored& b) { return a.score > b.score; });
  auto room = static_cast<int64_t>(share * static_cast<double>(live));
  double least = kNothingStays;
  for (const Scored& one : scored) {
    room -= one.bytes;
    if (room < 0 || one.score < kLeastScore) break;
    least = one.score;
  }
  return least;
}

SegmentHeap::Taken SegmentHeap::TakeOut(Location at, uint64_t hash,
                                       std::optional<int64_t> if_dead_ms, uint32_t* uses) {
  HashTable::ChainLock lock(*table_, hash);
  HashTable::Word* slot = table_->Find(hash, [at](Location there) { return there == at; });
  if (slot == nullptr) return Taken::kWasGone;
  if (if_dead_ms.has_value() && IsAlive(item(at).deadline_ms(), *if_dead_ms)) {
    return Taken::kTouched;
  }
  *uses = Slot::FreqOf(table_->Remove(hash, slot));
  CountOut(at);
  return Taken::kYes;
}

// The next time is found from how much dies within 1, 2, 4 .. ms, so it may come up to twice too
// late, and a segment is swept nine times at the most.
void SegmentHeap::Sweep(uint32_t id, int64_t now_ms) {
  Segment& s = segments_[id];
  std::array<uint64_t, kDeadlineBits + 1> dying{};  // Bytes, by the bits of the time they have left.
  const bool tells_unused = freq_max_ != 0 && s.rank == Rank::kNew;
  uint64_t expired = 0;
  uint64_t unused = 0;
  const uint32_t used = s.used_bytes.load(std::memory_order_relaxed);
  for (Location at{id, s.begin()}; at.offset < used;) {
    const Item found = item(at);
    const auto bytes = static_cast<uint32_t>(found.bytes());
    const int64_t deadline_ms = found.deadline_ms();
    if (!IsAlive(deadline_ms, now_ms)) {
      uint32_t uses = 0;
      if (TakeOut(at, table_->Hash(found.key()), now_ms, &uses) == Taken::kYes) {
        ++expired;
        if (uses == 0 && tells_unused) ++unused;
      }
    } else if (deadline_ms != kDeadlineNever) {
      dying[static_cast<size_t>(std::bit_width(static_cast<uint64_t>(deadline_ms - now_ms)))] +=
          bytes;
    }
    at.offset += bytes;
  }
  metrics_->item_expire.Add(expired);
  metrics_->item_expire_unused.Add(unused);
  int64_t next_ms = kDeadlineNever;
  uint64_t dead = 0;
  for (size_t bits = 0; bits < dying.size() && next_ms == kDeadlineNever; ++bits) {
    dead += dying[bits];
    if (dead * kSweepShare >= segment_bytes_) next_ms = now_ms + (int64_t{1} << bits);
  }
  stale_ms_[id].store(next_ms, std::memory_order_relaxed);
  Unpin(&s);
  ReclaimIfEmpty(id);
}

// A large item stays where it is; its segment begins a new life in the other queue. Returns false if
// the item has gone.
bool SegmentHeap::Spare(uint32_t id, Location at, uint64_t hash, uint32_t freq) {
  Segment& s = segments_[id];
  {
    HashTable::ChainLock lock(*table_, hash);
    HashTable::Word* slot = table_->Find(hash, [at](Location there) { return there == at; });
    if (slot == nullptr) return false;
    table_->SetFreq(slot, freq);
  }
  {
    core::MutexLock lock(mu_);
    for (uint32_t i = id; i < id + s.span; ++i) {
      if (segments_[i].wanted) return false;  // Room for another large item is made of it.
    }
    s.rank = Rank::kProven;
  }
  PutBack(id, kNoSegment);
  return true;
}

bool SegmentHeap::MoveItem(Location at, uint64_t hash, uint32_t freq, bool token_is_out,
                           uint64_t floor_then, Place place) {
  const Item old = item(at);
  token_is_out = token_is_out || old.kept_cas() != 0;
  for (;;) {  // Again if the item was touched, or its token told, meanwhile.
    const int64_t deadline_ms = old.deadline_ms();
    const ItemSpec spec{old.key(), old.value(), old.flags(), token_is_out ? TokenOf(at) : 0,
                        deadline_ms, old.marks()};
    place.deadline_ms = deadline_ms;
    place.bucket = TtlBucketOf(deadline_ms == kDeadlineNever
                                   ? int64_t{-1}
                                   : std::max(deadline_ms - place.now_ms, int64_t{0}));
    Location to;
    const size_t bytes = Item::BytesFor(spec);
    if (bytes > segment_bytes_) return false;  // It fitted, but not with its token.
    if (!BeginMove(bytes, place, &to)) return false;
    item(to).Write(spec);
    bool done = true;
    bool moved = false;
    {
      HashTable::ChainLock lock(*table_, hash);
      HashTable::Word* slot = table_->Find(hash, [at](Location there) { return there == at; });
      // Flushed meanwhile: it stays behind. Replaced or deleted: nothing is left to be moved.
      if (slot != nullptr && floor() == floor_then) {
        done = old.deadline_ms() == deadline_ms;
        if (done) {
          item(to).TakeMarksOf(old);
          moved = table_->MoveTo(slot, to, freq, token_is_out);
          if (moved) CountOut(at);
          done = moved;
          token_is_out = true;  // Or else it was moved.
        }
      } else if (slot != nullptr) {
        table_->Remove(hash, slot);
        CountOut(at);
      }
    }
    if (!moved) CountOut(to);
    EndWrite(to.segment);
    if (moved) metrics_->item_move.Add();
    if (done) return true;
  }
}

void SegmentHeap::CountReclaim(const Segment& segment, int64_t now_ms, Mercy mercy) {
  if (segment.sequence.load(std::memory_order_relaxed) < floor()) {
    metrics_->segment_flush.Add();
  } else if (segment.live_items() == 0) {
    metrics_->segment_empty.Add();
  } else if (!IsAlive(segment.death_ms.load(std::memory_order_relaxed), now_ms)) {
    metrics_->segment_expire.Add();
  } else if (mercy == Mercy::kAll) {
    metrics_->segment_sparse.Add();
  } else {
    metrics_->segment_evict.Add();
  }
}

}  // namespace seg
