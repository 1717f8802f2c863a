// One percentile of the latencies of late, for a few instructions a sample.
//
// Log-linear buckets, eight to a power of two, so that the answer is at most an eighth too high.
// After every kPeriod samples the percentile is read and all counts are halved: a change shows
// after one period and is all that counts after a few. One thread.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace proxy::momento {

class LatencyPercentile {
 public:
  // At a thousand calls a second: half a second. Enough for five above a 99th percentile.
  static constexpr uint32_t kPeriod = 512;

  // `percentile`: 1 to 99.
  explicit LatencyPercentile(uint32_t percentile) : percentile_(percentile) {}

  void Record(int64_t ns) {
    ++counts_[BucketOf(std::clamp<int64_t>(ns, 0, kNsMax))];
    if (++fresh_ == kPeriod) Read();
  }
  // In nanoseconds; -1 before the first period is over.
  int64_t ns() const { return ns_; }

 private:
  static constexpr int kCutBits = 3;
  static constexpr int kRangeBits = 40;  // 18 minutes; no deadline is longer than ten.
  static constexpr int64_t kNsMax = (int64_t{1} << kRangeBits) - 1;
  static constexpr size_t kBuckets = static_cast<size_t>(kRangeBits - kCutBits + 1) << kCutBits;

  static size_t BucketOf(int64_t ns) {
    const auto v = static_cast<uint64_t>(ns);
    if (v < (uint64_t{2} << kCutBits)) return v;
    const int shift = std::bit_width(v) - 1 - kCutBits;
    return (static_cast<size_t>(shift) << kCutBits) + (v >> shift);
  }
  // The largest value of the bucket.
  static int64_t LastOf(size_t bucket) {
    if (bucket < (size_t{2} << kCutBits)) return static_cast<int64_t>(bucket);
    const size_t shift = (bucket >> kCutBits) - 1;
    return static_cast<int64_t>((bucket - (shift << kCutBits) + 1) << shift) - 1;
  }

  void Read() {
    fresh_ = 0;
    uint64_t all = 0;
    for (const uint32_t count : counts_) all += count;
    const uint64_t wanted = (all * percentile_ + 99) / 100;
    uint64_t seen = 0;
    ns_ = kNsMax;
    for (size_t i = 0; i < kBuckets; ++i) {
      seen += counts_[i];
      if (seen >= wanted) {
        ns_ = LastOf(i);
        break;
      }
    }
    for (uint32_t& count : counts_) count /= 2;
  }

  const uint64_t percentile_;
  std::array<uint32_t, kBuckets> counts_ = {};
  uint32_t fresh_ = 0;
  int64_t ns_ = -1;
};

}  // namespace proxy::momento
