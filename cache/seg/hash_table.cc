// Chains: how slots come and go, and where overflow buckets come from. See hash_table.h.
#include "cache/seg/hash_table.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "core/base/check.h"
#include "core/base/status.h"

namespace seg {
namespace {

// A lock is held for tens of nanoseconds, unless its holder lost the processor.
constexpr int kSpins = 64;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

std::unique_ptr<HashTable> HashTable::On(const Memory& memory, uint64_t buckets, uint64_t seed) {
  CHECK(buckets != 0);
  return std::unique_ptr<HashTable>(new HashTable(memory, buckets, seed));
}

absl::StatusOr<std::unique_ptr<HashTable>> HashTable::Create(uint64_t buckets, uint64_t items_max,
                                                             uint64_t seed) {
  const uint64_t spare = OverflowBytesFor(items_max);
  ASSIGN_OR_RETURN(Mapping table, Mapping::Create(buckets * sizeof(Bucket)));
  ASSIGN_OR_RETURN(Mapping overflow, Mapping::Create(spare));
  auto created = On({table.data(), overflow.data() + spare, spare, 0}, buckets, seed);
  created->own_table_ = std::move(table);
  created->own_overflow_ = std::move(overflow);
  return created;
}

HashTable::HashTable(const Memory& memory, uint64_t buckets, uint64_t seed)
    : table_(reinterpret_cast<Bucket*>(memory.buckets)),
      overflow_end_(reinterpret_cast<Bucket*>(memory.overflow_end)),
      buckets_(buckets),
      overflow_low_(memory.overflow_bytes_low / sizeof(Bucket)),
      seed_(seed),
      overflow_max_(memory.overflow_bytes / sizeof(Bucket)) {
  core::MutexLock lock(overflow_mu_);
  LookHowMuchIsLeft();
}

void HashTable::ChainLock::LockSlow() {
  for (int spins = 0;;) {
    uint64_t head = head_.load(std::memory_order_relaxed);
    // Pairs with the release in ~ChainLock().
    if ((head & kLockBit) == 0 &&
        head_.compare_exchange_weak(head, head | kLockBit, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {
      return;
    }
    if (++spins < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
}

bool HashTable::Insert(uint64_t hash, Location at, bool out) {
  const uint64_t word = Slot::Pack(TagFor(hash), at) | (out ? Slot::kOut : 0);
  Bucket* bucket = BucketFor(hash);
  while (Bucket* next = Next(bucket)) bucket = next;
  for (Word& slot : bucket->slots) {
    if (slot.load(std::memory_order_relaxed) != 0) continue;
    // Pairs with the load in Read(): the item was written before.
    slot.store(word, std::memory_order_release);
    return true;
  }
  const uint64_t number = TakeOverflow();
  if (number == 0) return false;
  (overflow_end_ - number)->slots[0].store(word, std::memory_order_release);
  bucket->head.store(bucket->head.load(std::memory_order_relaxed) | number,
                     std::memory_order_release);
  return true;
}

uint64_t HashTable::Replace(Word* slot, Location at, bool out) {
  uint64_t old = slot->load(std::memory_order_relaxed);
  uint64_t word = 0;
  do {  // Again only if a reader counted a use, or was told the token.
    word = Slot::WithLocation(old, at) & ~Slot::kOut;
    if (out) word |= Slot::kOut;
    // seq_cst: the old place is out of the index before its segment's readers are looked for.
  } while (!slot->compare_exchange_weak(old, word, std::memory_order_seq_cst,
                                        std::memory_order_relaxed));
  return old;
}

bool HashTable::MoveTo(Word* slot, Location at, uint32_t freq, bool has_token) {
  uint64_t old = slot->load(std::memory_order_relaxed);
  do {
    if (Slot::IsOut(old) && !has_token) return false;
    // seq_cst: as in Replace().
  } while (!slot->compare_exchange_weak(old, Slot::WithFreq(Slot::WithLocation(old, at), freq),
                                        std::memory_order_seq_cst, std::memory_order_relaxed));
  return true;
}

void HashTable::SetFreq(Word* slot, uint32_t freq) {
  uint64_t old = slot->load(std::memory_order_relaxed);
  while (!slot->compare_exchange_weak(old, Slot::WithFreq(old, freq), std::memory_order_relaxed)) {
  }
}

uint64_t HashTable::Remove(uint64_t hash, Word* slot) {
  Bucket* const first = BucketFor(hash);
  Bucket* before = nullptr;
  Bucket* tail = first;
  while (Bucket* next = Next(tail)) before = std::exchange(tail, next);
  int last = kSlotsPerBucket - 1;
  while (last > 0 && tail->slots[last].load(std::memory_order_relaxed) == 0) --last;

  Word* const hole = slot;
  Word* const moved = &tail->slots[last];
  uint64_t removed = 0;
  if (hole != moved) {
    removed = hole->exchange(moved->load(std::memory_order_relaxed), std::memory_order_seq_cst);
    // The slot is in both places now; a reader that comes by neither sees the version grow.
    first->head.fetch_add(uint64_t{1} << kVersionAt, std::memory_order_release);
    const uint64_t then = moved->exchange(0, std::memory_order_seq_cst);
    if (Slot::IsOut(then)) hole->fetch_or(Slot::kOut, std::memory_order_relaxed);
  } else {
    removed = moved->exchange(0, std::memory_order_seq_cst);
  }
  if (last == 0 && before != nullptr) {
    // A reader may still be in the bucket while it joins another chain; it, too, sees the version.
    first->head.fetch_add(uint64_t{1} << kVersionAt, std::memory_order_release);
    before->head.store(before->head.load(std::memory_order_relaxed) & ~kNextMask,
                       std::memory_order_release);
    GiveOverflow(static_cast<uint64_t>(overflow_end_ - tail));
  }
  return removed;
}

uint64_t HashTable::TakeOverflow() {
  core::MutexLock lock(overflow_mu_);
  uint64_t number = 0;
  if (!overflow_free_.empty()) {
    number = overflow_free_.back();
    overflow_free_.pop_back();
  } else if (overflow_touched_ < overflow_max_) {
    number = ++overflow_touched_;
  }
  LookHowMuchIsLeft();
  return number;
}

void HashTable::GiveOverflow(uint64_t number) {
  core::MutexLock lock(overflow_mu_);
  overflow_free_.push_back(static_cast<uint32_t>(number));
  LookHowMuchIsLeft();
}

void HashTable::AddOverflow(uint64_t bytes) {
  core::MutexLock lock(overflow_mu_);
  overflow_max_ = std::min(overflow_max_ + bytes / sizeof(Bucket), kNextMask);
  LookHowMuchIsLeft();
}

void HashTable::LookHowMuchIsLeft() {
  const bool wants =
      overflow_max_ - overflow_touched_ + overflow_free_.size() < overflow_low_;
  wants_overflow_.store(wants, std::memory_order_relaxed);
}

uint64_t HashTable::bytes() const {
  core::MutexLock lock(overflow_mu_);
  return (buckets_ + (overflow_low_ == 0 ? overflow_touched_ : overflow_max_)) * sizeof(Bucket);
}

HashTable::State HashTable::Rest() {
  core::MutexLock lock(overflow_mu_);
  State state{seed_, overflow_max_, overflow_touched_, 0, overflow_free_.size()};
  for (const uint32_t number : overflow_free_) {
    (overflow_end_ - number)->head.store(std::exchange(state.free_first, number),
                                         std::memory_order_relaxed);
  }
  return state;
}

bool HashTable::Resume(const State& state) {
  core::MutexLock lock(overflow_mu_);
  if (state.seed != seed_ || state.overflow_touched > state.overflow_max ||
      state.free_count > state.overflow_touched) {
    return false;
  }
  overflow_max_ = state.overflow_max;
  overflow_touched_ = state.overflow_touched;
  uint64_t number = state.free_first;
  for (uint64_t i = 0; i < state.free_count; ++i) {
    if (number == 0 || number > overflow_touched_) return false;
    overflow_free_.push_back(static_cast<uint32_t>(number));
    number = (overflow_end_ - number)->head.exchange(0, std::memory_order_relaxed);
  }
  LookHowMuchIsLeft();
  return number == 0;
}

}  // namespace seg
