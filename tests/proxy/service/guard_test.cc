// The service behind its guard: what waits, what is refused and when, in what words, and that replies
// stay one a request whatever happens.
#include "proxy/service/guard.h"

#include <gmock/gmock.h>

#include "proxy/service/overload_stats.h"
#include "tests/proxy/service/harness.h"
#include "tests/proxy/service/lines.h"

namespace proxy {
namespace {

using momento::Code;
using momento::Fault;
using testing::AnyOf;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

class GuardTest : public ServiceTest {
 protected:
  GuardTest() {
    cache_.cache_name = "c";
    cache_.deadline = absl::Seconds(1);
    cache_.batch = config::Cache::Batch::kOff;
    cache_.writes = config::Cache::Writes::kPlain;
    cache_.get_error = config::Cache::GetError::kError;
    cache_.calls_max = 2;
    cache_.waiting_max = 3;
    cache_.breaker = false;
  }
  ~GuardTest() override {
    connection_.reset();
    if (service_ != nullptr) {
      EXPECT_EQ(service_->in_flight(), expected_in_flight_);
    }
    service_.reset();
    guarded_.reset();
  }
  // Made with the service, so that a test can turn knobs before.
  Guard& guard() {
    if (guard_ == nullptr) {
      guard_ = std::make_unique<Guard>(cache_, 1, &registry_, core::Labels(), &log_);
      guarded_ = std::make_unique<GuardedClient>(
          &client_, cache_, guard_.get(), 0, GuardedClient::ShareOf(cache_, 1, 0, 4), &loop_);
      backend_ = guarded_.get();
      shared_.bytes.SetMax(cache_.request_bytes_max);
      service();
    }
    return *guard_;
  }
  uint64_t Send(const Request& req) {
    guard();
    return ServiceTest::Send(req);
  }
  std::string Ask(const Request& req) {
    guard();
    return ServiceTest::Ask(req);
  }
  // Time passes and what it brings happens; no answer comes.
  void Wait(int64_t ms) {
    for (; ms > 0; ms -= std::min<int64_t>(ms, 10)) {
      clock_.AdvanceMs(std::min<int64_t>(ms, 10));
      loop_.RunOnce(0);
      service().EndTurn();
    }
  }
  void DeliverAll() {
    while (client_.pending() > 0) Deliver();
  }
  void Deliver() {
    client_.Deliver();
    service().EndTurn();
  }
  // Teaches the guard what a call takes.
  void Learn(int64_t latency_ms, int times = 40) {
    for (int i = 0; i < times; ++i) {
      Send(GetOf({"learn"}));
      service().EndTurn();
      Wait(latency_ms);
      Deliver();
    }
    client_.TakeCalls();
  }
  const OverloadMetrics& overload() { return guard().metrics(); }

  Lines log_;
  std::unique_ptr<Guard> guard_;
  std::unique_ptr<GuardedClient> guarded_;
};

TEST_F(GuardTest, CallsPastTheBoundWaitAndGoInOrder) {
  std::vector<uint64_t> sent;
  for (const char* key : {"a", "b", "c", "d", "e"}) sent.push_back(Send(GetOf({key})));
  service().EndTurn();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("Get a", "Get b"));
  EXPECT_EQ(guard().calls(), 2u);
  EXPECT_EQ(guard().waiting(), 3u);
  Deliver();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("Get c"));
  DeliverAll();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("Get d", "Get e"));
  for (uint64_t one : sent) EXPECT_EQ(Reply(one), "END");
  EXPECT_EQ(guard().calls(), 0u);
  EXPECT_EQ(guard().waiting(), 0u);
}

TEST_F(GuardTest, WaitingIsTakenOffTheDeadline) {
  for (const char* key : {"a", "b", "c", "d"}) Send(GetOf({key}));
  service().EndTurn();
  Wait(300);
  DeliverAll();
  Send(GetOf({"e"}));
  service().EndTurn();
  EXPECT_THAT(client_.waited_ms, ElementsAre(0, 0, 300, 300, 0));
  DeliverAll();
}

