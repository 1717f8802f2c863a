// What one caller sees of the engine.
#include "cache/seg/cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace seg {
namespace {

class CacheTest : public ::testing::Test {
 protected:
  void Open(uint64_t heap, uint64_t segment,
            config::Seg::Eviction eviction = config::Seg::Eviction::kFifo) {
    config::Seg options;
    options.heap_size = heap;
    options.segment_size = segment;
    options.eviction = eviction;
    auto cache = Cache::Create(options, &clock_, &registry_, absl::StrCat("test", ++opened_));
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
  }
  void SetUp() override { Open(1 << 20, 64 << 10); }

  // The value, or "(none)".
  std::string Get(absl::string_view key) {
    const ItemRef found = cache_->Peek(key);
    return found.found() ? std::string(found.value()) : "(none)";
  }
  StoreResult Set(absl::string_view key, absl::string_view value, int64_t ttl_ms = kNever) {
    return cache_->Set(key, value, 0, ttl_ms);
  }
  // What the registry says of cache_seg_<name>_total, of all caches of the test.
  double Counted(absl::string_view name) {
    double sum = 0;
    registry_.Visit([&](const core::Registry::Sample& s) {
      if (s.name == absl::StrCat("cache_seg_", name, "_total")) sum += s.value;
    });
    return sum;
  }
  uint64_t Cas(absl::string_view key) { return cache_->Peek(key).cas(); }
  StoreResult Touch(absl::string_view key, int64_t ttl_ms) {
    Update update;
    return cache_->Apply(
        key,
        [&](const ItemRef&, Update* u) {
          u->action = Update::Action::kTouch;
          u->ttl_ms = ttl_ms;
        },
        &update);
  }
  // Sets keys made of `prefix` until `n` are stored; values of `bytes` bytes.
  void Fill(absl::string_view prefix, int n, size_t bytes, int64_t ttl_ms = kNever) {
    for (int i = 0; i < n; ++i) {
      ASSERT_EQ(Set(absl::StrCat(prefix, i), std::string(bytes, 'f'), ttl_ms),
                StoreResult::kStored);
    }
  }

