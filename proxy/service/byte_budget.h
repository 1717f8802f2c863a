// How many bytes of values the commands of one cache may hold together, all workers counted: waiting
// for their turn on a key, for a call, or for an answer.
//
// Short values are not counted, so that a plain command touches nothing shared: the numbers of
// requests a connection and of calls a cache bound those.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace proxy {

// Any thread.
class ByteBudget {
 public:
  static constexpr uint64_t kCountedMin = 4096;  // x 10,000 that may wait = 40 MB uncounted.

  // Before the workers run.
  void SetMax(uint64_t bytes) { max_ = bytes; }

  // Whether a value of `bytes` (>= kCountedMin) may come in; then it is to be given back. One that is
  // alone always may.
  bool Take(uint64_t bytes) {
    // Relaxed: nothing is published with it. Rivals may both be refused where one would fit.
    const uint64_t before = used_.fetch_add(bytes, std::memory_order_relaxed);
    if (before == 0 || before + bytes <= max_) return true;
    Give(bytes);
    return false;
  }
  void Give(uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  uint64_t max_ = std::numeric_limits<uint64_t>::max();
  std::atomic<uint64_t> used_{0};
};

}  // namespace proxy
