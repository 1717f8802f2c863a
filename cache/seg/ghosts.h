// What was evicted lately: two bytes an item.
//
// A fingerprint goes into the front of the bucket its hash names and pushes out the bucket's oldest.
// A wrong "yes" comes once in 8,000; a lost entry costs a little of the hit ratio. Any thread: an
// entry may be lost when two threads meet, no more.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace seg {

class Ghosts {
 public:
  // Remembers about `items`, at two bytes each; none if 0. In `memory` of BytesFor(items), which
  // outlives it and is zeroed or what an earlier one left there, if not null.
  explicit Ghosts(uint64_t items, char* memory = nullptr)
      : buckets_((items + kPerBucket - 1) / kPerBucket),
        own_(buckets_ == 0 || memory != nullptr ? nullptr : new Word[2 * buckets_]{}),
        words_(own_ != nullptr ? own_.get() : reinterpret_cast<Word*>(memory)) {}
  static constexpr uint64_t BytesFor(uint64_t items) {
    return (items + kPerBucket - 1) / kPerBucket * kPerBucket * 2;
  }

  void Add(uint64_t hash) {
    if (buckets_ == 0) return;
    Word* const words = &words_[2 * BucketOf(hash)];
    const uint64_t young = words[0].load(std::memory_order_relaxed);
    const uint64_t old = words[1].load(std::memory_order_relaxed);
    words[1].store((old << 16) | (young >> 48), std::memory_order_relaxed);
    words[0].store((young << 16) | Fingerprint(hash), std::memory_order_relaxed);
  }
  // Whether `hash` is remembered; forgets it.
  bool Take(uint64_t hash) {
    if (buckets_ == 0) return false;
    Word* const words = &words_[2 * BucketOf(hash)];
    const uint64_t sought = Fingerprint(hash);
    for (int w = 0; w < 2; ++w) {
      const uint64_t word = words[w].load(std::memory_order_relaxed);
      for (int shift = 0; shift < 64; shift += 16) {
        if (((word >> shift) & 0xffff) != sought) continue;
        words[w].store(word & ~(uint64_t{0xffff} << shift), std::memory_order_relaxed);
        return true;
      }
    }
    return false;
  }
  uint64_t bytes() const { return buckets_ * kPerBucket * 2; }

 private:
  using Word = std::atomic<uint64_t>;
  static constexpr uint64_t kPerBucket = 8;

  uint64_t BucketOf(uint64_t hash) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(hash) * buckets_) >> 64);
  }
  // The low bits; the bucket comes from the high ones. 0 is an empty place.
  static uint64_t Fingerprint(uint64_t hash) {
    const uint64_t f = hash & 0xffff;
    return f == 0 ? 1 : f;
  }

  const uint64_t buckets_;
  const std::unique_ptr<Word[]> own_;
  Word* const words_;
};

}  // namespace seg
