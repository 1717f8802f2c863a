// Watchers get what they asked for, in order and within bounds, and are told what they missed.
#include "core/watch/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/net/worker.h"

namespace core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr WatchKinds kRed = 1, kBlue = 2;

struct Outlet final : WatchOutlet {
  bool HasRoom() override { return room; }
  void Send(std::string some) override {
    most = std::max(most, some.size());
    text += some;
  }
  // Without time and number.
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      const size_t at = line.find(" gid=");
      lines.emplace_back(at == absl::string_view::npos ? line : line.substr(line.find(' ', at + 1) + 1));
    }
    return lines;
  }
  bool room = true;
  std::string text;
  size_t most = 0;
};

// One loop, driven by hand.
class HubTest : public testing::Test {
 protected:
  void Turn() {
    loop_.RunOnce(0);
    desk_.EndTurn();
  }
  uint64_t skipped() const { return hub_.metrics().line_skip.Value(); }
  uint64_t sent() const { return hub_.metrics().line_send.Value(); }

  ManualClock clock_;
  Registry registry_;
  WatchHub hub_{&registry_, {}};
  EventLoop loop_{&clock_};
  WatchDesk desk_{&hub_, &loop_};
};

TEST_F(HubTest, ALineHasTimeAndNumber) {
  Outlet outlet;
  const auto seat = desk_.Join(kRed, &outlet);
  clock_.AdvanceMs(12);
  desk_.Write(kRed, "type=x");
  desk_.Write(kRed, "type=y");
  EXPECT_THAT(outlet.text, IsEmpty());  // Nothing before the turn ends.
  Turn();
  EXPECT_EQ(outlet.text, "ts=1700000001.012000 gid=1 type=x\nts=1700000001.012000 gid=2 type=y\n");
}

TEST_F(HubTest, EachGetsTheKindsItAskedFor) {
  Outlet red, blue, both, none;
  const auto a = desk_.Join(kRed, &red);
  EXPECT_EQ(hub_.kinds(), kRed);
  const auto b = desk_.Join(kBlue, &blue);
  const auto c = desk_.Join(kRed | kBlue, &both);
  const auto d = desk_.Join(0, &none);
  EXPECT_EQ(hub_.kinds(), kRed | kBlue);
  for (const WatchKinds kind : {kRed, kBlue, kRed}) desk_.Write(kind, absl::StrCat(kind));
  Turn();
  EXPECT_THAT(red.Lines(), ElementsAre("1", "1"));
  EXPECT_THAT(blue.Lines(), ElementsAre("2"));
  EXPECT_THAT(both.Lines(), ElementsAre("1", "2", "1"));
  EXPECT_THAT(none.Lines(), IsEmpty());
  EXPECT_EQ(hub_.metrics().line_write.Value(), 3u);
  EXPECT_EQ(sent(), 6u);
}

TEST_F(HubTest, WhatWasBeforeAWatcherIsNotForIt) {
  Outlet early, late;
  const auto a = desk_.Join(kRed, &early);
  desk_.Write(kRed, "before");
  const auto b = desk_.Join(kRed, &late);
  desk_.Write(kRed, "after");
  Turn();
  EXPECT_THAT(early.Lines(), ElementsAre("before", "after"));
  EXPECT_THAT(late.Lines(), ElementsAre("after"));
}

TEST_F(HubTest, TwentyMayWatchAndALeaverMakesRoom) {
  std::vector<Outlet> outlets(22);
  std::vector<WatchDesk::Seat> seats;
  for (int i = 0; i < WatchHub::kWatchersMax; ++i) {
    seats.push_back(desk_.Join(kRed, &outlets[i]));
    EXPECT_TRUE(seats.back().taken());
  }
  EXPECT_FALSE(desk_.Join(kBlue, &outlets[20]).taken());
  EXPECT_EQ(hub_.kinds(), kRed);
  EXPECT_EQ(hub_.metrics().watcher_refuse.Value(), 1u);
  seats.erase(seats.begin() + 7);
  const auto next = desk_.Join(kBlue, &outlets[21]);
  EXPECT_TRUE(next.taken());
  desk_.Write(kBlue, "blue");
  Turn();
  EXPECT_THAT(outlets[21].Lines(), ElementsAre("blue"));
  EXPECT_EQ(hub_.metrics().watcher.Value(), 20);
  seats.clear();
  EXPECT_EQ(hub_.kinds(), kBlue);
}