TEST_F(GuardTest, NobodyOvertakesThoseWhoWait) {
  for (const char* key : {"a", "b", "c"}) Send(GetOf({key}));
  service().EndTurn();
  client_.Deliver();  // There is room, but the turn has not ended.
  Send(SetOf("d", "v"));
  service().EndTurn();
  DeliverAll();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("Get a", "Get b", "Get c", "Set d"));
}

TEST_F(GuardTest, OneMoreThanMayWaitIsBusyAtOnce) {
  for (const char* key : {"a", "b", "c", "d", "e"}) Send(GetOf({key}));
  service().EndTurn();
  const uint64_t more = Send(GetOf({"f"}));
  const uint64_t write = Send(SetOf("g", "v"));
  service().EndTurn();
  EXPECT_EQ(Reply(more), "SERVER_ERROR busy");
  EXPECT_EQ(Reply(write), "SERVER_ERROR busy");
  EXPECT_EQ(overload().busy_waiting.Value(), 2u);
  DeliverAll();
  EXPECT_EQ(StoredAt("g"), "(none)");
}

TEST_F(GuardTest, EveryCallWaitsAndGoesAsItWasAsked) {
  cache_.calls_max = 1;
  cache_.waiting_max = 100;
  cache_.batch = config::Cache::Batch::kWorker;
  Put("k", "5");
  Put("n", "7");
  Send(GetOf({"first"}));
  service().EndTurn();
  client_.TakeCalls();
  const std::string large(5000, 'x');  // A request only looks at it.
  const std::vector<std::pair<KeptRequest, std::string>> asked = {
      {GetsOf({"k"}), "k=5/0"},
      {GatOf(5, {"k"}), "k=5/0"},
      {SetOf("s", large, 3), "STORED"},
      {SetOf("t", "1"), "STORED"},
      {SetOf("u", "2"), "STORED"},
      {StoreOf(StoreMode::kAdd, "v", "3"), "STORED"},
      {CasOf("n", "8", TokenOf("7")), "STORED"},
      {CountOf("m", 1), "NOT_FOUND"},
      {DeleteOf("w"), "NOT_FOUND"},
      {TouchOf("x", 5), "NOT_FOUND"},
      {GetOf({"y", "z"}), "END"}};
  std::vector<uint64_t> sent;
  for (const auto& [req, answer] : asked) sent.push_back(Send(req));
  service().EndTurn();
  EXPECT_EQ(guard().calls(), 1u);
  EXPECT_THAT(client_.TakeCalls(), IsEmpty());
  DeliverAll();
  for (size_t i = 0; i < asked.size(); ++i) EXPECT_EQ(Reply(sent[i]), asked[i].second) << i;
  EXPECT_EQ(StoredAt("n"), "8");
  EXPECT_EQ(StoredAt("t"), "1");
  EXPECT_EQ(StoredAt("v"), "3");
  EXPECT_THAT(StoredAt("s"), SizeIs(testing::Ge(5000u)));
  EXPECT_THAT(client_.calls, Contains("SetBatch 3: s t u"));
  EXPECT_THAT(client_.calls, Contains("GetBatch 2: y z"));
}

TEST_F(GuardTest, WhoCannotBeInTimeIsRefusedAtOnce) {
  cache_.waiting_max = 1000;
  Learn(400);
  std::vector<uint64_t> sent;
  for (int i = 0; i < 10; ++i) sent.push_back(Send(GetOf({absl::StrCat("k", i)})));
  service().EndTurn();
  // Two go. With 400 ms a call and two at a time one leaves every 200 ms: the third waits 200 and is
  // answered at 600, the fourth at 800, the fifth at about 1000; the sixth would be late.
  int busy = 0;
  for (size_t i = 0; i < sent.size(); ++i) busy += Reply(sent[i]) == "SERVER_ERROR busy" ? 1 : 0;
  EXPECT_THAT(busy, AnyOf(5, 6));
  EXPECT_EQ(guard().waiting(), 8u - busy);
  EXPECT_EQ(overload().busy_late.Value(), static_cast<uint64_t>(busy));
  DeliverAll();
  for (size_t i = 0; i + busy < sent.size(); ++i) EXPECT_EQ(Reply(sent[i]), "END") << i;
}

