#include "proxy/translate/ttl.h"

#include <gtest/gtest.h>

#include <limits>

namespace proxy::translate {
namespace {

constexpr int64_t kNowSec = 1'700'000'000;
constexpr int64_t kNowNs = kNowSec * 1'000'000'000;
constexpr uint64_t kDayMs = 24 * 3600 * 1000;
constexpr TtlRules kRules{.default_ms = 60'000, .max_ms = 60 * kDayMs};

Ttl Of(int64_t exptime, const TtlRules& rules = kRules) { return TtlOf(exptime, rules, kNowNs); }

TEST(Ttl, FollowsMemcachedsTable) {
  struct Case {
    int64_t exptime;
    bool gone;
    uint64_t ms;
  };
  const Case cases[] = {
      {0, false, 60'000},
      {1, false, 1'000},
      {kRelativeSecMax, false, 30 * kDayMs},
      {kRelativeSecMax + 1, true, 1},  // An absolute time in 1970.
      {kNowSec, true, 1},
      {kNowSec - 1, true, 1},
      {kNowSec + 1, false, 1'000},
      {kNowSec + 59, false, 59'000},
      {-1, true, 1},
      {std::numeric_limits<int64_t>::min(), true, 1},
  };
  for (const Case& c : cases) {
    const Ttl ttl = Of(c.exptime);
    EXPECT_EQ(ttl.gone, c.gone) << c.exptime;
    EXPECT_EQ(ttl.ms, c.ms) << c.exptime;
    EXPECT_FALSE(ttl.clamped) << c.exptime;
  }
}

TEST(Ttl, CountsTheMillisecondsOfAnAbsoluteTime) {
  EXPECT_EQ(TtlOf(kNowSec + 1, kRules, kNowNs + 250'000'000).ms, 750u);
  EXPECT_TRUE(TtlOf(kNowSec + 1, kRules, kNowNs + 1'000'000'000).gone);
}

TEST(Ttl, ShortensToTheMaximumAndSaysSo) {
  const TtlRules day{.default_ms = 1, .max_ms = kDayMs};
  EXPECT_FALSE(Of(86'400, day).clamped);
  for (int64_t exptime : {int64_t{86'401}, kRelativeSecMax, kNowSec + 86'401,
                          std::numeric_limits<int64_t>::max()}) {
    const Ttl ttl = Of(exptime, day);
    EXPECT_TRUE(ttl.clamped) << exptime;
    EXPECT_FALSE(ttl.gone) << exptime;
    EXPECT_EQ(ttl.ms, kDayMs) << exptime;
  }
}

TEST(Ttl, TheDefaultIsNeverLongerThanTheMaximumNorZero) {
  config::Cache cache;
  cache.default_ttl = absl::Hours(48);
  cache.max_ttl = absl::Hours(24);
  EXPECT_EQ(TtlRulesOf(cache).default_ms, kDayMs);
  EXPECT_EQ(TtlRulesOf(cache).max_ms, kDayMs);
  cache.default_ttl = absl::Microseconds(1);
  EXPECT_EQ(TtlRulesOf(cache).default_ms, 1u);
}

TEST(Ttl, ADelayIsNowOrTheTimeLeft) {
  EXPECT_EQ(DelayMs(0, kNowNs), 0u);
  EXPECT_EQ(DelayMs(-5, kNowNs), 0u);
  EXPECT_EQ(DelayMs(5, kNowNs), 5'000u);
  EXPECT_EQ(DelayMs(kNowSec - 1, kNowNs), 0u);
  EXPECT_EQ(DelayMs(kNowSec + 2, kNowNs), 2'000u);
}

TEST(Ttl, SecondsThatHaveBegunCount) {
  EXPECT_EQ(SecondsOf(0), 0);
  EXPECT_EQ(SecondsOf(1), 1);
  EXPECT_EQ(SecondsOf(1000), 1);
  EXPECT_EQ(SecondsOf(29'001), 30);
  EXPECT_EQ(SecondsOf(~uint64_t{0}), 2'147'483'647);
}

}  // namespace
}  // namespace proxy::translate
