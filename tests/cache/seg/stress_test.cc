// Many threads at once. Values carry a check of themselves, so that a torn or recycled read shows;
// the sanitizers see the rest.
#include <atomic>
#include <chrono>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/hash.h"
#include "tests/cache/seg/engine.h"

namespace seg {
namespace {

constexpr int kThreads = 4;

class StressTest : public EngineTest {
 protected:
  // Runs `work(thread, rng)` on every thread.
  template <class Work>
  void Run(Work work) {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 rng(seed + static_cast<unsigned>(t));
        work(t, rng);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  void ExpectEmptyAfterFlush() {
    cache_->Flush();
    cache_->Tick();
    EXPECT_EQ(cache_->GetStats().items, 0u);
    EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
  }

  // Bytes that belong to `key` and say so.
  static std::string Checked(absl::string_view key, std::mt19937& rng, size_t bytes_max) {
    std::string body(rng() % bytes_max, static_cast<char>(rng()));
    return absl::StrCat(core::Hash64(absl::StrCat(key, body), 1), ":", body);
  }
  static bool IsChecked(absl::string_view key, absl::string_view value) {
    const size_t colon = value.find(':');
    if (colon == absl::string_view::npos) return false;
    uint64_t want = 0;
    return absl::SimpleAtoi(value.substr(0, colon), &want) &&
           want == core::Hash64(absl::StrCat(key, value.substr(colon + 1)), 1);
  }
};

class StressPolicyTest : public StressTest,
                         public ::testing::WithParamInterface<config::Seg::Eviction> {
 protected:
  // All operations at once, on more than fits.
  void DoEverything(unsigned keys, size_t value_bytes_max, int rounds) {
    std::atomic<uint64_t> hits{0};
    std::atomic<uint64_t> refused{0};
    Run([&](int thread, std::mt19937& rng) {
      std::deque<std::pair<std::string, ItemRef>> held;  // Pins that outlive their items.
      for (int i = 0; i < rounds; ++i) {
        const std::string key = absl::StrCat("key", rng() % keys);
        switch (rng() % 8) {
          case 0:
          case 1:
          case 2: {
            const int64_t ttl_ms = rng() % 2 == 0 ? kNever : 1 + static_cast<int64_t>(rng() % 100'000);
            const StoreResult result = cache_->Set(key, Checked(key, rng, value_bytes_max), 0, ttl_ms);
            if (result != StoreResult::kStored) refused.fetch_add(1);
            break;
          }
          case 3:
            cache_->Delete(key);
            break;
          case 4: {
            Update update;
            cache_->Apply(
                key,
                [&](const ItemRef& found, Update* u) {
                  if (!found.found()) return;
                  EXPECT_TRUE(IsChecked(key, found.value()));
                  u->action = Update::Action::kTouch;
                  u->ttl_ms = 1 + static_cast<int64_t>(rng() % 1'000'000);
                },
                &update);
            break;
          }
          default: {
            ItemRef found = cache_->Get(key);
            if (!found.found()) break;
            hits.fetch_add(1, std::memory_order_relaxed);
            EXPECT_TRUE(IsChecked(key, found.value()));
            held.emplace_back(key, std::move(found));
            if (held.size() <= 3) break;
            EXPECT_TRUE(IsChecked(held.front().first, held.front().second.value()));
            held.pop_front();
          }
        }
        if (thread == 0 && i % 64 == 0) {
          clock_.AdvanceMs(500);
          cache_->Tick();
        }
        if (thread == 1 && i % 4096 == 0) cache_->Flush();
      }
    });
    EXPECT_GT(hits.load(), 0u);
    EXPECT_GT(cache_->GetStats().evicted_items, 0u);
    // At most 12 items are held by readers for long, in 64 segments or more.
    EXPECT_EQ(refused.load(), 0u);
    ExpectEmptyAfterFlush();
  }
};
INSTANTIATE_TEST_SUITE_P(Policies, StressPolicyTest, EveryEvictionThatEvicts(), NameOf);

TEST_F(StressTest, AppliedIncrementsSumExactly) {
  Open(8 << 20, 64 << 10);
  constexpr int kRounds = 5000;
  constexpr int kKeys = 7;
  Run([&](int, std::mt19937& rng) {
    for (int i = 0; i < kRounds; ++i) {
      const std::string key = absl::StrCat("n", rng() % kKeys);
      Update update;
      const StoreResult result = cache_->Apply(
          key,
          [](const ItemRef& found, Update* u) {
            uint64_t n = 0;
            if (found.found()) {
              ASSERT_TRUE(absl::SimpleAtoi(found.value(), &n));
            }
            u->action = Update::Action::kStore;
            u->value = absl::StrCat(n + 1);
          },
          &update);
      ASSERT_EQ(result, StoreResult::kStored);
    }
  });
  uint64_t sum = 0;
  for (int i = 0; i < kKeys; ++i) {
    const ItemRef found = cache_->Peek(absl::StrCat("n", i));
    uint64_t n = 0;
    ASSERT_TRUE(found.found() && absl::SimpleAtoi(found.value(), &n));
    sum += n;
  }
  EXPECT_EQ(sum, uint64_t{kThreads} * kRounds);
  ExpectEmptyAfterFlush();
}

TEST_P(StressPolicyTest, ReadsAreWholeWhileEverythingIsEvicted) {
  Open(64 * 4096, 4096, GetParam());
  // Four times of what fits, so that room is not made by tidying alone.
  DoEverything(3'000, 700, 20'000);
}

// Items of half a segment and of several: what is empty of a segment goes, and comes again.
TEST_P(StressPolicyTest, ReadsAreWholeWhilePagesComeAndGo) {
  config::Seg options;
  options.heap_size = 4 << 20;  // Segments of 32 KB.
  options.eviction = GetParam();
  Open(options);
  DoEverything(500, 70'000, 2'000);
}

TEST_F(StressTest, WritersOfManyTtlsShareATinyHeap) {
  Open(8 * 4096, 4096);
  Run([&](int, std::mt19937& rng) {
    for (int i = 0; i < 10'000; ++i) {
      const std::string key = absl::StrCat("key", rng() % 50);
      ASSERT_EQ(cache_->Set(key, Checked(key, rng, 1500), 0,
                            1 + static_cast<int64_t>(rng() % 500'000'000)),
                StoreResult::kStored);
    }
  });
  ExpectEmptyAfterFlush();
}

// Of 11 segments an item takes one or two. One of two that was used stays where it is when its turn to be
// evicted comes, and in the next moment somebody else may have its segments.
TEST_F(StressTest, LargeItemsAreSparedAndReplacedInATinyHeap) {
  config::Seg options;
  options.heap_size = 88 << 10;
  Open(options);
  ASSERT_GT(cache_->item_bytes_max(), size_t{9'100});
  Run([&](int thread, std::mt19937& rng) {
    const std::string large(9'000, static_cast<char>('0' + thread)), small = large.substr(0, 3'000);
    for (int i = 0; i < 40'000; ++i) {
      const std::string key = absl::StrCat("key", rng() % 11);
      if (rng() % 2 == 0) {
        const ItemRef found = cache_->Get(key);
        if (found.found()) {
          ASSERT_EQ(found.value().front(), found.value().back());
        }
      } else {
        // Refused now and then, when the others are at work on all segments or read in them.
        cache_->Set(key, rng() % 3 != 0 ? large : small, 0, kNever);
      }
    }
  });
  ExpectEmptyAfterFlush();
}

// Each value is a number of its own. Somebody makes it stale, everybody wants to renew it, and while
// they ask the item is moved about, read, touched, or made stale in another way.
TEST_F(StressTest, OneClientWinsAStaleItem) {
  struct Shape {
    bool tracks;
    uint64_t segment;
    size_t padding;  // Of values. What is long takes long to move, and much may happen meanwhile.
    int rounds;
  };
  for (const Shape& shape : {Shape{false, 4096, 0, 20'000}, Shape{true, 4096, 0, 20'000},
                             Shape{true, 256 << 10, 60'000, 10'000}}) {
    SCOPED_TRACE(shape.padding);
    config::Seg options;
    options.heap_size = 32 * shape.segment;
    options.segment_size = shape.segment;
    options.eviction = config::Seg::Eviction::kNone;  // Sparse, so that items move all the time.
    options.track_access = shape.tracks;
    Open(options);
    constexpr size_t kKeys = 3;
    std::vector<std::atomic<uint8_t>> wins(static_cast<size_t>(kThreads * shape.rounds));
    std::atomic<size_t> next{0};
    Run([&](int, std::mt19937& rng) {
      for (int i = 0; i < shape.rounds; ++i) {
        const std::string key = absl::StrCat("key", rng() % kKeys);
        Update update;
        size_t number = 0;
        switch (rng() % 8) {
          case 0: {  // As md or ms with I: another token, the same bytes or not, and stale.
            number = next.fetch_add(1);
            ASSERT_EQ(cache_->Apply(
                          key,
                          [&](const ItemRef& found, Update* u) {
                            u->action = Update::Action::kStore;
                            u->value = absl::StrCat(number, std::string(shape.padding, ' '));
                            u->inherits_marks = found.found();
                            u->marks = Marks{true, false};
                          },
                          &update),
                      StoreResult::kStored);
            break;
          }
          case 1:
            (void)cache_->Set(absl::StrCat("filler", rng() % 100),
                              std::string(rng() % (shape.segment / 6), 'f'), 0, kNever);
            break;
          case 2:
            cache_->Delete(absl::StrCat("filler", rng() % 100));
            break;
          case 3:
            cache_->Get(key, rng() % 2 == 0 ? Token::kTold : Token::kQuiet);
            break;
          case 4:
            Touch(key, int64_t{10'000'000} << rng() % 8);
            break;
          default: {
            const StoreResult result = cache_->Apply(
                key,
                [&](const ItemRef& found, Update* u) {
                  if (!found.found() || found.marks() != Marks{true, false}) return;
                  ASSERT_TRUE(absl::SimpleAtoi(found.value(), &number));
                  u->action = number % 2 == 0 ? Update::Action::kMark : Update::Action::kTouch;
                  u->ttl_ms = int64_t{10'000'000} << rng() % 8;
                  u->marks = Marks{true, true};
                },
                &update);
            if (result == StoreResult::kStored) wins[number].fetch_add(1);
          }
        }
      }
    });
    size_t won = 0;
    for (size_t i = 0; i < next.load(); ++i) {
      ASSERT_LE(wins[i].load(), 1) << i;
      won += wins[i].load();
    }
    EXPECT_GT(won, next.load() / 4);
    EXPECT_EQ(cache_->GetStats().evicted_items, 0u);
    ExpectEmptyAfterFlush();
  }
}

// With everybody at it, and nobody who makes it stale again, there is a winner.
TEST_F(StressTest, EveryStaleItemIsWonOnce) {
  Open(8 << 20, 64 << 10);
  constexpr int kItems = 3'000;
  for (int i = 0; i < kItems; ++i) {
    const std::string key = absl::StrCat("key", i);
    Set(key, "old");
    Update update;
    update.action = Update::Action::kMark;
    update.marks = Marks{true, false};
    ASSERT_EQ(cache_->Apply(key, [](const ItemRef&, Update*) {}, &update), StoreResult::kStored);
  }
  std::vector<std::atomic<int>> wins(kItems);
  Run([&](int thread, std::mt19937&) {
    for (size_t i = 0; i < kItems; ++i) {
      Update update;
      const StoreResult result = cache_->Apply(
          absl::StrCat("key", i),
          [](const ItemRef& found, Update* u) {
            ASSERT_TRUE(found.found());
            if (found.marks().won) return;
            u->action = Update::Action::kMark;
            u->marks = Marks{true, true};
          },
          &update);
      if (result == StoreResult::kStored) wins[i].fetch_add(1);
    }
  });
  for (size_t i = 0; i < kItems; ++i) EXPECT_EQ(wins[i].load(), 1) << i;
}

// One writer marks an item that others read, and that is moved about. What it said last holds: no use
// that is marked at the same time brings back a mark from before, and no copy that was begun before.
TEST_F(StressTest, WhatWasMarkedLastHolds) {
  config::Seg options;
  options.heap_size = 16 << 20;
  options.segment_size = 1 << 20;
  options.eviction = config::Seg::Eviction::kNone;
  options.track_access = true;
  Open(options);
  Set("key", std::string(300'000, 'v'));  // Long on its way.
  constexpr int kMarked = 60'000;
  // A segment that is read in is not emptied, so there must be moments in which it is not.
  const auto rest = [] { std::this_thread::sleep_for(std::chrono::microseconds(20)); };
  std::atomic<bool> done{false};
  int moves = 0;
  Run([&](int thread, std::mt19937& rng) {
    if (thread == 0) {
      const char* place = nullptr;
      for (int i = 0; i < kMarked; ++i) {
        const Marks marks{rng() % 2 == 0, rng() % 2 == 0};
        Update update;
        update.action = Update::Action::kMark;
        update.marks = marks;
        EXPECT_EQ(cache_->Apply("key", [](const ItemRef&, Update*) {}, &update),
                  StoreResult::kStored);
        clock_.AdvanceMs(1'000);  // So that every use is worth writing down.
        ItemRef found = cache_->Peek("key", Token::kQuiet);
        EXPECT_EQ(found.marks(), marks) << i;
        if (std::exchange(place, found.value().data()) != found.value().data()) ++moves;
        found = ItemRef();
        if (i % 32 == 0) rest();
      }
      done.store(true);
    } else if (thread != 1) {
      while (!done.load()) {
        const std::string filler = absl::StrCat("filler", rng() % 90);
        if (rng() % 4 == 0) {
          cache_->Delete(filler);
        } else {
          (void)cache_->Set(filler, std::string(rng() % 200'000, 'f'), 0, kNever);
        }
      }
    } else {
      while (!done.load()) {
        ItemRef found = cache_->Get("key", Token::kQuiet);
        ASSERT_TRUE(found.found() && found.knows_uses());
        found = ItemRef();
        rest();
      }
    }
  });
  EXPECT_GT(moves, 0);
}

// A counter that was read before a flush must not be found, counted on, after it.
TEST_F(StressTest, NoWriteCarriesABeforeAcrossAFlush) {
  Open(8 << 20, 64 << 10);
  std::atomic<uint64_t> generation{1};
  std::atomic<bool> done{false};
  const auto flush = [&] {
    for (int i = 0; i < 2000; ++i) {
      // Everything written under the old generation is written before the flush.
      generation.fetch_add(1, std::memory_order_seq_cst);
      cache_->Flush();
      const uint64_t floor = generation.load(std::memory_order_seq_cst);
      const ItemRef found = cache_->Get("key");
      if (!found.found()) continue;
      uint64_t value = 0;
      ASSERT_TRUE(absl::SimpleAtoi(found.value(), &value));
      // The value was copied on from an item that a flush had to forget.
      ASSERT_GE(value, floor);
    }
  };
  std::thread flusher([&] {
    flush();
    done.store(true);  // After a failure too, or the writer never ends.
  });
  std::thread writer([&] {
    while (!done.load()) {
      Update update;
      cache_->Apply(
          "key",
          [&](const ItemRef& found, Update* u) {
            u->action = Update::Action::kStore;
            // Found: carried on unchanged. Not found: begun in the present generation.
            u->value = found.found() ? std::string(found.value())
                                     : absl::StrCat(generation.load(std::memory_order_seq_cst));
            u->ttl_ms = 100'000;
          },
          &update);
    }
  });
  flusher.join();
  writer.join();
}

TEST_F(StressTest, SizesAreThoseOfItemsWhileSegmentsComeAndGo) {
  Open(64 * 4096, 4096);  // Segments go by deletes, flushes and eviction.
  std::atomic<bool> done{false};
  std::atomic<int> writing{kThreads - 1};
  uint64_t seen = 0;
  Run([&](int thread, std::mt19937& rng) {
    if (thread == 0) {
      while (!done.load()) {
        cache_->VisitSizes(1, [&](size_t bytes) {
          // 9 and 4 bytes of head and key, rounded up to eight.
          ASSERT_TRUE(bytes == 24 || bytes == 120 || bytes == 1016) << bytes;
          ++seen;
        });
        // The walk takes the heap's lock for every segment: writers would hardly get it otherwise.
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      return;
    }
    constexpr int kSizes[] = {10, 100, 1000};
    for (int i = 0; i < 10'000; ++i) {
      const std::string key = absl::StrCat(1000 + rng() % 1000);
      const std::string value(kSizes[rng() % 3], static_cast<char>(rng()));
      if (i % 5000 == 0) cache_->Flush();
      if (rng() % 8 == 0) {
        cache_->Delete(key);
      } else {
        (void)cache_->Set(key, value, 0, rng() % 2 == 0 ? kNever : 1 + rng() % 100'000);
      }
    }
    if (--writing == 0) done = true;
  });
  EXPECT_GT(seen, 0u);
  ExpectEmptyAfterFlush();
}

}  // namespace
}  // namespace seg
