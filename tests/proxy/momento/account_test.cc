// A key that changes under the connections: which requests carry which, and which connections stay.
#include "proxy/momento/account.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "core/log/memory_log.h"
#include "proxy/momento/grpc_client.h"
#include "proxy/momento/metrics.h"
#include "proxy/momento/resolver.h"
#include "tests/proxy/momento/fake_server.h"

namespace proxy::momento {
namespace {

const std::string kHit = std::string("\x08\x02\x12\x01v", 5);  // result: Hit, cache_body: "v".

class AccountTest : public ::testing::Test {
 protected:
  Credentials At(const FakeServer& server, absl::string_view key) {
    config::Momento options;
    options.endpoint_override = server.target();
    options.api_key = std::string(key);
    return *ResolveCredentials(options, [](const char*) { return std::string(); });
  }
  // A server that notes the key of every request, and answers unless it is told to hold.
  FakeScript Noting(std::vector<std::string>* keys) {
    return {.on_request = [this, keys](FakePeer* peer, int32_t stream, const FakeRequest& request) {
      keys->push_back(request.headers.at("authorization"));
      if (hold_) return held_.push_back({peer, stream});
      peer->ReplyGrpc(stream, kHit);
    }};
  }
  void StartClient(int connections = 2) {
    account_ = std::make_unique<Account>(At(old_place_, "old-key-of-the-account"), &key_metrics_);
    cache_.cache_name = "c";
    cache_.deadline = absl::Seconds(20);
    client_ = std::make_unique<GrpcClient>(
        GrpcClient::Shared{.options = &options_, .account = account_.get(), .tls = nullptr,
                           .resolver = &resolver_, .metrics = &metrics_, .log = &log_},
        &loop_, cache_, connections);
    RunUntil([&] { return client_->ready_connections() == connections; });
  }
  template <class Until>
  void RunUntil(Until until) {
    for (int turn = 0; turn < 4000 && !until(); ++turn) loop_.RunOnce(5);
    ASSERT_TRUE(until());
  }
  void StartGet() {
    client_->Get("k", [this](GetResult result) { results_.push_back(std::move(result)); });
    client_->Flush();
  }
  void Get() {
    const size_t before = results_.size();
    StartGet();
    RunUntil([&] { return results_.size() > before; });
  }
  void AnswerHeld() {
    for (const auto& [peer, stream] : held_) {
      peer->ReplyGrpc(stream, kHit);
      peer->Flush();
    }
    held_.clear();
    hold_ = false;
  }
  bool AllHit() const {
    for (const GetResult& result : results_) {
      if (!result.hit) return false;
    }
    return true;
  }

