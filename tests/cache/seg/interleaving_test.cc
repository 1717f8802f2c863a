// Two operations in each other's way, in an order that the test decides: the second runs from
// within the callback of the first, when that has looked and not yet written. What random threads
// meet once in a million runs happens here every time.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cache/seg/hash_table.h"
#include "cache/seg/item.h"
#include "cache/seg/metrics.h"
#include "cache/seg/segment_heap.h"
#include "tests/cache/seg/engine.h"

namespace seg {
namespace {

using Interleaving = EngineTest;

// Runs `work` on another thread and waits for it: it has other pins and another shard of writers.
template <class Work>
void Elsewhere(Work work) {
  std::thread thread(work);
  thread.join();
}

TEST_F(Interleaving, TokenToldDuringATouchThatMovesTheItemStaysGood) {
  Open(1 << 20, 64 << 10);
  Set("key", "value", 10'000);
  uint64_t told = 0;
  // Longer than the segment lives, so the item is carried elsewhere.
  EXPECT_EQ(Touch("key", 90'000'000, [&] { told = cache_->Get("key", Token::kTold).cas(); }),
            StoreResult::kStored);
  const ItemRef found = cache_->Peek("key");
  EXPECT_EQ(found.cas(), told);
  EXPECT_EQ(found.ttl_ms(), 90'000'000);
  EXPECT_EQ(cache_->GetStats().items, 1u);
}

TEST_F(Interleaving, AUseDuringATouchThatMovesTheItemIsKept) {
  config::Seg options;
  options.heap_size = 1 << 20;
  options.segment_size = 64 << 10;
  options.track_access = true;
  Open(options);
  for (const Token token : {Token::kQuiet, Token::kTold}) {
    Set("key", "value", 10'000);
    clock_.AdvanceMs(3'000);
    EXPECT_EQ(Touch("key", 90'000'000, [&] { cache_->Get("key", token); }), StoreResult::kStored);
    const ItemRef found = cache_->Peek("key");
    EXPECT_TRUE(found.was_hit());
    EXPECT_EQ(found.idle_sec(), 0u);
    EXPECT_EQ(found.ttl_ms(), 90'000'000);
  }
}

// It must not be said to be touched and be gone, nor come back after others have missed it.
TEST_F(Interleaving, ItemThatDiesDuringATouchIsNotFound) {
  Open(1 << 20, 64 << 10, config::Seg::Eviction::kNone);
  Set("key", "value", 10'000);
  clock_.AdvanceMs(9'999);
  EXPECT_EQ(Touch("key", 50'000,
                  [&] {
                    clock_.AdvanceMs(1);
                    Elsewhere([&] { cache_->Tick(); });
                    EXPECT_FALSE(Has("key"));
                  }),
            StoreResult::kNotStored);
  EXPECT_FALSE(Has("key"));
  EXPECT_EQ(cache_->GetStats().items, 0u);
}

TEST_F(Interleaving, FlushDuringATouchForgetsTheItem) {
  for (const int64_t ttl_ms : {int64_t{5'000}, int64_t{90'000'000}}) {  // In place, and elsewhere.
    Open(1 << 20, 64 << 10);
    Set("key", "value", 10'000);
    Touch("key", ttl_ms, [&] { cache_->Flush(); });
    EXPECT_FALSE(Has("key")) << ttl_ms;
    Set("key", "new");  // In its turn, not forgotten.
    EXPECT_EQ(Get("key"), "new");
    cache_->Tick();
    EXPECT_EQ(cache_->GetStats().items, 1u);
  }
}

TEST_F(Interleaving, FlushDuringAStoreForgetsWhatWasLookedAt) {
  Open(1 << 20, 64 << 10);
  Set("key", "1");
  Update update;
  EXPECT_EQ(cache_->Apply(
                "key",
                [&](const ItemRef& found, Update* u) {
                  cache_->Flush();
                  u->action = Update::Action::kStore;
                  u->value = absl::StrCat(found.value(), "1");
                },
                &update),
            StoreResult::kStored);
  EXPECT_FALSE(Has("key"));
  EXPECT_EQ(cache_->GetStats().items, 0u);
}

// A Set takes no writer's lock. What was decided about the item before it must not stand.
TEST_F(Interleaving, SetDuringAnApplyIsNotLost) {
  using enum Update::Action;
  struct Case {
    const char* name;
    bool there;  // An item, before.
    Update::Action action;
    int64_t ttl_ms;  // Of a touch: in place, or elsewhere.
    const char* left;
    int64_t left_ms;
  };
  for (const Case& c : {Case{"append", true, kStore, kNever, "set,1", kNever},
                        Case{"add", false, kStore, kNever, "set,1", kNever},
                        Case{"delete", true, kDelete, kNever, "(none)", 0},
                        Case{"touch", true, kTouch, 5'000, "set", 5'000},
                        Case{"touch elsewhere", true, kTouch, 90'000'000, "set", 90'000'000}}) {
    SCOPED_TRACE(c.name);
    Open(1 << 20, 64 << 10);
    if (c.there) Set("key", "old", 10'000);
    Update update;
    update.flags = 7;
    std::vector<std::string> seen;
    const StoreResult result = cache_->Apply(
        "key",
        [&](const ItemRef& found, Update* u) {
          EXPECT_EQ(u->flags, 7u);
          EXPECT_EQ(u->action, kKeep);
          EXPECT_EQ(u->value, "");
          seen.push_back(found.found() ? std::string(found.value()) : "(none)");
          if (seen.size() == 1) Elsewhere([&] { Set("key", "set", 10'000); });
          u->action = c.action;
          u->flags = 1;
          u->ttl_ms = c.ttl_ms;
          u->value = absl::StrCat(seen.back(), ",1");
        },
        &update);
    EXPECT_EQ(result, StoreResult::kStored);
    EXPECT_EQ(seen, (std::vector<std::string>{c.there ? "old" : "(none)", "set"}));
    EXPECT_EQ(Get("key"), c.left);
    if (c.left_ms != 0) {
      EXPECT_EQ(cache_->Peek("key").ttl_ms(), c.left_ms);
    }
    EXPECT_EQ(cache_->GetStats().items, c.left_ms != 0 ? 1u : 0u);
  }
}

// What is not there because its time is over, and was replaced since, is there.
TEST_F(Interleaving, SetDuringAnApplyThatFoundNothingAlive) {
  Open(1 << 20, 64 << 10);
  Set("key", "old", 1'000);
  clock_.AdvanceMs(1'000);
  int asked = 0;
  Update update;
  cache_->Apply(
      "key",
      [&](const ItemRef& found, Update* u) {
        if (++asked == 1) Elsewhere([&] { Set("key", "set"); });
        if (found.found()) return;
        u->action = Update::Action::kStore;
        u->value = "added";
      },
      &update);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(Get("key"), "set");
}

// Everybody may be asked while one decides: reads are marked, sets come between, the item moves.
TEST_F(Interleaving, MarkingMeetsEverythingElse) {
  struct Case {
    const char* name;
    bool tracks;
    bool has_marks;
  };
  for (const Case& c : {Case{"in place", true, false}, Case{"in place, untracked", false, true},
                        Case{"by a copy", false, false}}) {
    SCOPED_TRACE(c.name);
    config::Seg options;
    options.heap_size = 8 << 20;  // So that what dies at another time lies elsewhere.
    options.segment_size = 64 << 10;
    options.track_access = c.tracks;
    Open(options);
    const auto mark = [&](auto meanwhile) {
      int asked = 0;
      Update update;
      return cache_->Apply(
          "key",
          [&](const ItemRef& found, Update* u) {
            u->action = Update::Action::kMark;
            u->marks = Marks{true, found.marks().won};
            if (++asked == 1) Elsewhere(meanwhile);
          },
          &update);
    };
    const auto begin = [&] {
      Set("key", "old", 10'000);
      if (c.has_marks) mark([] {});
      clock_.AdvanceMs(3'000);
    };
    begin();
    uint64_t told = 0;
    EXPECT_EQ(mark([&] { told = cache_->Get("key", Token::kTold).cas(); }), StoreResult::kStored);
    ItemRef found = cache_->Peek("key");
    EXPECT_EQ(found.cas(), told);
    EXPECT_EQ(found.marks(), (Marks{true, false}));
    EXPECT_EQ(found.was_hit(), c.tracks);
    EXPECT_EQ(found.idle_sec(), 0u);
    EXPECT_EQ(found.ttl_ms(), 7'000);

    begin();  // What a set brings is not what was decided about, so the decision is taken again.
    EXPECT_EQ(mark([&] { Set("key", "set"); }), StoreResult::kStored);
    EXPECT_EQ(Get("key"), "set");
    EXPECT_EQ(cache_->Peek("key").marks(), (Marks{true, false}));

    begin();
    EXPECT_EQ(mark([&] {
                clock_.AdvanceMs(7'000);
                cache_->Tick();
              }),
              StoreResult::kNotStored);
    EXPECT_FALSE(Has("key"));

    begin();
    mark([&] { cache_->Flush(); });
    EXPECT_FALSE(Has("key"));
    found = ItemRef();
    cache_->Tick();
    EXPECT_EQ(cache_->GetStats().items, 0u);
  }
}

// Whoever changes marks while somebody else does is asked again about what those left.
TEST(ItemInterleaving, MarksOfAWriterAndAUseThatMeetBothHold) {
  alignas(8) char memory[64];
  Item item(memory);
  const auto mark = [](uint32_t word) { return MarkWord::With(word, {true, true}); };
  const auto use = [](uint32_t word) { return MarkWord::Used(word, 7'000); };
  const auto change_while = [&](auto outer, auto inner) {
    item.Write({.key = "key", .value = "value", .marks = MarkWord::Stored(1'000)});
    int asked = 0;
    item.ChangeMarks([&](uint32_t word) {
      const uint32_t after = outer(word);
      if (++asked == 1) item.ChangeMarks(inner);
      return after;
    });
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(MarkWord::Of(item.marks()), (Marks{true, true}));
    EXPECT_NE(item.marks() & MarkWord::kHit, 0u);
    EXPECT_EQ(MarkWord::IdleSec(item.marks(), 9'000), 2u);
    EXPECT_EQ(item.value(), "value");
  };
  change_while(mark, use);
  change_while(use, mark);
  // Unless there is nothing left to change.
  item.ChangeMarks(mark);
  int asked = 0;
  item.ChangeMarks([&](uint32_t word) {
    ++asked;
    return mark(word);
  });
  EXPECT_EQ(asked, 1);
}

// A heap and its index without the engine around them, so that the test can hold the lock of a chain
// as a writer of its key would.
class HeapInterleaving : public ::testing::Test {
 protected:
  static constexpr uint32_t kSegments = 16;  // The fewest of which one is kept free for moves.
  static constexpr size_t kSegmentBytes = 4096;

  void SetUp() override {
    auto table = HashTable::Create(4096, 4096, 1);
    ASSERT_TRUE(table.ok()) << table.status();
    table_ = *std::move(table);
    auto heap = SegmentHeap::Create({.segment_bytes = kSegmentBytes, .segments = kSegments},
                                    config::Seg::Eviction::kNone, table_.get(), &metrics_);
    ASSERT_TRUE(heap.ok()) << heap.status();
    heap_ = *std::move(heap);
  }
  // Returns false without room.
  bool Store(const std::string& key) {
    const ItemSpec spec{.key = key, .value = value_, .marks = MarkWord::Stored(1'000)};
    Location at;
    if (!heap_->BeginWrite(Item::BytesFor(spec), Rank::kNew, kNever, kDeadlineNever, 1'000, &at)) {
      return false;
    }
    heap_->item(at).Write(spec);
    {
      const uint64_t hash = table_->Hash(key);
      HashTable::ChainLock lock(*table_, hash);
      EXPECT_TRUE(table_->Insert(hash, at, /*out=*/false));
    }
    heap_->EndWrite(at.segment);
    return true;
  }
  // REQUIRES: its chain is locked.
  HashTable::Word* Find(const std::string& key) {
    return table_->Find(table_->Hash(key),
                        [&](Location at) { return heap_->item(at).key() == key; });
  }
  Location PlaceOf(const std::string& key) {
    HashTable::ChainLock lock(*table_, table_->Hash(key));
    return Slot::LocationOf(Find(key)->load(std::memory_order_relaxed));
  }
  void Remove(const std::string& key) {
    Location at;
    {
      const uint64_t hash = table_->Hash(key);
      HashTable::ChainLock lock(*table_, hash);
      at = Slot::LocationOf(table_->Remove(hash, Find(key)));
      heap_->CountOut(at);
    }
    heap_->ReclaimIfEmpty(at.segment);
  }
  // Copies of items that are under way count twice.
  uint32_t LiveItems() {
    uint32_t items = 0;
    for (uint32_t id = 0; id < kSegments; ++id) items += heap_->segment(id)->live_items();
    return items;
  }

  const std::string value_ = std::string(400, 'v');
  core::Registry registry_;
  Metrics metrics_{&registry_, "test"};
  std::unique_ptr<HashTable> table_;
  std::unique_ptr<SegmentHeap> heap_;
};

// An item is copied before the lock of its chain is taken, and until then others mark the one that
// the index names.
TEST_F(HeapInterleaving, MarksThatCameBetweenTheCopyAndItsLinkAreCarriedAlong) {
  // Every segment is full but the one for what is moved.
  std::vector<std::string> keys;
  const size_t bytes = Item::BytesFor(6, value_.size(), false, false, true);
  for (size_t i = 0; i < (kSegments - 1) * (kSegmentBytes / bytes); ++i) {
    keys.push_back(absl::StrCat("key", 100 + i));
    ASSERT_TRUE(Store(keys.back()));
  }
  ASSERT_EQ(heap_->usage().segments_free, 1u);
  // Of the first segment one item is left: it is what is moved when room is wanted.
  const std::string kept = keys[0];
  const Location old = PlaceOf(kept);
  size_t removed = 0;
  while (PlaceOf(keys[1 + removed]).segment == old.segment) Remove(keys[1 + removed++]);
  ASSERT_GT(removed, 5u);
  const uint32_t items = LiveItems();
  ASSERT_EQ(items, keys.size() - removed);
  std::atomic<bool> done = false;
  std::thread writer;
  {
    HashTable::ChainLock lock(*table_, table_->Hash(kept));
    writer = std::thread([&] {
      EXPECT_TRUE(Store("new"));
      done = true;
    });
    while (!done && LiveItems() == items) std::this_thread::yield();  // Until there is the copy.
    heap_->item(old).ChangeMarks([](uint32_t word) {
      return MarkWord::With(MarkWord::Used(word, 7'000), {true, true});
    });
  }
  writer.join();
  const Location moved = PlaceOf(kept);
  ASSERT_NE(moved.segment, old.segment);
  const Item item = heap_->item(moved);
  EXPECT_EQ(MarkWord::Of(item.marks()), (Marks{true, true}));
  EXPECT_NE(item.marks() & MarkWord::kHit, 0u);
  EXPECT_EQ(MarkWord::IdleSec(item.marks(), 9'000), 2u);
  EXPECT_EQ(item.value(), value_);
  EXPECT_EQ(LiveItems(), items + 1);  // And the new one.
}

// The clock of a writer that was held up is behind.
TEST_F(Interleaving, ClockThatStepsBackMovesNoDeadline) {
  Open(64 * 4096, 4096, config::Seg::Eviction::kS3Fifo);
  clock_.AdvanceMs(-5'000);  // Before the engine was made.
  ASSERT_EQ(Set("early", "v", 1), StoreResult::kStored);
  ASSERT_EQ(Set("short", "v", 2'000), StoreResult::kStored);
  EXPECT_EQ(cache_->Peek("early").ttl_ms(), 1);
  clock_.AdvanceMs(5'000);
  EXPECT_TRUE(Has("early"));  // Time stood still for the engine meanwhile.
  clock_.AdvanceMs(1);
  EXPECT_FALSE(Has("early"));
  EXPECT_TRUE(Has("short"));
  clock_.AdvanceMs(1'999);
  EXPECT_FALSE(Has("short"));
  // Back again, by more than items have left; they are read, moved and dropped at odd times.
  for (int i = 0; i < 3'000; ++i) {
    const std::string key = absl::StrCat("key", i % 700);
    ASSERT_EQ(Set(key, std::string(300, 'v'), 1 + i % 5'000), StoreResult::kStored);
    cache_->Get(absl::StrCat("key", i * 7 % 700));
    Touch(absl::StrCat("key", i * 11 % 700), 1 + i % 9'000);
    clock_.AdvanceMs(i % 5 == 0 ? -900 : 200);
    if (i % 50 == 0) cache_->Tick();
  }
  for (int i = 0; i < 700; ++i) {
    const ItemRef found = cache_->Peek(absl::StrCat("key", i));
    if (!found.found()) continue;
    ASSERT_GT(found.ttl_ms(), 0);
    ASSERT_LE(found.ttl_ms(), 3'000 * 900);  // No life is made of a difference below 0.
  }
  clock_.AdvanceMs(3'000 * 900);
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().items, 0u);
}

}  // namespace
}  // namespace seg
