// Caches as papers simulate them: what segcache and memcached are measured against.
//
// An object is charged its key, its value and an overhead, the capacity is all there is
// (no index, no fragmentation), and what expires is gone at once. A write of a present object
// counts as a use and leaves it where it is, as in libCacheSim.
//
//   infinite  evicts nothing: its misses are first requests and expiries, the floor of every cache
//   fifo      the object that came first goes
//   lru       the object that was used longest ago goes
//   clock     fifo, but an object that was used since goes round once more (FIFO-Reinsertion)
//   sieve     Zhang et al., "SIEVE is simpler than LRU", NSDI'24
#pragma once

#include <array>
#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace trace {

class Simulator {
 public:
  enum class Policy : uint8_t { kInfinite, kFifo, kLru, kClock, kSieve };
  static constexpr std::array<absl::string_view, 5> kPolicies = {"infinite", "fifo", "lru",
                                                                 "clock", "sieve"};
  // Segcache's header and the slot that finds it (5 + 8): the least that an engine has claimed.
  static constexpr uint64_t kObjectOverhead = 13;

  // For keys numbered 0 .. keys - 1.
  Simulator(Policy policy, uint64_t capacity_bytes, uint32_t keys,
            uint64_t object_overhead = kObjectOverhead);

  // Time only grows. What dies at `second` or before is gone.
  void AdvanceTo(int64_t second);
  // Whether `key` is there; counts as a use.
  bool Get(uint32_t key);
  // Stores `key` as `bytes` of key and value. `ttl_sec` 0 = for ever. False: larger than the cache.
  bool Set(uint32_t key, uint64_t bytes, int64_t ttl_sec);
  bool Has(uint32_t key) const { return objects_[key].charged != 0; }
  void Delete(uint32_t key);

  uint64_t used_bytes() const { return used_; }

 private:
  struct Object {
    uint32_t newer = 0;
    uint32_t older = 0;
    uint64_t charged = 0;  // 0: not there.
    int64_t deadline = 0;
    bool visited = false;
  };
  static constexpr int64_t kForEver = INT64_MAX;

  void PushNewest(uint32_t key);
  void Unlink(uint32_t key);
  void Use(uint32_t key);
  uint32_t Victim();
  void MakeRoom();

  const Policy policy_;
  const uint64_t capacity_;
  const uint64_t object_overhead_;
  const uint32_t ring_;  // The sentinel: its `older` is the newest object, its `newer` the oldest.
  std::vector<Object> objects_;
  uint64_t used_ = 0;
  int64_t now_ = 0;
  uint32_t hand_;  // Of sieve; ring_ = at the oldest.
  using Death = std::pair<int64_t, uint32_t>;
  std::priority_queue<Death, std::vector<Death>, std::greater<>> deaths_;
};

}  // namespace trace
