// The client against a scripted server: what a backend may do wrong, and what its caller hears.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "proxy/momento/channel_pool.h"
#include "proxy/momento/grpc_client.h"
#include "tests/proxy/momento/scripted_client.h"

namespace proxy::momento {
namespace {

class FaultsTest : public ScriptedClientTest {
 protected:
  // What one attempt comes to; what follows a failed one is in retries_test.cc.
  FaultsTest() { cache_.retry_attempts = 0; }
};

TEST_F(FaultsTest, SendsTheHeadersMomentoAsksFor) {
  momento_.api_key = "token";
  cache_.reads = config::Cache::Reads::kConsistent;
  cache_.deadline = absl::Seconds(7);
  Start({.on_request = AnswerHit});
  WaitReady();
  EXPECT_EQ(Get().value, "v");
  Get();
  const auto& first = server_->peers[0]->requests[1];
  const auto header = [](const FakeRequest& request, const char* name) {
    const auto it = request.headers.find(name);
    return it == request.headers.end() ? std::string("absent") : it->second;
  };
  EXPECT_EQ(header(first, ":path"), "/cache_client.Scs/Get");
  EXPECT_EQ(header(first, ":scheme"), "http");
  EXPECT_EQ(header(first, "authorization"), "token");
  EXPECT_EQ(header(first, "cache"), "c");
  EXPECT_EQ(header(first, "read-concern"), "consistent");
  EXPECT_EQ(header(first, "te"), "trailers");
  EXPECT_EQ(header(first, "content-type"), "application/grpc");
  EXPECT_EQ(header(first, "grpc-timeout"), "7000m");
  EXPECT_NE(header(first, "agent"), "absent");
  EXPECT_NE(header(first, "runtime-version"), "absent");
  EXPECT_EQ(first.body, GrpcFrame("\x0a\x01k"));
  const auto& second = server_->peers[0]->requests[3];
  EXPECT_EQ(header(second, "agent"), "absent");
  EXPECT_EQ(header(second, "authorization"), "token");
}

TEST_F(FaultsTest, AuthorizationIsPresentThoughEmpty) {
  Start({.on_request = AnswerHit});
  Get();
  const auto& headers = server_->peers[0]->requests[1].headers;
  ASSERT_EQ(headers.count("authorization"), 1u);
  EXPECT_EQ(headers.at("authorization"), "");
  EXPECT_EQ(headers.count("read-concern"), 0u);
}

TEST_F(FaultsTest, FramesSplitIntoBytesAreRead) {
  Start({.write_bytes_max = 1, .on_request = AnswerHit});
  cache_.deadline = absl::Seconds(30);
  EXPECT_EQ(Get().value, "v");
}

TEST_F(FaultsTest, TrailersOnlyCarriesStatusMessageAndDetail) {
  Start({.on_request = [](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->Reply(stream,
                {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "8"},
                 {"grpc-message", "slow%20down %"}, {"err", "operations_rate_limit_exceeded"}},
                "", {});
  }});
  const Error error = Get().error;
  EXPECT_EQ(error.code, Code::kResourceExhausted);
  EXPECT_EQ(error.message, "slow down %");
  EXPECT_EQ(error.detail, "operations_rate_limit_exceeded");
  EXPECT_TRUE(error.sent);
}

TEST_F(FaultsTest, HttpErrorsAreMapped) {
  Start({.on_request = [](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->Reply(stream, {{":status", "503"}, {"content-type", "text/html"}}, "<html>", {});
  }});
  EXPECT_EQ(Get().error.code, Code::kUnavailable);
}

TEST_F(FaultsTest, ReplyWithoutStatusIsUnknown) {
  Start({.on_request = [](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->Reply(stream, {{":status", "200"}, {"content-type", "application/grpc"}},
                GrpcFrame(kHit), {});
  }});
  EXPECT_EQ(Get().error.code, Code::kUnknown);
}

TEST_F(FaultsTest, OkWithoutMessageIsInternal) {
  Start({.on_request = [](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->Reply(stream,
                {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "0"}},
                "", {});
  }});
  EXPECT_EQ(Get().error.code, Code::kInternal);
}

