#include "core/net/timer.h"

#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace core {
namespace {

struct Recorder : Timer {
  Recorder(std::vector<int>* fired_list, int number) : fired(fired_list), id(number) {}
  void OnTimer() override {
    fired->push_back(id);
    if (then) then();
  }
  std::vector<int>* fired;
  int id;
  std::function<void()> then;
};

TEST(TimerWheel, FiresAtItsDeadlineAndNotBefore) {
  TimerWheel wheel(1000);
  std::vector<int> fired;
  Recorder timer(&fired, 1);
  wheel.Arm(&timer, 1010);
  wheel.Advance(1009);
  EXPECT_TRUE(fired.empty());
  EXPECT_TRUE(timer.armed());
  wheel.Advance(1010);
  EXPECT_EQ(fired, std::vector<int>{1});
  EXPECT_FALSE(timer.armed());
  EXPECT_EQ(wheel.size(), 0u);
}

TEST(TimerWheel, FarDeadlinesWaitTheirRounds) {
  TimerWheel wheel(0);
  std::vector<int> fired;
  Recorder timer(&fired, 1);
  wheel.Arm(&timer, 3 * 4096 + 5);
  for (int64_t now = 1; now < 3 * 4096 + 5; now += 7) wheel.Advance(now);
  EXPECT_TRUE(fired.empty());
  wheel.Advance(3 * 4096 + 5);
  EXPECT_EQ(fired.size(), 1u);
}

TEST(TimerWheel, APastDeadlineFiresAtTheNextAdvance) {
  TimerWheel wheel(100);
  std::vector<int> fired;
  Recorder timer(&fired, 1);
  wheel.Arm(&timer, 5);
  wheel.Advance(101);
  EXPECT_EQ(fired.size(), 1u);
}

TEST(TimerWheel, ALeapLongerThanTheWheelFiresEverything) {
  TimerWheel wheel(0);
  std::vector<int> fired;
  std::vector<std::unique_ptr<Recorder>> timers;
  for (int i = 0; i < 100; ++i) {
    timers.push_back(std::make_unique<Recorder>(&fired, i));
    wheel.Arm(timers.back().get(), 1 + i * 397);
  }
  wheel.Advance(1'000'000);
  EXPECT_EQ(fired.size(), 100u);
}

TEST(TimerWheel, CancelledAndDestroyedTimersStaySilent) {
  TimerWheel wheel(0);
  std::vector<int> fired;
  auto gone = std::make_unique<Recorder>(&fired, 1);
  Recorder cancelled(&fired, 2);
  wheel.Arm(gone.get(), 10);
  wheel.Arm(&cancelled, 10);
  gone.reset();
  cancelled.Cancel();
  wheel.Advance(20);
  EXPECT_TRUE(fired.empty());
  EXPECT_EQ(wheel.UntilNextMs(20), -1);
}

TEST(TimerWheel, ATimerMayRearmAndDestroyOthersFromInside) {
  TimerWheel wheel(0);
  std::vector<int> fired;
  auto victim = std::make_unique<Recorder>(&fired, 2);
  Recorder again(&fired, 1);
  again.then = [&] {
    victim.reset();
    if (fired.size() < 3) wheel.Arm(&again, 0);
  };
  wheel.Arm(&again, 10);
  wheel.Arm(victim.get(), 10);
  for (int now = 10; now < 20; ++now) wheel.Advance(now);
  EXPECT_EQ(fired, (std::vector<int>{1, 1, 1}));
}

TEST(TimerWheel, UntilNextNeverOversleeps) {
  std::mt19937 rng(7);
  TimerWheel wheel(0);
  std::vector<int> fired;
  std::vector<std::unique_ptr<Recorder>> timers;
  std::vector<int64_t> due;
  for (int i = 0; i < 300; ++i) {
    timers.push_back(std::make_unique<Recorder>(&fired, i));
    due.push_back(1 + rng() % 20'000);
    wheel.Arm(timers.back().get(), due.back());
  }
  int64_t now = 0;
  while (wheel.size() > 0) {
    const int64_t wait = wheel.UntilNextMs(now);
    ASSERT_GE(wait, 0);
    const size_t before = fired.size();
    now += wait;
    wheel.Advance(now);
    for (size_t i = before; i < fired.size(); ++i) EXPECT_EQ(due[fired[i]], now);
  }
  EXPECT_EQ(fired.size(), 300u);
}

}  // namespace
}  // namespace core
