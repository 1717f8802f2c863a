// How a pool chooses among its connections, opens them and gets over their loss.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/momento/channel_pool.h"
#include "proxy/momento/grpc_client.h"
#include "tests/proxy/momento/scripted_client.h"

namespace proxy::momento {
namespace {

class PoolTest : public ScriptedClientTest {
 protected:
  PoolTest() { cache_.deadline = absl::Seconds(20); }
  // A server that answers nothing and counts what it has.
  FakeScript Holding() {
    return {.on_request = [this](FakePeer* peer, int32_t, const FakeRequest&) { ++held_[peer]; }};
  }
  int TotalHeld() const {
    int total = 0;
    for (const auto& [peer, count] : held_) total += count;
    return total;
  }
  std::map<FakePeer*, int> held_;
};

TEST_F(PoolTest, TheLeastLoadedConnectionIsTaken) {
  StartServer(Holding());
  StartClient(4);
  WaitReady(4);
  for (int i = 0; i < 40; ++i) {  // Each in a turn of its own.
    StartGet();
    RunUntil([&] { return TotalHeld() == i + 1; });
  }
  ASSERT_EQ(held_.size(), 4u);
  for (const auto& [peer, count] : held_) EXPECT_EQ(count, 10);
}

TEST_F(PoolTest, AHundredStreamsWhereThePeerSetsNoLimit) {
  StartServer(Holding());
  StartClient(2);
  WaitReady(2);
  for (int i = 0; i < 250; ++i) StartGet();
  RunUntil([&] { return TotalHeld() == 200; });
  for (int turn = 0; turn < 20; ++turn) loop_.RunOnce(1);
  for (const auto& [peer, count] : held_) EXPECT_EQ(count, 100);
  EXPECT_EQ(Metric("proxy_momento_waiting"), 50);
}

TEST_F(PoolTest, AsManyStreamsAsThePeerSays) {
  FakeScript script = Holding();
  script.settings = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 7}};
  StartServer(script);
  StartClient(2);
  WaitReady(2);
  for (int i = 0; i < 50; ++i) StartGet();
  RunUntil([&] { return TotalHeld() == 14; });
  for (int turn = 0; turn < 20; ++turn) loop_.RunOnce(1);
  for (const auto& [peer, count] : held_) EXPECT_EQ(count, 7);
}

TEST_F(PoolTest, EveryConnectionIsOpenBeforeTheFirstCall) {
  StartServer(Holding());
  StartClient(5);
  WaitReady(5);
  EXPECT_EQ(Metric("proxy_momento_connections"), 5);
  EXPECT_EQ(Metric("proxy_momento_connect_total"), 5);
  EXPECT_EQ(TotalHeld(), 0);
}

TEST_F(PoolTest, GoAwayOnEveryConnectionUnderLoadFailsNoCall) {
  cache_.retry_attempts = 0;  // It must not take a retry.
  std::map<FakePeer*, int> answered;
  StartServer({.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest& request) {
    if (answered[peer] == 40) return;  // Above the last stream that the GOAWAY names.
    AnswerHit(peer, stream, request);
    if (++answered[peer] == 40) peer->GoAway(stream);
  }});
  StartClient(3);
  WaitReady(3);
  for (int i = 0; i < 500; ++i) {
    StartGet();
    if (i % 25 == 24) RunUntil([&] { return results_.size() + 20 >= static_cast<size_t>(i); });
  }
  RunUntil([&] { return results_.size() == 500; });
  for (const GetResult& result : results_) EXPECT_TRUE(result.hit) << result.error.message;
  EXPECT_GE(server_->peers.size(), 12u);
  EXPECT_GE(Metric("proxy_momento_goaway_total"), 10);
}

// Where the name of FollowsItsNameTest leads; a test at a time.
std::atomic<int> last_byte = 1;
std::atomic<bool> unknown = false;
std::atomic<int> asked = 0;

absl::StatusOr<Resolver::Addresses> LookUpByTest(const std::string& host, uint16_t port) {
  EXPECT_EQ(host, "service.test");
  ++asked;
  if (unknown) return absl::UnavailableError("unknown");
  return Resolver::Addresses{*NumericAddress(absl::StrCat("127.0.0.", last_byte.load()), port)};
}

