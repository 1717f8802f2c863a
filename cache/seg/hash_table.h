// The index: 64-byte buckets of seven slots, each with a tag of the key and the place of its item.
//
//   bucket: [ head ][ slot ] x 7     head:  63      33   32    31            0
//                                          [ version ][ lock ][ overflow:32   ]
//   slot:   63    52   51    50    44 43        20 19       0
//           [ tag:12 ][ out ][ freq:7 ][ segment:24 ][ place:20 ]   all 0 = free; a tag is never 0
//
// `out`: the CAS token of the item was told to somebody, so it must survive a move. `freq`: how
// often the item was used lately, for policies that count. `place`: the offset over kItemAlign.
//
// A full bucket continues in overflow buckets, which are counted down from the end of their memory
// (`overflow` is 1 for the last, 2 for the one before, 0 for none). A chain is kept dense: removing a
// slot moves the chain's last one into the hole, and an emptied overflow bucket is given back.
// Therefore n items never need more than n / 7 overflow buckets. Their memory is either a reservation
// of that many addresses (not pages) for the smallest items a heap can hold, so that an insert never
// fails; or the far end of the heap, from which the table is given segment after segment as it
// needs them (segment_heap.h), so that items and index together never take more than was planned.
//
// Threads: who changes a chain holds the lock bit of its first bucket. Readers take nothing. A
// reader meets every item that was there all the time: a slot that moves is in its new place before
// it leaves the old one, and the version grows in between, so a reader that found nothing looks
// again if the version is not what it was. Readers change `out` and `freq` by compare-and-swap.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cache/seg/item.h"
#include "cache/seg/mapping.h"
#include "core/base/hash.h"
#include "core/base/mutex.h"

namespace seg {

// Where an item lies.
struct Location {
  uint32_t segment = 0;
  uint32_t offset = 0;  // Bytes from the start of the segment; a multiple of kItemAlign.

  bool operator==(const Location&) const = default;
};

class Slot {
 public:
  static constexpr int kPlaceBits = 20, kSegmentBits = 24, kFreqBits = 7, kOutBits = 1,
                       kTagBits = 12;
  static_assert(kPlaceBits + kSegmentBits + kFreqBits + kOutBits + kTagBits == 64);
  static_assert(kSegmentBytesMax / kItemAlign <= size_t{1} << kPlaceBits);

  static constexpr int kFreqAt = kPlaceBits + kSegmentBits;
  static constexpr uint32_t kFreqMax = (1u << kFreqBits) - 1;
  static constexpr uint64_t kFreqOne = uint64_t{1} << kFreqAt;
  static constexpr uint64_t kOut = uint64_t{1} << (kFreqAt + kFreqBits);
  static constexpr uint64_t kLocation = kFreqOne - 1;
  static constexpr uint64_t kTag = ~uint64_t{0} << (64 - kTagBits);

  static uint64_t Pack(uint32_t tag, Location at) {
    return (uint64_t{tag} << (64 - kTagBits)) | LocationBits(at);
  }
  static uint64_t LocationBits(Location at) {
    return (uint64_t{at.segment} << kPlaceBits) | (at.offset / kItemAlign);
  }
  static uint32_t TagOf(uint64_t word) { return static_cast<uint32_t>(word >> (64 - kTagBits)); }
  static uint32_t FreqOf(uint64_t word) {
    return static_cast<uint32_t>(word >> kFreqAt) & kFreqMax;
  }
  static bool IsOut(uint64_t word) { return (word & kOut) != 0; }
  // Whether both are for the same item at the same place.
  static bool SamePlace(uint64_t a, uint64_t b) {
    return ((a ^ b) & (kLocation | kTag)) == 0;
  }
  static bool SameTag(uint64_t a, uint64_t b) { return ((a ^ b) & kTag) == 0; }
  // `word` with another count, or at another place.
  static uint64_t WithFreq(uint64_t word, uint32_t freq) {
    return (word & ~(uint64_t{kFreqMax} << kFreqAt)) | (uint64_t{freq} << kFreqAt);
  }
  static uint64_t WithLocation(uint64_t word, Location at) {
    return (word & ~kLocation) | LocationBits(at);
  }
  static Location LocationOf(uint64_t word) {
    return {static_cast<uint32_t>(word >> kPlaceBits) & ((1u << kSegmentBits) - 1),
            (static_cast<uint32_t>(word) & ((1u << kPlaceBits) - 1)) *
                static_cast<uint32_t>(kItemAlign)};
  }
};

inline constexpr uint32_t kSegmentsMax = 1u << Slot::kSegmentBits;

class HashTable {
 public:
  static constexpr int kSlotsPerBucket = 7;
  static constexpr size_t kBucketBytes = 64;

