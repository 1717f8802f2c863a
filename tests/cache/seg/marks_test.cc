// Marks: whether an item is stale, who renews it, and when it was used; and tokens that writers name.
#include "cache/seg/marks.h"

#include <optional>
#include <string>
#include <vector>

#include "cache/seg/item.h"
#include "tests/cache/seg/engine.h"

namespace seg {
namespace {

using enum config::Seg::Eviction;
using Action = Update::Action;

constexpr Marks kStale{true, false};
constexpr Marks kWon{false, true};
constexpr Marks kStaleAndWon{true, true};

class MarksTest : public EngineTest {
 protected:
  void OpenTracking(bool tracks, config::Seg::Eviction eviction = kFifo,
                    uint64_t heap = 1 << 20, uint64_t segment = 64 << 10) {
    config::Seg options;
    options.heap_size = heap;
    options.segment_size = segment;
    options.eviction = eviction;
    options.track_access = tracks;
    Open(options);
  }
  StoreResult Apply(absl::string_view key, const Update& update, uint64_t* cas = nullptr) {
    Update to = update;
    const StoreResult result =
        cache_->Apply(key, [](const ItemRef&, Update*) {}, &to);
    if (cas != nullptr) *cas = to.new_cas;
    return result;
  }
  StoreResult Mark(absl::string_view key, Marks marks) {
    Update update;
    update.action = Action::kMark;
    update.marks = marks;
    return Apply(key, update);
  }
  StoreResult Store(absl::string_view key, absl::string_view value, std::optional<Marks> marks,
                    bool inherits = false, uint64_t cas = 0) {
    Update update;
    update.action = Action::kStore;
    update.value = std::string(value);
    update.marks = marks;
    update.inherits_marks = inherits;
    update.cas = cas;
    return Apply(key, update);
  }
  Marks Of(absl::string_view key) { return cache_->Peek(key).marks(); }
  uint64_t Cas(absl::string_view key) { return cache_->Peek(key).cas(); }
};

TEST(MarkWordTest, KeepsItsPartsApart) {
  for (const int64_t now_ms : {int64_t{0}, int64_t{999}, int64_t{1'000}, int64_t{1} << 36}) {
    const uint32_t stored = MarkWord::Stored(now_ms);
    EXPECT_TRUE(MarkWord::KnowsUses(stored));
    EXPECT_EQ(stored & MarkWord::kHit, 0u);
    EXPECT_EQ(MarkWord::IdleSec(stored, now_ms + 7'000), 7u) << now_ms;
    for (const Marks marks : {Marks(), kStale, kWon, kStaleAndWon}) {
      const uint32_t word = MarkWord::With(stored, marks);
      EXPECT_EQ(MarkWord::Of(word), marks);
      const uint32_t used = MarkWord::Used(word, now_ms + 2'000);
      EXPECT_EQ(MarkWord::Of(used), marks);
      EXPECT_NE(used & MarkWord::kHit, 0u);
      EXPECT_EQ(MarkWord::IdleSec(used, now_ms + 7'000), 5u);
      EXPECT_EQ(MarkWord::Of(MarkWord::With(0, marks)), marks);
      EXPECT_FALSE(MarkWord::KnowsUses(MarkWord::With(0, marks)));
      for (const bool named : {true, false}) {
        const uint32_t both = MarkWord::Named(word, named);
        EXPECT_EQ(MarkWord::IsNamed(both), named);
        EXPECT_EQ(MarkWord::Named(both, false), word);
        EXPECT_EQ(MarkWord::IsNamed(MarkWord::Used(both, now_ms)), named);
        EXPECT_EQ(MarkWord::With(both, {}), MarkWord::Named(stored, named));
      }
    }
  }
  EXPECT_EQ(MarkWord::With(0, Marks()), 0u);
  EXPECT_EQ(MarkWord::Named(0, false), 0u);
}

TEST(MarkWordTest, TimeEndsAtTheLastSecondAndNeverRunsBackwards) {
  const int64_t end_ms = int64_t{MarkWord::kAccessed} * 1000;
  const uint32_t last = MarkWord::Used(MarkWord::Stored(0), 2 * end_ms);
  EXPECT_EQ(MarkWord::Of(last), Marks());
  EXPECT_EQ(MarkWord::IdleSec(last, 3 * end_ms), 0u);
  EXPECT_EQ(MarkWord::IdleSec(MarkWord::Stored(50'000), 20'000), 0u);
}

// --- Uses ---

TEST_F(MarksTest, AGetTellsTheUsesBeforeIt) {
  for (const auto eviction : {kNone, kFifo, kS3Fifo}) {
    OpenTracking(true, eviction);
    Set("key", "value");
    clock_.AdvanceMs(3'000);
    for (int i = 0; i < 2; ++i) {  // A peek is no use.
      const ItemRef peeked = cache_->Peek("key");
      EXPECT_TRUE(peeked.knows_uses());
      EXPECT_FALSE(peeked.was_hit());
      EXPECT_EQ(peeked.idle_sec(), 3u);
    }
    const ItemRef first = cache_->Get("key");
    EXPECT_FALSE(first.was_hit());
    EXPECT_EQ(first.idle_sec(), 3u);
    clock_.AdvanceMs(11'000);
    const ItemRef second = cache_->Get("key");
    EXPECT_TRUE(second.was_hit());
    EXPECT_EQ(second.idle_sec(), 11u);
    const ItemRef third = cache_->Get("key");
    EXPECT_TRUE(third.was_hit());
    EXPECT_EQ(third.idle_sec(), 0u);
    EXPECT_EQ(third.value(), "value");
  }
}

TEST_F(MarksTest, AStoreBeginsAnewAndATouchGoesOn) {
  OpenTracking(true);
  for (const int64_t ttl_ms : {int64_t{5'000}, int64_t{90'000'000}}) {  // In place, and elsewhere.
    Set("key", "value", 10'000);
    cache_->Get("key");
    clock_.AdvanceMs(2'000);
    ASSERT_EQ(Touch("key", ttl_ms), StoreResult::kStored);
    ItemRef found = cache_->Peek("key");
    EXPECT_TRUE(found.was_hit());
    EXPECT_EQ(found.idle_sec(), 2u);
    EXPECT_EQ(found.ttl_ms(), ttl_ms);
    Set("key", "new", 10'000);
    found = cache_->Peek("key");
    EXPECT_FALSE(found.was_hit());
    EXPECT_EQ(found.idle_sec(), 0u);
    cache_->Get("key");
    Store("key", "newer", std::nullopt);
    EXPECT_FALSE(cache_->Peek("key").was_hit());
    cache_->Get("key");
    Store("key", "counted up", std::nullopt, true);
    EXPECT_TRUE(cache_->Peek("key").was_hit());
    EXPECT_EQ(Get("key"), "counted up");
  }
}

TEST_F(MarksTest, WithoutTheKnobNothingIsKnownAndNothingKept) {
  OpenTracking(false);
  Set("key", "value");
  const uint64_t bytes = cache_->GetStats().item_bytes;
  cache_->Get("key", Token::kQuiet);
  clock_.AdvanceMs(5'000);
  const ItemRef found = cache_->Get("key", Token::kQuiet);
  EXPECT_FALSE(found.knows_uses());
  EXPECT_FALSE(found.was_hit());
  EXPECT_EQ(found.idle_sec(), 0u);
  EXPECT_EQ(bytes, 24u);  // 9, 3 and 5, and padding.
  Mark("key", kStale);    // Fits into the padding, and begins no count of uses.
  EXPECT_EQ(cache_->GetStats().item_bytes, 24u);
  cache_->Get("key");
  EXPECT_FALSE(cache_->Get("key").knows_uses());
  EXPECT_EQ(Of("key"), kStale);
}

TEST_F(MarksTest, TheKnobCostsFourBytesBeforePadding) {
  for (const bool tracks : {false, true}) {
    OpenTracking(tracks);
    for (const size_t value : {4, 5, 6, 8, 12}) {
      const uint64_t before = cache_->GetStats().item_bytes;
      Set(absl::StrCat("k", value / 10, value % 10), std::string(value, 'v'));
      const size_t exact = 9 + 3 + value + (tracks ? 4 : 0);
      EXPECT_EQ(cache_->GetStats().item_bytes - before, (exact + 7) / 8 * 8) << value;
    }
  }
}

// --- Stale and won ---

TEST_F(MarksTest, MarksComeAndGoAndChangeNothingElse) {
  for (const bool tracks : {false, true}) {
    OpenTracking(tracks);
    uint64_t cas = 0;
    ASSERT_EQ(cache_->Set("key", "value", 7, 10'000, &cas), StoreResult::kStored);
    clock_.AdvanceMs(4'000);
    for (const Marks marks : {Marks(), kWon, kStaleAndWon, kStale, Marks(), kStale}) {
      ASSERT_EQ(Mark("key", marks), StoreResult::kStored);
      const ItemRef found = cache_->Get("key");
      EXPECT_EQ(found.marks(), marks);
      EXPECT_EQ(found.value(), "value");
      EXPECT_EQ(found.flags(), 7u);
      EXPECT_EQ(found.cas(), cas);
      EXPECT_EQ(found.ttl_ms(), 6'000);
    }
    EXPECT_EQ(cache_->GetStats().items, 1u);
    ASSERT_EQ(Touch("key", 5'000), StoreResult::kStored);
    EXPECT_EQ(Of("key"), kStale);
    ASSERT_EQ(Touch("key", 90'000'000), StoreResult::kStored);
    EXPECT_EQ(Of("key"), kStale);
    EXPECT_EQ(Cas("key"), cas);
    Set("key", "new");
    EXPECT_EQ(Of("key"), Marks());
    EXPECT_NE(Cas("key"), cas);
    clock_.AdvanceMs(4'000);
  }
}

TEST_F(MarksTest, ATouchMarksInTheSameStep) {
  OpenTracking(false);
  for (const int64_t ttl_ms : {int64_t{5'000}, int64_t{90'000'000}}) {
    for (const bool has_marks : {false, true}) {
      Set("key", "value", 10'000);
      if (has_marks) Mark("key", kStale);
      const uint64_t cas = Cas("key");
      Update update;
      update.action = Action::kTouch;
      update.ttl_ms = ttl_ms;
      update.marks = kStaleAndWon;
      ASSERT_EQ(Apply("key", update), StoreResult::kStored);
      EXPECT_EQ(Of("key"), kStaleAndWon);
      EXPECT_EQ(cache_->Peek("key").ttl_ms(), ttl_ms);
      EXPECT_EQ(Cas("key"), cas);
      update.marks = Marks();
      update.ttl_ms = 2 * ttl_ms;
      ASSERT_EQ(Apply("key", update), StoreResult::kStored);
      EXPECT_EQ(Of("key"), Marks());
      EXPECT_EQ(cache_->Peek("key").ttl_ms(), 2 * ttl_ms);
    }
  }
}

TEST_F(MarksTest, AStoreSaysWhatMarksThereAre) {
  OpenTracking(false);
  ASSERT_EQ(Store("key", "1", kWon), StoreResult::kStored);  // Absent: a place for who renews it.
  EXPECT_EQ(Of("key"), kWon);
  Store("key", "2", std::nullopt, true);
  EXPECT_EQ(Of("key"), kWon);
  Store("key", "3", kStale, true);
  EXPECT_EQ(Of("key"), kStale);
  Store("key", "4", std::nullopt);
  EXPECT_EQ(Of("key"), Marks());
  Store("key", "5", kStale);
  EXPECT_EQ(Of("key"), kStale);
  Store("key", "6", Marks(), true);
  EXPECT_EQ(Of("key"), Marks());
  EXPECT_EQ(Get("key"), "6");
}

TEST_F(MarksTest, NothingIsMarkedThatIsNotThere) {
  OpenTracking(true);
  EXPECT_EQ(Mark("key", kStale), StoreResult::kNotStored);
  Set("key", "value", 1'000);
  clock_.AdvanceMs(1'000);
  EXPECT_EQ(Mark("key", kStale), StoreResult::kNotStored);
  EXPECT_FALSE(Has("key"));
}

// --- Tokens that are named ---

TEST_F(MarksTest, ANamedTokenIsKeptExactly) {
  OpenTracking(false);
  for (const uint64_t cas : {uint64_t{1}, uint64_t{77}, ~uint64_t{0}}) {
    for (const Token token : {Token::kQuiet, Token::kTold}) {
      Update update;
      update.action = Action::kStore;
      update.value = "value";
      update.flags = 9;
      update.ttl_ms = 10'000;
      update.cas = cas;
      update.token = token;
      uint64_t told = 0;
      ASSERT_EQ(Apply("key", update, &told), StoreResult::kStored);
      EXPECT_EQ(told, cas);
      EXPECT_EQ(Cas("key"), cas);
      ASSERT_EQ(Touch("key", 5'000), StoreResult::kStored);
      EXPECT_EQ(Cas("key"), cas);
      ASSERT_EQ(Touch("key", 90'000'000), StoreResult::kStored);  // Elsewhere.
      ASSERT_EQ(Mark("key", kStale), StoreResult::kStored);
      EXPECT_EQ(Cas("key"), cas);
      const ItemRef found = cache_->Get("key");
      EXPECT_EQ(found.flags(), 9u);
      EXPECT_EQ(found.value(), "value");
      EXPECT_EQ(found.marks(), kStale);
    }
  }
  Set("key", "new");
  EXPECT_NE(Cas("key"), ~uint64_t{0});
}

// --- Moving ---

class MarksMoveTest : public MarksTest,
                      public ::testing::WithParamInterface<config::Seg::Eviction> {};
INSTANTIATE_TEST_SUITE_P(Policies, MarksMoveTest, EveryEvictionThatEvicts(), NameOf);

// Some items are read and marked, and stay for that or for luck while a hundred times their number
// comes and goes: whoever is still there is as it was left.
TEST_P(MarksMoveTest, WhatIsMovedKeepsMarksUsesAndToken) {
  struct Kept {
    Marks marks;
    uint64_t cas;
    bool hit;
  };
  int moved_and_found = 0;
  for (const bool tracks : {false, true}) {
    OpenTracking(tracks, GetParam(), 64 * 4096, 4096);
    std::vector<Kept> kept;
    const auto name = [](size_t i) { return absl::StrCat("kept", i); };
    for (size_t i = 0; i < 100; ++i) {
      const Kept one{{i % 2 == 0, i % 3 == 0}, i % 5 == 0 ? i + 1 : 0, i % 4 == 0};
      ASSERT_EQ(Store(name(i), std::string(100, 'v'), one.marks, false, one.cas),
                StoreResult::kStored);
      if (one.hit) cache_->Get(name(i));
      kept.push_back(one);
      kept.back().cas = i % 2 == 0 ? Cas(name(i)) : one.cas;  // Told, or not.
    }
    for (int i = 0; i < 20'000; ++i) {
      Set(absl::StrCat("filler", i % 700), std::string(300, 'f'), i % 3 == 0 ? 5'000 : kNever);
      if (i % 7 == 0) cache_->Delete(absl::StrCat("filler", i % 500));
      if (i % 1'000 == 0) clock_.AdvanceMs(1'000);
      for (size_t k = 0; i % 100 == 0 && k < 100; k += 4) cache_->Get(name(k));
    }
    for (size_t i = 0; i < kept.size(); ++i) {
      const ItemRef found = cache_->Peek(name(i));
      if (!found.found()) continue;
      ++moved_and_found;
      EXPECT_EQ(found.marks(), kept[i].marks) << i;
      if (kept[i].cas != 0) {
        EXPECT_EQ(found.cas(), kept[i].cas) << i;
      }
      EXPECT_EQ(found.knows_uses(), tracks);
      EXPECT_EQ(found.was_hit(), tracks && kept[i].hit) << i;
    }
  }
  if (GetParam() == kMerge || GetParam() == kS3Fifo) {
    EXPECT_GT(moved_and_found, 0) << "these keep what is in use";
  }
}

// Segments that are three quarters empty are joined, for there is room for all but not beside them.
TEST_F(MarksTest, WhatIsGatheredFromSparseSegmentsKeepsThem) {
  OpenTracking(true, kNone, 64 * 4096, 4096);
  const std::string value(200, 'v');  // 18 to a segment.
  for (int i = 0; i < 800; ++i) {
    ASSERT_EQ(Set(absl::StrCat("key", i), value), StoreResult::kStored);
  }
  for (int i = 0; i < 800; ++i) {
    const std::string key = absl::StrCat("key", i);
    if (i % 4 != 0) {
      cache_->Delete(key);
    } else {
      cache_->Get(key);
      ASSERT_EQ(Mark(key, i % 8 == 0 ? kStale : kStaleAndWon), StoreResult::kStored);
    }
  }
  clock_.AdvanceMs(9'000);
  for (int i = 0; i < 700; ++i) {
    ASSERT_EQ(Set(absl::StrCat("more", i), value), StoreResult::kStored) << i;
  }
  for (int i = 0; i < 800; i += 4) {
    const ItemRef found = cache_->Peek(absl::StrCat("key", i));
    ASSERT_TRUE(found.found()) << i;
    EXPECT_EQ(found.marks(), i % 8 == 0 ? kStale : kStaleAndWon);
    EXPECT_TRUE(found.was_hit());
    EXPECT_EQ(found.idle_sec(), 9u);
  }
}

// Without memory for its marks an item stays what it is, and the caller hears of it.
TEST_F(MarksTest, NoRoomForMarksIsSaid) {
  OpenTracking(false, kNone, 2 * 4096, 4096);
  const std::string value(100, 'v');
  int n = 0;
  while (Set(absl::StrCat("key", n), value) == StoreResult::kStored) ++n;
  EXPECT_EQ(Mark("key0", kStale), StoreResult::kNoMemory);
  EXPECT_EQ(Of("key0"), Marks());
  EXPECT_EQ(Get("key0"), value);
  EXPECT_EQ(Mark("key0", Marks()), StoreResult::kStored);  // It has none already.
  cache_->Flush();
  Set("key0", value);
  EXPECT_EQ(Mark("key0", kStale), StoreResult::kStored);
  EXPECT_EQ(Of("key0"), kStale);
}

// --- The longest life ---

TEST_F(MarksTest, LivesPastTheLastDeadlineNeverEnd) {
  OpenTracking(false);
  constexpr int64_t kMostMs = kDeadlineNever - 1;  // 8.7 years.
  Set("longest", "v", kMostMs);
  Set("longer", "v", kMostMs + 1);
  EXPECT_EQ(cache_->Peek("longest").ttl_ms(), kMostMs);
  EXPECT_EQ(cache_->Peek("longer").ttl_ms(), kNever);
  clock_.AdvanceMs(kMostMs);
  EXPECT_FALSE(Has("longest"));
  EXPECT_TRUE(Has("longer"));
}

}  // namespace
}  // namespace seg
