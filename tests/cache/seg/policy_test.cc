// Which segment each policy gives up, what it spares, and what that does to items.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "cache/seg/eviction/policy.h"
#include "cache/seg/hash_table.h"
#include "tests/cache/seg/engine.h"

namespace seg {
namespace {

using enum config::Seg::Eviction;

class PolicyOrderTest : public ::testing::TestWithParam<config::Seg::Eviction> {
 protected:
  static constexpr uint32_t kSegments = 600;  // More than a look around takes in.

  PolicyOrderTest() : segments_(new Segment[kSegments]) { Use(GetParam()); }
  void Use(config::Seg::Eviction eviction) {
    policy_ = EvictionPolicy::Create(eviction, segments_.get(), kSegments, kSegments);
  }
  void Open(uint32_t id, Rank rank = Rank::kNew, int64_t death_ms = 1000, uint32_t bytes = 100) {
    segments_[id].rank = rank;
    segments_[id].death_ms = death_ms;
    segments_[id].used_bytes = bytes;
    policy_->Opened(id);
  }
  uint32_t Pick() {
    return policy_->Pick([](uint32_t) { return true; });
  }
  // Picks and reclaims until nothing is left.
  std::vector<uint32_t> Order(std::vector<uint32_t> open) {
    std::vector<uint32_t> order;
    while (!open.empty()) {
      const uint32_t id = policy_->Pick([&](uint32_t candidate) {
        return std::find(open.begin(), open.end(), candidate) != open.end();
      });
      if (id == kNoSegment) break;
      policy_->Reclaimed(id);
      open.erase(std::find(open.begin(), open.end(), id));
      order.push_back(id);
    }
    return order;
  }
  const std::unique_ptr<Segment[]> segments_;
  std::unique_ptr<EvictionPolicy> policy_;
};

TEST_P(PolicyOrderTest, EverySegmentIsEligibleWhateverTheOthersAre) {
  for (uint32_t id = 0; id < kSegments; ++id) {
    Open(id, id % 3 == 0 ? Rank::kProven : Rank::kNew, 1000 + id * 7 % 97, id % 89);
  }
  for (uint32_t only = 0; only < kSegments; ++only) {
    const uint32_t picked = policy_->Pick([only](uint32_t id) { return id == only; });
    EXPECT_EQ(picked, GetParam() == kNone ? kNoSegment : only);
  }
  EXPECT_EQ(policy_->Pick([](uint32_t) { return false; }), kNoSegment);
}

TEST_P(PolicyOrderTest, GivesUpEachOnce) {
  std::vector<uint32_t> open;
  for (uint32_t id = 0; id < 50; ++id) {
    Open(id * 3, id % 2 == 0 ? Rank::kProven : Rank::kNew);
    open.push_back(id * 3);
  }
  std::vector<uint32_t> order = Order(open);
  std::sort(order.begin(), order.end());
  EXPECT_EQ(order, GetParam() == kNone ? std::vector<uint32_t>() : open);
}

TEST_P(PolicyOrderTest, CountsNoMoreThanASlotHoldsAndFades) {
  EXPECT_LE(policy_->freq_max(), Slot::kFreqMax);
  for (const Rank rank : {Rank::kNew, Rank::kProven}) {
    if (policy_->MercyFor(rank).share == 0) continue;
    // What is never used again does not stay for ever, and what was never used does not stay.
    uint32_t freq = policy_->freq_max();
    ASSERT_GT(freq, 0u);
    for (int rounds = 0; freq > 0; ++rounds) {
      ASSERT_LT(rounds, 10);
      EXPECT_GT(policy_->Score(freq, 100), 0);
      EXPECT_LT(policy_->FreqAfter(freq, rank), freq);
      freq = policy_->FreqAfter(freq, rank);
    }
    EXPECT_EQ(policy_->Score(0, 100), 0);
    EXPECT_GE(policy_->Score(2, 100), policy_->Score(1, 100));
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, PolicyOrderTest, EveryEviction(), NameOf);

class OnePolicyTest : public PolicyOrderTest {};
INSTANTIATE_TEST_SUITE_P(Policies, OnePolicyTest, ::testing::Values(kNone), NameOf);

TEST_P(OnePolicyTest, FifoAndMergeTakeTheOldest) {
  for (const auto eviction : {kFifo, kMerge}) {
    Use(eviction);
    for (const uint32_t id : {9u, 2u, 5u, 7u}) Open(id);
    EXPECT_EQ(Pick(), 9u);
    EXPECT_EQ(Pick(), 9u);  // Asking changes nothing.
    policy_->Reclaimed(5);  // It died by itself.
    policy_->Reclaimed(9);
    Open(9);
    EXPECT_EQ(Order({2, 7, 9}), (std::vector<uint32_t>{2, 7, 9}));
  }
}

TEST_P(OnePolicyTest, CteTakesWhatDiesFirstAndUtilWhatHoldsLeast) {
  Use(kCte);
  Open(1, Rank::kNew, 500);
  Open(2, Rank::kNew, 100);
  Open(3, Rank::kNew, 900);
  EXPECT_EQ(Order({1, 2, 3}), (std::vector<uint32_t>{2, 1, 3}));
  Use(kUtil);
  Open(1, Rank::kNew, 0, 500);
  Open(2, Rank::kNew, 0, 900);
  Open(3, Rank::kNew, 0, 700);
  GoneCounts gone(kSegments, 2);
  segments_[2].gone = gone.CellsOf(2);
  segments_[2].gone_columns = gone.columns();
  gone.Add(2, 800);
  EXPECT_EQ(Order({1, 2, 3}), (std::vector<uint32_t>{2, 1, 3}));
}

TEST_P(OnePolicyTest, RandomTakesAny) {
  Use(kRandom);
  for (uint32_t id = 0; id < 100; ++id) Open(id);
  std::set<uint32_t> picked;
  for (int i = 0; i < 5'000; ++i) picked.insert(policy_->Pick([](uint32_t id) { return id < 100; }));
  EXPECT_GT(picked.size(), 90u);
}

TEST_P(OnePolicyTest, S3FifoTakesNewOnesAsLongAsTheyAreManyAndProvenOnesThen) {
  Use(kS3Fifo);
  for (uint32_t id = 0; id < 10; ++id) Open(id, Rank::kProven);
  for (uint32_t id = 100; id < 100 + kSegments / 4; ++id) Open(id, Rank::kNew);
  EXPECT_EQ(Pick(), 100u);
  policy_->Reclaimed(100);
  EXPECT_EQ(Pick(), 0u);  // Now fewer than a quarter are new.
  Open(100, Rank::kNew);
  EXPECT_EQ(Pick(), 101u);
  EXPECT_TRUE(policy_->remembers());
}

// --- In an engine ---

class PolicyEffectTest : public EngineTest,
                         public ::testing::WithParamInterface<config::Seg::Eviction> {
 protected:
  static bool Counts() { return GetParam() == kMerge || GetParam() == kS3Fifo; }
};

TEST_P(PolicyEffectTest, SetsSucceedWhateverTheHeapIsFullOf) {
  for (const uint64_t segments : {2, 3, 5, 16, 64}) {
    Open(segments * 4096, 4096, GetParam());
    for (int i = 0; i < 5'000; ++i) {
      const std::string key = absl::StrCat("key", i);
      const size_t bytes = i % 7 == 0 ? cache_->item_bytes_max() - key.size()
                                      : static_cast<size_t>(i * 31 % 2'000);
      ASSERT_EQ(Set(key, std::string(bytes, 'v'), i % 3 == 0 ? kNever : 1 + i * 1'000ll),
                StoreResult::kStored)
          << i << " of " << segments;
      ASSERT_EQ(Get(key).size(), bytes);
    }
  }
}

// Items that are used between two rounds of the heap stay, others go.
TEST_P(PolicyEffectTest, CountingPoliciesKeepWhatIsUsed) {
  Open(1 << 20, 8 << 10, GetParam());
  const std::string value(100, 'v');
  constexpr int kHot = 500;
  for (int i = 0; i < kHot; ++i) Set(absl::StrCat("hot", i), value);
  int hits = 0;
  int uses = 0;
  for (int i = 0; i < 60'000; ++i) {
    Set(absl::StrCat("once", i), value);
    if (i % 3 != 0) continue;
    const std::string key = absl::StrCat("hot", i / 3 % kHot);
    ++uses;
    if (cache_->Get(key).found()) {
      ++hits;
    } else {
      Set(key, value);
    }
  }
  const double ratio = static_cast<double>(hits) / uses;
  if (Counts()) {
    EXPECT_GT(ratio, 0.95);
  } else {
    EXPECT_LT(ratio, 0.95);
  }
}

// What is moved out of a sparse segment, which is nobody's merit, keeps its count: used before, it
// survives the eviction that comes after.
TEST_P(PolicyEffectTest, UseSurvivesBeingMoved) {
  if (!Counts()) GTEST_SKIP() << "counts nothing";
  Open(1 << 20, 8 << 10, GetParam());
  const std::string value(100, 'v');
  // A used item in every hundred, the others deleted: the segments are sparse.
  constexpr int kUsed = 100;
  for (int i = 0; i < kUsed; ++i) {
    Set(absl::StrCat("used", i), value);
    for (int use = 0; use < 3; ++use) cache_->Get(absl::StrCat("used", i));
    for (int k = 0; k < 20; ++k) Set(absl::StrCat("gone", i * 20 + k), value);
  }
  for (int i = 0; i < kUsed * 20; ++i) cache_->Delete(absl::StrCat("gone", i));
  // As much as fits: the used ones are moved together. Then one more time as much: evictions.
  const auto moved_and_evicted = [&] {
    double moved = 0, evicted = 0;
    registry_.Visit([&](const core::Registry::Sample& s) {
      if (s.name == "cache_seg_item_move_total") moved += s.value;
      if (s.name == "cache_seg_item_evict_total") evicted += s.value;
    });
    return std::pair(moved, evicted);
  };
  int fresh = 0;
  while (moved_and_evicted().second == 0) {
    Set(absl::StrCat("fresh", fresh++), value);
    ASSERT_LT(fresh, 20'000);
  }
  EXPECT_GE(moved_and_evicted().first, kUsed / 2);
  for (int i = 0; i < fresh / 2; ++i) Set(absl::StrCat("more", i), value);
  int kept = 0;
  for (int i = 0; i < kUsed; ++i) kept += Has(absl::StrCat("used", i)) ? 1 : 0;
  EXPECT_GT(kept, kUsed * 9 / 10);
}

// Every item that eviction takes is told of once; what expired, was deleted, replaced or flushed is not.
TEST_P(PolicyEffectTest, AListenerHearsOfEveryEvictionAndOfNothingElse) {
  struct Listener final : EvictionListener {
    bool listens() const override { return on; }
    void OnEvict(const Evicted& item) override {
      EXPECT_TRUE(keys.emplace(item.key).second) << "twice";
      EXPECT_EQ(item.value_bytes, 100u);
      EXPECT_EQ(item.ttl_ms, item.key.back() % 2 == 0 ? 1'000'000 : kNever);
      EXPECT_EQ(item.age_ms, 0);
      used += item.used ? 1 : 0;
    }
    bool on = true;
    uint64_t used = 0;
    std::set<std::string> keys;
  } listener;
  Open(1 << 20, 8 << 10, GetParam());
  cache_->ListenToEvictions(&listener);
  const std::string value(100, 'v');
  const auto sum = [&](absl::string_view name) {
    double all = 0;
    registry_.Visit([&](const core::Registry::Sample& s) {
      if (s.name == name) all += s.value;
    });
    return static_cast<uint64_t>(all);
  };
  for (int i = 0; i < 2000; ++i) Set(absl::StrCat("short", i), value, 500);
  for (int i = 0; i < 2000; ++i) Set(absl::StrCat("gone", i), value);
  for (int i = 0; i < 2000; ++i) cache_->Delete(absl::StrCat("gone", i));
  for (int i = 0; i < 2000; ++i) Set("same", value);
  clock_.AdvanceMs(1000);
  cache_->Tick();
  cache_->Flush();
  cache_->Tick();
  EXPECT_EQ(sum("cache_seg_item_evict_total"), 0u);
  EXPECT_TRUE(listener.keys.empty());

  constexpr int kItems = 20'000;
  for (int i = 0; i < kItems; ++i) {
    const std::string key = absl::StrCat("k", i);
    Set(key, value, i % 2 == 0 ? 1'000'000 : kNever);
    if (i % 3 == 0) cache_->Get(key);
  }
  EXPECT_EQ(listener.keys.size(), sum("cache_seg_item_evict_total"));
  EXPECT_EQ(listener.used, sum("cache_seg_item_evict_used_total"));
  EXPECT_GT(listener.keys.size(), size_t{kItems} / 2);
  for (int i = 0; i < kItems; ++i) {
    const std::string key = absl::StrCat("k", i);
    EXPECT_NE(Has(key), listener.keys.count(key) > 0) << key;
  }
  listener.on = false;
  const size_t told = listener.keys.size();
  for (int i = 0; i < kItems; ++i) Set(absl::StrCat("more", i), value);
  EXPECT_EQ(listener.keys.size(), told);
}

INSTANTIATE_TEST_SUITE_P(Policies, PolicyEffectTest, EveryEvictionThatEvicts(), NameOf);

}  // namespace
}  // namespace seg