  core::ManualClock clock_;
  core::Registry registry_;
  int opened_ = 0;  // Names of caches must differ within a registry.
  std::unique_ptr<Cache> cache_;
};

TEST_F(CacheTest, WhatIsMovedTogetherKeepsItsPlaceInTheOrderOfEviction) {
  constexpr int kSegments = 64, kPerSegment = 8;
  constexpr size_t kValueBytes = 480;  // Eight items to a segment of 4 KB.
  Open(kSegments * 4096, 4096);        // fifo
  Fill("key", kSegments * kPerSegment, kValueBytes);
  // What is left of the oldest half is moved together, being sparse, and stays the oldest.
  int oldest = 0;
  while (Get(absl::StrCat("key", oldest)) == "(none)") ++oldest;
  const int half = kSegments * kPerSegment / 2;
  for (int i = oldest; i < half; ++i) {
    if (i % kPerSegment >= 4) cache_->Delete(absl::StrCat("key", i));
  }
  const auto left = [&](int from, int to) {
    int n = 0;
    for (int i = from; i < to; ++i) n += Get(absl::StrCat("key", i)) != "(none)";
    return n;
  };
  const int sparse = left(oldest, half);
  const int dense = left(half, kSegments * kPerSegment);
  // As much as the holes take is free again; then the oldest must go, before any of the others.
  Fill("more", sparse + sparse / 2, kValueBytes);
  EXPECT_LT(left(oldest, half), sparse);
  EXPECT_GE(left(half, kSegments * kPerSegment), dense - kPerSegment);
}

TEST_F(CacheTest, ItemsThatNeverFillASegmentAreEvictedNotMovedForEver) {
  Open(64 * 4096, 4096, config::Seg::Eviction::kS3Fifo);
  // Three to a segment, which is then seven eighths full and looks sparse.
  Fill("key", 2000, 1180);
  EXPECT_EQ(Get("key1999"), std::string(1180, 'f'));
  EXPECT_GT(cache_->GetStats().evicted_items, 0u);
}

TEST_F(CacheTest, FindsWhatWasSet) {
  uint64_t cas = 0;
  EXPECT_EQ(cache_->Set("key", absl::string_view("a\0b\r\n", 5), 7, kNever, &cas),
            StoreResult::kStored);
  const ItemRef found = cache_->Get("key");
  ASSERT_TRUE(found.found());
  EXPECT_EQ(found.value(), absl::string_view("a\0b\r\n", 5));
  EXPECT_EQ(found.flags(), 7u);
  EXPECT_EQ(found.cas(), cas);
  EXPECT_NE(cas, 0u);
  EXPECT_EQ(found.ttl_ms(), kNever);
}

TEST_F(CacheTest, MissesWhatWasNot) {
  EXPECT_FALSE(cache_->Get("key").found());
  Set("key", "value");
  EXPECT_FALSE(cache_->Get("ke").found());
  EXPECT_FALSE(cache_->Get("keyy").found());
}

TEST_F(CacheTest, KeepsAnEmptyValueAndTheLongestKey) {
  const std::string key(kKeyBytesMax, 'k');
  EXPECT_EQ(Set(key, ""), StoreResult::kStored);
  EXPECT_EQ(Get(key), "");
}

TEST_F(CacheTest, KeepsEveryFlagsValue) {
  for (const uint32_t flags : {0u, 1u, 0x80000000u, 0xffffffffu}) {
    cache_->Set("key", "v", flags, kNever);
    EXPECT_EQ(cache_->Get("key").flags(), flags);
    EXPECT_EQ(Get("key"), "v");
  }
}

TEST_F(CacheTest, ReplacesAndDeletes) {
  Set("key", "one");
  Set("key", "another one");
  EXPECT_EQ(Get("key"), "another one");
  EXPECT_EQ(cache_->GetStats().items, 1u);
  EXPECT_TRUE(cache_->Delete("key"));
  EXPECT_EQ(Get("key"), "(none)");
  EXPECT_FALSE(cache_->Delete("key"));
  EXPECT_EQ(cache_->GetStats().items, 0u);
  EXPECT_EQ(cache_->GetStats().item_bytes, 0u);
}

TEST_F(CacheTest, GivesEveryWriteItsOwnToken) {
  std::vector<uint64_t> seen;
  for (int i = 0; i < 5000; ++i) {
    uint64_t cas = 0;
    ASSERT_EQ(cache_->Set("key", std::string(100, 'v'), 0, kNever, &cas), StoreResult::kStored);
    seen.push_back(cas);
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

TEST_F(CacheTest, LivesExactlyAsLongAsAsked) {
  for (const int64_t ttl_ms : {1ll, 999ll, 1000ll, 5000ll, 7999ll, 8000ll, 2048'000ll,
                               32768'001ll, 90'000'000'000ll}) {
    ASSERT_EQ(Set("key", "v", ttl_ms), StoreResult::kStored);
    EXPECT_EQ(cache_->Peek("key").ttl_ms(), ttl_ms);
    clock_.AdvanceMs(ttl_ms - 1);
    cache_->Tick();
    EXPECT_EQ(cache_->Peek("key").ttl_ms(), 1) << ttl_ms;
    clock_.AdvanceMs(1);
    EXPECT_EQ(Get("key"), "(none)") << ttl_ms;
    EXPECT_FALSE(cache_->Delete("key"));
  }
}

TEST_F(CacheTest, LivesItsWholeLifeInASegmentOpenedLongBefore) {
  Set("old", "v", 15'000);
  clock_.AdvanceMs(14'000);
  Set("young", "v", 15'000);
  clock_.AdvanceMs(14'999);
  cache_->Tick();
  EXPECT_EQ(Get("old"), "(none)");
  EXPECT_EQ(Get("young"), "v");
}

TEST_F(CacheTest, NeverExpiresWhatShallNot) {
  Set("key", "v", kNever);
  Set("long", "v", 100ll * 365 * 86'400'000);  // Past the last deadline: kept as never.
  clock_.AdvanceMs(20ll * 365 * 86'400'000);
  cache_->Tick();
  EXPECT_EQ(Get("key"), "v");
  EXPECT_EQ(Get("long"), "v");
  EXPECT_EQ(cache_->Peek("long").ttl_ms(), kNever);
}

TEST_F(CacheTest, RefusesWhatExceedsASegmentAndKeepsTheOldItem) {
  const size_t most = cache_->item_bytes_max();
  Set("key", "old");
  EXPECT_EQ(Set("key", std::string(most - 2, 'x')), StoreResult::kTooLarge);
  EXPECT_EQ(Get("key"), "old");
  const std::string fits(most - 3, 'y');
  EXPECT_EQ(cache_->Set("key", fits, 1, kNever), StoreResult::kStored);
  EXPECT_EQ(Get("key"), fits);
}

TEST_F(CacheTest, EvictsTheOldestSegmentFirst) {
  Open(4 * 4096, 4096);
  Fill("a", 3, 1000);  // Three items of ~1016 bytes fill a segment to the point that a fourth fits.
  Fill("b", 20, 1000);
  EXPECT_EQ(Get("a0"), "(none)");
  EXPECT_NE(Get("b19"), "(none)");
  EXPECT_GT(cache_->GetStats().evicted_items, 0u);
  EXPECT_EQ(cache_->GetStats().expired_items, 0u);
}

TEST_F(CacheTest, RefusesWritesWhenFullWithEvictionOff) {
  Open(4 * 4096, 4096, config::Seg::Eviction::kNone);
  int stored = 0;
  while (Set(absl::StrCat("key", stored), std::string(1000, 'v')) == StoreResult::kStored) {
    ASSERT_LT(++stored, 100);
  }
  EXPECT_EQ(Set("more", std::string(1000, 'v')), StoreResult::kNoMemory);
  EXPECT_EQ(stored, 16);
  for (int i = 0; i < stored; ++i) EXPECT_NE(Get(absl::StrCat("key", i)), "(none)") << i;
}

TEST_F(CacheTest, RefusedWriteKeepsTheOldItem) {
  Open(2 * 4096, 4096, config::Seg::Eviction::kNone);
  Fill("key", 8, 1000);
  EXPECT_EQ(Set("key0", std::string(1000, 'n')), StoreResult::kNoMemory);
  EXPECT_EQ(Get("key0"), std::string(1000, 'f'));
}

TEST_F(CacheTest, ReclaimsTheDeadBeforeTheLiving) {
  Open(4 * 4096, 4096);
  Fill("live", 8, 1000);           // Two segments, older than the dead.
  Fill("dead", 8, 1000, 10'000);   // The other two.
  clock_.AdvanceMs(10'000);
  Fill("new", 8, 1000, 5'000'000);
  for (int i = 0; i < 8; ++i) EXPECT_NE(Get(absl::StrCat("live", i)), "(none)") << i;
  for (int i = 0; i < 8; ++i) EXPECT_NE(Get(absl::StrCat("new", i)), "(none)") << i;
  EXPECT_EQ(cache_->GetStats().expired_items, 8u);
  EXPECT_EQ(cache_->GetStats().evicted_items, 0u);
}

TEST_F(CacheTest, TickFreesSegmentsOfTheDead) {
  Fill("a", 300, 1000, 10'000);
  const uint64_t before = cache_->GetStats().segments_free;
  clock_.AdvanceMs(9'999);
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().segments_free, before);
  EXPECT_EQ(cache_->GetStats().items, 300u);
  clock_.AdvanceMs(1);
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
  EXPECT_EQ(cache_->GetStats().items, 0u);
  EXPECT_EQ(cache_->GetStats().expired_items, 300u);
}

TEST_F(CacheTest, FreesASegmentOnceNothingInItLives) {
  Fill("a", 300, 1000);
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(cache_->Delete(absl::StrCat("a", i)));
  // All but the open tail.
  EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments - 1);
}

TEST_F(CacheTest, WritesToEveryTtlBucketInATinyHeap) {
  Open(2 * 4096, 4096);
  int64_t ttl_ms = 1;
  for (int bucket = 0; bucket < 60; ++bucket, ttl_ms = ttl_ms * 3 / 2 + 1) {
    ASSERT_EQ(Set(absl::StrCat("key", bucket), "v", ttl_ms), StoreResult::kStored) << bucket;
    EXPECT_EQ(Get(absl::StrCat("key", bucket)), "v");
  }
}

TEST_F(CacheTest, ManyTtlsDoNotEmptyAHeapThatHasRoom) {
  Open(16 * 4096, 4096);  // 16 segments for items of 200 TTL buckets.
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(Set(absl::StrCat("key", i), "value", 1000 + i * 8000), StoreResult::kStored);
  }
  for (int i = 0; i < 200; ++i) EXPECT_EQ(Get(absl::StrCat("key", i)), "value") << i;
  // The life of an item does not depend on the company it is in.
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(cache_->Peek(absl::StrCat("key", i)).ttl_ms(), 1000 + i * 8000);
  }
  clock_.AdvanceMs(199 * 8000);
  cache_->Tick();
  EXPECT_EQ(Get("key198"), "(none)");
  EXPECT_EQ(Get("key199"), "value");
}

TEST_F(CacheTest, FlushForgetsEverythingBeforeItAndNothingAfter) {
  Fill("a", 100, 100);
  Fill("b", 100, 100, 50'000);
  cache_->Flush();
  EXPECT_EQ(cache_->GetStats().items, 0u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Get(absl::StrCat("a", i)), "(none)");
  EXPECT_FALSE(cache_->Delete("b1"));
  Fill("a", 100, 100);
  Set("c", "v", 50'000);
  cache_->Tick();
  for (int i = 0; i < 100; ++i) EXPECT_NE(Get(absl::StrCat("a", i)), "(none)");
  EXPECT_EQ(Get("c"), "v");
  EXPECT_EQ(cache_->GetStats().items, 101u);
  EXPECT_EQ(cache_->GetStats().evicted_items, 0u);
  EXPECT_EQ(cache_->GetStats().expired_items, 0u);
}

TEST_F(CacheTest, PinnedValueOutlivesItsItem) {
  Open(4 * 4096, 4096);
  Set("key", std::string(500, 'p'));
  ItemRef found = cache_->Get("key");
  cache_->Delete("key");
  cache_->Flush();
  Fill("x", 200, 1000);
  EXPECT_EQ(found.value(), std::string(500, 'p'));
  core::Bytes taken = found.TakeValue();
  Fill("y", 200, 1000);
  EXPECT_EQ(taken.view(), std::string(500, 'p'));
}

TEST_F(CacheTest, PinnedSegmentIsNotEvictedButAnotherIs) {
  Open(4 * 4096, 4096);
  Set("key", std::string(1000, 'p'));
  const ItemRef found = cache_->Get("key");
  Fill("x", 200, 1000);
  EXPECT_EQ(Get("key"), std::string(1000, 'p'));
  EXPECT_EQ(found.value(), std::string(1000, 'p'));
}

TEST_F(CacheTest, SaysNoMemoryOnlyWhileEverySegmentIsPinned) {
  Open(2 * 4096, 4096);
  const std::string big(4000, 'b');
  Set("a", big);
  Set("b", big);
  ItemRef a = cache_->Get("a");
  ItemRef b = cache_->Get("b");
  EXPECT_EQ(Set("c", big), StoreResult::kNoMemory);
  EXPECT_EQ(Get("a"), big);
  b = ItemRef();
  EXPECT_EQ(Set("c", big), StoreResult::kStored);
  EXPECT_EQ(a.value(), big);
}

TEST_F(CacheTest, ReadersGetTheirMemoryBackAfterTheLastPin) {
  Open(2 * 4096, 4096);
  Set("a", "v");
  {
    const ItemRef a = cache_->Get("a");
    cache_->Flush();
    cache_->Tick();
    EXPECT_EQ(cache_->GetStats().segments_free, 1u);
  }
  EXPECT_EQ(cache_->GetStats().segments_free, 2u);
}

TEST_F(CacheTest, ApplySeesTheItemAndStores) {
  Set("key", "41");
  Update update;
  const StoreResult result = cache_->Apply(
      "key",
      [](const ItemRef& found, Update* u) {
        ASSERT_TRUE(found.found());
        u->action = Update::Action::kStore;
        u->value = absl::StrCat(found.value(), "+1");
        u->flags = 9;
        u->ttl_ms = 5000;
      },
      &update);
  EXPECT_EQ(result, StoreResult::kStored);
  const ItemRef found = cache_->Peek("key");
  EXPECT_EQ(found.value(), "41+1");
  EXPECT_EQ(found.flags(), 9u);
  EXPECT_EQ(found.ttl_ms(), 5000);
  EXPECT_EQ(found.cas(), update.new_cas);
}

TEST_F(CacheTest, ApplyKeepsAndDeletes) {
  Update keep;
  EXPECT_EQ(cache_->Apply("key", [](const ItemRef& f, Update*) { EXPECT_FALSE(f.found()); }, &keep),
            StoreResult::kNotStored);
  Set("key", "v");
  const auto remove = [](const ItemRef&, Update* u) { u->action = Update::Action::kDelete; };
  Update update;
  EXPECT_EQ(cache_->Apply("key", remove, &update), StoreResult::kStored);
  EXPECT_EQ(cache_->Apply("key", remove, &update), StoreResult::kNotStored);
  EXPECT_EQ(Get("key"), "(none)");
}

TEST_F(CacheTest, TouchChangesTheLifeAndNothingElse) {
  uint64_t cas = 0;
  cache_->Set("key", "value", 5, 10'000, &cas);
  for (const int64_t ttl_ms : {int64_t{5'000}, int64_t{500'000}, int64_t{20}, kNever,
                               int64_t{3'000}, int64_t{400'000'000}}) {
    ASSERT_EQ(Touch("key", ttl_ms), StoreResult::kStored);
    const ItemRef found = cache_->Peek("key");
    ASSERT_TRUE(found.found());
    EXPECT_EQ(found.ttl_ms(), ttl_ms);
    EXPECT_EQ(found.cas(), cas);
    EXPECT_EQ(found.flags(), 5u);
    EXPECT_EQ(found.value(), "value");
  }
  EXPECT_EQ(cache_->GetStats().items, 1u);
  EXPECT_EQ(cache_->GetStats().total_items, 1u);
  Touch("key", 100);
  clock_.AdvanceMs(100);
  EXPECT_EQ(Get("key"), "(none)");
  EXPECT_EQ(Touch("key", 100), StoreResult::kNotStored);
}

TEST_F(CacheTest, TouchInAFullHeapShortensWithoutMemory) {
  Open(2 * 4096, 4096, config::Seg::Eviction::kNone);
  Fill("key", 8, 1000);
  EXPECT_EQ(Touch("key0", 1000), StoreResult::kStored);
  EXPECT_EQ(cache_->Peek("key0").ttl_ms(), 1000);
}

TEST_F(CacheTest, StillFindsEverythingInATableOfOneBucket) {
  config::Seg options;
  options.heap_size = 1 << 20;
  options.segment_size = 64 << 10;
  options.hash_power = 1;
  auto cache = Cache::Create(options, &clock_, &registry_, "small");
  ASSERT_TRUE(cache.ok());
  for (int i = 0; i < 1000; ++i) {
    (*cache)->Set(absl::StrCat("key", i), absl::StrCat("value", i), 0, kNever);
  }
  for (int i = 0; i < 1000; i += 2) EXPECT_TRUE((*cache)->Delete(absl::StrCat("key", i)));
  for (int i = 0; i < 1000; ++i) {
    const ItemRef found = (*cache)->Peek(absl::StrCat("key", i));
    ASSERT_EQ(found.found(), i % 2 == 1) << i;
    if (found.found()) {
      EXPECT_EQ(found.value(), absl::StrCat("value", i));
    }
  }
}

TEST_F(CacheTest, CountsHitsAndMissesOfGetsAlone) {
  Set("key", "v");
  cache_->Get("key");
  cache_->Get("none");
  cache_->Get("none");
  cache_->Peek("key");
  EXPECT_EQ(Counted("get_hit"), 1);
  EXPECT_EQ(Counted("get_miss"), 2);
}

TEST_F(CacheTest, CountsWhatIsRemovedRefusedAndForgotten) {
  Set("key", "v");
  Set("other", "v", 1'000);
  EXPECT_TRUE(cache_->Delete("key"));
  EXPECT_FALSE(cache_->Delete("key"));
  clock_.AdvanceMs(1'000);
  EXPECT_FALSE(cache_->Delete("other"));  // It was not live any more.
  EXPECT_EQ(Counted("item_delete"), 1);
  EXPECT_EQ(Set("key", std::string(70'000, 'v')), StoreResult::kTooLarge);
  EXPECT_EQ(Counted("store_too_large"), 1);
  cache_->Flush();
  cache_->Flush();
  EXPECT_EQ(Counted("flush"), 2);
  Open(2 * 4096, 4096, config::Seg::Eviction::kNone);
  int stored = 0;
  while (Set(absl::StrCat("key", stored), std::string(1'000, 'v')) == StoreResult::kStored) ++stored;
  EXPECT_EQ(Counted("store_no_memory"), 1);
  EXPECT_EQ(Counted("item_store"), 2 + stored);  // Of both caches.
}

TEST_F(CacheTest, CountsUsedItemsAmongTheEvicted) {
  Open(64 * 4096, 4096, config::Seg::Eviction::kMerge);
  for (int i = 0; i < 2'000; ++i) {
    Set(absl::StrCat("key", i), std::string(400, 'v'));
    for (int uses = i % 4; uses > 0; --uses) cache_->Get(absl::StrCat("key", i));
  }
  const Cache::Stats stats = cache_->GetStats();
  EXPECT_GT(stats.evicted_used, 0u);
  EXPECT_GT(stats.evicted_unused, 0u);
  EXPECT_LE(stats.evicted_used + stats.evicted_unused, stats.evicted_items);
  EXPECT_EQ(Counted("item_evict_used"), static_cast<double>(stats.evicted_used));
}

TEST(CacheCreateTest, RefusesSizesThatDoNotFit) {
  core::ManualClock clock;
  core::Registry registry;
  config::Seg options;
  options.heap_size = 1 << 20;
  options.segment_size = 1 << 20;
  const auto one = Cache::Create(options, &clock, &registry, "x");
  EXPECT_EQ(one.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(one.status().message().find("two segments"), std::string::npos);
  options.segment_size = 16 << 20;
  options.heap_size = 64 << 20;
  EXPECT_EQ(Cache::Create(options, &clock, &registry, "y").status().code(),
            absl::StatusCode::kInvalidArgument);
}

// A touch may make an item die long before its segment. The dead are looked for before what lives goes.
TEST_F(CacheTest, WhatWasTouchedToAnEarlierEndGoesBeforeWhatLives) {
  Open(64 * 4096, 4096);
  const std::string value(400, 'v');
  for (int i = 0; i < 200; ++i) Set(absl::StrCat("lives", i), value);  // Older, so evicted first.
  for (int i = 0; i < 300; ++i) {
    Set(absl::StrCat("dies", i), value, 1'000'000);
    Touch(absl::StrCat("dies", i), 10'000);
  }
  clock_.AdvanceMs(10'000);
  for (int i = 0; i < 300; ++i) Set(absl::StrCat("new", i), value);
  const Cache::Stats stats = cache_->GetStats();
  EXPECT_EQ(stats.evicted_items, 0u);
  EXPECT_GT(stats.expired_items, 200u);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(Get(absl::StrCat("lives", i)), value) << i;
}

}  // namespace
}  // namespace seg