TEST_F(FaultsTest, TwoMessagesForOneCallAreInternal) {
  Start({.on_request = [](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->Reply(stream, {{":status", "200"}, {"content-type", "application/grpc"}},
                GrpcFrame(kHit) + GrpcFrame(kHit), {{"grpc-status", "0"}});
  }});
  EXPECT_EQ(Get().error.code, Code::kInternal);
}

TEST_F(FaultsTest, MalformedMessagesAreInternal) {
  // Nothing set; result Ok, which no Get has; a length past the end; an endless varint.
  const std::vector<std::string> messages = {"", std::string("\x08\x01", 2),
                                             std::string("\x12\x7f", 2),
                                             std::string("\xff\xff", 2)};
  size_t next = 0;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->ReplyGrpc(stream, messages[next++]);
  }});
  while (next < messages.size()) EXPECT_EQ(Get().error.code, Code::kInternal) << next;
  EXPECT_EQ(server_->peers.size(), 1u);
}

TEST_F(FaultsTest, CompressedReplyIsAnError) {
  Start({.on_request = [](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->Reply(stream, {{":status", "200"}, {"content-type", "application/grpc"}},
                std::string("\x01\x00\x00\x00\x01x", 6), {{"grpc-status", "0"}});
  }});
  EXPECT_EQ(Get().error.code, Code::kInternal);
}

TEST_F(FaultsTest, MessageOverTheLimitIsRefusedByItsPrefix) {
  Start({.on_request = [](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->Reply(stream, {{":status", "200"}, {"content-type", "application/grpc"}},
                std::string("\x00\x7f\x00\x00\x00xx", 7), {{"grpc-status", "0"}});
  }});
  EXPECT_EQ(Get().error.code, Code::kResourceExhausted);
}

TEST_F(FaultsTest, LargeValueArrivesWhole) {
  const std::string value(5'000'000, 'x');
  std::string message("\x08\x02\x12\xc0\x96\xb1\x02", 7);  // 5,000,000 as a varint.
  message += value;
  cache_.deadline = absl::Seconds(30);
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->ReplyGrpc(stream, message);
  }});
  const GetResult result = Get();
  EXPECT_TRUE(result.hit) << result.error.message;
  EXPECT_TRUE(result.value == value);
}

TEST_F(FaultsTest, BatchWithTooFewRepliesIsAnError) {
  Start({.on_request = [](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->ReplyGrpc(stream, kHit);
  }});
  std::vector<GetResult> got;
  const std::vector<absl::string_view> keys = {"a", "b"};
  client_->GetBatch(keys, [&](std::vector<GetResult> results) { got = std::move(results); });
  RunUntil([&] { return !got.empty(); });
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].error.code, Code::kInternal);
}

TEST_F(FaultsTest, DeadlinePassesWhenNobodyAnswers) {
  cache_.deadline = absl::Milliseconds(30);
  Start({});
  WaitReady();
  const Error error = Get().error;
  EXPECT_EQ(error.code, Code::kDeadlineExceeded);
  EXPECT_TRUE(error.sent);
}

TEST_F(FaultsTest, LateAnswerAfterTheDeadlineIsIgnored) {
  cache_.deadline = absl::Milliseconds(30);
  bool answer = false;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (answer) AnswerHit(peer, stream, request);
  }});
  WaitReady();
  EXPECT_EQ(Get().error.code, Code::kDeadlineExceeded);
  answer = true;
  server_->peers[0]->ReplyGrpc(1, kHit);
  server_->peers[0]->Flush();
  EXPECT_EQ(Get().value, "v");
  EXPECT_EQ(results_.size(), 2u);
  EXPECT_EQ(server_->peers.size(), 1u);
}