TEST_F(GuardTest, WhileThereIsRoomNothingIsRefusedHoweverSlow) {
  Learn(900);
  client_.faults = {{"Get", Fault{.code = Code::kDeadlineExceeded}}};
  Learn(1000);
  client_.faults.clear();
  EXPECT_EQ(Ask(GetOf({"k"})), "END");
  EXPECT_EQ(overload().busy_late.Value(), 0u);
}

TEST_F(GuardTest, WhoeverWaitedADeadlineInVainIsBusy) {
  const uint64_t one = Send(GetOf({"a"}));
  const uint64_t two = Send(GetOf({"b"}));
  service().EndTurn();
  const uint64_t three = Send(SetOf("c", "v"));
  service().EndTurn();
  Wait(990);
  EXPECT_FALSE(Answered(three));
  Wait(20);
  EXPECT_EQ(Reply(three), "SERVER_ERROR busy");
  EXPECT_FALSE(Answered(one) || Answered(two));
  DeliverAll();
}

TEST_F(GuardTest, ARefusedCommandLetsTheNextOfItsKeyGo) {
  cache_.waiting_max = 0;
  Send(GetOf({"a"}));
  Send(GetOf({"b"}));
  service().EndTurn();
  std::vector<uint64_t> sent;
  for (int i = 0; i < 1000; ++i) sent.push_back(Send(i % 2 == 0 ? SetOf("k", "v") : GetOf({"k"})));
  service().EndTurn();
  for (uint64_t one : sent) ASSERT_EQ(Reply(one), "SERVER_ERROR busy");
  EXPECT_EQ(service().in_flight(), 2u);
  DeliverAll();
  EXPECT_EQ(Ask(SetOf("k", "v")), "STORED");
}

TEST_F(GuardTest, AGetOfManyKeysIsOneReply) {
  cache_.waiting_max = 1;
  const uint64_t many = Send(GetOf({"a", "b", "c", "d", "e"}));
  service().EndTurn();
  DeliverAll();
  EXPECT_EQ(Reply(many), "SERVER_ERROR busy");
}

TEST_F(GuardTest, ABusyGetIsAMissWhereTheOperatorSaysSo) {
  cache_.waiting_max = 0;
  cache_.get_error = config::Cache::GetError::kMiss;
  Send(GetOf({"a"}));
  Send(GetOf({"b"}));
  EXPECT_EQ(Ask(GetOf({"c"})), "END");
}

// --- The budget of bytes.