// Servers on several addresses of this machine, one port, and a name that leads to one of them.
class FollowsItsNameTest : public ScriptedClientTest {
 protected:
  FollowsItsNameTest() {
    last_byte = 1;
    unknown = false;
    asked = 0;
    cache_.deadline = absl::Seconds(20);
    cache_.cache_name = "c";
    momento_.resolve_interval = absl::Milliseconds(10);
    StartServer({.on_request = AnswerHit});
    second_ = std::make_unique<FakeServer>(&loop_, FakeScript{.on_request = AnswerHit},
                                           server_->port(), INADDR_LOOPBACK + 1);
  }
  void Follow(int connections) {
    account_ = std::make_unique<Account>(Credentials{.cache_host = "service.test",
                                                     .cache_port = server_->port(),
                                                     .control_host = "service.test",
                                                     .control_port = server_->port(),
                                                     .tls = false},
                                         nullptr);
    const GrpcClient::Shared shared{.options = &momento_,
                                    .account = account_.get(),
                                    .tls = nullptr,
                                    .resolver = &resolver_,
                                    .metrics = &metrics_,
                                    .log = &log_};
    client_ = std::make_unique<GrpcClient>(shared, &loop_, cache_, connections);
    WaitReady(connections);
  }
  ~FollowsItsNameTest() override { client_.reset(); }
  static size_t Open(const FakeServer& server) {
    return std::count_if(server.peers.begin(), server.peers.end(),
                         [](const auto& peer) { return peer->fd.valid(); });
  }
  void WaitAsked(int more) {
    const int before = asked;
    RunUntil([&] { return asked >= before + more; });
  }

  Resolver resolver_{LookUpByTest};
  Metrics metrics_{&registry_};
  std::unique_ptr<Account> account_;
  std::unique_ptr<FakeServer> second_;
};

TEST_F(FollowsItsNameTest, ConnectionsMoveAndNoCallFails) {
  cache_.retry_attempts = 0;
  Follow(3);
  EXPECT_EQ(Open(*server_), 3u);
  last_byte = 2;
  size_t asks = 0;
  RunUntil([&] {
    EXPECT_EQ(client_->ready_connections(), 3);  // At no time fewer.
    StartGet();
    ++asks;
    return Open(*second_) == 3 && Open(*server_) == 0;
  });
  RunUntil([&] { return results_.size() == asks; });
  for (const GetResult& result : results_) EXPECT_TRUE(result.hit) << result.error.message;
  EXPECT_EQ(Metric("proxy_momento_address_moved_total"), 3);
  EXPECT_EQ(Metric("proxy_momento_connection_lost_total"), 0);
  WaitAsked(5);
  EXPECT_EQ(Open(*second_), 3u);  // And there they stay.
}

TEST_F(FollowsItsNameTest, CallsUnderWayAreFinishedWhereTheyAre) {
  std::pair<FakePeer*, int32_t> held{nullptr, 0};
  server_->script.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest&) {
    held = {peer, stream};
  };
  Follow(1);
  StartGet();
  RunUntil([&] { return held.first != nullptr; });
  last_byte = 2;
  RunUntil([&] { return Metric("proxy_momento_address_moved_total") == 1; });
  EXPECT_TRUE(Get().hit);
  EXPECT_EQ(results_.size(), 1u);
  AnswerHit(held.first, held.second, {});
  held.first->Flush();
  RunUntil([&] { return results_.size() == 2; });
  EXPECT_TRUE(results_[1].hit);
  RunUntil([&] { return Open(*server_) == 0; });
}

TEST_F(FollowsItsNameTest, WhatWorksIsKeptWhereTheNewAddressDoesNot) {
  Follow(2);
  last_byte = 3;  // Nothing listens there.
  WaitAsked(8);
  EXPECT_EQ(Open(*server_), 2u);
  EXPECT_TRUE(Get().hit);
  EXPECT_EQ(client_->ready_connections(), 2);
  EXPECT_GT(Metric("proxy_momento_connect_failed_total"), 0);
  EXPECT_EQ(Metric("proxy_momento_address_moved_total"), 0);
}

TEST_F(FollowsItsNameTest, NoAnswerChangesNothing) {
  Follow(2);
  unknown = true;
  WaitAsked(5);
  EXPECT_EQ(Open(*server_), 2u);
  EXPECT_GE(Metric("proxy_momento_resolve_failed_total"), 4);
  EXPECT_TRUE(Get().hit);
}

TEST_F(FollowsItsNameTest, ALostConnectionAsksWhereToGo) {
  momento_.resolve_interval = absl::Hours(1);
  Follow(1);
  last_byte = 2;
  server_->peers[0]->Close();
  RunUntil([&] { return second_->peers.size() == 1; });
  EXPECT_TRUE(Get().hit);
}