TEST_F(FaultsTest, DeadlineCoversTheWaitForSettings) {
  cache_.deadline = absl::Milliseconds(30);
  Start({.silent = true});
  const Error error = Get().error;
  EXPECT_EQ(error.code, Code::kDeadlineExceeded);
  EXPECT_FALSE(error.sent);
}

TEST_F(FaultsTest, SilentServerFailsCallsAfterTheConnectTimeout) {
  momento_.connect_timeout = absl::Milliseconds(40);
  cache_.deadline = absl::Seconds(20);
  Start({.silent = true});
  EXPECT_EQ(Get().error.code, Code::kUnavailable);
}

TEST_F(FaultsTest, OneStreamAtATimeWhenThePeerSaysSo) {
  int most = 0;
  int open = 0;
  std::vector<int32_t> streams;
  Start({.settings = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1}},
         .on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest&) {
           most = std::max(most, ++open);
           streams.push_back(stream);
           peer->ReplyGrpc(stream, kHit);
           --open;
         }});
  for (int i = 0; i < 20; ++i) StartGet();
  RunUntil([&] { return results_.size() == 20; });
  for (const GetResult& result : results_) EXPECT_TRUE(result.hit) << result.error.message;
  EXPECT_EQ(most, 1);
  EXPECT_EQ(streams.size(), 20u);
}

TEST_F(FaultsTest, WaitingCallsAreBounded) {
  Start({.silent = true});
  size_t refused = 0;
  for (size_t i = 0; i < ChannelPool::kWaitingMax + 5; ++i) {
    client_->Get("k", [&](GetResult result) {
      refused += result.error.code == Code::kResourceExhausted && !result.error.sent;
    });
  }
  RunUntil([&] { return refused >= 5; });
  EXPECT_EQ(refused, 5u);
}

TEST_F(FaultsTest, ResetIsUnavailableAndTheConnectionGoesOn) {
  int requests = 0;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (++requests == 1) return peer->Reset(stream, NGHTTP2_INTERNAL_ERROR);
    AnswerHit(peer, stream, request);
  }});
  const Error error = Get().error;
  EXPECT_EQ(error.code, Code::kUnavailable);
  EXPECT_TRUE(error.sent);
  EXPECT_TRUE(Get().hit);
  EXPECT_EQ(server_->peers.size(), 1u);
}

TEST_F(FaultsTest, RefusedStreamIsSentAgain) {
  int requests = 0;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (++requests < 3) return peer->Reset(stream, NGHTTP2_REFUSED_STREAM);
    AnswerHit(peer, stream, request);
  }});
  EXPECT_TRUE(Get().hit);
  EXPECT_EQ(requests, 3);
}

TEST_F(FaultsTest, AlwaysRefusedEndsUnsent) {
  int requests = 0;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest&) {
    ++requests;
    peer->Reset(stream, NGHTTP2_REFUSED_STREAM);
  }});
  const Error error = Get().error;
  EXPECT_EQ(error.code, Code::kUnavailable);
  EXPECT_FALSE(error.sent);
  EXPECT_EQ(requests, ChannelPool::kAttemptsMax);
}

TEST_F(FaultsTest, GoAwayDrainsAndTheUnprocessedMoveToANewConnection) {
  std::vector<std::pair<FakePeer*, int32_t>> held;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (peer != server_->peers[0].get()) return AnswerHit(peer, stream, request);
    held.push_back({peer, stream});
  }});
  WaitReady();
  for (int i = 0; i < 3; ++i) StartGet();
  RunUntil([&] { return held.size() == 3; });
  server_->peers[0]->GoAway(held[0].second);  // The first is being worked on, the others not.
  server_->peers[0]->Flush();
  RunUntil([&] { return results_.size() == 2; });
  EXPECT_TRUE(results_[0].hit && results_[1].hit);
  EXPECT_EQ(server_->peers.size(), 2u);
  held[0].first->ReplyGrpc(held[0].second, kHit);
  held[0].first->Flush();
  RunUntil([&] { return results_.size() == 3; });
  EXPECT_TRUE(results_[2].hit) << results_[2].error.message;
  RunUntil([&] { return !server_->peers[0]->fd.valid(); });  // Drained: the client hangs up.
}

