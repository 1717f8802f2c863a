// The client-side limit of one cache: operations and bytes a second, as the service counts them
// (proto/momento/metering.h), over all workers together.
//
// A token bucket kept as the time at which it would be full again ("theoretical arrival time", the
// generic cell rate algorithm of ITU-T I.371): one word, so a worker takes its turn with one
// compare-and-swap, and the turn is a time. Whoever comes too early waits for his time at home;
// nobody keeps a common queue, and turns are as fair between workers as between connections.
//
// What an answer will weigh is not known when the call leaves. The request is taken before, the rest
// when the answer is there: the bucket may go into debt by what is under way, which those who come
// later wait for.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace proxy {

// One rate. Any thread.
class RateBucket {
 public:
  // A tenth of a second's worth may go at once: a service that counts by the second then sees at most
  // a tenth above the rate.
  static constexpr int64_t kBurstNs = 100'000'000;

  // 0: no limit.
  explicit RateBucket(uint64_t per_second) { Set(per_second); }
  // Another rate from now on; what was taken stays taken.
  void Set(uint64_t per_second) {
    ns_per_unit_.store(per_second == 0 ? 0 : 1e9 / static_cast<double>(per_second),
                       std::memory_order_relaxed);
  }

  // When something that comes now may go; not later than now: at once.
  int64_t GoesAt(int64_t now_ns) const {
    if (ns_per_unit_.load(std::memory_order_relaxed) == 0) return now_ns;
    return full_at_ns_.load(std::memory_order_relaxed) - kBurstNs;
  }
  // Takes `units` and says when they may go. Relaxed: nothing is published with it.
  int64_t Take(uint64_t units, int64_t now_ns) {
    const double ns_per_unit = ns_per_unit_.load(std::memory_order_relaxed);
    if (ns_per_unit == 0 || units == 0) return now_ns;
    // No debt reaches further than this, so that sums stay in range.
    constexpr double kMostNs = 3600e9;
    const int64_t cost = static_cast<int64_t>(
        std::min(static_cast<double>(units) * ns_per_unit, kMostNs));
    int64_t before = full_at_ns_.load(std::memory_order_relaxed);
    while (!full_at_ns_.compare_exchange_weak(before, std::max(before, now_ns) + cost,
                                              std::memory_order_relaxed)) {
    }
    return before - kBurstNs;
  }

 private:
  std::atomic<double> ns_per_unit_;  // 0: no limit. Of no other memory.
  std::atomic<int64_t> full_at_ns_{0};
};

// What a call weighs.
struct Weight {
  uint64_t operations = 0;
  uint64_t bytes = 0;
};

// Any thread.
class RateLimit {
 public:
  RateLimit(uint64_t operations_per_second, uint64_t bytes_per_second)
      : limited_(operations_per_second != 0 || bytes_per_second != 0),
        operations_(operations_per_second),
        bytes_(bytes_per_second) {}

  bool limited() const { return limited_.load(std::memory_order_relaxed); }
  void Set(uint64_t operations_per_second, uint64_t bytes_per_second) {
    operations_.Set(operations_per_second);
    bytes_.Set(bytes_per_second);
    limited_.store(operations_per_second != 0 || bytes_per_second != 0,
                   std::memory_order_relaxed);
  }
  int64_t GoesAt(int64_t now_ns) const {
    return std::max(operations_.GoesAt(now_ns), bytes_.GoesAt(now_ns));
  }
  int64_t Take(const Weight& weight, int64_t now_ns) {
    return std::max(operations_.Take(weight.operations, now_ns),
                    bytes_.Take(weight.bytes, now_ns));
  }

 private:
  std::atomic<bool> limited_;  // Of no other memory.
  RateBucket operations_;
  RateBucket bytes_;
};

}  // namespace proxy
