// Counting from many threads, the text that Prometheus reads, and the declarations that are
// refused.

#include "core/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace core {
namespace {

using testing::HasSubstr;

struct Requests : MetricGroup {
  using MetricGroup::MetricGroup;
  Counter done{this, "done_total", "Requests answered."};
  Gauge open{this, "open", "Requests not answered."};
  Histogram latency{this, "seconds", "Time to answer."};
};

int Occurrences(absl::string_view text, absl::string_view part) {
  int count = 0;
  for (size_t at = text.find(part); at != absl::string_view::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST(Metrics, SumsExactlyOverThreadsWithAndWithoutShards) {
  constexpr int kThreads = 8;
  constexpr uint64_t kAdds = 20'000;
  Registry registry;
  Requests m(&registry, "t");
  std::atomic<bool> stop{false};
  std::thread scraper([&] {
    uint64_t last = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      const uint64_t now = m.done.Value();
      EXPECT_GE(now, last);
      last = now;
      EXPECT_THAT(registry.PrometheusText(), HasSubstr("t_done_total"));
    }
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      if (i % 2 == 0) registry.ClaimShard();
      for (uint64_t n = 0; n < kAdds; ++n) {
        m.done.Add();
        m.open.Add(n % 2 == 0 ? 3 : -1);
        m.latency.RecordNs(static_cast<int64_t>(n));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  stop.store(true, std::memory_order_relaxed);
  scraper.join();
  EXPECT_EQ(m.done.Value(), kThreads * kAdds);
  EXPECT_EQ(m.open.Value(), static_cast<int64_t>(kThreads * kAdds));
  uint64_t count = 0;
  registry.Visit([&](const Registry::Sample& sample) {
    if (sample.kind == MetricKind::kHistogram) count = sample.count;
  });
  EXPECT_EQ(count, kThreads * kAdds);
}

TEST(Metrics, ClaimingTwiceChangesNothing) {
  Registry registry;
  Requests m(&registry, "t");
  registry.ClaimShard();
  m.done.Add(2);
  registry.ClaimShard();
  m.done.Add(3);
  EXPECT_EQ(m.done.Value(), 5u);
}

TEST(Metrics, KeepsCountsOfMoreThreadsThanShards) {
  Registry registry;
  Requests m(&registry, "t");
  for (int i = 0; i < 2 * kShardsMax; ++i) {  // One after the other: shards are handed on.
    std::thread([&] {
      registry.ClaimShard();
      m.done.Add();
    }).join();
  }
  EXPECT_EQ(m.done.Value(), 2u * kShardsMax);
}

TEST(Metrics, ThreadsBeyondTheLastShardShareOne) {
  Registry registry;
  Requests m(&registry, "t");
  std::atomic<int> claimed{0};
  std::vector<std::thread> threads;
  constexpr int kThreads = kShardsMax + 10;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      registry.ClaimShard();
      claimed.fetch_add(1);
      while (claimed.load() < kThreads) std::this_thread::yield();  // All alive at once.
      for (int n = 0; n < 100; ++n) m.done.Add();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(m.done.Value(), 100u * kThreads);
}

TEST(Metrics, RegistriesAreSeparateInOneThread) {
  Registry a;
  Registry b;
  Registry unclaimed;
  Requests in_a(&a, "t");
  Requests in_b(&b, "t");
  Requests in_unclaimed(&unclaimed, "t");
  a.ClaimShard();
  b.ClaimShard();
  for (int i = 0; i < 10; ++i) {
    in_a.done.Add(1);
    in_b.done.Add(10);
    in_unclaimed.done.Add(100);
  }
  EXPECT_EQ(in_a.done.Value(), 10u);
  EXPECT_EQ(in_b.done.Value(), 100u);
  EXPECT_EQ(in_unclaimed.done.Value(), 1000u);
}

TEST(Metrics, ANewRegistryAtAnOldAddressStartsAtZero) {
  for (int i = 0; i < 100; ++i) {
    auto registry = std::make_unique<Registry>();
    registry->ClaimShard();
    Requests m(registry.get(), "t");
    m.done.Add(7);
    ASSERT_EQ(m.done.Value(), 7u);
  }
}

TEST(Metrics, AThreadMayEndAfterItsRegistry) {
  auto registry = std::make_unique<Registry>();
  std::atomic<int> step{0};
  std::thread thread([&] {
    {
      Requests m(registry.get(), "t");
      registry->ClaimShard();
      m.done.Add();
    }
    step.store(1);
    while (step.load() != 2) std::this_thread::yield();
  });
  while (step.load() != 1) std::this_thread::yield();
  registry.reset();
  step.store(2);
  thread.join();
}

TEST(Metrics, CountsInDestructorsOfThreadLocalsAreKept) {
  struct AtExit {
    Requests* m = nullptr;
    ~AtExit() {
      if (m != nullptr) m->done.Add(5);
    }
  };
  Registry registry;
  Requests m(&registry, "t");
  std::thread([&] {
    thread_local AtExit at_exit;  // Made before the claim, so destroyed after it.
    at_exit.m = &m;
    registry.ClaimShard();
    m.done.Add(1);
  }).join();
  EXPECT_EQ(m.done.Value(), 6u);
}

TEST(Histogram, PutsBoundsIntoTheLowerBucket) {
  Registry registry;
  struct Group : MetricGroup {
    using MetricGroup::MetricGroup;
    Histogram h{this, "seconds", "Time."};
  } group(&registry, "t");
  group.h.RecordNs(-5);              // Clocks: counts as zero.
  group.h.RecordNs(10'000);          // Exactly the first bound.
  group.h.RecordNs(10'001);          // Just past it.
  group.h.RecordNs(10'000'000'000);  // The last bound.
  group.h.RecordNs(10'000'000'001);  // +Inf.
  Registry::Sample seen;
  registry.Visit([&](const Registry::Sample& sample) { seen = sample; });
  ASSERT_EQ(seen.bucket_counts.size(), kLatencyBoundsNs.size() + 1);
  EXPECT_EQ(seen.bucket_counts[0], 2u);
  EXPECT_EQ(seen.bucket_counts[1], 1u);
  EXPECT_EQ(seen.bucket_counts[kLatencyBoundsNs.size() - 1], 1u);
  EXPECT_EQ(seen.bucket_counts.back(), 1u);
  EXPECT_EQ(seen.count, 5u);
  EXPECT_NEAR(seen.sum, 20.000020002, 1e-9);

  const std::string text = registry.PrometheusText();
  EXPECT_THAT(text, HasSubstr("# TYPE t_seconds histogram\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{le=\"1e-05\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{le=\"2e-05\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{le=\"10\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_bucket{le=\"+Inf\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("t_seconds_count 5\n"));
}

TEST(PrometheusText, SaysHelpAndTypeOnceAFamilyAndKeepsItTogether) {
  Registry registry;
  struct Verb : MetricGroup {
    using MetricGroup::MetricGroup;
    Counter get{this, "request_total", "Requests by verb.", {{"verb", "get"}}};
    Gauge between{this, "between", "Another family."};
    Counter set{this, "request_total", "Requests by verb.", {{"verb", "set"}}};
  } verb(&registry, "t", {{"cache", "a\"b\\c"}});
  verb.get.Add(2);
  verb.set.Add(3);
  verb.between.Add(-4);
  const std::string text = registry.PrometheusText();
  EXPECT_EQ(Occurrences(text, "# HELP t_request_total Requests by verb.\n"), 1);
  EXPECT_EQ(Occurrences(text, "# TYPE t_request_total counter\n"), 1);
  const std::string get_line = "t_request_total{cache=\"a\\\"b\\\\c\",verb=\"get\"} 2\n";
  EXPECT_THAT(text, HasSubstr(get_line));
  EXPECT_EQ(text.find("t_request_total{cache=\"a\\\"b\\\\c\",verb=\"set\"} 3\n"),
            text.find(get_line) + get_line.size());
  EXPECT_THAT(text, HasSubstr("t_between{cache=\"a\\\"b\\\\c\"} -4\n"));
}

TEST(PrometheusText, IsTheSameTwiceWhenNothingHappened) {
  Registry registry;
  Requests m(&registry, "t");
  m.done.Add(41);
  const std::string first = registry.PrometheusText();
  EXPECT_EQ(registry.PrometheusText(), first);
  m.done.Add();
  EXPECT_THAT(registry.PrometheusText(), HasSubstr("t_done_total 42\n"));
}

TEST(Metrics, ReadsFunctionsAtScrape) {
  Registry registry;
  double value = 1.5;
  MetricGroup group(&registry, "t");
  Gauge gauge(&group, "ratio", "A ratio.", [&] { return value; }, {{"of", "x"}});
  Counter counter(&group, "ticks_total", "Ticks.", [&] { return 2 * value; });
  EXPECT_THAT(registry.PrometheusText(), HasSubstr("t_ratio{of=\"x\"} 1.5\n"));
  value = 4;
  EXPECT_THAT(registry.PrometheusText(), HasSubstr("t_ratio{of=\"x\"} 4\n"));
  EXPECT_THAT(registry.PrometheusText(), HasSubstr("t_ticks_total 8\n"));
}

TEST(Metrics, AFunctionMayRegisterMetricsWhileRead) {
  Registry registry;
  MetricGroup group(&registry, "t");
  std::unique_ptr<Counter> late;
  Gauge gauge(&group, "now", "Reads.", [&] {
    if (late == nullptr) late = std::make_unique<Counter>(&group, "late_total", "Late.");
    return 1.0;
  });
  EXPECT_FALSE(absl::StrContains(registry.PrometheusText(), "t_late_total"));
  EXPECT_THAT(registry.PrometheusText(), HasSubstr("t_late_total 0\n"));
}

TEST(Describe, NamesKindLabelsAndSentence) {
  Registry registry;
  Requests m(&registry, "t", {{"cache", "near"}});
  const std::string text = registry.Describe();
  EXPECT_EQ(text,
            "t_done_total{cache=\"near\"}  counter  Requests answered.\n"
            "t_open{cache=\"near\"}  gauge  Requests not answered.\n"
            "t_seconds{cache=\"near\"}  histogram  Time to answer.\n");
}

using MetricsDeathTest = testing::Test;

TEST(MetricsDeathTest, RefusesTheSameNameAndLabelsInAnyOrder) {
  Registry registry;
  MetricGroup group(&registry, "t");
  Counter first(&group, "a_total", "A.", {{"x", "1"}, {"y", "2"}});
  EXPECT_DEATH(Counter(&group, "a_total", "A.", {{"y", "2"}, {"x", "1"}}), "t_a_total.*twice");
}

TEST(MetricsDeathTest, RefusesAFamilyWithTwoSentencesOrKinds) {
  Registry registry;
  MetricGroup group(&registry, "t");
  Counter first(&group, "a_total", "A.", {{"x", "1"}});
  EXPECT_DEATH(Counter(&group, "a_total", "B.", {{"x", "2"}}), "t_a_total.*another sentence");
  EXPECT_DEATH(Gauge(&group, "a_total", "A.", {{"x", "2"}}), "t_a_total.*another sentence");
}

TEST(MetricsDeathTest, RefusesNamesThatPrometheusWould) {
  Registry registry;
  MetricGroup group(&registry, "t");
  EXPECT_DEATH(Counter(&group, "a-b", "A."), "not a metric name");
  EXPECT_DEATH(Counter(&group, "a", "A.", {{"le", "1"}}), "bad label name");
  EXPECT_DEATH(Counter(&group, "a", "A.", {{"x", "1"}, {"x", "2"}}), "given twice");
  EXPECT_DEATH(Counter(&group, "a", "A\nB."), "one-line sentence");
}

TEST(MetricsDeathTest, RefusesMoreThanItsCellsHold) {
  Registry registry;
  MetricGroup group(&registry, "t");
  EXPECT_DEATH(
      {
        std::vector<std::unique_ptr<Counter>> counters;
        for (int i = 0; i <= kCellsMax; ++i) {
          counters.push_back(std::make_unique<Counter>(&group, absl::StrCat("n", i), "N."));
        }
      },
      "t_n8192.*kCellsMax");
}

}  // namespace
}  // namespace core