TEST_F(FaultsTest, HangUpFailsCallsAsSentAndReconnects) {
  int requests = 0;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (++requests == 1) {
      peer->hang_up = true;
      return;
    }
    AnswerHit(peer, stream, request);
  }});
  WaitReady();
  const Error error = Get().error;
  EXPECT_EQ(error.code, Code::kUnavailable);
  EXPECT_TRUE(error.sent);
  EXPECT_TRUE(Get().hit);
  EXPECT_EQ(server_->peers.size(), 2u);
}

// Each loss of a young connection is waited for longer, but not for longer than calls wait.
TEST_F(FaultsTest, CallsSurviveAConnectionThatIsLostAgainAndAgain) {
  constexpr int kLosses = 9;  // Doubling, the last pause would be 5 s.
  int requests = 0;
  cache_.deadline = absl::Seconds(3);
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (++requests <= kLosses) {
      peer->hang_up = true;
      return;
    }
    AnswerHit(peer, stream, request);
  }});
  for (int i = 0; i < kLosses; ++i) EXPECT_EQ(Get().error.code, Code::kUnavailable);
  EXPECT_TRUE(Get().hit) << results_.back().error.message;
}

TEST_F(FaultsTest, HalfCloseByThePeerIsALoss) {
  Start({.on_request = [](FakePeer* peer, int32_t, const FakeRequest&) {
    ::shutdown(peer->fd.get(), SHUT_WR);
  }});
  WaitReady();
  EXPECT_EQ(Get().error.code, Code::kUnavailable);
}

TEST_F(FaultsTest, GarbageIsNotAConnection) {
  Start({.greeting = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n and more of it, long "
                     "enough for a frame header and then some"});
  cache_.deadline = absl::Seconds(20);
  EXPECT_EQ(Get().error.code, Code::kUnavailable);
}

TEST_F(FaultsTest, GarbageLaterFailsTheCallsAndReconnects) {
  int requests = 0;
  Start({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (++requests == 1) return peer->Raw(std::string(64, '\xff'));
    AnswerHit(peer, stream, request);
  }});
  WaitReady();
  EXPECT_EQ(Get().error.code, Code::kUnavailable);
  EXPECT_TRUE(Get().hit);
}

TEST_F(FaultsTest, RefusedConnectionFailsFastAndRecovers) {
  StartServer({});
  const uint16_t port = server_->port();
  server_.reset();
  cache_.deadline = absl::Seconds(20);
  StartClient();
  Error error = Get().error;
  EXPECT_EQ(error.code, Code::kUnavailable);
  EXPECT_FALSE(error.sent);
  EXPECT_NE(error.message.find("refused"), std::string::npos) << error.message;
  error = Get().error;
  EXPECT_EQ(error.code, Code::kUnavailable);
  StartServer({.on_request = AnswerHit}, port);
  WaitReady();
  EXPECT_TRUE(Get().hit);
}

TEST_F(FaultsTest, CallBeforeTheFirstConnectionWaitsForIt) {
  Start({.on_request = AnswerHit});
  EXPECT_EQ(client_->ready_connections(), 0);
  EXPECT_TRUE(Get().hit);
}

TEST_F(FaultsTest, UnansweredPingReplacesTheConnection) {
  momento_.keepalive_interval = absl::Milliseconds(100);
  momento_.keepalive_timeout = absl::Milliseconds(30);
  Start({});
  WaitReady();
  server_->script.silent = true;  // From here on nothing is written, not even pongs.
  RunUntil([&] { return server_->peers.size() == 2; });
}

