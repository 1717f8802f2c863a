// The index: 64-byte buckets of seven slots, each with a tag of the key and the place of its item.
//
//   bucket: [ overflow:64 ][ slot ] x 7          overflow: 1 + index of the next bucket, 0 = none
//   slot:   63    52 51    44 43        20 19       0
//           [ tag:12 ][ freq:8 ][ segment:24 ][ offset/8:20 ]      all 0 = free; a tag is never 0
//
// freq is kept for eviction policies that want to know what is used; nothing counts there yet.
// A full bucket continues in buckets of a second array, so an insert never fails. A chain is kept
// dense: removing a slot moves the chain's last one into the hole, and an emptied overflow bucket
// is given back. Therefore n items never need more than n / 7 overflow buckets, and reserving that
// many addresses (not memory) is enough for the smallest items a heap can hold.
//
// Threads: a stripe of locks; whoever reads or changes a chain holds stripe(hash). Slots are atomic
// words already, so that readers can later do without (the upper half of the overflow word has room
// for a version).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

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
  static constexpr int kOffsetBits = 20, kSegmentBits = 24, kFreqBits = 8, kTagBits = 12;
  static_assert(kOffsetBits + kSegmentBits + kFreqBits + kTagBits == 64);
  static_assert(kSegmentBytesMax / kItemAlign <= size_t{1} << kOffsetBits);

  static uint64_t Pack(uint32_t tag, Location at) {
    return (uint64_t{tag} << (kFreqBits + kSegmentBits + kOffsetBits)) |
           (uint64_t{at.segment} << kOffsetBits) | (at.offset / kItemAlign);
  }
  static uint32_t TagOf(uint64_t word) {
    return static_cast<uint32_t>(word >> (kFreqBits + kSegmentBits + kOffsetBits));
  }
  static Location LocationOf(uint64_t word) {
    return {static_cast<uint32_t>(word >> kOffsetBits) & ((1u << kSegmentBits) - 1),
            (static_cast<uint32_t>(word) & ((1u << kOffsetBits) - 1)) *
                static_cast<uint32_t>(kItemAlign)};
  }
};

inline constexpr uint32_t kSegmentsMax = 1u << Slot::kSegmentBits;

class HashTable {
 public:
  static constexpr int kSlotsPerBucket = 7;
  static constexpr size_t kStripes = 4096;  // x 64 B; far more than threads, so they rarely meet.

  using Word = std::atomic<uint64_t>;

  // A table of `buckets` (a power of two) that may hold up to `items_max` items.
  static absl::StatusOr<std::unique_ptr<HashTable>> Create(uint64_t buckets, uint64_t items_max,
                                                           uint64_t seed);

  uint64_t Hash(absl::string_view key) const { return core::Hash64(key, seed_); }
  core::Mutex& stripe(uint64_t hash) { return stripes_[hash & mask_ & (kStripes - 1)].mu; }

  // The slot of the item for which `is_it(Location)` says yes, asked only where the tag agrees; or
  // null. The pointer is good until the lock is let go or the chain changed.
  // REQUIRES: stripe(hash) is held (also for Insert, Replace and Remove).
  template <class Match>
  Word* Find(uint64_t hash, Match&& is_it) {
    const uint32_t tag = TagFor(hash);
    for (Bucket* bucket = BucketFor(hash); bucket != nullptr; bucket = Next(bucket)) {
      for (Word& slot : bucket->slots) {
        const uint64_t word = slot.load(std::memory_order_relaxed);
        if (word == 0) return nullptr;  // Chains are dense.
        if (Slot::TagOf(word) == tag && is_it(Slot::LocationOf(word))) return &slot;
      }
    }
    return nullptr;
  }
  // Adds a slot. The chain has none for this item.
  void Insert(uint64_t hash, Location at);
  // Lets `slot` point elsewhere.
  void Replace(uint64_t hash, Word* slot, Location at) {
    slot->store(Slot::Pack(TagFor(hash), at), std::memory_order_relaxed);
  }
  void Remove(uint64_t hash, Word* slot);

  // Bytes of memory in use: the table and the overflow buckets ever touched.
  uint64_t bytes() const;
  uint64_t buckets() const { return mask_ + 1; }

 private:
  struct alignas(64) Bucket {
    Word overflow;
    Word slots[kSlotsPerBucket];
  };
  static_assert(sizeof(Bucket) == 64);
  struct alignas(64) Stripe {
    core::Mutex mu;
  };

  HashTable(Mapping table, Mapping overflow, uint64_t buckets, uint64_t seed);

  static uint32_t TagFor(uint64_t hash) {
    const auto tag = static_cast<uint32_t>(hash >> (64 - Slot::kTagBits));
    return tag == 0 ? 1 : tag;
  }
  Bucket* BucketFor(uint64_t hash) { return &table_[hash & mask_]; }
  Bucket* Next(const Bucket* bucket) {
    const uint64_t next = bucket->overflow.load(std::memory_order_relaxed);
    return next == 0 ? nullptr : &overflow_[next - 1];
  }
  uint64_t TakeOverflow();
  void GiveOverflow(uint64_t index);

  const Mapping table_memory_;
  const Mapping overflow_memory_;
  Bucket* const table_;
  Bucket* const overflow_;
  const uint64_t mask_;
  const uint64_t overflow_max_;
  const uint64_t seed_;
  const std::unique_ptr<Stripe[]> stripes_;

  mutable core::Mutex overflow_mu_;  // After a stripe. Guards what is free in overflow_.
  uint64_t overflow_free_ ABSL_GUARDED_BY(overflow_mu_) = 0;  // 1 + index; linked by `overflow`.
  uint64_t overflow_touched_ ABSL_GUARDED_BY(overflow_mu_) = 0;
};

}  // namespace seg
