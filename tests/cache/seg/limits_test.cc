// The ends of every range: keys and values of each size, segments full to the last byte, the smallest
// and the largest segments and tables.
#include <algorithm>
#include <random>
#include <vector>

#include "cache/seg/item.h"
#include "cache/seg/memory.h"
#include "cache/seg/plan.h"
#include "tests/cache/seg/engine.h"

namespace seg {
namespace {

using enum config::Seg::Eviction;
using LimitsTest = EngineTest;

TEST_F(LimitsTest, KeysOfEverySizeWithValuesOfEverySize) {
  Open(1 << 20, 4096, kNone);
  for (size_t key_bytes = 1; key_bytes <= kKeyBytesMax; ++key_bytes) {
    std::string key(key_bytes, 'k');
    key.back() = static_cast<char>(key_bytes);
    const size_t most = cache_->item_bytes_max() - key_bytes;
    for (const size_t value_bytes : {size_t{0}, size_t{1}, key_bytes, most - 1, most}) {
      const std::string value(value_bytes, static_cast<char>(key_bytes + value_bytes));
      ASSERT_EQ(Set(key, value), StoreResult::kStored) << key_bytes << " " << value_bytes;
      ASSERT_EQ(Get(key), value);
    }
    ASSERT_EQ(Set(key, std::string(most + 1, 'x')), StoreResult::kTooLarge);
    ASSERT_TRUE(cache_->Delete(key));
  }
  EXPECT_EQ(cache_->GetStats().items, 0u);
}

TEST_F(LimitsTest, SegmentIsFullToTheLastByte) {
  Open(4 * 4096, 4096, kNone);
  // 9 bytes, a key of 2 and a value of 21 make 32: 128 of them fill a segment exactly.
  ASSERT_EQ(Item::BytesFor(2, 21, false, false), 32u);
  int stored = 0;
  while (Set(std::string{static_cast<char>('0' + stored / 100), static_cast<char>(stored % 100)},
             std::string(21, 'v')) == StoreResult::kStored) {
    ++stored;
  }
  EXPECT_EQ(stored, 4 * 128);
  for (int i = 0; i < stored; ++i) {
    EXPECT_EQ(Get(std::string{static_cast<char>('0' + i / 100), static_cast<char>(i % 100)}),
              std::string(21, 'v'));
  }
}

// kSpanBegin says why.
TEST_F(LimitsTest, ALargeValueLiesFurtherIntoItsPageThanIntoAReply) {
  Open(64 << 20, 0, kS3Fifo);
  const size_t segment_bytes = cache_->GetStats().heap_bytes / cache_->GetStats().segments;
  ASSERT_LT(segment_bytes, size_t{1} << 20);
  for (const uint32_t flags : {0u, 0xffffffffu}) {
    for (const size_t key_bytes : {size_t{1}, kKeyBytesMax}) {
      for (size_t value_bytes = segment_bytes; value_bytes <= 1 << 20; value_bytes += 99'991) {
        const std::string key(key_bytes, 'k');
        ASSERT_EQ(cache_->Set(key, std::string(value_bytes, 'v'), flags, kNever),
                  StoreResult::kStored);
        const ItemRef found = cache_->Get(key);
        ASSERT_TRUE(found.found());
        const std::string before =
            absl::StrCat("VALUE ", key, " ", flags, " ", value_bytes, " ", ~uint64_t{0}, "\r\n");
        constexpr uintptr_t kPage = 4096;
        EXPECT_GE(reinterpret_cast<uintptr_t>(found.value().data()) % kPage, before.size());
      }
    }
  }
}

// The largest item of all, with flags and, when it is touched, a carried token.
TEST_F(LimitsTest, LargestItemsOfTheLargestSegments) {
  Open(3 * kSegmentBytesMax, kSegmentBytesMax, kS3Fifo);
  const size_t most = cache_->item_bytes_max() - 3;
  std::string value(most, 'v');
  for (int i = 0; i < 5; ++i) {
    const std::string key = absl::StrCat("ke", i);
    value[most / 2] = static_cast<char>(i);
    uint64_t cas = 0;
    ASSERT_EQ(cache_->Set(key, value, 7, 1'000'000, &cas), StoreResult::kStored);
    ASSERT_EQ(Touch(key, kNever), StoreResult::kStored);
    const ItemRef found = cache_->Get(key);
    ASSERT_TRUE(found.found());
    EXPECT_TRUE(found.value() == value);
    EXPECT_EQ(found.flags(), 7u);
    EXPECT_EQ(found.cas(), cas);
    EXPECT_EQ(found.ttl_ms(), kNever);
  }
  // The ends of a segment, by small items: offsets up to the last.
  for (int i = 0; i < 200'000; ++i) {
    ASSERT_EQ(Set(absl::StrCat("small", i), "v"), StoreResult::kStored);
    ASSERT_EQ(Get(absl::StrCat("small", i)), "v");
  }
}

// To be touched it is copied, and read meanwhile. There is room elsewhere, but for the tails that smaller
// items have opened in the middle of it.
TEST_F(LimitsTest, AnItemOfAQuarterOfTheHeapIsTouched) {
  constexpr size_t kSegment = 8 << 10;
  for (const auto eviction : {kRandom, kFifo, kCte, kUtil, kMerge, kS3Fifo}) {
    Open(22 * kSegment, 0, eviction);
    const size_t most = cache_->item_bytes_max() - 3;
    ASSERT_GT(most, 4 * kSegment);
    std::mt19937 rng(1);
    const auto some_ttl_ms = [&] { return int64_t{1'000} << rng() % 20; };
    for (int i = 0; i < 2'000; ++i) {
      const std::string value(rng() % 4 == 0 ? most : rng() % most, static_cast<char>(i));
      ASSERT_EQ(Set("key", value, some_ttl_ms()), StoreResult::kStored);
      ASSERT_EQ(Touch("key", some_ttl_ms()), StoreResult::kStored) << i;
      ASSERT_TRUE(Get("key") == value);
    }
  }
}

// With the token that somebody was told it is larger than its segment, so it cannot be moved to another
// when its turn to be evicted comes, however often it is used.
TEST_F(LimitsTest, ItemsThatFillTheirSegmentAndHaveTokensAreEvicted) {
  for (const auto eviction : {kRandom, kFifo, kCte, kUtil, kMerge, kS3Fifo}) {
    Open(16 << 20, 0, eviction);
    const size_t segment_bytes = cache_->GetStats().heap_bytes / cache_->GetStats().segments;
    ASSERT_GT(cache_->item_bytes_max(), segment_bytes);
    const std::string value(segment_bytes - Item::kHeadBytes - 4, 'v');
    ASSERT_EQ(Item::BytesFor(4, value.size(), false, false), segment_bytes);
    ASSERT_GT(Item::BytesFor(4, value.size(), false, true), segment_bytes);
    const auto key = [](int i) { return absl::StrCat("k", 100 + i); };
    for (int i = 0; i < 300; ++i) {
      uint64_t cas = 0;
      ASSERT_EQ(cache_->Set(key(i), value, 0, kNever, &cas), StoreResult::kStored);
      for (int use = 0; use < 3; ++use) {
        const ItemRef found = cache_->Get(key(i));
        ASSERT_TRUE(found.found());
        ASSERT_EQ(found.cas(), cas);
      }
    }
    EXPECT_GT(cache_->GetStats().items, 30u);
  }
}

TEST_F(LimitsTest, TablesOfEverySizeFindEverything) {
  for (uint32_t power = 1; power <= 12; ++power) {
    config::Seg options;
    options.heap_size = 1 << 20;
    options.segment_size = 16 << 10;
    options.hash_power = power;
    options.eviction = kNone;
    Open(options);
    for (int i = 0; i < 800; ++i) Set(absl::StrCat("key", i), absl::StrCat("value", i));
    for (int i = 0; i < 800; i += 3) EXPECT_TRUE(cache_->Delete(absl::StrCat("key", i)));
    for (int i = 0; i < 800; ++i) {
      ASSERT_EQ(Get(absl::StrCat("key", i)), i % 3 == 0 ? "(none)" : absl::StrCat("value", i));
    }
  }
}

// Chains as long as the heap allows: the smallest items, in one bucket.
TEST_F(LimitsTest, OneBucketHoldsAsManyItemsAsTheHeap) {
  config::Seg options;
  options.heap_size = 64 << 10;
  options.segment_size = 4096;
  options.hash_power = 1;
  options.eviction = kNone;
  Open(options);
  int stored = 0;
  const auto key = [](int i) {
    return std::string{static_cast<char>(i % 256), static_cast<char>(1 + i / 256)};
  };
  while (Set(key(stored), "") == StoreResult::kStored) ++stored;
  EXPECT_EQ(stored, 4096);  // Of 16 bytes.
  for (int i = 0; i < stored; i += 97) EXPECT_EQ(Get(key(i)), "");
  for (int i = 0; i < stored; ++i) ASSERT_TRUE(cache_->Delete(key(i)));
  EXPECT_EQ(cache_->GetStats().items, 0u);
}

TEST_F(LimitsTest, TokensAreNeverGivenTwice) {
  Open(4 * 4096, 4096, kS3Fifo);
  std::mt19937 rng(1);
  std::vector<uint64_t> tokens;
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = absl::StrCat("key", rng() % 5);
    uint64_t cas = 0;
    ASSERT_EQ(cache_->Set(key, std::string(rng() % 300, 'v'), 0, 1 + i % 10'000, &cas),
              StoreResult::kStored);
    ASSERT_NE(cas, 0u);
    tokens.push_back(cas);
    if (i % 3 == 0) Touch(key, 1 + static_cast<int64_t>(rng() % 90'000'000));
    const ItemRef found = cache_->Get(key);
    ASSERT_TRUE(!found.found() || found.cas() == cas);
    if (i % 1'000 == 0) cache_->Flush();
  }
  std::sort(tokens.begin(), tokens.end());
  EXPECT_EQ(std::adjacent_find(tokens.begin(), tokens.end()), tokens.end());
}

TEST(PlanTest, SaysTheLeastThatWouldDo) {
  config::Seg options;
  options.segment_size = 1 << 20;
  for (const uint64_t heap : {uint64_t{1} << 10, uint64_t{1} << 20, (uint64_t{2} << 20) - 1}) {
    options.heap_size = heap;
    const auto plan = PlanFor(options, {});
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(plan.status().message().find(absl::StrCat(uint64_t{2} << 20)),
              absl::string_view::npos)
        << plan.status();
  }
  options.heap_size = uint64_t{2} << 20;
  EXPECT_TRUE(PlanFor(options, {}).ok());
}

TEST(PlanTest, SizesSegmentsFromTheHeap) {
  config::Seg options;
  for (uint64_t heap = 256 << 10; heap <= uint64_t{1} << 40; heap *= 2) {
    options.heap_size = heap;
    const auto plan = PlanFor(options, {});
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->heap.segment_bytes % kItemAlign, 0u);
    EXPECT_LE(uint64_t{plan->heap.segments} * plan->heap.segment_bytes, heap);
    EXPECT_GT(uint64_t{plan->heap.segments + 1} * plan->heap.segment_bytes, heap);
    EXPECT_GE(plan->heap.segments, 32u);
    EXPECT_LE(plan->heap.segments, kSegmentsMax);
    // One item takes a quarter of the heap at most, and no more than a slot and a value can say.
    EXPECT_LE(plan->heap.span_max, plan->heap.segments / 4);
    EXPECT_LE(plan->heap.span_max * plan->heap.segment_bytes, kSegmentBytesMax);
    EXPECT_GE(plan->items_max, heap / 16);
  }
}

// The index takes segments from the end, or what follows the last.
TEST(PlanTest, OverflowBucketsLieOnCacheLines) {
  config::Seg options;
  options.heap_size = 1 << 20;
  for (const uint64_t segment_size : {0, 600, 1000, 4104, 5000, 16392, 40'000}) {
    options.segment_size = segment_size;
    for (const uint64_t memory : {0, 4 << 20}) {
      const auto plan = PlanFor(options, {.memory = memory, .beside = 0, .file = ""});
      ASSERT_TRUE(plan.ok()) << plan.status();
      if (segment_size != 0) {
        EXPECT_LE(plan->heap.segment_bytes, segment_size);
        EXPECT_GT(plan->heap.segment_bytes + HashTable::kBucketBytes, segment_size);
      }
      const auto lodged = Memory::Create(*plan, {}, "");
      ASSERT_TRUE(lodged.ok()) << lodged.status();
      const auto end = reinterpret_cast<uintptr_t>(lodged->ForTable().overflow_end);
      EXPECT_EQ(end % HashTable::kBucketBytes, 0u) << segment_size;
      EXPECT_EQ(plan->heap.segment_bytes % HashTable::kBucketBytes, 0u) << segment_size;
    }
  }
}

// As many as can be half full, where there are whole pages to be given back.
TEST(PlanTest, HasMoreSegmentsThanMemoryForThem) {
  config::Seg options;
  options.heap_size = 64 << 20;
  const auto surplus = [&] {
    const auto plan = PlanFor(options, {});
    EXPECT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->heap_span_bytes() - plan->heap_bytes(),
              uint64_t{plan->heap.surplus} * plan->heap.segment_bytes);
    return plan->heap.surplus;
  };
  EXPECT_EQ(surplus(), 256u);
  options.huge_pages = true;
  EXPECT_EQ(surplus(), 0u);
  options.huge_pages = false;
  options.segment_size = 16 << 10;
  EXPECT_EQ(surplus(), 4096u);
  options.segment_size = (16 << 10) + 64;
  EXPECT_EQ(surplus(), 0u);
  options.segment_size = 12 << 10;
  EXPECT_EQ(surplus(), 0u);
  options.segment_size = 16 << 10;
  options.heap_size = (uint64_t{kSegmentsMax} - 10) * options.segment_size;
  EXPECT_EQ(surplus(), 10u);
}

}  // namespace
}  // namespace seg
