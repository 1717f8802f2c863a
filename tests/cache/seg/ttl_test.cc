// Lives: each item has the one it was given, whatever company it is in, and the dead cost nothing
// that the living need.
#include <algorithm>
#include <random>
#include <vector>

#include "cache/seg/ttl_buckets.h"
#include "tests/cache/seg/engine.h"

namespace seg {
namespace {

using enum config::Seg::Eviction;

class TtlTest : public EngineTest {
 protected:
  // A TTL of 1 s to 194 days, as likely short as long.
  int64_t AnyTtl() {
    const int bits = static_cast<int>(rng_() % 24);
    return (int64_t{1} << bits) * 1000 + static_cast<int64_t>(rng_() % (uint64_t{1000} << bits));
  }
  void SetUp() override {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    rng_.seed(seed);
  }
  // Of the heap, by what can be found.
  double LiveShare(const std::vector<std::string>& keys) {
    uint64_t bytes = 0;
    for (const std::string& key : keys) {
      const ItemRef found = cache_->Peek(key);
      if (found.found()) bytes += key.size() + found.value().size() + 16;
    }
    return static_cast<double>(bytes) / static_cast<double>(cache_->GetStats().heap_bytes);
  }
  std::mt19937 rng_;
};

// One item of every TTL into segments that have been open for any time, with eviction off: each is
// there until its deadline and not after.
TEST_F(TtlTest, EveryItemLivesExactlyAsLongAsAsked) {
  Open(64 << 20, 16 << 10, kNone);
  struct Born {
    std::string key;
    int64_t deadline_ms;
  };
  std::vector<Born> born;
  for (int i = 0; i < 4'000; ++i) {
    const int64_t ttl_ms = i % 50 == 0 ? int64_t{90'000'000'000} : AnyTtl();
    const std::string key = absl::StrCat("key", i);
    ASSERT_EQ(Set(key, "v", ttl_ms), StoreResult::kStored);
    born.push_back({key, clock_.MonotonicMs() + ttl_ms});
    clock_.AdvanceMs(static_cast<int64_t>(rng_() % 500));
    if (i % 20 == 0) cache_->Tick();
  }
  std::sort(born.begin(), born.end(),
            [](const Born& a, const Born& b) { return a.deadline_ms < b.deadline_ms; });
  for (const Born& b : born) {
    const int64_t left = b.deadline_ms - clock_.MonotonicMs();
    if (left > 0) clock_.AdvanceMs(left - 1);
    cache_->Tick();
    if (left > 0) {
      ASSERT_EQ(cache_->Peek(b.key).ttl_ms(), 1) << b.key;
      clock_.AdvanceMs(1);
    }
    ASSERT_FALSE(Has(b.key)) << b.key;
  }
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().items, 0u);
  EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
  EXPECT_EQ(cache_->GetStats().expired_items, 4'000u);
}

// A segment is free within a second of its last item's death, if somebody ticks.
TEST_F(TtlTest, DeadSegmentsComeBackWithTheNextTick) {
  Open(16 << 20, 16 << 10, kFifo);
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_EQ(Set(absl::StrCat("key", i), std::string(100, 'v'), 30'000), StoreResult::kStored);
    if (i % 1'000 == 0) clock_.AdvanceMs(1'000);
  }
  const uint64_t full = cache_->GetStats().segments_free;
  clock_.AdvanceMs(25'000);
  cache_->Tick();
  const uint64_t half = cache_->GetStats().segments_free;
  EXPECT_GT(half, full);  // Those of the first seconds.
  clock_.AdvanceMs(5'000);
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
  EXPECT_EQ(cache_->GetStats().evicted_items, 0u);
}

// A large item that was spared goes to the end of the policy's queue, not of its TTL bucket's: what
// died must not wait for what was opened after it.
TEST_F(TtlTest, SparedLargeItemIsReclaimedInItsTime) {
  Open(2 << 20, 0, kS3Fifo);  // 8 KB segments.
  const std::string large(100'000, 'l');
  ASSERT_EQ(Set("spared", large, 1'000'000), StoreResult::kStored);
  // Younger segments of the same bucket, until everything has been round once.
  int64_t now_ms = 0;
  for (int i = 0; i < 20'000; ++i) {
    if (i % 1'000 == 0) {
      ASSERT_TRUE(cache_->Get("spared").found());
    }
    if (i % 10 == 0) {
      clock_.AdvanceMs(1);
      ++now_ms;
    }
    ASSERT_EQ(Set(absl::StrCat("young", i), std::string(100, 'y'), 1'000'000),
              StoreResult::kStored);
  }
  ASSERT_TRUE(Has("spared"));
  ASSERT_GT(cache_->GetStats().evicted_items, 0u);
  clock_.AdvanceMs(1'000'000 - now_ms);
  const uint64_t expired = cache_->GetStats().expired_items;
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().expired_items, expired + 1);
}

class TtlPolicyTest : public TtlTest,
                      public ::testing::WithParamInterface<config::Seg::Eviction> {};

// Nothing that lives is evicted while a good part of the heap is dead, even if the dead lie among
// the living: short lives in segments of long ones.
TEST_P(TtlPolicyTest, TheDeadPushOutNobody) {
  Open(16 << 20, 0, GetParam());
  std::vector<std::string> lasting;
  const std::string value(100, 'v');
  // Near 5 MB that stay, and as much that dies soon: some in segments of its own, and some that was to
  // live long, next to what does.
  for (int i = 0; i < 40'000; ++i) {
    lasting.push_back(absl::StrCat("stays", i));
    ASSERT_EQ(Set(lasting.back(), value, 100'000 + AnyTtl()), StoreResult::kStored);
    const std::string key = absl::StrCat("dies", i);
    const int64_t ttl_ms = 1'000 + static_cast<int64_t>(rng_() % 60'000);
    if (i % 4 == 0) {
      ASSERT_EQ(Set(key, value, ttl_ms), StoreResult::kStored);
    } else {
      ASSERT_EQ(Set(key, value, 100'000 + AnyTtl()), StoreResult::kStored);
      ASSERT_EQ(Touch(key, ttl_ms), StoreResult::kStored);
    }
  }
  clock_.AdvanceMs(62'000);
  ASSERT_EQ(cache_->GetStats().evicted_items, 0u);
  for (int i = 0; i < 72'000; ++i) {  // Near 9 MB more.
    lasting.push_back(absl::StrCat("more", i));
    ASSERT_EQ(Set(lasting.back(), value, 100'000 + AnyTtl()), StoreResult::kStored);
  }
  EXPECT_EQ(cache_->GetStats().evicted_items, 0u);
  EXPECT_GT(LiveShare(lasting), 0.79);
}

// Many TTLs in a small heap: no set is refused and no segment wasted. Items of every TTL are set
// until something that lives had to go; by then the heap is full of the living.
TEST_P(TtlPolicyTest, ManyTtlsFillASmallHeap) {
  for (const uint64_t segment : {uint64_t{0}, uint64_t{64} << 10, uint64_t{256} << 10}) {
    Open(16 << 20, segment, GetParam());
    std::vector<std::string> keys;
    while (keys.size() % 256 != 0 || cache_->GetStats().evicted_items == 0) {
      keys.push_back(absl::StrCat("key", keys.size()));
      const size_t bytes = 20 + rng_() % 500;
      ASSERT_EQ(Set(keys.back(), std::string(bytes, 'v'), AnyTtl()), StoreResult::kStored);
      ASSERT_LT(keys.size(), 100'000u);
      clock_.AdvanceMs(static_cast<int64_t>(rng_() % 3));
      if (keys.size() % 500 == 0) cache_->Tick();
    }
    // The rest is half-filled tails, and segments of which less than a fifth is dead.
    EXPECT_GT(LiveShare(keys), segment == 256 << 10 ? 0.72 : 0.82) << segment;
    // And it goes on.
    for (int i = 0; i < 10'000; ++i) {
      ASSERT_EQ(Set(absl::StrCat("next", i), std::string(200, 'v'), AnyTtl()),
                StoreResult::kStored);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, TtlPolicyTest, EveryEvictionThatEvicts(), NameOf);

// Room is made of a segment with little in it by moving what lives, each item to those that die when it
// does. Of three there is room for two, so the third stays, and the segment; the dead have left it.
TEST_F(TtlTest, TheDeadAreCountedAlsoIfTheirSegmentStays) {
  constexpr int kSegments = 64;  // Two of them are kept free for what is moved.
  Open(kSegments * 4096, 4096, kNone);
  ASSERT_EQ(Set("dead", std::string(200, 'd'), 100'000), StoreResult::kStored);
  ASSERT_EQ(Touch("dead", 1'000), StoreResult::kStored);
  for (const char* const key : {"40 s", "70 s", "100 s"}) {
    ASSERT_EQ(Set(key, std::string(200, 'v'), 100'000), StoreResult::kStored);
    if (key != absl::string_view("100 s")) clock_.AdvanceMs(30'000);
  }
  ASSERT_EQ(Set("rest", std::string(2'800, 'r'), 100'000), StoreResult::kStored);
  ASSERT_EQ(Set("next", std::string(4'000, 'n'), 100'000), StoreResult::kStored);
  ASSERT_TRUE(cache_->Delete("rest"));
  for (int i = 0; i < kSegments - 4; ++i) {
    ASSERT_EQ(Set(absl::StrCat("full", i), std::string(4'000, 'f')), StoreResult::kStored) << i;
  }
  ASSERT_EQ(cache_->GetStats().segments_free, 2u);
  const uint64_t items = cache_->GetStats().items;
  EXPECT_EQ(Set("more", std::string(4'000, 'm')), StoreResult::kNoMemory);
  EXPECT_EQ(cache_->GetStats().items, items - 1);
  EXPECT_EQ(cache_->GetStats().expired_items, 1u);
  for (const char* const key : {"40 s", "70 s", "100 s"}) EXPECT_TRUE(Has(key)) << key;
}

}  // namespace
}  // namespace seg
