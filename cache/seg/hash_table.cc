// Chains: how slots come and go, and where overflow buckets come from. See hash_table.h.
#include "cache/seg/hash_table.h"

#include <utility>

#include "core/base/check.h"
#include "core/base/status.h"

namespace seg {

absl::StatusOr<std::unique_ptr<HashTable>> HashTable::Create(uint64_t buckets, uint64_t items_max,
                                                             uint64_t seed) {
  CHECK(buckets != 0 && (buckets & (buckets - 1)) == 0);
  ASSIGN_OR_RETURN(Mapping table, Mapping::Create(buckets * sizeof(Bucket)));
  ASSIGN_OR_RETURN(Mapping overflow,
                   Mapping::Create((items_max / kSlotsPerBucket + 1) * sizeof(Bucket)));
  return std::unique_ptr<HashTable>(
      new HashTable(std::move(table), std::move(overflow), buckets, seed));
}

HashTable::HashTable(Mapping table, Mapping overflow, uint64_t buckets, uint64_t seed)
    : table_memory_(std::move(table)),
      overflow_memory_(std::move(overflow)),
      table_(reinterpret_cast<Bucket*>(table_memory_.data())),
      overflow_(reinterpret_cast<Bucket*>(overflow_memory_.data())),
      mask_(buckets - 1),
      overflow_max_(overflow_memory_.bytes() / sizeof(Bucket)),
      seed_(seed),
      stripes_(new Stripe[kStripes]) {}

void HashTable::Insert(uint64_t hash, Location at) {
  Bucket* bucket = BucketFor(hash);
  while (Bucket* next = Next(bucket)) bucket = next;
  for (Word& slot : bucket->slots) {
    if (slot.load(std::memory_order_relaxed) != 0) continue;
    return Replace(hash, &slot, at);
  }
  const uint64_t index = TakeOverflow();
  Replace(hash, &overflow_[index].slots[0], at);
  bucket->overflow.store(index + 1, std::memory_order_relaxed);
}

void HashTable::Remove(uint64_t hash, Word* slot) {
  Bucket* before = nullptr;
  Bucket* tail = BucketFor(hash);
  while (Bucket* next = Next(tail)) before = std::exchange(tail, next);
  int last = kSlotsPerBucket - 1;
  while (last > 0 && tail->slots[last].load(std::memory_order_relaxed) == 0) --last;

  slot->store(tail->slots[last].load(std::memory_order_relaxed), std::memory_order_relaxed);
  tail->slots[last].store(0, std::memory_order_relaxed);
  if (last == 0 && before != nullptr) {
    before->overflow.store(0, std::memory_order_relaxed);
    GiveOverflow(static_cast<uint64_t>(tail - overflow_));
  }
}

uint64_t HashTable::TakeOverflow() {
  core::MutexLock lock(overflow_mu_);
  if (overflow_free_ == 0) {
    CHECK(overflow_touched_ < overflow_max_);  // More items than the heap can hold.
    return overflow_touched_++;
  }
  const uint64_t index = overflow_free_ - 1;
  overflow_free_ = overflow_[index].overflow.exchange(0, std::memory_order_relaxed);
  return index;
}

void HashTable::GiveOverflow(uint64_t index) {
  core::MutexLock lock(overflow_mu_);
  overflow_[index].overflow.store(overflow_free_, std::memory_order_relaxed);
  overflow_free_ = index + 1;
}

uint64_t HashTable::bytes() const {
  core::MutexLock lock(overflow_mu_);
  return table_memory_.bytes() + overflow_touched_ * sizeof(Bucket) + kStripes * sizeof(Stripe);
}

}  // namespace seg
