// Slow reads that are asked a second time, against a scripted server.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "proxy/momento/call_budget.h"
#include "proxy/momento/latency_percentile.h"
#include "tests/proxy/momento/scripted_client.h"

namespace proxy::momento {
namespace {

class HedgingTest : public ScriptedClientTest {
 protected:
  HedgingTest() {
    cache_.deadline = absl::Seconds(20);
    cache_.hedge_percentile = 50;
    cache_.retry_attempts = 0;
  }
  // A server that answers at once until the client knows how long that takes, and holds what comes
  // after it.
  void StartLearned(int connections = 2) {
    StartServer({.settings = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000}},
                 .on_request = [this](FakePeer* peer, int32_t stream, const FakeRequest& request) {
                   if (hold_) return held_.emplace_back(peer, stream), void();
                   Answer(peer, stream, request.headers.at(":path"));
                 }});
    StartClient(connections);
    WaitReady(connections);
    for (uint32_t i = 0; i < LatencyPercentile::kPeriod; ++i) {
      StartGet();
      if (i % 64 == 63) RunUntil([&] { return results_.size() == i + 1; });
    }
    results_.clear();
    hold_ = true;
  }
  static void Answer(FakePeer* peer, int32_t stream, const std::string& path) {
    const bool batch = path == "/cache_client.Scs/GetBatch";
    peer->Reply(stream, {{":status", "200"}, {"content-type", "application/grpc"}},
                batch ? GrpcFrame(kHit) + GrpcFrame(kHit) : GrpcFrame(kHit), {{"grpc-status", "0"}});
    peer->Flush();
  }
  void AnswerHeld(size_t i) {
    Answer(held_[i].first, held_[i].second, held_[i].first->requests[held_[i].second].headers[":path"]);
  }
  void FailHeld(size_t i, int status = 14) {
    held_[i].first->Reply(held_[i].second,
                          {{":status", "200"}, {"content-type", "application/grpc"},
                           {"grpc-status", absl::StrCat(status)}},
                          "", {});
    held_[i].first->Flush();
  }
  void WaitHeld(size_t count) {
    RunUntil([&] { return held_.size() == count; });
  }
  bool WasReset(size_t i) const {
    const std::vector<int32_t>& resets = held_[i].first->resets;
    return std::count(resets.begin(), resets.end(), held_[i].second) > 0;
  }
  bool hold_ = false;
  std::vector<std::pair<FakePeer*, int32_t>> held_;
};

TEST_F(HedgingTest, ASlowGetIsAskedOverAnotherConnectionAndTheSecondMayWin) {
  StartLearned();
  StartGet();
  WaitHeld(2);
  EXPECT_NE(held_[0].first, held_[1].first);
  AnswerHeld(1);
  RunUntil([&] { return results_.size() == 1; });
  EXPECT_TRUE(results_[0].hit);
  RunUntil([&] { return WasReset(0); });
  EXPECT_FALSE(WasReset(1));
  AnswerHeld(0);  // Too late: nobody hears it.
  for (int turn = 0; turn < 10; ++turn) loop_.RunOnce(1);
  EXPECT_EQ(results_.size(), 1u);
  EXPECT_EQ(Metric("proxy_momento_hedge_sent_total"), 1);
  EXPECT_EQ(Metric("proxy_momento_hedge_won_total"), 1);
}

TEST_F(HedgingTest, WhatTheRateLimitRefusesIsNotAskedTwice) {
  StartLearned();
  Limit limit;
  limit.admits = false;
  client_->Observe(&limit);
  StartGet();
  RunUntil([&] { return Metric("proxy_momento_hedge_limited_total") == 1; });
  EXPECT_EQ(held_.size(), 1u);
  EXPECT_EQ(limit.asked.size(), 1u);
  AnswerHeld(0);
  RunUntil([&] { return results_.size() == 1; });
  EXPECT_TRUE(results_[0].hit);
  limit.admits = true;
  StartGet();
  WaitHeld(3);
  EXPECT_EQ(limit.asked.back().pause_ms, 0);
  AnswerHeld(2);
  RunUntil([&] { return results_.size() == 2; });
  EXPECT_EQ(Metric("proxy_momento_hedge_sent_total"), 1);
  client_->Observe(nullptr);
}

TEST_F(HedgingTest, TheFirstMayWinToo) {
  StartLearned();
  StartGet();
  WaitHeld(2);
  AnswerHeld(0);
  RunUntil([&] { return results_.size() == 1; });
  EXPECT_TRUE(results_[0].hit);
  RunUntil([&] { return WasReset(1); });
  EXPECT_EQ(Metric("proxy_momento_hedge_won_total"), 0);
}

TEST_F(HedgingTest, BothAnswersInOneTurnAreOne) {
  StartLearned();
  StartGet();
  WaitHeld(2);
  AnswerHeld(0);
  AnswerHeld(1);
  for (int turn = 0; turn < 10; ++turn) loop_.RunOnce(1);
  ASSERT_EQ(results_.size(), 1u);
  EXPECT_TRUE(results_[0].hit);
}

TEST_F(HedgingTest, AFailureOfOneLeavesItToTheOther) {
  StartLearned();
  for (const size_t fails : {0u, 1u}) {
    held_.clear();
    results_.clear();
    StartGet();
    WaitHeld(2);
    FailHeld(fails);
    for (int turn = 0; turn < 10; ++turn) loop_.RunOnce(1);
    EXPECT_TRUE(results_.empty());
    AnswerHeld(1 - fails);
    RunUntil([&] { return results_.size() == 1; });
    EXPECT_TRUE(results_[0].hit) << fails;
  }
}

