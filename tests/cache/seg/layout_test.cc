// The pieces below the engine: bits of items and slots, bands of TTLs, chains, segment states.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cache/seg/eviction/segment_list.h"
#include "cache/seg/ghosts.h"
#include "cache/seg/hash_table.h"
#include "cache/seg/item.h"
#include "cache/seg/segment.h"
#include "cache/seg/stream_copy.h"
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
      for (const uint32_t marks : {0u, MarkWord::kThere, 0xffffffffu}) {
        for (const size_t bytes : {0, 1, 4, 7, 200}) {
          std::fill(std::begin(memory), std::end(memory), '!');
          const std::string value(bytes, 'v');
          const ItemSpec spec{"key", value, flags, cas, 123'456'789'012, marks};
          Item item(memory);
          item.Write(spec);
          const auto expect_all = [&](int64_t deadline_ms, uint32_t marks_now) {
            EXPECT_EQ(item.key(), "key");
            EXPECT_EQ(item.value(), value);
            EXPECT_EQ(item.flags(), flags);
            EXPECT_EQ(item.kept_cas(), cas);
            EXPECT_EQ(item.marks(), marks_now);
            EXPECT_EQ(item.deadline_ms(), deadline_ms);
            EXPECT_EQ(item.bytes(), Item::BytesFor(spec));
            EXPECT_EQ(memory[item.bytes()], '!');
          };
          expect_all(123'456'789'012, marks);
          item.set_deadline_ms(kDeadlineNever);
          expect_all(kDeadlineNever, marks);
          if (marks == 0) continue;
          item.ChangeMarks([](uint32_t) { return MarkWord::kStale | 5; });
          expect_all(kDeadlineNever, MarkWord::kThere | MarkWord::kStale | 5);
        }
      }
    }
  }
}

TEST(ItemTest, CostsNineBytesAndPadding) {
  EXPECT_EQ(Item::BytesFor(3, 4, false, false), 16u);
  EXPECT_EQ(Item::BytesFor(3, 5, false, false), 24u);
  EXPECT_EQ(Item::BytesFor(3, 8, true, false), 24u);
  EXPECT_EQ(Item::BytesFor(3, 8, true, true), 32u);
  EXPECT_EQ(Item::BytesFor(3, 8, false, false, true), 24u);
  EXPECT_EQ(Item::BytesFor(3, 8, true, true, true), 40u);
  EXPECT_EQ(Item::BytesFor(1, 2, false, false, true), 16u);
}

TEST(ItemTest, HoldsTheLargestValueASegmentCan) {
  std::vector<uint64_t> memory(kSegmentBytesMax / 8);
  const std::string value(kSegmentBytesMax - Item::kOverheadMax - 1, 'v');
  Item item(reinterpret_cast<char*>(memory.data()));
  item.Write({"k", value, 1, 1, 0, MarkWord::kThere});
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
        EXPECT_EQ(Slot::FreqOf(word), 0u);
        EXPECT_FALSE(Slot::IsOut(word));
        const uint64_t used = Slot::WithFreq(word | Slot::kOut, Slot::kFreqMax);
        EXPECT_EQ(Slot::TagOf(used), tag);
        EXPECT_EQ(Slot::LocationOf(used), (Location{segment, offset}));
        EXPECT_EQ(Slot::FreqOf(used), Slot::kFreqMax);
        EXPECT_TRUE(Slot::IsOut(used) && Slot::SamePlace(used, word));
        const uint64_t moved = Slot::WithLocation(used, {1, 16});
        EXPECT_EQ(Slot::LocationOf(moved), (Location{1, 16}));
        EXPECT_FALSE(Slot::SamePlace(moved, word));
        EXPECT_TRUE(Slot::SameTag(moved, word));
      }
    }
  }
}

TEST(SegmentTest, MovesInACircleAndNoOtherWay) {
  using enum SegmentState;
  const SegmentState all[] = {kFree, kOpen, kSealed, kDraining, kPart, kRetired};
  int legal = 0;
  for (const SegmentState from : all) {
    for (const SegmentState to : all) legal += CanMove(from, to) ? 1 : 0;
  }
  EXPECT_EQ(legal, 8);
  EXPECT_TRUE(CanMove(kFree, kOpen) && CanMove(kOpen, kSealed) && CanMove(kSealed, kDraining) &&
              CanMove(kDraining, kFree) && CanMove(kDraining, kSealed) &&
              CanMove(kFree, kPart) && CanMove(kPart, kFree) && CanMove(kFree, kRetired));
}

