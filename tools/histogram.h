// Latencies in log-linear buckets: each power of two is cut into 128, so a percentile is at most
// 1/128 too high, from one nanosecond to twelve days. (The layout of HdrHistogram and of
// "h2histogram", https://h2histogram.org.)
//
// A Recorder has one writer and any number of readers; a Latencies belongs to one thread, and can
// add up what it reads from recorders.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

namespace tools {

struct LatencyBuckets {
  static constexpr int kCutBits = 7;
  static constexpr int kRangeBits = 50;
  static constexpr size_t kCount = static_cast<size_t>(kRangeBits - kCutBits + 1) << kCutBits;
  static constexpr int64_t kNsMax = (int64_t{1} << kRangeBits) - 1;

  // REQUIRES: 0 <= ns <= kNsMax.
  static size_t Of(int64_t ns) {
    const auto v = static_cast<uint64_t>(ns);
    if (v < (uint64_t{2} << kCutBits)) return v;
    const int shift = std::bit_width(v) - 1 - kCutBits;
    return (static_cast<size_t>(shift) << kCutBits) + (v >> shift);
  }
  // The largest value of the bucket.
  static int64_t Last(size_t bucket) {
    if (bucket < (size_t{2} << kCutBits)) return static_cast<int64_t>(bucket);
    const size_t shift = (bucket >> kCutBits) - 1;
    return static_cast<int64_t>((bucket - (shift << kCutBits) + 1) << shift) - 1;
  }
};

class Latencies;

class Recorder {
 public:
  void Record(int64_t ns) {
    ns = std::clamp<int64_t>(ns, 0, LatencyBuckets::kNsMax);
    Bump(counts_[LatencyBuckets::Of(ns)], 1);
    Bump(sum_ns_, static_cast<uint64_t>(ns));
    if (ns > max_ns_.load(std::memory_order_relaxed)) {
      max_ns_.store(ns, std::memory_order_relaxed);
    }
  }

 private:
  friend class Latencies;
  // One writer, and readers that want recent numbers, not a snapshot: relaxed throughout.
  static void Bump(std::atomic<uint64_t>& cell, uint64_t n) {
    cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::array<std::atomic<uint64_t>, LatencyBuckets::kCount> counts_ = {};
  std::atomic<uint64_t> sum_ns_ = 0;
  std::atomic<int64_t> max_ns_ = 0;
};

class Latencies {
 public:
  void Record(int64_t ns) {
    ns = std::clamp<int64_t>(ns, 0, LatencyBuckets::kNsMax);
    ++counts_[LatencyBuckets::Of(ns)];
    ++count_;
    sum_ns_ += static_cast<uint64_t>(ns);
    max_ns_ = std::max(max_ns_, ns);
  }
  void Add(const Recorder& from) {
    for (size_t i = 0; i < counts_.size(); ++i) {
      const uint64_t n = from.counts_[i].load(std::memory_order_relaxed);
      counts_[i] += n;
      count_ += n;
    }
    sum_ns_ += from.sum_ns_.load(std::memory_order_relaxed);
    max_ns_ = std::max(max_ns_, from.max_ns_.load(std::memory_order_relaxed));
  }
  void Add(const Latencies& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    sum_ns_ += other.sum_ns_;
    max_ns_ = std::max(max_ns_, other.max_ns_);
  }
  // What was recorded since `earlier`, which was read from the same recorders. The maximum stays
  // that of the whole.
  Latencies Since(const Latencies& earlier) const {
    Latencies out = *this;
    for (size_t i = 0; i < counts_.size(); ++i) out.counts_[i] -= earlier.counts_[i];
    out.count_ -= earlier.count_;
    out.sum_ns_ -= earlier.sum_ns_;
    return out;
  }

  uint64_t count() const { return count_; }
  int64_t max_ns() const { return max_ns_; }
  double mean_ns() const {
    return count_ == 0 ? 0 : static_cast<double>(sum_ns_) / static_cast<double>(count_);
  }
  // The smallest bound that `quantile` (0 to 1) of all latencies keep; 0 without any.
  int64_t Quantile(double quantile) const {
    const double wanted = quantile * static_cast<double>(count_);
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > 0 && static_cast<double>(seen) >= wanted) {
        return std::min(LatencyBuckets::Last(i), max_ns_);
      }
    }
    return max_ns_;
  }

 private:
  std::vector<uint64_t> counts_ = std::vector<uint64_t>(LatencyBuckets::kCount);
  uint64_t count_ = 0;
  uint64_t sum_ns_ = 0;
  int64_t max_ns_ = 0;
};

}  // namespace tools