TEST_F(HubTest, ALeaverLeavesNothingBehind) {
  Outlet gone, next;
  gone.room = false;
  {
    const auto seat = desk_.Join(kRed, &gone);
    for (int i = 0; i < 10'000; ++i) desk_.Write(kRed, std::string(100, 'x'));
    Turn();
  }
  EXPECT_EQ(hub_.kinds(), 0u);
  EXPECT_EQ(hub_.metrics().watcher.Value(), 0);
  EXPECT_GT(skipped(), 0u);
  const auto seat = desk_.Join(kRed, &next);
  desk_.Write(kRed, "mine");
  Turn();
  EXPECT_THAT(next.Lines(), ElementsAre("mine"));  // No mark of what another missed.
  EXPECT_THAT(gone.text, IsEmpty());
}

// Whoever reads slowly gets a full mailbox once, then is told how much is missing; others get all.
TEST_F(HubTest, ASlowWatcherIsBoundedAndToldWhatItMissed) {
  Outlet slow, fast;
  slow.room = false;
  const auto a = desk_.Join(kRed, &slow);
  const auto b = desk_.Join(kRed, &fast);
  constexpr int kLines = 5000;
  for (int i = 0; i < kLines; ++i) {
    desk_.Write(kRed, absl::StrCat(i, std::string(200, '.')));
    if (i % 100 == 0) Turn();
  }
  Turn();
  EXPECT_THAT(fast.Lines(), SizeIs(kLines));
  EXPECT_THAT(slow.text, IsEmpty());
  const uint64_t missed = skipped();
  EXPECT_GT(missed, 0u);
  EXPECT_EQ(sent() + missed, 2u * kLines);

  slow.room = true;
  clock_.AdvanceMs(25);  // Nothing happens but time.
  Turn();
  EXPECT_LE(slow.most, WatchHub::kMailboxBytesMax);
  EXPECT_GT(slow.most, WatchHub::kMailboxBytesMax - 512);
  EXPECT_THAT(slow.Lines(), SizeIs(kLines - missed));
  slow.text.clear();
  desk_.Write(kRed, "next");
  desk_.Write(kRed, "over");
  Turn();
  EXPECT_THAT(slow.Lines(), ElementsAre(absl::StrCat("skipped=", missed), "next", "over"));
  EXPECT_EQ(skipped(), missed);
}

TEST_F(HubTest, ABurstOfOneTurnIsHandedOverInBlocks) {
  Outlet outlet;
  const auto seat = desk_.Join(kRed, &outlet);
  // Twice a block, half a mailbox.
  for (int i = 0; i < 1000; ++i) desk_.Write(kRed, std::string(100, 'x'));
  Turn();
  EXPECT_THAT(outlet.Lines(), SizeIs(1000));
  EXPECT_EQ(skipped(), 0u);
}

TEST_F(HubTest, ALineOfTheEndOfATurnWaitsForNoEvent) {
  Outlet outlet;
  const auto seat = desk_.Join(kRed, &outlet);
  struct Late final : TurnEnd {
    explicit Late(WatchDesk* d) : desk(d) {}
    void OnTurnEnd() override {
      if (!std::exchange(written, true)) desk->Write(kRed, "late");
    }
    WatchDesk* desk;
    bool written = false;
  };
  struct End final : TurnEnd {
    explicit End(WatchDesk* d) : desk(d) {}
    void OnTurnEnd() override { desk->EndTurn(); }
    WatchDesk* desk;
  };
  End end(&desk_);
  Late late(&desk_);
  loop_.AddTurnEnd(EventLoop::Phase::kService, &end);
  loop_.AddTurnEnd(EventLoop::Phase::kSession, &late);
  loop_.RunOnce(0);
  EXPECT_THAT(outlet.text, IsEmpty());
  loop_.RunOnce(-1);  // Would sleep for ever.
  EXPECT_THAT(outlet.Lines(), ElementsAre("late"));
  loop_.RemoveTurnEnd(&end);
  loop_.RemoveTurnEnd(&late);
}

TEST_F(HubTest, TheDeskOfAThread) {
  EXPECT_EQ(hub_.DeskHere(), nullptr);
  loop_.RunOnce(0);
  EXPECT_EQ(hub_.DeskHere(), &desk_);
  std::thread([this] { EXPECT_EQ(hub_.DeskHere(), nullptr); }).join();
}

// Lines of several workers to watchers on several workers, while others come and go: each line of each
// worker once, in order, or counted as skipped.
TEST(WatchHub, ManyWorkers) {
  constexpr int kWorkers = 3, kTurns = 300, kLinesATurn = 40;
  const RealClock clock;
  Registry registry;
  WatchHub hub(&registry, {});
  WorkerPool pool(kWorkers, &clock, &registry);
  std::atomic<int> waiting{kWorkers}, written{0};
  // What one worker does at each turn's end: write, serve, watch for a while.
  struct Part final : TurnEnd {
    Part(WatchHub* h, Worker* w, std::atomic<int>* wait, std::atomic<int>* wrote)
        : worker(*w), waits(*wait), writes(*wrote), desk(h, &w->loop) {
      worker.loop.AddTurnEnd(EventLoop::Phase::kService, this);
    }
    ~Part() { worker.loop.RemoveTurnEnd(this); }
    void OnTurnEnd() override {
      if (turns < kTurns && waits.load(std::memory_order_acquire) == 0) {
        for (int i = 0; i < kLinesATurn; ++i) {
          desk.Write(kRed, absl::StrCat(worker.index, " ", turns * kLinesATurn + i));
        }
        if (++turns % 10 == 0) passing = desk.Join(kRed, &other);
        if (turns % 10 == 3) passing = WatchDesk::Seat();
        if (turns == kTurns) writes.fetch_add(1, std::memory_order_release);
        worker.loop.KeepAwake();
      }
      desk.EndTurn();
    }
    Worker& worker;
    std::atomic<int>& waits;
    std::atomic<int>& writes;
    WatchDesk desk;
    Outlet mine, other;
    WatchDesk::Seat seat, passing;
    int turns = 0;
  };
  std::vector<std::unique_ptr<Part>> parts;
  for (int i = 0; i < kWorkers; ++i) {
    parts.push_back(std::make_unique<Part>(&hub, &pool.worker(i), &waiting, &written));
  }
  pool.Start();
  for (auto& part : parts) {
    part->worker.loop.Post([raw = part.get()] {
      raw->seat = raw->desk.Join(kRed | kBlue, &raw->mine);
      raw->waits.fetch_sub(1, std::memory_order_acq_rel);
    });
  }
  // Runs `work` on every worker, in a turn of its own.
  const auto on_each = [&](const std::function<void(Part&)>& work) {
    for (auto& part : parts) {
      std::atomic<bool> done{false};
      part->worker.loop.Post([&] {
        work(*part);
        done.store(true, std::memory_order_release);
      });
      while (!done.load(std::memory_order_acquire)) std::this_thread::yield();
    }
  };
  while (written.load(std::memory_order_acquire) < kWorkers) on_each([](Part&) {});
  for (int turns = 0; turns < 4; ++turns) on_each([](Part&) {});  // All is handed over and served.
  // One more line each, so that a mark of what was skipped last is told.
  on_each([](Part& part) { part.desk.Write(kBlue, "end"); });
  for (int turns = 0; turns < 4; ++turns) on_each([](Part&) {});
  pool.Stop();
  uint64_t told = 0, got = 0, ends = 0;
  for (const auto& part : parts) {
    std::vector<int> next(kWorkers, 0);
    for (const std::string& line : part->mine.Lines()) {
      uint64_t skipped = 0;
      absl::string_view rest = line;
      if (absl::ConsumePrefix(&rest, "skipped=")) {
        ASSERT_TRUE(absl::SimpleAtoi(rest, &skipped));
        told += skipped;
        continue;
      }
      if (rest == "end" && ++ends != 0) continue;
      const std::vector<absl::string_view> words = absl::StrSplit(rest, ' ');
      int worker = 0, number = 0;
      ASSERT_EQ(words.size(), 2u) << line;
      ASSERT_TRUE(absl::SimpleAtoi(words[0], &worker) && absl::SimpleAtoi(words[1], &number));
      ASSERT_GE(number, next[worker]) << line;
      next[worker] = number + 1;
      ++got;
    }
  }
  EXPECT_EQ(ends, uint64_t{kWorkers} * kWorkers);
  EXPECT_EQ(got + told, uint64_t{kWorkers} * kWorkers * kTurns * kLinesATurn);
  for (auto& part : parts) {
    part->seat = WatchDesk::Seat();
    part->passing = WatchDesk::Seat();
  }
  EXPECT_EQ(hub.kinds(), 0u);
}

}  // namespace
}  // namespace core
