// The pieces below the engine: bits of items and slots, bands of TTLs, chains, segment states.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cache/seg/eviction/fifo.h"
#include "cache/seg/hash_table.h"
#include "cache/seg/item.h"
#include "cache/seg/segment.h"
#include "cache/seg/ttl_buckets.h"

namespace seg {
namespace {

TEST(TtlBucketsTest, BandsBeginWhereTheyShould) {
  const struct {
    int64_t ttl_sec;
    int bucket;
  } kCases[] = {
      {0, 0},          {7, 0},           {8, 1},           {2047, 255},
      {2048, 272},     {2175, 272},      {2176, 273},      {32767, 511},
      {32768, 528},    {524287, 767},    {524288, 784},    {8388607, 1023},
      {8388608, 1023}, {1 << 30, 1023},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(TtlBucketOf(c.ttl_sec * 1000), c.bucket) << c.ttl_sec;
    EXPECT_EQ(TtlBucketOf(c.ttl_sec * 1000 + 999), c.bucket) << c.ttl_sec;
  }
  EXPECT_EQ(TtlBucketOf(-1), kTtlBucketLast);
}

TEST(TtlBucketsTest, NoTtlIsShorterThanItsBucketsFloor) {
  for (int64_t ttl_sec = 0; ttl_sec < 9'000'000; ttl_sec += 1 + ttl_sec / 50) {
    const int bucket = TtlBucketOf(ttl_sec * 1000);
    EXPECT_LE(TtlBucketFloorMs(bucket), ttl_sec * 1000);
    // The bucket below begins lower, so that bands do not overlap.
    if (ttl_sec * 1000 == TtlBucketFloorMs(bucket) && ttl_sec > 0) {
      EXPECT_LT(TtlBucketOf(ttl_sec * 1000 - 1), bucket);
    }
  }
}

TEST(ItemTest, ReadsBackWhatWasWritten) {
  alignas(8) char memory[512];
  for (const uint32_t flags : {0u, 1u, 0xffffffffu}) {
    for (const uint64_t cas : {uint64_t{0}, ~uint64_t{0}}) {
      for (const size_t bytes : {0, 1, 7, 200}) {
        const std::string value(bytes, 'v');
        const ItemSpec spec{"key", value, flags, cas, 123'456'789'012};
        Item item(memory);
        item.Write(spec);
        EXPECT_EQ(item.key(), "key");
        EXPECT_EQ(item.value(), value);
        EXPECT_EQ(item.flags(), flags);
        EXPECT_EQ(item.kept_cas(), cas);
        EXPECT_EQ(item.deadline_ms(), 123'456'789'012);
        EXPECT_EQ(item.bytes(), Item::BytesFor(spec));
        item.set_deadline_ms(kDeadlineNever);
        EXPECT_EQ(item.deadline_ms(), kDeadlineNever);
        EXPECT_EQ(item.value(), value);
        EXPECT_EQ(item.flags(), flags);
      }
    }
  }
}

TEST(ItemTest, CostsNineBytesAndPadding) {
  EXPECT_EQ(Item::BytesFor(3, 4, false, false), 16u);
  EXPECT_EQ(Item::BytesFor(3, 5, false, false), 24u);
  EXPECT_EQ(Item::BytesFor(3, 8, true, false), 24u);
  EXPECT_EQ(Item::BytesFor(3, 8, true, true), 32u);
}

TEST(ItemTest, HoldsTheLargestValueASegmentCan) {
  std::vector<uint64_t> memory(kSegmentBytesMax / 8);
  const std::string value(kSegmentBytesMax - Item::kOverheadMax - 1, 'v');
  Item item(reinterpret_cast<char*>(memory.data()));
  item.Write({"k", value, 1, 1, 0});
  EXPECT_EQ(item.value(), value);
  EXPECT_EQ(item.bytes(), kSegmentBytesMax);
}

TEST(SlotTest, KeepsTagAndPlaceApart) {
  for (const uint32_t tag : {1u, 0xfffu}) {
    for (const uint32_t segment : {0u, 1u, kSegmentsMax - 1}) {
      for (const uint32_t offset : {0u, 8u, uint32_t{kSegmentBytesMax} - 8}) {
        const uint64_t word = Slot::Pack(tag, {segment, offset});
        EXPECT_NE(word, 0u);
        EXPECT_EQ(Slot::TagOf(word), tag);
        EXPECT_EQ(Slot::LocationOf(word), (Location{segment, offset}));
      }
    }
  }
}

TEST(SegmentTest, MovesInACircleAndNoOtherWay) {
  using enum SegmentState;
  const SegmentState all[] = {kFree, kOpen, kSealed, kDraining};
  int legal = 0;
  for (const SegmentState from : all) {
    for (const SegmentState to : all) legal += CanMove(from, to) ? 1 : 0;
  }
  EXPECT_EQ(legal, 4);
  EXPECT_TRUE(CanMove(kFree, kOpen) && CanMove(kOpen, kSealed) && CanMove(kSealed, kDraining) &&
              CanMove(kDraining, kFree));
}

TEST(SegmentDeathTest, IllegalMoveEndsTheProcess) {
  Segment segment;
  EXPECT_DEATH(segment.Move(SegmentState::kDraining), "CHECK failed");
}

TEST(FifoTest, PicksTheOldestThatMayGo) {
  FifoEviction fifo(5);
  for (const uint32_t segment : {3u, 1u, 4u}) fifo.Opened(segment);
  const auto any = [](uint32_t) { return true; };
  EXPECT_EQ(fifo.Pick(any), 3u);
  EXPECT_EQ(fifo.Pick(any), 3u);  // Picking changes nothing.
  EXPECT_EQ(fifo.Pick([](uint32_t segment) { return segment != 3; }), 1u);
  fifo.Reclaimed(1);
  fifo.Reclaimed(3);
  fifo.Opened(1);
  EXPECT_EQ(fifo.Pick(any), 4u);
  EXPECT_EQ(fifo.Pick([](uint32_t) { return false; }), kNoSegment);
}

// All hashes fall into one bucket, so the chain is long.
class ChainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto table = HashTable::Create(1, 1000, 7);
    ASSERT_TRUE(table.ok());
    table_ = *std::move(table);
  }
  static uint64_t HashOf(uint32_t n) { return uint64_t{n + 1} << 52; }  // Tag n + 1.
  static Location At(uint32_t n) { return {n, n * 8}; }
  HashTable::Word* Find(uint32_t n) {
    return table_->Find(HashOf(n), [&](Location at) { return at == At(n); });
  }
  std::unique_ptr<HashTable> table_;
};

TEST_F(ChainTest, StaysWholeUnderInsertsAndRemovals) {
  constexpr uint32_t kItems = 100;
  for (uint32_t n = 0; n < kItems; ++n) table_->Insert(HashOf(n), At(n));
  for (uint32_t n = 0; n < kItems; ++n) ASSERT_NE(Find(n), nullptr) << n;
  for (uint32_t n = 0; n < kItems; n += 3) table_->Remove(HashOf(n), Find(n));
  for (uint32_t n = 0; n < kItems; ++n) EXPECT_EQ(Find(n) == nullptr, n % 3 == 0) << n;
  for (uint32_t n = 0; n < kItems; ++n) {
    if (n % 3 != 0) table_->Remove(HashOf(n), Find(n));
  }
  for (uint32_t n = 0; n < kItems; ++n) EXPECT_EQ(Find(n), nullptr);
}

TEST_F(ChainTest, GivesOverflowBucketsBack) {
  for (uint32_t n = 0; n < 100; ++n) table_->Insert(HashOf(n), At(n));
  const uint64_t bytes = table_->bytes();
  for (int round = 0; round < 50; ++round) {
    for (uint32_t n = 0; n < 100; ++n) table_->Remove(HashOf(n), Find(n));
    for (uint32_t n = 0; n < 100; ++n) table_->Insert(HashOf(n), At(n));
  }
  EXPECT_EQ(table_->bytes(), bytes);
}

TEST_F(ChainTest, TellsItemsOfOneTagApart) {
  table_->Insert(HashOf(1), At(1));
  table_->Insert(HashOf(1), At(2));
  const auto find = [&](uint32_t n) {
    return table_->Find(HashOf(1), [&](Location at) { return at == At(n); });
  };
  ASSERT_NE(find(1), nullptr);
  ASSERT_NE(find(2), nullptr);
  table_->Replace(HashOf(1), find(1), At(3));
  EXPECT_EQ(find(1), nullptr);
  EXPECT_NE(find(2), nullptr);
  EXPECT_NE(find(3), nullptr);
}

}  // namespace
}  // namespace seg
