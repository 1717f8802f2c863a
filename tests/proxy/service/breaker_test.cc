// The circuit breaker by itself: when it opens, what it lets through, when it closes, who says so.
#include "proxy/service/breaker.h"

#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "core/metrics/metrics.h"
#include "tests/proxy/service/lines.h"

namespace proxy {
namespace {

using momento::Code;
using momento::Error;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using State = CircuitBreaker::State;

class Breaker : public testing::Test {
 protected:
  Breaker() {
    options_.breaker_calls_min = 10;
    options_.breaker_failure_percent = 50;
    options_.breaker_window = absl::Seconds(10);
    options_.breaker_open = absl::Seconds(1);
    options_.breaker_probes = 3;
  }
  CircuitBreaker& breaker() {
    if (breaker_ == nullptr) {
      breaker_ = std::make_unique<CircuitBreaker>(options_, "c", 2, &metrics_, &log_);
    }
    return *breaker_;
  }
  // A call that was begun and ended now, if it is let through.
  bool Call(Code code, int worker = 0) {
    if (!breaker().Admit(now_ms_)) return false;
    End(code, now_ms_, worker);
    return true;
  }
  void End(Code code, int64_t started_ms, int worker = 0) {
    breaker().Record(worker, Error{.code = code}, started_ms, now_ms_);
  }
  void Calls(int count, Code code, int worker = 0) {
    for (int i = 0; i < count; ++i) Call(code, worker);
  }
  void OpenIt() {
    Calls(10, Code::kUnavailable);
    ASSERT_EQ(breaker().state(), State::kOpen);
    log_.Take();
  }