TEST(SegmentDeathTest, IllegalMoveEndsTheProcess) {
  Segment segment;
  EXPECT_DEATH(segment.Move(SegmentState::kDraining), "CHECK failed");
}

TEST(SegmentListTest, NamesTheOldestThatMayGo) {
  SegmentList list(5);
  for (const uint32_t segment : {3u, 1u, 4u}) list.Append(segment);
  const auto any = [](uint32_t) { return true; };
  EXPECT_EQ(list.First(any), 3u);
  EXPECT_EQ(list.First(any), 3u);  // Looking changes nothing.
  EXPECT_EQ(list.First([](uint32_t segment) { return segment != 3; }), 1u);
  list.Remove(1);
  list.Remove(3);
  list.Append(1);
  EXPECT_EQ(list.First(any), 4u);
  EXPECT_EQ(list.First([](uint32_t) { return false; }), kNoSegment);
}

TEST(SegmentListTest, TakesPlacesWithinTheOrder) {
  SegmentList list(6);
  for (const uint32_t segment : {0u, 1u, 2u}) list.Append(segment);
  const uint32_t beside = list.After(0);
  list.Remove(0);
  list.InsertBefore(3, beside);  // Where 0 was.
  list.InsertBefore(4, 0);       // Beside one that has gone: the end.
  list.InsertBefore(5, kNoSegment);
  std::vector<uint32_t> order;
  for (uint32_t at = list.First([](uint32_t) { return true; }); at != kNoSegment;
       at = list.After(at)) {
    order.push_back(at);
  }
  EXPECT_EQ(order, (std::vector<uint32_t>{3, 1, 2, 4, 5}));
}

TEST(GhostsTest, RemembersTheLastAndForgetsTheFirst) {
  Ghosts ghosts(8);  // One bucket.
  const auto hash = [](uint64_t n) { return n + 1; };
  for (uint64_t n = 0; n < 9; ++n) ghosts.Add(hash(n));
  EXPECT_FALSE(ghosts.Take(hash(0)));  // Pushed out by the ninth.
  for (uint64_t n = 1; n < 9; ++n) EXPECT_TRUE(ghosts.Take(hash(n))) << n;
  for (uint64_t n = 1; n < 9; ++n) EXPECT_FALSE(ghosts.Take(hash(n))) << n;  // Taken once.
  Ghosts none(0);
  none.Add(1);
  EXPECT_FALSE(none.Take(1));
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
  // By the way of the writers, which must agree with that of the readers.
  HashTable::Word* Find(uint32_t n) {
    HashTable::Word* read = nullptr;
    table_->Read(HashOf(n), [&](HashTable::Word& slot, uint64_t word) {
      if (Slot::LocationOf(word) != At(n)) return false;
      read = &slot;
      return true;
    });
    HashTable::Word* const found = table_->Find(HashOf(n), [&](Location at) { return at == At(n); });
    EXPECT_EQ(read, found);
    return found;
  }
  void Insert(uint32_t n) { EXPECT_TRUE(table_->Insert(HashOf(n), At(n), n % 2 == 0)); }
  std::unique_ptr<HashTable> table_;
};

TEST_F(ChainTest, StaysWholeUnderInsertsAndRemovals) {
  constexpr uint32_t kItems = 100;
  for (uint32_t n = 0; n < kItems; ++n) Insert(n);
  for (uint32_t n = 0; n < kItems; ++n) ASSERT_NE(Find(n), nullptr) << n;
  for (uint32_t n = 0; n < kItems; n += 3) table_->Remove(HashOf(n), Find(n));
  for (uint32_t n = 0; n < kItems; ++n) EXPECT_EQ(Find(n) == nullptr, n % 3 == 0) << n;
  for (uint32_t n = 0; n < kItems; ++n) {
    if (n % 3 != 0) {
      EXPECT_EQ(Slot::IsOut(Find(n)->load()), n % 2 == 0) << n;
    }
  }
  for (uint32_t n = 0; n < kItems; ++n) {
    if (n % 3 != 0) table_->Remove(HashOf(n), Find(n));
  }
  for (uint32_t n = 0; n < kItems; ++n) EXPECT_EQ(Find(n), nullptr);
}