TEST_F(GuardTest, ValuesPastTheBudgetAreBusyAndTheBudgetComesBack) {
  cache_.request_bytes_max = 100'000;
  cache_.calls_max = 100;
  const std::string value(40'000, 'x');
  const uint64_t one = Send(SetOf("a", value));
  const uint64_t two = Send(SetOf("b", value));
  const uint64_t three = Send(SetOf("c", value));
  const uint64_t small = Send(SetOf("d", "v"));
  EXPECT_EQ(Reply(three), "SERVER_ERROR busy");
  EXPECT_EQ(shared_.bytes.used(), 80'000u);
  Settle();
  EXPECT_EQ(Reply(one), "STORED");
  EXPECT_EQ(Reply(two), "STORED");
  EXPECT_EQ(Reply(small), "STORED");
  EXPECT_EQ(shared_.bytes.used(), 0u);
  EXPECT_EQ(metrics().busy_bytes.Value(), 1u);
  EXPECT_EQ(Ask(SetOf("c", value)), "STORED");
  // One alone is never too much.
  EXPECT_EQ(Ask(SetOf("e", std::string(200'000, 'x'))), "STORED");
}

// --- The breaker.

class BreakerGuard : public GuardTest {
 protected:
  BreakerGuard() {
    cache_.breaker = true;
    cache_.breaker_calls_min = 10;
    cache_.breaker_probes = 2;
    cache_.calls_max = 100;
  }
  void OpenIt() {
    client_.faults = {{"Get", Fault{}}, {"Set", Fault{}}};
    for (int i = 0; i < 10; ++i) Ask(GetOf({"k"}));
    client_.faults.clear();
    client_.TakeCalls();
    ASSERT_FALSE(guard().breaker().closed());
  }
};

TEST_F(BreakerGuard, AnOpenCircuitAnswersEverythingWithoutACall) {
  OpenIt();
  for (const Request& req :
       {GetOf({"k"}), GetOf({"k", "l"}), GetsOf({"k"}), GatOf(5, {"k"}), SetOf("k", "v"),
        StoreOf(StoreMode::kAdd, "k", "v"), CasOf("k", "v", 1), CountOf("k", 1), DeleteOf("k"),
        TouchOf("k", 5)}) {
    EXPECT_EQ(Ask(req), "SERVER_ERROR backend unavailable, circuit open");
  }
  EXPECT_THAT(client_.calls, IsEmpty());
  EXPECT_EQ(Ask(FlushOf()), "OK");  // The control plane is another place.
}

TEST_F(BreakerGuard, AServiceThatCanBeReachedAgainIsTriedAtOnce) {
  OpenIt();
  EXPECT_EQ(Ask(GetOf({"a"})), "SERVER_ERROR backend unavailable, circuit open");
  client_.ready = 0;
  EXPECT_EQ(Ask(GetOf({"a"})), "SERVER_ERROR backend unavailable, circuit open");
  client_.ready = 1;
  EXPECT_EQ(Ask(GetOf({"a"})), "END");
  EXPECT_EQ(Ask(GetOf({"b"})), "END");
  EXPECT_TRUE(guard().breaker().closed());
}

TEST_F(BreakerGuard, ProbesCloseItAndNobodyElseIsAsked) {
  OpenIt();
  Wait(1000);
  const uint64_t first = Send(GetOf({"a"}));
  const uint64_t second = Send(SetOf("b", "v"));
  const uint64_t third = Send(GetOf({"c"}));
  service().EndTurn();
  EXPECT_EQ(Reply(third), "SERVER_ERROR backend unavailable, circuit open");
  EXPECT_THAT(client_.TakeCalls(), testing::UnorderedElementsAre("Get a", "Set b"));
  DeliverAll();
  EXPECT_EQ(Reply(first), "END");
  EXPECT_EQ(Reply(second), "STORED");
  EXPECT_TRUE(guard().breaker().closed());
  EXPECT_EQ(Ask(GetOf({"c"})), "END");
  EXPECT_THAT(log_.Take(), SizeIs(3));
}

TEST_F(BreakerGuard, OpeningEndsWhatWaits) {
  cache_.calls_max = 10;
  std::vector<uint64_t> sent;
  for (int i = 0; i < 13; ++i) sent.push_back(Send(SetOf(absl::StrCat("k", i), "v")));
  service().EndTurn();
  EXPECT_EQ(guard().waiting(), 3u);
  client_.faults = {{"Set", Fault{}}};
  for (int i = 0; i < 10; ++i) client_.Deliver();
  service().EndTurn();
  for (int i = 10; i < 13; ++i) {
    EXPECT_EQ(Reply(sent[i]), "SERVER_ERROR backend unavailable, circuit open");
  }
  EXPECT_EQ(client_.pending(), 0u);
}

TEST_F(BreakerGuard, ALimitOfTheServiceNeverOpensIt) {
  client_.faults = {{"Get", Fault{.code = Code::kResourceExhausted,
                                  .detail = "operations_rate_limit_exceeded"}},
                    {"Set", Fault{.code = Code::kResourceExhausted,
                                  .detail = "throughput_rate_limit_exceeded"}}};
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Ask(GetOf({"k"})), "SERVER_ERROR backend request rate limit exceeded");
    EXPECT_EQ(Ask(SetOf("k", "v")), "SERVER_ERROR backend bandwidth limit exceeded");
  }
  EXPECT_TRUE(guard().breaker().closed());
  EXPECT_EQ(overload().limit_operations.Value(), 50u);
  EXPECT_EQ(overload().limit_throughput.Value(), 50u);
  client_.faults = {{"Set", Fault{.code = Code::kResourceExhausted,
                                  .detail = "request_size_limit_exceeded"}}};
  EXPECT_EQ(Ask(SetOf("k", "v")), "TOO_LARGE");
  EXPECT_EQ(overload().limit_size.Value(), 1u);
  client_.faults = {{"Set", Fault{.code = Code::kResourceExhausted, .detail = "new"}}};
  EXPECT_EQ(Ask(SetOf("k", "v")), "SERVER_ERROR backend limit exceeded");
  EXPECT_EQ(overload().limit_other.Value(), 1u);
}

TEST_F(BreakerGuard, TellsItsStateAndReason) {
  using Lines = std::vector<std::pair<std::string, std::string>>;
  guard();
  Lines lines = BreakerStats(guard(), loop_.now_ms());
  EXPECT_THAT(lines, Contains(Pair("breaker_state", "closed")));
  EXPECT_THAT(lines, Contains(Pair("breaker_reason", "none")));
  OpenIt();
  Wait(3000);
  lines = BreakerStats(guard(), loop_.now_ms());
  EXPECT_THAT(lines, Contains(Pair("breaker_state", "open")));
  EXPECT_THAT(lines, Contains(Pair("breaker_state_seconds", "3")));
  EXPECT_THAT(lines, Contains(Pair("breaker_reason",
                                   "10 of 10 calls failed, the last with unavailable")));
  lines = OverloadStats(guard(), shared_);
  EXPECT_THAT(lines, Contains(Pair("calls", "0")));
}

TEST_F(BreakerGuard, StaleCopiesAreServedWhileItIsOpen) {
  cache_.near_size = 1 << 20;
  cache_.near_staleness = absl::Milliseconds(100);
  cache_.near_stale = absl::Seconds(60);
  auto near = NearCache::Create(cache_, &shared_.marks, &clock_, &registry_, {});
  ASSERT_TRUE(near.ok());
  shared_.near = near->get();
  EXPECT_EQ(Ask(SetOf("kept", "v")), "STORED");
  Wait(200);
  OpenIt();
  EXPECT_EQ(Ask(GetOf({"kept"})), "kept=v/0");
  EXPECT_EQ(Ask(GetOf({"other"})), "SERVER_ERROR backend unavailable, circuit open");
  EXPECT_THAT(client_.calls, IsEmpty());
  EXPECT_EQ((*near)->metrics().stale.Value(), 1u);
  connection_.reset();
  service_.reset();  // Before the near cache.
}

// --- The rate limit.

class LimitGuard : public GuardTest {
 protected:
  LimitGuard() {
    cache_.calls_max = 1000;
    cache_.waiting_max = 1000;
    cache_.operations_per_second = 100;
  }
};

TEST_F(LimitGuard, ABurstWaitsForItsTimeAndNothingFails) {
  std::vector<uint64_t> sent;
  for (int i = 0; i < 60; ++i) sent.push_back(Send(GetOf({absl::StrCat("k", i)})));
  service().EndTurn();
  EXPECT_EQ(client_.calls.size(), 11u);
  EXPECT_EQ(guard().waiting(), 49u);
  Wait(100);
  EXPECT_NEAR(static_cast<double>(client_.calls.size()), 21, 1);
  DeliverAll();
  for (int i = 0; i < 100; ++i) {
    Wait(10);
    DeliverAll();
  }
  for (uint64_t one : sent) EXPECT_EQ(Reply(one), "END");
  EXPECT_EQ(overload().quota_wait.Value(), 49u);
  EXPECT_EQ(overload().busy_quota.Value(), 0u);
}

TEST_F(LimitGuard, WhoseTimeComesPastTheDeadlineIsBusyAndTakesNothing) {
  std::vector<uint64_t> sent;
  for (int i = 0; i < 1000; ++i) sent.push_back(Send(GetOf({absl::StrCat("k", i)})));
  service().EndTurn();
  int busy = 0;
  for (uint64_t one : sent) busy += Reply(one) == "SERVER_ERROR busy" ? 1 : 0;
  EXPECT_EQ(busy, 1000 - 110);  // A tenth of a second's burst and one second's worth wait or go.
  for (int i = 0; i < 120; ++i) {
    Wait(10);
    DeliverAll();
  }
  for (uint64_t one : sent) EXPECT_TRUE(Answered(one));
  EXPECT_EQ(overload().busy_quota.Value(), static_cast<uint64_t>(busy));
  EXPECT_EQ(overload().busy_late.Value(), 0u);
  Wait(200);
  EXPECT_EQ(Ask(GetOf({"k"})), "END");  // Those refused have left no debt.
}

TEST_F(LimitGuard, AnAnswerWeighsWhatItBrought) {
  Put("big", std::string(100 * 1024, 'x'));
  Ask(GetOf({"big"}));  // 101 operations: a second's worth.
  const uint64_t next = Send(SetOf("k", "v"));
  service().EndTurn();
  EXPECT_FALSE(Answered(next));
  Wait(800);
  EXPECT_EQ(client_.pending(), 0u);
  Wait(150);
  EXPECT_EQ(client_.pending(), 1u);
  DeliverAll();
  EXPECT_EQ(Reply(next), "STORED");
}

TEST_F(LimitGuard, AConditionalStoreWeighsTwice) {
  for (int i = 0; i < 20; ++i) {
    Send(StoreOf(StoreMode::kAdd, absl::StrCat("k", i), "v"));
  }
  service().EndTurn();
  EXPECT_EQ(client_.pending(), 6u);
  for (int i = 0; i < 60; ++i) {
    Wait(10);
    DeliverAll();
  }
}

TEST_F(LimitGuard, RetriesAndHedgesGoOnlyWhereThereIsRoomAndTakeIt) {
  guard();
  const momento::ExtraCall one{.operations = 1, .bytes = 1};
  int more = 0;
  while (more < 100 && client_.AskForMore(one)) ++more;
  EXPECT_EQ(more, 11);  // A tenth of a second's burst, as for anybody.
  // A call after them waits for its time, which is theirs first.
  const uint64_t get = Send(GetOf({"k"}));
  service().EndTurn();
  EXPECT_TRUE(client_.calls.empty());
  // Who is to go later may have what is to be had by then; here two turns of ten ms are.
  EXPECT_FALSE(client_.AskForMore({.operations = 1, .bytes = 1, .pause_ms = 9}));
  EXPECT_TRUE(client_.AskForMore({.operations = 1, .bytes = 1, .pause_ms = 25}));
  EXPECT_FALSE(client_.AskForMore(one));
  Wait(15);
  EXPECT_EQ(client_.calls.size(), 1u);
  DeliverAll();
  EXPECT_EQ(Reply(get), "END");
}

TEST_F(LimitGuard, WithoutALimitTheyAlwaysGo) {
  cache_.operations_per_second = 0;
  guard();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(client_.AskForMore({.operations = 1000, .bytes = 1'000'000}));
  }
}

TEST_F(LimitGuard, BytesHaveALimitOfTheirOwn) {
  cache_.operations_per_second = 0;
  cache_.bytes_per_second = 10'240;
  EXPECT_EQ(Ask(SetOf("k", std::string(5'000, 'x'))), "STORED");
  const uint64_t next = Send(SetOf("l", "v"));
  service().EndTurn();
  Wait(300);
  EXPECT_FALSE(Answered(next));
  Wait(150);
  DeliverAll();
  EXPECT_EQ(Reply(next), "STORED");
}

// --- Shares.

TEST(Share, PartsAddUpAndEveryWorkerHasOne) {
  config::Overload options;
  options.calls_max = 10;
  options.waiting_max = 7;
  uint32_t calls = 0, waiting = 0;
  for (int worker = 0; worker < 4; ++worker) {
    const GuardedClient::Share share = GuardedClient::ShareOf(options, 4, worker, 1);
    calls += share.calls;
    waiting += share.waiting;
  }
  EXPECT_EQ(calls, 10u);
  EXPECT_EQ(waiting, 7u);
  options.calls_max = 1;
  EXPECT_EQ(GuardedClient::ShareOf(options, 4, 3, 1).calls, 1u);
  options.calls_max = 0;
  EXPECT_EQ(GuardedClient::ShareOf(options, 4, 0, 2).calls, 200u);
}

}  // namespace
}  // namespace proxy