  using Word = std::atomic<uint64_t>;

  // Where a table lies. Zeroed, or what Rest() left behind; outlives the table.
  struct Memory {
    char* buckets = nullptr;
    char* overflow_end = nullptr;
    uint64_t overflow_bytes = 0;  // Below overflow_end.
    // More overflow memory is asked for when less than this is left; 0: never.
    uint64_t overflow_bytes_low = 0;
  };
  // A table of `buckets` in `memory`.
  static std::unique_ptr<HashTable> On(const Memory& memory, uint64_t buckets, uint64_t seed);
  // A table of `buckets` in memory of its own that may hold up to `items_max` items.
  static absl::StatusOr<std::unique_ptr<HashTable>> Create(uint64_t buckets, uint64_t items_max,
                                                           uint64_t seed);
  // What a table of that many items takes for overflow at the most.
  static uint64_t OverflowBytesFor(uint64_t items_max) {
    return std::min(items_max / kSlotsPerBucket + 1, kNextMask - 1) * kBucketBytes;
  }

  uint64_t Hash(absl::string_view key) const { return core::Hash64(key, seed_); }
  // Begins to load what a lookup of `hash` looks at first.
  void Prefetch(uint64_t hash) const { __builtin_prefetch(BucketFor(hash)); }
  // The same for a write: takes the line away from other processors at once.
  void PrefetchForWrite(uint64_t hash) const {
#if defined(__x86_64__)
    asm volatile("prefetchw %0" : : "m"(*BucketFor(hash)));
#else
    __builtin_prefetch(BucketFor(hash), 1);
#endif
  }
  // The first slot in the first bucket whose tag agrees; 0 = none. A hint, good for prefetching only.
  uint64_t Guess(uint64_t hash) const {
    const uint32_t tag = TagFor(hash);
    for (const Word& slot : BucketFor(hash)->slots) {
      const uint64_t word = slot.load(std::memory_order_relaxed);
      if (word == 0 || Slot::TagOf(word) == tag) return word;
    }
    return 0;
  }

  // Calls `accept(slot, word)` for the slots whose tag agrees until it says true. Returns whether
  // it did. Needs no lock; `accept` may be asked about a slot more than once, and must check by its
  // own means that what it looks at is still what the slot says.
  template <class Accept>
  bool Read(uint64_t hash, Accept&& accept) {
    Bucket* const first = BucketFor(hash);
    const uint32_t tag = TagFor(hash);
    uint64_t head = first->head.load(std::memory_order_acquire);
    for (;;) {
      uint64_t next = head;
      for (Bucket* bucket = first;;) {
        for (Word& slot : bucket->slots) {
          // seq_cst: see pins.h. Of "taken out" and "published", whoever comes second sees the other.
          const uint64_t word = slot.load(std::memory_order_seq_cst);
          if (word == 0) goto end;  // Chains are dense.
          if (Slot::TagOf(word) == tag && accept(slot, word)) return true;
        }
        if ((next & kNextMask) == 0) break;
        bucket = overflow_end_ - (next & kNextMask);
        next = bucket->head.load(std::memory_order_acquire);
      }
    end:
      // Pairs with the release in Remove().
      const uint64_t now = first->head.load(std::memory_order_acquire);
      if (now >> kVersionAt == head >> kVersionAt) return false;
      head = now;
    }
  }

  // Holds the lock of a key's chain. A few instructions long: nothing that waits while it is held.
  class ChainLock {
   public:
    ChainLock(HashTable& table, uint64_t hash) : head_(table.BucketFor(hash)->head) { Lock(); }
    ~ChainLock() {
      // Pairs with the acquire in Lock(). Nobody else changes the word meanwhile.
      head_.store(head_.load(std::memory_order_relaxed) & ~kLockBit, std::memory_order_release);
    }
    ChainLock(const ChainLock&) = delete;
    ChainLock& operator=(const ChainLock&) = delete;

   private:
    void Lock() {
      uint64_t head = head_.load(std::memory_order_relaxed);
      if ((head & kLockBit) != 0 ||
          !head_.compare_exchange_weak(head, head | kLockBit, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        LockSlow();
      }
    }
    void LockSlow();
    Word& head_;
  };