TEST_F(ChainTest, GivesOverflowBucketsBack) {
  for (uint32_t n = 0; n < 100; ++n) Insert(n);
  const uint64_t bytes = table_->bytes();
  for (int round = 0; round < 50; ++round) {
    for (uint32_t n = 0; n < 100; ++n) table_->Remove(HashOf(n), Find(n));
    for (uint32_t n = 0; n < 100; ++n) Insert(n);
  }
  EXPECT_EQ(table_->bytes(), bytes);
}

TEST_F(ChainTest, TellsItemsOfOneTagApart) {
  EXPECT_TRUE(table_->Insert(HashOf(1), At(1), false));
  EXPECT_TRUE(table_->Insert(HashOf(1), At(2), false));
  const auto find = [&](uint32_t n) {
    return table_->Find(HashOf(1), [&](Location at) { return at == At(n); });
  };
  ASSERT_NE(find(1), nullptr);
  ASSERT_NE(find(2), nullptr);
  table_->Replace(find(1), At(3), false);
  EXPECT_EQ(find(1), nullptr);
  EXPECT_NE(find(2), nullptr);
  EXPECT_NE(find(3), nullptr);
}

TEST_F(ChainTest, MovesNoItemWhoseTokenIsOutWithoutIt) {
  Insert(1);
  Insert(2);
  EXPECT_TRUE(table_->MoveTo(Find(1), {200, 8}, 3, false));
  EXPECT_FALSE(table_->MoveTo(Find(2), {200, 16}, 3, false));
  EXPECT_TRUE(table_->MoveTo(Find(2), {200, 16}, 3, true));
  EXPECT_EQ(Find(1), nullptr);
}

TEST(SharedTableTest, AsksForOverflowInTimeAndFailsWithout) {
  constexpr uint64_t kMore = 8 * HashTable::kBucketBytes;
  alignas(64) static char memory[HashTable::kBucketBytes + 2 * kMore];
  const auto table = HashTable::On({memory, memory + sizeof(memory), 0, kMore / 2}, 1, 7);
  const auto insert = [&](uint32_t n) {
    return table->Insert(uint64_t{n + 1} << 52, {n, 8}, false);
  };
  EXPECT_TRUE(table->wants_overflow());
  uint32_t n = 0;
  while (insert(n)) ++n;
  EXPECT_EQ(n, 7u);
  table->AddOverflow(kMore);
  EXPECT_FALSE(table->wants_overflow());
  while (!table->wants_overflow() && insert(n)) ++n;
  EXPECT_EQ(n, 7u + 4 * 7 + 1);  // Asks in its fifth overflow bucket,
  while (insert(n)) ++n;
  EXPECT_EQ(n, 7u + 8 * 7);  // and fills all eight.
  table->AddOverflow(kMore);
  EXPECT_TRUE(insert(n));
  EXPECT_EQ(table->bytes(), sizeof(memory));
}

TEST(StreamCopyTest, CopiesJustWhatItShould) {
  constexpr size_t kMost = 300, kMargin = 70;
  std::string from(kMost + kMargin, 0);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>(i * 7 + i / 251);
  for (size_t bytes = 0; bytes <= kMost; ++bytes) {
    for (size_t offset = 0; offset <= kMargin; ++offset) {
      std::vector<char> to(offset + bytes + kMargin, '-');
      StreamCopy(to.data() + offset, from.data() + offset, bytes);
      const absl::string_view got(to.data(), to.size());
      ASSERT_EQ(got.substr(0, offset), std::string(offset, '-'));
      ASSERT_EQ(got.substr(offset, bytes), from.substr(offset, bytes));
      ASSERT_EQ(got.substr(offset + bytes), std::string(kMargin, '-'));
    }
  }
}

}  // namespace
}  // namespace seg
