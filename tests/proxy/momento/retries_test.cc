// Calls that fail and are sent again, against a scripted server.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proxy/momento/call_budget.h"
#include "tests/proxy/momento/scripted_client.h"

namespace proxy::momento {
namespace {

class RetriesTest : public ScriptedClientTest {
 protected:
  RetriesTest() {
    cache_.deadline = absl::Seconds(20);
    cache_.retry_backoff = absl::Milliseconds(1);
  }
  // A server that fails the first `failures` requests with `status` and then answers `message`.
  void StartFailing(int failures, int status, std::string message = kHit) {
    Start({.on_request = [=, this](FakePeer* peer, int32_t stream, const FakeRequest&) {
      ++requests_;
      if (requests_ > failures) return peer->ReplyGrpc(stream, message);
      peer->Reply(stream,
                  {{":status", "200"}, {"content-type", "application/grpc"},
                   {"grpc-status", absl::StrCat(status)}},
                  "", {});
    }});
  }
  // How a write ends: `start` makes it, given where its error is to go.
  Error EndOf(const std::function<void(std::function<void(const Error&)>)>& start) {
    std::optional<Error> end;
    start([&end](const Error& error) { end = error; });
    client_->Flush();
    RunUntil([&] { return end.has_value(); });
    return end.value_or(Error{.code = Code::kUnknown});
  }
  Error Set() {
    return EndOf([this](auto done) {
      client_->Set("k", "", "v", 1000, [done](StoreResult r) { done(r.error); });
    });
  }
  Error SetIf() {
    return EndOf([this](auto done) {
      client_->SetIf("k", "", "v", 1000, Condition::kAbsent,
                     [done](StoreResult r) { done(r.error); });
    });
  }
  Error SetIfHash(std::optional<absl::string_view> hash) {
    return EndOf([this, hash](auto done) {
      client_->SetIfHash("k", "", "v", 1000, hash, [done](StoreResult r) { done(r.error); });
    });
  }
  Error Delete() {
    return EndOf([this](auto done) {
      client_->Delete("k", [done](DoneResult r) { done(r.error); });
    });
  }
  int requests_ = 0;
};

TEST_F(RetriesTest, AReadThatFailsTwiceIsAnswered) {
  StartFailing(2, 14);
  EXPECT_TRUE(Get().hit);
  EXPECT_EQ(requests_, 3);
  EXPECT_EQ(Metric("proxy_momento_retry_sent_total"), 2);
  EXPECT_EQ(Metric("proxy_momento_retry_succeeded_total"), 1);
}

TEST_F(RetriesTest, TheRateLimitOfTheCacheIsAskedForEachAttempt) {
  StartFailing(2, 14);
  Limit limit;
  client_->Observe(&limit);
  EXPECT_TRUE(Get().hit);
  ASSERT_EQ(limit.asked.size(), 2u);
  EXPECT_EQ(limit.asked[0].operations, 1u);
  EXPECT_EQ(limit.asked[0].bytes, 1u);
  EXPECT_EQ(limit.ended, 1);
  EXPECT_EQ(Metric("proxy_momento_retry_limited_total"), 0);
  client_->Observe(nullptr);
}

TEST_F(RetriesTest, WhatTheRateLimitRefusesIsNotSentAgain) {
  StartFailing(1000, 14);
  Limit limit;
  limit.admits = false;
  client_->Observe(&limit);
  EXPECT_EQ(Get().error.code, Code::kUnavailable);
  EXPECT_EQ(requests_, 1);
  EXPECT_EQ(Metric("proxy_momento_retry_limited_total"), 1);
  EXPECT_EQ(Metric("proxy_momento_retry_sent_total"), 0);
  // A batch weighs as much as its keys, each in whole kilobytes.
  const std::string longest(3000, 'l');
  std::vector<GetResult> got;
  client_->GetBatch({"ab", longest}, [&](std::vector<GetResult> results) {
    got = std::move(results);
  });
  client_->Flush();
  RunUntil([&] { return !got.empty(); });
  EXPECT_EQ(limit.asked.back().operations, 1u + 3u);
  EXPECT_EQ(limit.asked.back().bytes, 3002u);
  client_->Observe(nullptr);
}

TEST_F(RetriesTest, InternalIsAReasonToo) {
  StartFailing(1, 13);
  EXPECT_TRUE(Get().hit);
  EXPECT_EQ(requests_, 2);
}

TEST_F(RetriesTest, AReadThatFailsAlwaysEndsWithItsError) {
  StartFailing(1000, 14);
  EXPECT_EQ(Get().error.code, Code::kUnavailable);
  EXPECT_EQ(requests_, 3);
  EXPECT_EQ(Metric("proxy_momento_retry_succeeded_total"), 0);
}

TEST_F(RetriesTest, AJudgementIsFinal) {
  StartFailing(1000, 5);
  EXPECT_EQ(Get().error.code, Code::kNotFound);
  EXPECT_EQ(requests_, 1);
}

TEST_F(RetriesTest, ALostConnectionIsAReasonToo) {
  Start({.on_request = [this](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (++requests_ > 1) return AnswerHit(peer, stream, request);
    peer->hang_up = true;
  }});
  EXPECT_TRUE(Get().hit);
  EXPECT_EQ(requests_, 2);
}

TEST_F(RetriesTest, WritesThatMayHaveArrivedAreNotRepeated) {
  StartFailing(1000, 14);
  EXPECT_TRUE(Set().sent);
  EXPECT_TRUE(SetIf().sent);
  EXPECT_TRUE(SetIfHash(std::nullopt).sent);
  EXPECT_TRUE(SetIfHash("h").sent);
  EXPECT_TRUE(Delete().sent);
  EXPECT_EQ(requests_, 5);
  EXPECT_EQ(Metric("proxy_momento_retry_refused_total"), 0);
}

TEST_F(RetriesTest, WithRetryWritesThoseWithoutAConditionAre) {
  cache_.retry_writes = true;
  StartFailing(1000, 14);
  Set();
  Delete();
  SetIfHash(std::nullopt);
  EXPECT_EQ(requests_, 9);
  SetIf();
  SetIfHash("h");
  EXPECT_EQ(requests_, 11);
}

TEST_F(RetriesTest, AWriteThatNeverLeftIsSentWhenThereIsAConnection) {
  StartServer({});
  const uint16_t port = server_->port();
  server_.reset();
  cache_.retry_attempts = 10;
  cache_.retry_backoff = absl::Milliseconds(20);
  StartClient();
  for (int turn = 0; turn < 20; ++turn) loop_.RunOnce(1);  // Refused: nothing works.
  std::optional<Error> end;
  client_->Set("k", "", "v", 1000, [&end](StoreResult r) { end = r.error; });
  StartServer({.on_request = [this](FakePeer* peer, int32_t stream, const FakeRequest&) {
                ++requests_;
                peer->ReplyGrpc(stream, std::string("\x08\x01", 2));  // result: Ok.
              }},
              port);
  RunUntil([&] { return end.has_value(); });
  EXPECT_TRUE(end->ok()) << end->message;
  EXPECT_EQ(requests_, 1);
}

TEST_F(RetriesTest, ThePartOfABatchThatCameIsForgotten) {
  Start({.on_request = [this](FakePeer* peer, int32_t stream, const FakeRequest&) {
    const bool first = ++requests_ == 1;
    const std::string hits = first ? GrpcFrame(kHit) : GrpcFrame(kHit) + GrpcFrame(kHit);
    peer->Reply(stream, {{":status", "200"}, {"content-type", "application/grpc"}}, hits,
                {{"grpc-status", first ? "14" : "0"}});
  }});
  std::vector<GetResult> got;
  const std::vector<absl::string_view> keys = {"a", "b"};
  client_->GetBatch(keys, [&](std::vector<GetResult> results) { got = std::move(results); });
  RunUntil([&] { return !got.empty(); });
  ASSERT_EQ(got.size(), 2u);
  EXPECT_TRUE(got[0].hit && got[1].hit);
  EXPECT_EQ(requests_, 2);
}

TEST_F(RetriesTest, TheBudgetBoundsTheExtraLoadWhenEverythingFails) {
  StartFailing(1 << 30, 14);
  constexpr int kCalls = 2000;
  for (int round = 0; round < kCalls / 50; ++round) {
    for (int i = 0; i < 50; ++i) StartGet();
    RunUntil([&] { return results_.size() == static_cast<size_t>(round + 1) * 50; });
  }
  const int extra = requests_ - kCalls;
  EXPECT_GT(extra, kCalls / 10);  // It is used,
  EXPECT_LE(extra, kCalls / 10 + CallBudget::kBurst);
  EXPECT_EQ(Metric("proxy_momento_retry_sent_total"), extra);
  EXPECT_GT(Metric("proxy_momento_retry_refused_total"), 0);
}

TEST_F(RetriesTest, AnotherConnectionIsPreferred) {
  cache_.retry_attempts = 1;
  int failed = 0;
  StartServer({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (peer != server_->peers[0].get()) return AnswerHit(peer, stream, request);
    ++failed;
    peer->Reset(stream, NGHTTP2_INTERNAL_ERROR);
  }});
  StartClient(2);
  WaitReady(2);
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(Get().hit) << i;
  EXPECT_GT(failed, 0);
}

TEST_F(RetriesTest, TheDeadlineIsThatOfTheFirstAttempt) {
  std::vector<int> timeouts_ms;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    timeouts_ms.push_back(std::stoi(request.headers.at("grpc-timeout")));
    if (timeouts_ms.size() == 3) return AnswerHit(peer, stream, request);
    usleep(20'000);
    peer->Reset(stream, NGHTTP2_INTERNAL_ERROR);
  }});
  WaitReady();
  EXPECT_TRUE(Get().hit);
  ASSERT_EQ(timeouts_ms.size(), 3u);
  EXPECT_EQ(timeouts_ms[0], 20'000);
  EXPECT_LE(timeouts_ms[1], 20'000 - 20);
  EXPECT_LE(timeouts_ms[2], timeouts_ms[1] - 20);
}

TEST_F(RetriesTest, KindsOfCallsHaveDeadlinesOfTheirOwn) {
  cache_.read_deadline = absl::Milliseconds(1001);
  cache_.write_deadline = absl::Milliseconds(2002);
  cache_.update_deadline = absl::Milliseconds(3003);
  cache_.control_deadline = absl::Milliseconds(4004);
  cache_.retry_attempts = 0;
  std::vector<std::pair<std::string, std::string>> calls;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    const std::string& path = request.headers.at(":path");
    calls.emplace_back(path.substr(path.rfind('/') + 1), request.headers.at("grpc-timeout"));
    peer->ReplyGrpc(stream, "", 5);
  }});
  WaitReady();
  Get();
  Set();
  Delete();
  SetIf();
  SetIfHash(std::nullopt);
  SetIfHash("h");
  EndOf([this](auto done) { client_->FlushCache([done](DoneResult r) { done(r.error); }); });
  const std::vector<std::pair<std::string, std::string>> wanted = {
      {"Get", "1001m"},       {"Set", "2002m"},       {"Delete", "2002m"},    {"SetIf", "3003m"},
      {"SetIfHash", "2002m"}, {"SetIfHash", "3003m"}};
  ASSERT_EQ(calls.size(), 7u);
  EXPECT_EQ(std::vector(calls.begin(), calls.end() - 1), wanted);
  EXPECT_EQ(calls.back().first, "FlushCache");
  EXPECT_LE(std::stoi(calls.back().second), 4004);  // It waited for its connection.
  EXPECT_GT(std::stoi(calls.back().second), 3003);
}

TEST_F(RetriesTest, ACallAtRestIsDroppedWithTheClient) {
  cache_.retry_backoff = absl::Minutes(1);
  cache_.deadline = absl::Minutes(10);
  StartFailing(1 << 30, 14);
  const auto token = std::make_shared<int>();
  for (int i = 0; i < 20; ++i) {
    client_->Get("k", [held = token](GetResult) { ADD_FAILURE() << "called back"; });
  }
  RunUntil([&] { return Metric("proxy_momento_retry_sent_total") >= 20; });
  client_.reset();
  EXPECT_EQ(token.use_count(), 1);
  for (int turn = 0; turn < 20; ++turn) loop_.RunOnce(1);
}

}  // namespace
}  // namespace proxy::momento