TEST_F(FaultsTest, AnsweredPingsKeepAnIdleConnection) {
  momento_.keepalive_interval = absl::Milliseconds(10);
  momento_.keepalive_timeout = absl::Milliseconds(500);
  Start({});
  WaitReady();
  const size_t before = server_->peers[0]->received;
  RunUntil([&] { return server_->peers[0]->received >= before + 5 * 17; });  // Five PING frames.
  EXPECT_EQ(server_->peers.size(), 1u);
  EXPECT_EQ(client_->ready_connections(), 1);
}

TEST_F(FaultsTest, OpensAsManyConnectionsAsAsked) {
  StartServer({.on_request = AnswerHit});
  StartClient(3);
  WaitReady(3);
  EXPECT_EQ(server_->peers.size(), 3u);
}

TEST_F(FaultsTest, NamesAreResolvedOffTheLoop) {
  StartServer({.on_request = AnswerHit});
  momento_.endpoint_override = absl::StrCat("localhost:", server_->port());
  cache_.deadline = absl::Seconds(20);
  StartClient();
  EXPECT_TRUE(Get().hit);
}

TEST_F(FaultsTest, UnknownNameFailsCalls) {
  momento_.endpoint_override = "no-such-host.invalid:1";
  momento_.connect_timeout = absl::Seconds(20);
  cache_.deadline = absl::Seconds(20);
  StartClient();
  const Error error = Get().error;
  EXPECT_EQ(error.code, Code::kUnavailable);
  EXPECT_NE(error.message.find("no-such-host.invalid"), std::string::npos) << error.message;
}

// Callbacks that hold `token` and must never run.
class DestroyedClientTest : public FaultsTest {
 protected:
  void StartDropped(int calls) {
    for (int i = 0; i < calls; ++i) {
      client_->Get("k", [held = token_](GetResult) { ADD_FAILURE() << "called back"; });
    }
    client_->FlushCache([held = token_](DoneResult) { ADD_FAILURE() << "called back"; });
    client_->Flush();
  }
  // What a client leaves behind: no callback run or kept, no timer that still fires, no call in
  // the gauge of those that wait.
  void DestroyAndLookBack() {
    client_.reset();
    EXPECT_EQ(token_.use_count(), 1);
    for (int turn = 0; turn < 20; ++turn) loop_.RunOnce(5);
    const std::string metrics = registry_.PrometheusText();
    EXPECT_NE(metrics.find("\nproxy_momento_waiting 0\n"), std::string::npos) << metrics;
    EXPECT_NE(metrics.find("\nproxy_momento_connections 0\n"), std::string::npos) << metrics;
  }
  std::shared_ptr<int> token_ = std::make_shared<int>();
};

TEST_F(DestroyedClientTest, DropsCallsThatWaitForAConnection) {
  cache_.deadline = absl::Milliseconds(20);
  Start({.silent = true});
  StartDropped(10);
  DestroyAndLookBack();
}

TEST_F(DestroyedClientTest, DropsCallsOnTheWireAndThoseThatWaitForAStream) {
  cache_.deadline = absl::Milliseconds(20);
  Start({.settings = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3}}});
  WaitReady();
  StartDropped(10);
  DestroyAndLookBack();
}

TEST_F(DestroyedClientTest, DropsCallsOnAConnectionThatDrains) {
  Start({.on_request = [](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->GoAway(stream);  // And never answers.
  }});
  WaitReady();
  StartDropped(1);
  RunUntil([&] { return client_->ready_connections() == 0; });
  DestroyAndLookBack();
}

TEST_F(DestroyedClientTest, DropsCallsThatHaveEndedInsideTheTurn) {
  Start({.greeting = "no HTTP/2"});
  RunUntil([&] { return log_.lines().size() > 0; });  // The loss of the only connection.
  StartDropped(10);
  DestroyAndLookBack();
}

}  // namespace
}  // namespace proxy::momento
