// Loads what lookups will need while others before them run: a lookup of an item that no cache of the
// CPU holds waits twice, for its place in the index and then for the item; here the waits of several
// overlap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/strings/string_view.h"
#include "cache/seg/cache.h"

namespace cache {

// Over the keys of one request. One thread.
class LookAhead {
 public:
  // Everything borrowed outlives this object.
  LookAhead(const seg::Cache* cache, std::span<const absl::string_view> keys)
      : cache_(*cache), keys_(keys) {}

  // To be called before key `i` is looked up, for every i in order.
  void At(size_t i) {
    for (; placed_ < keys_.size() && placed_ < i + kPlaces; ++placed_) {
      ring_[placed_ % kRing] = cache_.Prefetch(keys_[placed_]);
    }
    for (; loaded_ < placed_ && loaded_ < i + kItems; ++loaded_) {
      cache_.PrefetchItem(ring_[loaded_ % kRing]);
    }
  }

 private:
  // How far ahead. A lookup takes about as long as a load from memory, and a core keeps some ten loads
  // under way.
  static constexpr size_t kPlaces = 12;
  static constexpr size_t kItems = 4;
  static constexpr size_t kRing = 16;
  static_assert(kRing >= kPlaces);

  const seg::Cache& cache_;
  const std::span<const absl::string_view> keys_;
  size_t placed_ = 0;  // Keys whose place is being loaded; of them,
  size_t loaded_ = 0;  // those whose item is.
  std::array<uint64_t, kRing> ring_;
};

}  // namespace cache
