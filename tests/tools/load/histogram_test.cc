// Buckets that meet without gap or overlap, and percentiles beside a sorted list.
#include "tools/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tools/load/random.h"

namespace tools::load {
namespace {

TEST(Histogram, BucketsCoverEveryNumberOnce) {
  for (size_t bucket = 0; bucket + 1 < LatencyBuckets::kCount; ++bucket) {
    const int64_t last = LatencyBuckets::Last(bucket);
    ASSERT_EQ(LatencyBuckets::Of(last), bucket);
    ASSERT_EQ(LatencyBuckets::Of(last + 1), bucket + 1);
  }
  EXPECT_EQ(LatencyBuckets::Of(LatencyBuckets::kNsMax), LatencyBuckets::kCount - 1);
}

TEST(Histogram, QuantilesAreAtMostOneBucketHigh) {
  Random random(7);
  std::vector<int64_t> all;
  Recorder recorder;
  for (int i = 0; i < 20'000; ++i) {
    all.push_back(static_cast<int64_t>(std::exp(random.Unit() * 25)));
    recorder.Record(all.back());
  }
  std::sort(all.begin(), all.end());
  Latencies read;
  read.Add(recorder);
  EXPECT_EQ(read.count(), all.size());
  EXPECT_EQ(read.max_ns(), all.back());
  for (const double quantile : {0.0001, 0.01, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const auto rank = static_cast<size_t>(std::ceil(quantile * 20'000)) - 1;
    const auto exact = static_cast<double>(all[rank]);
    const auto got = static_cast<double>(read.Quantile(quantile));
    EXPECT_GE(got, exact) << quantile;
    EXPECT_LE(got, exact * (1 + 1.0 / 128)) << quantile;
  }
}

TEST(Histogram, SinceLeavesOutWhatWasThere) {
  Recorder recorder;
  recorder.Record(1'000'000);
  Latencies before;
  before.Add(recorder);
  recorder.Record(10);
  Latencies after;
  after.Add(recorder);
  const Latencies lately = after.Since(before);
  EXPECT_EQ(lately.count(), 1u);
  EXPECT_EQ(lately.Quantile(0.99), 10);
  EXPECT_EQ(lately.mean_ns(), 10);
}

TEST(Histogram, NothingAndTooMuchAreNumbersToo) {
  Latencies none;
  EXPECT_EQ(none.Quantile(0.99), 0);
  EXPECT_EQ(none.mean_ns(), 0);
  Recorder recorder;
  recorder.Record(-5);
  recorder.Record(INT64_MAX);
  none.Add(recorder);
  EXPECT_EQ(none.Quantile(0.5), 0);
  EXPECT_EQ(none.max_ns(), LatencyBuckets::kNsMax);
}

}  // namespace
}  // namespace tools::load