  core::RealClock clock_;
  core::EventLoop loop_{&clock_};
  core::MemoryLog log_;
  core::Registry registry_;
  Metrics metrics_{&registry_};
  KeyMetrics key_metrics_{&registry_, "momento", [] { return 0; }};
  Resolver resolver_;
  config::Momento options_;
  config::Cache cache_;
  bool hold_ = false;
  std::vector<std::pair<FakePeer*, int32_t>> held_;
  std::vector<std::string> old_keys_, new_keys_;
  FakeServer old_place_{&loop_, Noting(&old_keys_)};
  FakeServer new_place_{&loop_, Noting(&new_keys_)};
  std::unique_ptr<Account> account_;
  std::unique_ptr<GrpcClient> client_;
  std::vector<GetResult> results_;
};

TEST_F(AccountTest, CallsFromNowOnCarryTheNewKeyOverTheSameConnections) {
  StartClient();
  Get();
  account_->Replace(At(old_place_, "new"));
  Get();
  Get();
  EXPECT_EQ(old_keys_, (std::vector<std::string>{"old-key-of-the-account", "new", "new"}));
  EXPECT_EQ(old_place_.peers.size(), 2u) << "no connection was replaced";
  EXPECT_TRUE(AllHit());
}

TEST_F(AccountTest, RequestsQueuedWithTheOldKeyStillSayIt) {
  StartClient(1);
  // All in one turn: the first is queued when the key changes, and is written after it.
  client_->Get("k", [this](GetResult result) { results_.push_back(std::move(result)); });
  account_->Replace(At(old_place_, "new"));
  client_->Get("k", [this](GetResult result) { results_.push_back(std::move(result)); });
  account_->Replace(At(old_place_, "newer"));
  client_->Get("k", [this](GetResult result) { results_.push_back(std::move(result)); });
  RunUntil([&] { return results_.size() == 3; });
  EXPECT_EQ(old_keys_, (std::vector<std::string>{"old-key-of-the-account", "new", "newer"}));
  EXPECT_TRUE(AllHit());
}

TEST_F(AccountTest, CredentialsNobodyNeedsAreLetGo) {
  StartClient();
  Get();
  const std::weak_ptr<const Credentials> old = account_->current();
  EXPECT_FALSE(old.expired());
  account_->Replace(At(old_place_, "new"));
  Get();
  // The connection that carried no call notices at its next ping.
  for (int i = 0; i < 3; ++i) StartGet();
  RunUntil([&] { return results_.size() == 5; });
  EXPECT_TRUE(old.expired()) << old.use_count() << " still hold the old key";
}

TEST_F(AccountTest, AnIdleClientLetsGoOfTheOldKeyToo) {
  options_.keepalive_interval = absl::Milliseconds(20);
  StartClient();
  Get();
  const std::weak_ptr<const Credentials> old = account_->current();
  account_->Replace(At(old_place_, "new"));
  RunUntil([&] { return old.expired(); });
}

TEST_F(AccountTest, ANewPlaceIsMovedToAndTheOldOneFinishes) {
  StartClient();
  hold_ = true;
  StartGet();
  RunUntil([&] { return held_.size() == 1; });
  hold_ = false;
  account_->Replace(At(new_place_, "new"));
  Get();
  EXPECT_EQ(new_keys_, std::vector<std::string>{"new"});
  RunUntil([&] { return client_->ready_connections() == 2; });
  EXPECT_EQ(new_place_.peers.size(), 2u);
  AnswerHeld();
  RunUntil([&] { return results_.size() == 2; });
  EXPECT_TRUE(AllHit());
  RunUntil([&] { return !old_place_.peers[0]->fd.valid() && !old_place_.peers[1]->fd.valid(); });
  EXPECT_EQ(metrics_.lost.Value(), 0u);
  EXPECT_EQ(metrics_.connect_failures.Value(), 0u);
  EXPECT_EQ(metrics_.connections.Value(), 2);
}

TEST_F(AccountTest, AMoveFromAPlaceThatDoesNotWorkIsAtOnce) {
  StartClient(1);
  account_->Replace(At(new_place_, "new"));
  Get();
  Credentials nowhere = At(new_place_, "x");
  nowhere.cache_port = 1;  // Nothing listens there.
  account_->Replace(nowhere);
  Get();
  EXPECT_EQ(results_.back().error.code, Code::kUnavailable);
  account_->Replace(At(old_place_, "back"));
  Get();
  EXPECT_TRUE(results_.back().hit) << results_.back().error.message;
  EXPECT_EQ(old_keys_, std::vector<std::string>{"back"});
}

TEST_F(AccountTest, AMoveBeforeTheFirstConnectionIsOpen) {
  account_ = std::make_unique<Account>(At(old_place_, "old"), &key_metrics_);
  cache_.deadline = absl::Seconds(20);
  client_ = std::make_unique<GrpcClient>(
      GrpcClient::Shared{.options = &options_, .account = account_.get(), .tls = nullptr,
                         .resolver = &resolver_, .metrics = &metrics_, .log = &log_},
      &loop_, cache_, 3);
  account_->Replace(At(new_place_, "new"));
  Get();
  EXPECT_TRUE(AllHit());
  EXPECT_TRUE(old_keys_.empty());
}

TEST_F(AccountTest, ARefusedKeyIsCountedAndNeverRepeated) {
  const std::string key = "old-key-of-the-account";
  old_place_.script.on_request = [&](FakePeer* peer, int32_t stream, const FakeRequest&) {
    peer->Reply(stream,
                {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "16"},
                 {"grpc-message", "who is " + key + "?"}},
                "", {});
  };
  StartClient(1);
  Get();
  EXPECT_EQ(results_[0].error.code, Code::kUnauthenticated);
  EXPECT_EQ(results_[0].error.message, "who is ***?");
  EXPECT_EQ(key_metrics_.rejected.Value(), 1u);
}

}  // namespace
}  // namespace proxy::momento