TEST_F(FollowsItsNameTest, TheOldOneMayBreakWhileItsSuccessorOpens) {
  second_->script.silent = true;
  Follow(1);
  last_byte = 2;
  RunUntil([&] { return second_->peers.size() == 1; });
  server_->peers[0]->Close();
  RunUntil([&] { return client_->ready_connections() == 0; });
  EXPECT_EQ(second_->peers.size(), 1u);  // It is the one that is waited for.
  second_->script.silent = false;
  second_->peers[0]->Close();
  RunUntil([&] { return client_->ready_connections() == 1; });
  EXPECT_EQ(second_->peers.size(), 2u);
  EXPECT_TRUE(Get().hit);
}

TEST_F(PoolTest, AttemptsToReconnectComeApartAndDoNotStop) {
  core::ManualClock clock;
  core::EventLoop loop(&clock);
  // It takes connections and says nothing on them: none is ever ready.
  FakeServer server(&loop, {.silent = true, .on_request = {}});
  momento_.endpoint_override = server.target();
  cache_.cache_name = "c";
  auto backend = Backend::Create(momento_, {}, &clock, &registry_, &log_,
                                 [](const char*) { return std::string(); });
  ASSERT_TRUE(backend.ok()) << backend.status();
  const std::unique_ptr<Client> client = (*backend)->NewClient(&loop, cache_, 1);
  std::vector<int64_t> attempts_ms;
  for (int ms = 0; ms < 30'000; ++ms) {
    clock.AdvanceMs(1);
    for (int turn = 0; turn < 2; ++turn) loop.RunOnce(0);
    if (server.peers.size() == attempts_ms.size()) continue;
    attempts_ms.push_back(loop.now_ms());
    server.peers.back()->Close();
    for (int turn = 0; turn < 5; ++turn) loop.RunOnce(1);  // The loss arrives.
  }
  ASSERT_GE(attempts_ms.size(), 16u);  // Six in 3.2 s, then one every 1.6 to 2.4 s.
  ASSERT_LE(attempts_ms.size(), 24u);
  std::vector<int64_t> gaps;
  for (size_t i = 1; i < attempts_ms.size(); ++i) gaps.push_back(attempts_ms[i] - attempts_ms[i - 1]);
  for (size_t i = 1; i < 6; ++i) EXPECT_GT(gaps[i], gaps[i - 1]) << i;  // 50 ms doubled, +-20 %.
  for (const int64_t gap : gaps) EXPECT_LE(gap, ChannelPool::kBackoffLastMs * 12 / 10 + 20);
  EXPECT_GE(gaps.back(), ChannelPool::kBackoffLastMs * 8 / 10);
  bool jittered = false;
  for (size_t i = gaps.size() - 3; i < gaps.size(); ++i) jittered |= gaps[i] != gaps[i - 1];
  EXPECT_TRUE(jittered);
}

TEST_F(PoolTest, AnOutageAfterManyLossesIsLeftAsQuicklyAsAnyOther) {
  core::ManualClock clock;
  core::EventLoop loop(&clock);
  FakeServer server(&loop, {.on_request = {}});
  momento_.endpoint_override = server.target();
  cache_.cache_name = "c";
  auto backend = Backend::Create(momento_, {}, &clock, &registry_, &log_,
                                 [](const char*) { return std::string(); });
  ASSERT_TRUE(backend.ok()) << backend.status();
  const std::unique_ptr<Client> client = (*backend)->NewClient(&loop, cache_, 1);
  const auto pass = [&](int64_t most_ms, auto until) {
    for (int64_t ms = 0; ms < most_ms; ++ms) {
      if (until()) return true;
      clock.AdvanceMs(1);
      for (int turn = 0; turn < 3; ++turn) loop.RunOnce(0);
    }
    return until();
  };
  const auto settle = [&] {
    for (int turn = 0; turn < 10; ++turn) loop.RunOnce(1);
  };
  const auto ready = [&] { return client->ready_connections() == 1; };
  for (int losses = 0; losses < 10; ++losses) {
    ASSERT_TRUE(pass(5000, ready)) << losses;
    server.peers.back()->Close();
    settle();
  }
  server.script.silent = true;  // Now it is down: three attempts fail.
  for (int failures = 0; failures < 3; ++failures) {
    const size_t before = server.peers.size();
    ASSERT_TRUE(pass(5000, [&] { return server.peers.size() > before; }));
    server.peers.back()->Close();
    settle();
  }
  server.script.silent = false;
  const int64_t up_ms = loop.now_ms();
  EXPECT_TRUE(pass(5000, ready));
  EXPECT_LE(loop.now_ms() - up_ms, 200 * 12 / 10 + 20);  // 50, 100, 200 ms: those of a fresh outage.
}

}  // namespace
}  // namespace proxy::momento