  config::Overload options_;
  core::Registry registry_;
  OverloadMetrics metrics_{&registry_, {}, {[] { return 0; }, [] { return 0; }, [] { return 0; }}};
  Lines log_;
  int64_t now_ms_ = 100'000;
  std::unique_ptr<CircuitBreaker> breaker_;
};

TEST_F(Breaker, OpensAtTheShareOfFailuresAndNotBefore) {
  Calls(5, Code::kOk);
  Calls(4, Code::kUnavailable);
  EXPECT_TRUE(breaker().closed());  // Nine calls are too few.
  Calls(1, Code::kUnavailable);
  EXPECT_EQ(breaker().state(), State::kOpen);
  EXPECT_EQ(breaker().Reason(), "5 of 10 calls failed, the last with unavailable");
  EXPECT_FALSE(breaker().Admit(now_ms_));
}

TEST_F(Breaker, StaysClosedBelowTheShare) {
  for (int i = 0; i < 100; ++i) {
    Calls(6, Code::kOk);
    Calls(5, Code::kUnavailable);
    now_ms_ += 37;
  }
  EXPECT_TRUE(breaker().closed());
  EXPECT_THAT(log_.Take(), IsEmpty());
}

TEST_F(Breaker, ForgetsWhatIsPastTheWindow) {
  Calls(9, Code::kUnavailable);
  now_ms_ += 11'000;
  Calls(9, Code::kUnavailable);
  EXPECT_TRUE(breaker().closed());
  now_ms_ += 8'000;  // The second nine are still in it.
  Calls(1, Code::kUnavailable);
  EXPECT_EQ(breaker().state(), State::kOpen);
}

TEST_F(Breaker, CountsTheCallsOfAllWorkersTogether) {
  Calls(5, Code::kUnavailable, 0);
  Calls(4, Code::kUnavailable, 1);
  EXPECT_TRUE(breaker().closed());
  Calls(1, Code::kUnavailable, 1);
  EXPECT_EQ(breaker().state(), State::kOpen);
}

TEST_F(Breaker, OnlyAServiceThatCannotAnswerCounts) {
  for (int code = 0; code <= 16; ++code) {
    SCOPED_TRACE(code);
    breaker_.reset();
    Calls(20, static_cast<Code>(code));
    bool fails = false;
    for (Code one : {Code::kCancelled, Code::kUnknown, Code::kDeadlineExceeded, Code::kAborted,
                     Code::kInternal, Code::kUnavailable, Code::kDataLoss}) {
      fails = fails || one == static_cast<Code>(code);
    }
    EXPECT_EQ(breaker().closed(), !fails);
  }
  // What the proxy refused itself says nothing of the service.
  breaker_.reset();
  for (int i = 0; i < 20; ++i) {
    breaker().Record(
        0, Error{.code = Code::kUnavailable, .refusal = momento::Refusal::kBusy}, now_ms_, now_ms_);
  }
  EXPECT_TRUE(breaker().closed());
}

TEST_F(Breaker, LetsSoManyProbesThroughAndClosesWhenAllAreAnswered) {
  OpenIt();
  now_ms_ += 999;
  EXPECT_FALSE(breaker().Admit(now_ms_));
  now_ms_ += 1;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(breaker().Admit(now_ms_)) << i;
  EXPECT_FALSE(breaker().Admit(now_ms_));
  EXPECT_EQ(breaker().state(), State::kHalfOpen);
  const int64_t started_ms = now_ms_;
  now_ms_ += 5;
  End(Code::kOk, started_ms, 0);
  End(Code::kNotFound, started_ms, 1);  // An answer, too.
  EXPECT_EQ(breaker().state(), State::kHalfOpen);
  EXPECT_FALSE(breaker().Admit(now_ms_));
  End(Code::kResourceExhausted, started_ms, 0);
  EXPECT_TRUE(breaker().closed());
  EXPECT_TRUE(breaker().Admit(now_ms_));
}

TEST_F(Breaker, AFailedProbeOpensItAgainForTwiceAsLongToALimit) {
  OpenIt();
  for (int64_t open_ms : {1000, 2000, 4000, 5000, 5000}) {
    now_ms_ += open_ms - 1;
    EXPECT_FALSE(Call(Code::kUnavailable)) << open_ms;
    now_ms_ += 1;
    EXPECT_TRUE(Call(Code::kUnavailable)) << open_ms;
    EXPECT_EQ(breaker().state(), State::kOpen);
  }
  now_ms_ += 5000;
  Calls(3, Code::kOk);
  EXPECT_TRUE(breaker().closed());
  OpenIt();  // And from the beginning.
  now_ms_ += 1000;
  EXPECT_TRUE(breaker().Admit(now_ms_));
}

TEST_F(Breaker, TriesAtOnceWhatCanBeReachedAgain) {
  breaker().TryNow(now_ms_);
  EXPECT_TRUE(breaker().closed());  // It has not been open.
  OpenIt();
  EXPECT_FALSE(breaker().Admit(now_ms_));
  breaker().TryNow(now_ms_);
  EXPECT_EQ(breaker().state(), State::kHalfOpen);
  EXPECT_TRUE(Call(Code::kUnavailable));
  EXPECT_EQ(breaker().state(), State::kOpen);
  now_ms_ += 1999;  // That it was told to does not make the next time shorter.
  EXPECT_FALSE(breaker().Admit(now_ms_));
  now_ms_ += 1;
  Calls(3, Code::kOk);
  EXPECT_TRUE(breaker().closed());
}

TEST_F(Breaker, AWorkerThatIsBehindTakesNoProbe) {
  OpenIt();
  const int64_t behind_ms = now_ms_ + 999;
  now_ms_ += 1000;
  ASSERT_TRUE(breaker().Admit(now_ms_));  // Half open since now.
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(breaker().Admit(behind_ms));
  breaker().Record(0, Error{}, now_ms_, now_ms_);
  Calls(2, Code::kOk);
  EXPECT_TRUE(breaker().closed());
}

TEST_F(Breaker, TriesOfOneMillisecondAreToldApart) {
  OpenIt();
  breaker().TryNow(now_ms_);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(breaker().Admit(now_ms_));
  End(Code::kUnavailable, now_ms_);
  ASSERT_EQ(breaker().state(), State::kOpen);
  breaker().TryNow(now_ms_);
  ASSERT_EQ(breaker().state(), State::kHalfOpen);
  // The other two belong to the try that failed.
  for (int i = 0; i < 2; ++i) End(Code::kOk, now_ms_);
  now_ms_ += 1;
  Calls(2, Code::kOk);
  EXPECT_EQ(breaker().state(), State::kHalfOpen);
  Calls(1, Code::kOk);
  EXPECT_TRUE(breaker().closed());
}

TEST_F(Breaker, ProbesThatNeverEndAreForgotten) {
  OpenIt();
  now_ms_ += 1000;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(breaker().Admit(now_ms_));
  now_ms_ += CircuitBreaker::kProbeMsMax - 1;
  EXPECT_FALSE(breaker().Admit(now_ms_));
  now_ms_ += 1;
  Calls(3, Code::kOk);
  EXPECT_TRUE(breaker().closed());
}

TEST_F(Breaker, BeginsWithAnEmptyWindowAfterClosing) {
  OpenIt();
  now_ms_ += 1000;
  Calls(3, Code::kOk);
  ASSERT_TRUE(breaker().closed());
  Calls(9, Code::kUnavailable);
  EXPECT_TRUE(breaker().closed());
  Calls(1, Code::kUnavailable);
  EXPECT_EQ(breaker().state(), State::kOpen);
}

TEST_F(Breaker, CallsOfAnEarlierStateDecideNothing) {
  const int64_t before_ms = now_ms_;
  now_ms_ += 10;
  OpenIt();
  End(Code::kUnavailable, before_ms);
  now_ms_ += 1000;
  ASSERT_TRUE(breaker().Admit(now_ms_));
  for (int i = 0; i < 5; ++i) End(Code::kOk, before_ms);
  End(Code::kDeadlineExceeded, before_ms);
  EXPECT_EQ(breaker().state(), State::kHalfOpen);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(breaker().Admit(now_ms_));
  const int64_t probed_ms = now_ms_;
  now_ms_ += 10;
  for (int i = 0; i < 3; ++i) End(Code::kOk, probed_ms);
  ASSERT_TRUE(breaker().closed());
  for (int i = 0; i < 50; ++i) End(Code::kUnavailable, probed_ms);
  EXPECT_TRUE(breaker().closed());
}

TEST_F(Breaker, OneLineAndOneCountAChange) {
  Calls(50, Code::kDeadlineExceeded);
  now_ms_ += 1000;
  Calls(50, Code::kUnavailable);
  now_ms_ += 2000;
  Calls(50, Code::kOk);
  EXPECT_THAT(
      log_.Take(),
      ElementsAre("cache c: circuit open for 1s: 10 of 10 calls failed, the last with "
                  "deadline_exceeded",
                  "cache c: circuit half open: 3 calls are tried",
                  "cache c: circuit open for 2s: 1 of 1 calls failed, the last with unavailable",
                  "cache c: circuit half open: 3 calls are tried",
                  "cache c: circuit closed after 3s: 3 calls were answered"));
  EXPECT_EQ(metrics_.breaker_to_open.Value(), 2u);
  EXPECT_EQ(metrics_.breaker_to_half_open.Value(), 2u);
  EXPECT_EQ(metrics_.breaker_to_closed.Value(), 1u);
  EXPECT_EQ(metrics_.breaker_probe.Value(), 4u);
}

TEST_F(Breaker, SwitchedOffItSeesNothing) {
  options_.breaker = false;
  Calls(1000, Code::kUnavailable);
  EXPECT_TRUE(breaker().closed());
}

// Two workers that fail, wait and are answered together: each change is made and told once, and no
// try has more probes than it may.
TEST_F(Breaker, WorkersChangeItTogether) {
  options_.breaker_open = absl::Milliseconds(10);
  breaker();
  std::atomic<int64_t> now_ms{1'000};
  std::atomic<bool> failing{true};
  std::atomic<bool> done{false};
  const auto work = [&](int worker) {
    while (!done.load()) {
      const int64_t at_ms = now_ms.load();
      if (!breaker().Admit(at_ms)) continue;
      const Code code = failing.load() ? Code::kUnavailable : Code::kOk;
      breaker().Record(worker, Error{.code = code}, at_ms, at_ms);
    }
  };
  std::thread one(work, 0), two(work, 1);
  // However the threads share the CPUs, the test ends: time may pass so much faster than calls are
  // made that nothing is concluded for long.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto pass = [&] {
    now_ms.fetch_add(1);
    return std::chrono::steady_clock::now() < end;
  };
  uint64_t openings = 0;
  for (int round = 0; round < 200; ++round) {
    failing = true;
    while (breaker().state() != State::kOpen && pass()) {}
    failing = false;
    while (!breaker().closed() && pass()) {}
    if (std::chrono::steady_clock::now() >= end) break;
    ++openings;
  }
  done = true;
  one.join();
  two.join();
  const uint64_t opened = metrics_.breaker_to_open.Value();
  EXPECT_GE(opened, openings);
  const uint64_t changes = opened + metrics_.breaker_to_half_open.Value() +
                           metrics_.breaker_to_closed.Value();
  EXPECT_THAT(log_.Take(), SizeIs(changes));
  EXPECT_LE(metrics_.breaker_probe.Value(), 3 * metrics_.breaker_to_half_open.Value());
}

}  // namespace
}  // namespace proxy
