// What decides about further attempts, without a network: the budget, the percentile, the rules.
#include <gtest/gtest.h>

#include "core/metrics/metrics.h"
#include "proxy/momento/call_budget.h"
#include "proxy/momento/hedges.h"
#include "proxy/momento/latency_percentile.h"
#include "proxy/momento/retries.h"

namespace proxy::momento {
namespace {

using Kind = config::Cache::Kind;

int SpendAll(CallBudget* budget) {
  int spent = 0;
  while (spent < 100'000 && budget->Spend(1)) ++spent;
  return spent;
}

TEST(CallBudget, StartsWithABurstAndThenGivesItsShare) {
  CallBudget budget(10);
  EXPECT_EQ(SpendAll(&budget), CallBudget::kBurst);
  for (int i = 0; i < 95; ++i) budget.Earn(1);
  EXPECT_EQ(SpendAll(&budget), 9);
  for (int i = 0; i < 5; ++i) budget.Earn(1);
  EXPECT_EQ(SpendAll(&budget), 1);
}

TEST(CallBudget, KeepsNoMoreThanABurst) {
  CallBudget budget(100);
  budget.Earn(1'000'000);
  EXPECT_EQ(SpendAll(&budget), CallBudget::kBurst);
}

TEST(CallBudget, OfNothingGivesNothing) {
  CallBudget budget(0);
  budget.Earn(1'000'000);
  EXPECT_FALSE(budget.Spend(1));
  EXPECT_FALSE(budget.Spend(0));
}

TEST(CallBudget, CountsEveryKeyOfABatch) {
  CallBudget budget(10);
  EXPECT_TRUE(budget.Spend(64));
  EXPECT_FALSE(budget.Spend(64));
  EXPECT_TRUE(budget.Spend(36));
}

TEST(CallBudget, LetsAFullBucketOweALargeBatch) {
  CallBudget budget(10);
  EXPECT_TRUE(budget.Spend(300));
  for (int i = 0; i < 2000; ++i) budget.Earn(1);
  EXPECT_FALSE(budget.Spend(1));  // It owed 200.
  for (int i = 0; i < 10; ++i) budget.Earn(1);
  EXPECT_TRUE(budget.Spend(1));
}

TEST(LatencyPercentile, IsUnknownBeforeThePeriodIsOver) {
  LatencyPercentile p(95);
  for (uint32_t i = 1; i < LatencyPercentile::kPeriod; ++i) p.Record(1000);
  EXPECT_EQ(p.ns(), -1);
  p.Record(1000);
  EXPECT_GE(p.ns(), 1000);
  EXPECT_LE(p.ns(), 1125);
}

TEST(LatencyPercentile, LeavesOutTheTail) {
  LatencyPercentile p(95);
  for (uint32_t i = 0; i < 4 * LatencyPercentile::kPeriod; ++i) {
    p.Record(i % 100 == 0 ? 200'000'000 : 1'000'000);
  }
  EXPECT_GE(p.ns(), 1'000'000);
  EXPECT_LE(p.ns(), 1'125'000);
  LatencyPercentile most(99);
  for (uint32_t i = 0; i < 4 * LatencyPercentile::kPeriod; ++i) {
    most.Record(i % 20 == 0 ? 200'000'000 : 1'000'000);
  }
  EXPECT_GE(most.ns(), 200'000'000);
}

TEST(LatencyPercentile, FollowsAChangeInAFewPeriods) {
  LatencyPercentile p(50);
  for (uint32_t i = 0; i < 8 * LatencyPercentile::kPeriod; ++i) p.Record(1000);
  for (uint32_t i = 0; i < 3 * LatencyPercentile::kPeriod; ++i) p.Record(50'000'000);
  EXPECT_GE(p.ns(), 50'000'000);
  for (uint32_t i = 0; i < 3 * LatencyPercentile::kPeriod; ++i) p.Record(1000);
  EXPECT_LE(p.ns(), 1125);
}

TEST(LatencyPercentile, TakesAnyNumber) {
  LatencyPercentile p(99);
  for (uint32_t i = 0; i < LatencyPercentile::kPeriod; ++i) p.Record(i % 2 == 0 ? -5 : INT64_MAX);
  EXPECT_GT(p.ns(), 0);
}

// A cache without a rate limit.
bool Always(int64_t) { return true; }

class RetriesRules : public ::testing::Test {
 protected:
  // Whether a call of that kind that failed so is sent again.
  bool Again(Kind kind, Code code, bool sent, uint32_t retries = 0, int64_t left_ms = 1000) {
    Retries rules(cache_, &metrics_, seed_++);
    const Retries::Failed call{.kind = kind, .operations = 1, .retries = retries,
                               .left_ms = left_ms};
    return rules.PauseBefore(call, Error{.code = code, .sent = sent}, Always).has_value();
  }
  core::Registry registry_;
  Metrics metrics_{&registry_};
  config::Cache cache_;
  uint32_t seed_ = 1;
};

TEST_F(RetriesRules, OnlyWhatTheServiceDidNotJudge) {
  for (int code = 1; code <= 16; ++code) {
    const bool wanted = code == 13 || code == 14;
    EXPECT_EQ(Again(Kind::kRead, static_cast<Code>(code), true), wanted) << code;
    EXPECT_EQ(Again(Kind::kWrite, static_cast<Code>(code), false), wanted) << code;
    EXPECT_FALSE(Again(Kind::kWrite, static_cast<Code>(code), true)) << code;
  }
}

TEST_F(RetriesRules, WritesThatMayHaveArrivedOnlyIfAllowedAndNeverConditionalOnes) {
  EXPECT_FALSE(Again(Kind::kWrite, Code::kUnavailable, true));
  EXPECT_FALSE(Again(Kind::kUpdate, Code::kUnavailable, true));
  EXPECT_TRUE(Again(Kind::kUpdate, Code::kUnavailable, false));
  cache_.retry_writes = true;
  EXPECT_TRUE(Again(Kind::kWrite, Code::kUnavailable, true));
  EXPECT_FALSE(Again(Kind::kUpdate, Code::kUnavailable, true));
  EXPECT_FALSE(Again(Kind::kControl, Code::kUnavailable, true));
}

TEST_F(RetriesRules, AsOftenAsAllowedAndWithinTheTimeLeft) {
  EXPECT_TRUE(Again(Kind::kRead, Code::kUnavailable, true, 1));
  EXPECT_FALSE(Again(Kind::kRead, Code::kUnavailable, true, 2));
  EXPECT_FALSE(Again(Kind::kRead, Code::kUnavailable, true, 0, 0));
  cache_.retry_attempts = 0;
  EXPECT_FALSE(Again(Kind::kRead, Code::kUnavailable, true));
  cache_.retry_attempts = 2;
  cache_.retry_budget_percent = 0;
  EXPECT_FALSE(Again(Kind::kRead, Code::kUnavailable, true));
}

TEST_F(RetriesRules, PausesAreRandomAndTheirBoundDoubles) {
  cache_.retry_budget_percent = 100;
  cache_.retry_backoff = absl::Milliseconds(100);
  cache_.retry_attempts = 3;
  Retries rules(cache_, &metrics_, 7);
  for (uint32_t retries = 0; retries < 3; ++retries) {
    const int64_t most = 100 << retries;
    int64_t least_seen = most, most_seen = 0;
    for (int i = 0; i < 200; ++i) {
      rules.Earn(1);
      const auto pause = rules.PauseBefore(
          {.kind = Kind::kRead, .operations = 1, .retries = retries, .left_ms = 10'000},
          Error{.code = Code::kUnavailable}, Always);
      ASSERT_TRUE(pause.has_value());
      least_seen = std::min(least_seen, *pause);
      most_seen = std::max(most_seen, *pause);
    }
    EXPECT_LE(most_seen, most);
    EXPECT_GT(most_seen, most * 3 / 4);
    EXPECT_LT(least_seen, most / 4);
  }
}

TEST_F(RetriesRules, TheBudgetRefusesAndSaysSo) {
  Retries rules(cache_, &metrics_, 7);
  const Retries::Failed call{.kind = Kind::kRead, .operations = 1, .retries = 0, .left_ms = 1000};
  int allowed = 0;
  for (int i = 0; i < 1000; ++i) {
    rules.Earn(1);
    allowed += rules.PauseBefore(call, Error{.code = Code::kUnavailable}, Always).has_value();
  }
  EXPECT_GE(allowed, 100 + CallBudget::kBurst - 1);
  EXPECT_LE(allowed, 100 + CallBudget::kBurst);
  EXPECT_EQ(metrics_.retry_sent.Value(), static_cast<uint64_t>(allowed));
  EXPECT_EQ(metrics_.retry_refused.Value(), static_cast<uint64_t>(1000 - allowed));
}

TEST(Hedges, WaitForThePercentileButNotLessThanTold) {
  config::Cache cache;
  cache.hedge_percentile = 95;
  cache.hedge_after = absl::Milliseconds(3);
  Hedges hedges(cache);
  EXPECT_EQ(hedges.DelayOf(Hedges::Of::kGet, 1), std::nullopt);
  for (uint32_t i = 0; i < LatencyPercentile::kPeriod; ++i) {
    hedges.Record(Hedges::Of::kGet, 200'000);
    hedges.Record(Hedges::Of::kGetBatch, 8'000'000);
  }
  EXPECT_EQ(hedges.DelayOf(Hedges::Of::kGet, 1), 3);
  EXPECT_EQ(hedges.DelayOf(Hedges::Of::kGetBatch, 1), 9);  // Its bucket ends before that.
}

TEST(Hedges, AreOffByDefault) {
  Hedges hedges{config::Cache()};
  EXPECT_FALSE(hedges.on());
  EXPECT_FALSE(hedges.Spend(1));
}

TEST_F(RetriesRules, TheRateLimitIsAskedLastAndSparesTheBudget) {
  Retries rules(cache_, &metrics_, 1);
  const Retries::Failed call{.kind = Kind::kRead, .operations = 1, .retries = 0, .left_ms = 1000};
  int asked = 0;
  const auto never = [&](int64_t pause_ms) {
    EXPECT_GE(pause_ms, 0);
    ++asked;
    return false;
  };
  for (int i = 0; i < 500; ++i) {
    EXPECT_FALSE(rules.PauseBefore(call, Error{.code = Code::kUnavailable}, never).has_value());
  }
  EXPECT_EQ(asked, 500);
  EXPECT_EQ(metrics_.retry_limited.Value(), 500u);
  EXPECT_EQ(metrics_.retry_refused.Value(), 0u);
  int allowed = 0;
  while (rules.PauseBefore(call, Error{.code = Code::kUnavailable}, Always).has_value()) ++allowed;
  EXPECT_EQ(allowed, CallBudget::kBurst);
  EXPECT_FALSE(rules.PauseBefore(call, Error{.code = Code::kUnavailable}, never).has_value());
  EXPECT_FALSE(rules.PauseBefore(call, Error{.code = Code::kNotFound}, never).has_value());
  EXPECT_EQ(asked, 500);
}

TEST(CallBudget, AffordsWhatItWouldSpend) {
  CallBudget budget(10);
  EXPECT_TRUE(budget.Affords(300));
  EXPECT_TRUE(budget.Spend(60));
  EXPECT_TRUE(budget.Affords(40));
  EXPECT_FALSE(budget.Affords(41));
  EXPECT_FALSE(CallBudget(0).Affords(0));
}

}  // namespace
}  // namespace proxy::momento
