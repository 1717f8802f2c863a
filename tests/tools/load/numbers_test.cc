#include "tools/load/numbers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

namespace tools::load {
namespace {

std::vector<int64_t> Sample(const char* text, int n = 20'000) {
  const absl::StatusOr<Numbers> numbers = Numbers::Parse(text);
  EXPECT_TRUE(numbers.ok()) << numbers.status();
  Random random(3);
  std::vector<int64_t> out;
  for (int i = 0; i < n; ++i) {
    out.push_back(numbers->Pick(random));
    EXPECT_GE(out.back(), numbers->min());
    EXPECT_LE(out.back(), numbers->max());
  }
  std::sort(out.begin(), out.end());
  return out;
}

TEST(Numbers, OneNumberIsAlwaysThat) {
  const auto sample = Sample("100", 100);
  EXPECT_EQ(sample.front(), 100);
  EXPECT_EQ(sample.back(), 100);
}

TEST(Numbers, RangeReachesBothEndsEvenly) {
  const auto sample = Sample("10-19");
  EXPECT_EQ(sample.front(), 10);
  EXPECT_EQ(sample.back(), 19);
  for (int64_t value = 10; value < 20; ++value) {
    EXPECT_NEAR(std::count(sample.begin(), sample.end(), value), 2000, 250) << value;
  }
}

TEST(Numbers, LogNormalHasItsMedianAndItsSpread) {
  const auto sample = Sample("lognormal:230:1.2:8000");
  EXPECT_NEAR(sample[sample.size() / 2], 230, 12);
  // One sigma above the median lie 15.9 %.
  const double above = 230 * 3.32;  // e^1.2
  const auto over = sample.end() - std::upper_bound(sample.begin(), sample.end(), above);
  EXPECT_NEAR(static_cast<double>(over) / static_cast<double>(sample.size()), 0.159, 0.015);
  EXPECT_EQ(sample.back(), 8000);
}

TEST(Numbers, WeightsAreShares) {
  const auto sample = Sample("64:50,1024:30,8192:20");
  std::map<int64_t, int> seen;
  for (const int64_t value : sample) ++seen[value];
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_NEAR(seen[64], 10'000, 300);
  EXPECT_NEAR(seen[1024], 6'000, 300);
  EXPECT_NEAR(seen[8192], 4'000, 300);
}

TEST(Numbers, RefusesWhatItCannotMean) {
  for (const char* text : {"", "x", "-1", "10-", "10-5", "1-2-3", "16777216", "lognormal:",
                           "lognormal:0:1", "lognormal:5", "lognormal:5:-1", "lognormal:5:1:x",
                           "lognormal:5:1:2:3", "64:50,", "64:x", "64:0", "64:50,128", "64:-1",
                           "64:nan", "lognormal:5:nan"}) {
    EXPECT_FALSE(Numbers::Parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace tools::load
