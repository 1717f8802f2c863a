// Who reads what: cells, threads and their numbers.
#include "cache/seg/pins.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace seg {
namespace {

TEST(PinsTest, PublishesUntilCleared) {
  Pins pins;
  EXPECT_FALSE(pins.Published(0));
  Pins::Cell* const cell = pins.Publish(0);  // The first segment is not "none".
  ASSERT_NE(cell, nullptr);
  EXPECT_TRUE(pins.Published(0));
  EXPECT_FALSE(pins.Published(1));
  Pins::Cell* const again = pins.Publish(0);
  Pins::Clear(cell);
  EXPECT_TRUE(pins.Published(0));  // By the second.
  Pins::Clear(again);
  EXPECT_FALSE(pins.Published(0));
}

TEST(PinsTest, HasSixteenCellsAThreadAndSaysWhenTheyAreTaken) {
  Pins pins;
  std::vector<Pins::Cell*> cells;
  for (uint32_t i = 0; i < Pins::kCellsPerThread; ++i) {
    cells.push_back(pins.Publish(i));
    ASSERT_NE(cells.back(), nullptr) << i;
  }
  EXPECT_EQ(pins.Publish(99), nullptr);
  EXPECT_FALSE(pins.Published(99));
  Pins::Clear(cells[5]);
  EXPECT_EQ(pins.Publish(99), cells[5]);
  EXPECT_TRUE(pins.Published(99));
  EXPECT_FALSE(pins.Published(5));
  for (uint32_t i = 0; i < Pins::kCellsPerThread; ++i) EXPECT_EQ(pins.Published(i), i != 5);
}

TEST(PinsTest, CellMayBeClearedByAnotherThreadAndOutlivesItsOwn) {
  Pins pins;
  Pins::Cell* cell = nullptr;
  std::thread([&] { cell = pins.Publish(7); }).join();
  ASSERT_NE(cell, nullptr);
  EXPECT_TRUE(pins.Published(7));
  // Another thread, which may have the same number now, leaves it alone.
  std::thread([&] {
    for (int i = 0; i < 100; ++i) Pins::Clear(pins.Publish(8));
  }).join();
  EXPECT_TRUE(pins.Published(7));
  std::thread([&] { Pins::Clear(cell); }).join();
  EXPECT_FALSE(pins.Published(7));
}

TEST(PinsTest, ServesManyThreadsAtOnceAndAnyNumberOneAfterAnother) {
  Pins pins;
  constexpr int kThreads = 300;  // More than there are lines.
  std::atomic<int> published{0};
  std::set<Pins::Cell*> cells;
  std::mutex mu;
  std::barrier all(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Pins::Cell* const cell = pins.Publish(static_cast<uint32_t>(t));
      if (cell != nullptr) {
        published.fetch_add(1);
        std::lock_guard lock(mu);
        cells.insert(cell);
      }
      all.arrive_and_wait();  // None has ended yet.
      EXPECT_EQ(pins.Published(static_cast<uint32_t>(t)), cell != nullptr);
      if (cell != nullptr) Pins::Clear(cell);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cells.size(), static_cast<size_t>(published.load()));  // No two had the same.
  EXPECT_GE(published.load(), Pins::kThreadsMax - 2);              // This thread has a line, too.
  EXPECT_LE(published.load(), Pins::kThreadsMax);
  // Numbers of threads that ended are given out again.
  for (int t = 0; t < 600; ++t) {
    std::thread([&] {
      Pins::Cell* const cell = pins.Publish(1);
      ASSERT_NE(cell, nullptr);
      Pins::Clear(cell);
    }).join();
  }
}

TEST(PinsTest, SpreadsThreadsOverShards) {
  constexpr int kThreads = 8;
  std::barrier all(kThreads);
  std::vector<int> shards(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      shards[static_cast<size_t>(t)] = WriterShard(4);
      EXPECT_EQ(WriterShard(4), shards[static_cast<size_t>(t)]);
      all.arrive_and_wait();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int shard = 0; shard < 4; ++shard) {
    EXPECT_GE(std::count(shards.begin(), shards.end(), shard), 1) << shard;
  }
}

}  // namespace
}  // namespace seg
