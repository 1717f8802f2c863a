#include "core/net/event_loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/net/turn_clock.h"
#include "gtest/gtest.h"

namespace core {
namespace {

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_NONBLOCK), 0);
    in = Fd(fds[0]);
    out = Fd(fds[1]);
  }
  Fd in, out;
};

struct Handler : EventHandler {
  void OnEvents(uint32_t events) override {
    ++calls;
    if (on_event) on_event(events);
  }
  int calls = 0;
  std::function<void(uint32_t)> on_event;
};

TEST(EventLoop, ReportsAReadableDescriptorUntilItIsRead) {
  RealClock clock;
  EventLoop loop(&clock);
  Pipe pipe;
  Handler handler;
  loop.Add(pipe.in.get(), EPOLLIN, &handler);
  loop.RunOnce(0);
  EXPECT_EQ(handler.calls, 0);
  ASSERT_EQ(::write(pipe.out.get(), "x", 1), 1);
  loop.RunOnce(100);
  loop.RunOnce(0);
  EXPECT_EQ(handler.calls, 2);
  loop.Remove(pipe.in.get(), &handler);
  loop.RunOnce(0);
  EXPECT_EQ(handler.calls, 2);
}

TEST(EventLoop, AHandlerRemovedInTheSameTurnHearsNothing) {
  RealClock clock;
  EventLoop loop(&clock);
  Pipe a, b;
  Handler first, second;
  loop.Add(a.in.get(), EPOLLIN, &first);
  loop.Add(b.in.get(), EPOLLIN, &second);
  // Whichever is told first removes the other and puts a new handler on its descriptor.
  Handler fresh;
  first.on_event = [&](uint32_t) {
    loop.Remove(b.in.get(), &second);
    loop.Add(b.in.get(), EPOLLIN, &fresh);
  };
  second.on_event = [&](uint32_t) {
    loop.Remove(a.in.get(), &first);
    loop.Add(a.in.get(), EPOLLIN, &fresh);
  };
  ASSERT_EQ(::write(a.out.get(), "x", 1), 1);
  ASSERT_EQ(::write(b.out.get(), "x", 1), 1);
  loop.RunOnce(100);
  EXPECT_EQ(first.calls + second.calls, 1);
  EXPECT_EQ(fresh.calls, 0);
}

TEST(EventLoop, PostedWorkRunsOnTheLoopThreadInOrder) {
  RealClock clock;
  EventLoop loop(&clock);
  std::vector<int> seen;
  std::thread runner([&] { loop.Run(); });
  for (int i = 0; i < 1000; ++i) {
    loop.Post([&, i] {
      EXPECT_TRUE(loop.InLoopThread());
      seen.push_back(i);
      if (i == 999) loop.Stop();
    });
  }
  runner.join();
  ASSERT_EQ(seen.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[i], i);
  EXPECT_FALSE(loop.InLoopThread());
}

TEST(EventLoop, TimersFireAndHooksRunInPhases) {
  RealClock clock;
  EventLoop loop(&clock);
  std::string order;
  struct Note : TurnEnd {
    Note(std::string* where, char what) : order(where), name(what) {}
    void OnTurnEnd() override { *order += name; }
    std::string* order;
    char name;
  };
  Note session(&order, 'c'), transport(&order, 'b'), service(&order, 'a');
  loop.AddTurnEnd(EventLoop::Phase::kSession, &session);
  loop.AddTurnEnd(EventLoop::Phase::kTransport, &transport);
  loop.AddTurnEnd(EventLoop::Phase::kService, &service);
  struct Tick : Timer {
    explicit Tick(std::string* where) : order(where) {}
    void OnTimer() override { *order += 't'; }
    std::string* order;
  } tick(&order);
  loop.Arm(&tick, 2);
  while (order.find('t') == std::string::npos) loop.RunOnce(1000);
  EXPECT_EQ(order.substr(order.find('t')), "tabc");
}

TEST(EventLoop, KeepAwakeMakesTheNextTurnImmediate) {
  RealClock clock;
  EventLoop loop(&clock);
  loop.KeepAwake();
  loop.RunOnce(-1);  // Would hang otherwise.
}

TEST(EventLoop, KeepAwakeOfAHookIsForTheNextTurnAndOfAHandlerForThisOne) {
  struct Waker final : TurnEnd {
    void OnTurnEnd() override {
      if (wake) loop->KeepAwake();
      ++turns;
    }
    EventLoop* loop = nullptr;
    bool wake = false;
    int turns = 0;
  } hook;
  struct Tick : Timer {
    void OnTimer() override {
      ++fired;
      if (wake) loop->KeepAwake();
    }
    EventLoop* loop = nullptr;
    bool wake = false;
    int fired = 0;
  } tick;
  ManualClock clock;
  EventLoop loop(&clock);
  hook.loop = tick.loop = &loop;
  loop.AddTurnEnd(EventLoop::Phase::kService, &hook);

  hook.wake = true;
  loop.RunOnce(0);
  hook.wake = false;
  loop.RunOnce(-1);  // Would hang if the hook had not been heard.
  EXPECT_EQ(hook.turns, 2);

  tick.wake = true;
  loop.Arm(&tick, 1);
  clock.AdvanceMs(5);
  loop.RunOnce(0);
  ASSERT_EQ(tick.fired, 1);  // Asked to stay awake, and the hooks of this turn have run since.
  const auto before = std::chrono::steady_clock::now();
  loop.RunOnce(30);  // So it waits, nothing being due.
  EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(25));
}

TEST(TurnClock, StandsStillWithinATurnUntilItIsExpired) {
  ManualClock real;
  const TurnClock clock(&real), other(&real);
  real.AdvanceMs(5);
  EXPECT_EQ(clock.MonotonicNs(), real.MonotonicNs()) << "no turn, no standing still";
  real.AdvanceMs(5);
  EXPECT_EQ(clock.MonotonicNs(), real.MonotonicNs());

  TurnClock::BeginTurn();
  const int64_t before = clock.MonotonicNs();
  real.AdvanceMs(5);
  EXPECT_EQ(clock.MonotonicNs(), before);
  EXPECT_EQ(other.MonotonicNs(), before + 5'000'000) << "another clock's reading";
  TurnClock::Expire();
  EXPECT_EQ(clock.MonotonicNs(), before + 5'000'000);
  real.AdvanceMs(5);
  int64_t elsewhere = 0;
  std::thread([&] { elsewhere = clock.MonotonicNs(); }).join();
  EXPECT_EQ(elsewhere, before + 10'000'000) << "a thread without a loop";
  TurnClock::EndTurn();
  EXPECT_EQ(clock.MonotonicNs(), before + 10'000'000);
}

// Work that is posted, timers and hooks each see the time at which they run.
TEST(TurnClock, ALoopNeverShowsTheTimeOfItsLastTurn) {
  ManualClock real;
  EventLoop loop(&real);
  const TurnClock clock(&real);
  int64_t seen = 0;
  for (int i = 0; i < 3; ++i) {
    real.AdvanceMs(7);
    loop.Post([&] { seen = clock.MonotonicNs(); });
    loop.RunOnce(0);
    EXPECT_EQ(seen, real.MonotonicNs());
  }
}

}  // namespace
}  // namespace core