  // The slot of the item for which `is_it(Location)` says yes, asked only where the tag agrees; or
  // null. REQUIRES: the ChainLock of `hash` is held (also for everything below).
  template <class Match>
  Word* Find(uint64_t hash, Match&& is_it) {
    const uint32_t tag = TagFor(hash);
    for (Bucket* bucket = BucketFor(hash); bucket != nullptr; bucket = Next(bucket)) {
      for (Word& slot : bucket->slots) {
        const uint64_t word = slot.load(std::memory_order_relaxed);
        if (word == 0) return nullptr;
        if (Slot::TagOf(word) == tag && is_it(Slot::LocationOf(word))) return &slot;
      }
    }
    return nullptr;
  }
  // Adds a slot. The chain has none for this item. Returns false, and changes nothing, if an overflow
  // bucket is needed and there is none.
  [[nodiscard]] bool Insert(uint64_t hash, Location at, bool out);
  // Lets `slot` point to another item of the same key. Its count stays. Returns the old word.
  uint64_t Replace(Word* slot, Location at, bool out);
  // Lets `slot` point to a copy of its item, counted as `freq`. Returns false, and changes nothing,
  // if the token is out and the copy does not have it.
  bool MoveTo(Word* slot, Location at, uint32_t freq, bool has_token);
  void SetFreq(Word* slot, uint32_t freq);
  // Removes `slot`. Returns its last word.
  uint64_t Remove(uint64_t hash, Word* slot);

  // Bytes of memory in use: the table and the overflow buckets ever touched, or given.
  uint64_t bytes() const;
  uint64_t buckets() const { return buckets_; }

  // Whether overflow buckets are about to run out, and adding some is possible.
  bool wants_overflow() const { return wants_overflow_.load(std::memory_order_relaxed); }
  // The zeroed `bytes` below the overflow buckets so far are for overflow buckets from now on.
  void AddOverflow(uint64_t bytes);

  // What a table knows besides its memory.
  struct State {
    uint64_t seed = 0;
    uint64_t overflow_max = 0;
    uint64_t overflow_touched = 0;
    uint64_t free_first = 0;  // As in a head; the others follow in the heads of the free.
    uint64_t free_count = 0;
  };
  // Lays the table down to be read by Resume() another time. REQUIRES: nobody uses it, now or later.
  State Rest();
  // Takes up what Rest() said of the table that lies in this one's memory. Returns false if it cannot
  // be. REQUIRES: nobody uses it yet.
  [[nodiscard]] bool Resume(const State& state);

 private:
  struct alignas(64) Bucket {
    Word head;
    Word slots[kSlotsPerBucket];
  };
  static_assert(sizeof(Bucket) == kBucketBytes);

  static constexpr uint64_t kNextMask = 0xffffffff;
  static constexpr uint64_t kLockBit = uint64_t{1} << 32;
  static constexpr int kVersionAt = 33;

  HashTable(const Memory& memory, uint64_t buckets, uint64_t seed);

  static uint32_t TagFor(uint64_t hash) {
    const auto tag = static_cast<uint32_t>(hash >> (64 - Slot::kTagBits));
    return tag == 0 ? 1 : tag;
  }
  // The bits below the tag, scaled to the number of buckets (Lemire, ACM TOMACS 2019).
  Bucket* BucketFor(uint64_t hash) const {
    const auto scaled = static_cast<unsigned __int128>(hash << Slot::kTagBits) * buckets_;
    return &table_[static_cast<uint64_t>(scaled >> 64)];
  }
  Bucket* Next(const Bucket* bucket) {
    const uint64_t next = bucket->head.load(std::memory_order_relaxed) & kNextMask;
    return next == 0 ? nullptr : overflow_end_ - next;
  }
  // As a head names it; 0 if there is none.
  uint64_t TakeOverflow();
  void GiveOverflow(uint64_t number);
  void LookHowMuchIsLeft() ABSL_EXCLUSIVE_LOCKS_REQUIRED(overflow_mu_);

  Mapping own_table_;  // Of a table in memory of its own.
  Mapping own_overflow_;
  Bucket* const table_;
  Bucket* const overflow_end_;
  const uint64_t buckets_;
  const uint64_t overflow_low_;
  const uint64_t seed_;

  mutable core::Mutex overflow_mu_;  // After a ChainLock. Guards which overflow buckets are free.
  std::vector<uint32_t> overflow_free_ ABSL_GUARDED_BY(overflow_mu_);
  uint64_t overflow_touched_ ABSL_GUARDED_BY(overflow_mu_) = 0;
  uint64_t overflow_max_ ABSL_GUARDED_BY(overflow_mu_);
  std::atomic<bool> wants_overflow_{false};
};

}  // namespace seg