TEST_F(HedgingTest, WhenBothFailTheCallFailsOnce) {
  StartLearned();
  StartGet();
  WaitHeld(2);
  FailHeld(0);
  FailHeld(1, 13);
  RunUntil([&] { return !results_.empty(); });
  for (int turn = 0; turn < 10; ++turn) loop_.RunOnce(1);
  ASSERT_EQ(results_.size(), 1u);
  EXPECT_TRUE(results_[0].error.code == Code::kInternal ||
              results_[0].error.code == Code::kUnavailable);
}

TEST_F(HedgingTest, WhenBothFailTheCallIsTriedAgain) {
  cache_.retry_attempts = 1;
  cache_.retry_backoff = absl::Milliseconds(1);
  StartLearned();
  StartGet();
  WaitHeld(2);
  FailHeld(0);
  FailHeld(1);
  WaitHeld(3);
  AnswerHeld(2);
  RunUntil([&] { return !results_.empty(); });
  EXPECT_TRUE(results_[0].hit);
  EXPECT_EQ(Metric("proxy_momento_retry_sent_total"), 1);
}

TEST_F(HedgingTest, BatchesHaveAPercentileOfTheirOwn) {
  StartLearned();
  hold_ = false;
  size_t answered = 0;
  std::vector<GetResult> got;
  const std::vector<absl::string_view> keys = {"a", "b"};
  const auto ask = [&] {
    client_->GetBatch(keys, [&](std::vector<GetResult> results) {
      got = std::move(results);
      ++answered;
    });
    client_->Flush();
  };
  for (uint32_t i = 0; i < LatencyPercentile::kPeriod; ++i) {
    ask();
    if (i % 64 == 63) RunUntil([&] { return answered == i + 1; });
  }
  hold_ = true;
  ask();
  WaitHeld(2);
  EXPECT_NE(held_[0].first, held_[1].first);
  AnswerHeld(1);
  RunUntil([&] { return answered == LatencyPercentile::kPeriod + 1; });
  ASSERT_EQ(got.size(), 2u);
  EXPECT_TRUE(got[0].hit && got[1].hit);
}

TEST_F(HedgingTest, WithoutAnotherConnectionThereIsNone) {
  StartLearned(1);
  StartGet();
  RunUntil([&] { return Metric("proxy_momento_hedge_unplaced_total") == 1; });
  EXPECT_EQ(held_.size(), 1u);
  AnswerHeld(0);
  RunUntil([&] { return results_.size() == 1; });
  EXPECT_EQ(Metric("proxy_momento_hedge_sent_total"), 0);
}

TEST_F(HedgingTest, TheBudgetBoundsThemWhenEverythingIsSlow) {
  StartLearned();
  constexpr int kCalls = 400;
  for (int i = 0; i < kCalls; ++i) StartGet();
  const auto sum = [&] {
    return Metric("proxy_momento_hedge_sent_total") + Metric("proxy_momento_hedge_refused_total");
  };
  RunUntil([&] { return sum() == kCalls; });
  const int64_t sent = Metric("proxy_momento_hedge_sent_total");
  EXPECT_GE(sent, CallBudget::kBurst);
  EXPECT_LE(sent, CallBudget::kBurst + (kCalls + LatencyPercentile::kPeriod) * 5 / 100);
}

TEST_F(HedgingTest, ThePairHasOneDeadlineAndOneEnd) {
  cache_.deadline = absl::Seconds(1);
  StartLearned();
  StartGet();
  WaitHeld(2);
  RunUntil([&] { return results_.size() == 1; });
  for (int turn = 0; turn < 20; ++turn) loop_.RunOnce(1);
  ASSERT_EQ(results_.size(), 1u);
  EXPECT_EQ(results_[0].error.code, Code::kDeadlineExceeded);
  RunUntil([&] { return WasReset(0) && WasReset(1); });
}

TEST_F(HedgingTest, WritesAndOtherReadsAreNotHedged) {
  StartLearned();
  client_->Set("k", "", "v", 1000, [](StoreResult) {});
  client_->Delete("k", [](DoneResult) {});
  client_->GetWithHash("k", [](HashedGetResult) {});
  client_->Flush();
  WaitHeld(3);
  for (int turn = 0; turn < 50; ++turn) loop_.RunOnce(1);
  EXPECT_EQ(held_.size(), 3u);
}

TEST_F(HedgingTest, IsOffByDefault) {
  cache_.hedge_percentile = config::Cache().hedge_percentile;
  StartLearned();
  StartGet();
  WaitHeld(1);
  for (int turn = 0; turn < 50; ++turn) loop_.RunOnce(1);
  EXPECT_EQ(held_.size(), 1u);
}

TEST_F(HedgingTest, APairIsDroppedWithTheClient) {
  StartLearned();
  const auto token = std::make_shared<int>();
  client_->Get("k", [held = token](GetResult) { ADD_FAILURE() << "called back"; });
  client_->Flush();
  WaitHeld(2);
  client_.reset();
  EXPECT_EQ(token.use_count(), 1);
  for (int turn = 0; turn < 20; ++turn) loop_.RunOnce(1);
}

}  // namespace
}  // namespace proxy::momento
