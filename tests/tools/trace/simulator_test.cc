// Simulated caches on sequences small enough to be worked out by hand, and the engine beside them.
#include "tools/trace/simulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tools/trace/curve.h"
#include "tools/trace/offline.h"
#include "tools/trace/parse.h"
#include "tools/trace/workload.h"

namespace trace {
namespace {

using Policy = Simulator::Policy;

// Reads "abc..." through a cache of `room` objects of one size; "H" and "M" for each.
std::string Play(Policy policy, int room, const std::string& keys) {
  constexpr uint64_t kBytes = 100;
  Simulator cache(policy, static_cast<uint64_t>(room) * (kBytes + Simulator::kObjectOverhead), 26);
  std::string heard;
  for (const char c : keys) {
    const auto key = static_cast<uint32_t>(c - 'a');
    const bool hit = cache.Get(key);
    heard += hit ? 'H' : 'M';
    if (!hit) cache.Set(key, kBytes, 0);
  }
  return heard;
}

TEST(SimulatorTest, FifoForgetsTheFirst) {
  //                                              a goes for d, b for a, c for b
  EXPECT_EQ(Play(Policy::kFifo, 3, "abcadab"), "MMMHMMM");
}

TEST(SimulatorTest, LruForgetsTheLongestUnused) {
  //                                             b goes for d, c for b
  EXPECT_EQ(Play(Policy::kLru, 3, "abcadab"), "MMMHMHM");
}

TEST(SimulatorTest, ClockSparesTheUsedOnce) {
  // a was used and goes round; b goes for d. Then c goes for b, and d for c: a is unused since, but
  // behind them.
  EXPECT_EQ(Play(Policy::kClock, 3, "abcadbca"), "MMMHMMMH");
}

TEST(SimulatorTest, SieveLeavesTheUsedInPlace) {
  // The hand passes a, takes b for d, and stands at c: c goes for b, then d for c; a is still there.
  EXPECT_EQ(Play(Policy::kSieve, 3, "abcadbca"), "MMMHMMMH");
  // The hand goes on behind a: what came next goes first, though a is the oldest and unused now.
  EXPECT_EQ(Play(Policy::kSieve, 2, "abacdeb"), "MMHMMMM");
  EXPECT_EQ(Play(Policy::kSieve, 2, "abacada"), "MMHMHMH");
}

TEST(SimulatorTest, InfiniteMissesTheFirstOnly) {
  EXPECT_EQ(Play(Policy::kInfinite, 0, "abcabcz"), "MMMHHHM");
}

TEST(SimulatorTest, WhatExpiresIsGoneAtOnceAndFreesItsRoom) {
  constexpr uint64_t kCharged = 100 + Simulator::kObjectOverhead;
  Simulator cache(Policy::kLru, 2 * kCharged, 4);
  cache.AdvanceTo(1000);
  cache.Set(0, 100, 60);
  cache.Set(1, 100, 0);
  cache.AdvanceTo(1059);
  EXPECT_TRUE(cache.Has(0));
  cache.AdvanceTo(1060);
  EXPECT_FALSE(cache.Has(0));
  EXPECT_EQ(cache.used_bytes(), kCharged);
  cache.Set(2, 100, 0);
  EXPECT_TRUE(cache.Has(1));
}

TEST(SimulatorTest, AWriteRenewsTheDeadlineAndTheSize) {
  Simulator cache(Policy::kFifo, 1000, 4);
  cache.Set(0, 100, 60);
  cache.AdvanceTo(30);
  cache.Set(0, 200, 60);
  EXPECT_EQ(cache.used_bytes(), 200 + Simulator::kObjectOverhead);
  cache.AdvanceTo(60);
  EXPECT_TRUE(cache.Has(0));
  cache.AdvanceTo(90);
  EXPECT_FALSE(cache.Has(0));
}

TEST(SimulatorTest, WhatIsLargerThanTheCacheIsRefusedAndTheOldOneGoes) {
  Simulator cache(Policy::kLru, 200, 4);
  EXPECT_TRUE(cache.Set(0, 50, 0));
  EXPECT_FALSE(cache.Set(0, 500, 0));
  EXPECT_FALSE(cache.Has(0));
  EXPECT_EQ(cache.used_bytes(), 0u);
}

// A tenth of the keys' bytes, so that every policy has to choose.
Recorded SmallTrace() {
  Workload workload = *FindPreset("plain");
  workload.tenants[0].keys = 20'000;
  workload.tenants[0].ttls = {{0.5, 60}, {0.5, 0}};
  workload.requests = 100'000;
  workload.seconds = 600;
  Generator generator(workload);
  Recorded recorded;
  Parser parser;
  std::vector<uint32_t> numbers(1 << 20, UINT32_MAX);
  for (std::string line; generator.Next(&line); line.clear()) {
    line.pop_back();
    Request request;
    EXPECT_TRUE(parser.Parse(line, &request));
    uint32_t& number = numbers[std::stoul(std::string(request.key.substr(1)))];
    if (number == UINT32_MAX) {
      number = recorded.keys();
      recorded.text += std::string(request.key);
      recorded.ends.push_back(recorded.text.size());
    }
    recorded.requests.push_back({request.second, request.ttl_sec, number,
                                 static_cast<int32_t>(request.value_bytes),
                                 static_cast<uint8_t>(request.key_bytes), request.op});
  }
  return recorded;
}

TEST(OfflineTest, TheEngineLiesBetweenTheFloorAndFifo) {
  const Recorded trace = SmallTrace();
  const Point floor = Simulate(trace, Policy::kInfinite, 0);
  const Point fifo = Simulate(trace, Policy::kFifo, 1 << 20);
  auto engine = ReplayEngine(trace, config::Seg(), 1 << 20, nullptr);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ(engine->gets, floor.gets);
  EXPECT_EQ(engine->sets_refused, 0u);
  EXPECT_LE(engine->used_bytes, (1u << 20) * 1.002);
  EXPECT_GT(engine->misses, floor.misses);
  // The engine keeps an index, so a worse policy with less to account for may come near.
  EXPECT_LT(engine->miss_ratio(), fifo.miss_ratio() + 0.02);
}

TEST(OfflineTest, WithRoomForAllTheEngineMissesWhatAnInfiniteCacheMisses) {
  const Recorded trace = SmallTrace();
  const Point floor = Simulate(trace, Policy::kInfinite, 0);
  auto engine = ReplayEngine(trace, config::Seg(), 32 << 20, nullptr);
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ(engine->misses, floor.misses);
}

TEST(CurveTest, CsvHasALineAPointAndThePictureEveryCache) {
  const std::vector<Point> points = {{.cache = "a<b", .memory_bytes = 16 << 20, .gets = 10, .misses = 5},
                                     {.cache = "a<b", .memory_bytes = 32 << 20, .gets = 10, .misses = 4},
                                     {.cache = "lru", .memory_bytes = 16 << 20, .gets = 10, .misses = 3}};
  const Point floor = {.cache = "infinite", .gets = 10, .misses = 1};
  const std::string csv = CsvOf("t", points, floor);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  EXPECT_NE(csv.find("t,a<b,16777216,0,10,5,0.50000,0.40000,"), std::string::npos) << csv;
  const std::string svg = SvgOf("title & more", points, floor);
  for (const char* part : {"a&lt;b", "lru", "title &amp; more", "16MB", "32MB", "</svg>"}) {
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

}  // namespace
}  // namespace trace
