// The rate limit by itself.
#include "proxy/service/rate_limit.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace proxy {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kStart = 1000 * kSecond;

TEST(RateBucket, ABurstGoesAtOnceAndTheRestAtTheRate) {
  RateBucket bucket(100);
  int at_once = 0;
  int64_t last_ns = 0;
  for (int i = 0; i < 200; ++i) {
    const int64_t goes_ns = bucket.Take(1, kStart);
    if (goes_ns <= kStart) ++at_once;
    last_ns = goes_ns;
  }
  EXPECT_EQ(at_once, 11);  // A tenth of a second's worth, and the one that finds it just gone.
  EXPECT_NEAR(static_cast<double>(last_ns - kStart) / kSecond, 1.89, 0.001);
}

TEST(RateBucket, KeepsToTheRateOverAnySecondButForTheBurst) {
  RateBucket bucket(1000);
  std::vector<int64_t> went;
  for (int64_t now = kStart; now < kStart + 5 * kSecond; now += kSecond / 5000) {
    if (bucket.GoesAt(now) > now) continue;
    bucket.Take(1, now);
    went.push_back(now);
  }
  for (size_t i = 0; i + 1101 < went.size(); ++i) EXPECT_GE(went[i + 1101] - went[i], kSecond);
  EXPECT_GE(went.size(), 5000u);
}

TEST(RateBucket, IdleTimeIsNotSavedUp) {
  RateBucket bucket(100);
  bucket.Take(1, kStart);
  int at_once = 0;
  const int64_t later = kStart + 3600 * kSecond;
  for (int i = 0; i < 100; ++i) at_once += bucket.Take(1, later) <= later ? 1 : 0;
  EXPECT_EQ(at_once, 11);
}

TEST(RateBucket, SomethingHeavierThanTheBurstGoesAndLeavesADebt) {
  RateBucket bucket(100);
  EXPECT_LE(bucket.Take(1000, kStart), kStart);
  EXPECT_NEAR(static_cast<double>(bucket.GoesAt(kStart) - kStart) / kSecond, 9.9, 0.001);
}

TEST(RateBucket, NoLimitIsNoLimit) {
  RateBucket bucket(0);
  for (int i = 0; i < 1000; ++i) EXPECT_LE(bucket.Take(1'000'000, kStart), kStart);
  EXPECT_LE(bucket.GoesAt(kStart), kStart);
}

TEST(RateBucket, TurnsOfManyWorkersAreOneAfterTheOther) {
  RateBucket bucket(1'000'000);
  constexpr int kEach = 20'000;
  std::vector<std::vector<int64_t>> went(4);
  std::vector<std::thread> workers;
  for (auto& own : went) {
    workers.emplace_back([&bucket, &own] {
      for (int i = 0; i < kEach; ++i) own.push_back(bucket.Take(1, kStart));
    });
  }
  for (std::thread& one : workers) one.join();
  std::vector<int64_t> all;
  for (const auto& own : went) all.insert(all.end(), own.begin(), own.end());
  std::sort(all.begin(), all.end());
  // The first has no time before it.
  for (size_t i = 2; i < all.size(); ++i) ASSERT_EQ(all[i] - all[i - 1], 1000) << i;
}

TEST(RateLimit, TheSlowerOfTheTwoDecides) {
  RateLimit limit(100, 1024);
  EXPECT_TRUE(limit.limited());
  limit.Take({.operations = 1, .bytes = 10 * 1024}, kStart);
  EXPECT_NEAR(static_cast<double>(limit.GoesAt(kStart) - kStart) / kSecond, 9.9, 0.001);
  RateLimit other(1, 1'000'000);
  other.Take({.operations = 5, .bytes = 1}, kStart);
  EXPECT_NEAR(static_cast<double>(other.GoesAt(kStart) - kStart) / kSecond, 4.9, 0.001);
  EXPECT_FALSE(RateLimit(0, 0).limited());
}

}  // namespace
}  // namespace proxy
