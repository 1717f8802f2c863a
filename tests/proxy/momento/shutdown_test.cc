// The proxy's service over its real client, taken apart in main's order while calls are under way:
// sessions, service, client. What is freed must not be called back, and no reply may be forgotten.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "proxy/momento/backend.h"
#include "tests/proxy/momento/fake_server.h"
#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

class ShutdownTest : public testing::Test {
 protected:
  void Start(momento::FakeScript script) {
    peer_ = std::make_unique<momento::FakeServer>(&loop_, std::move(script));
    options_.endpoint_override = peer_->target();
    auto backend = momento::Backend::Create(options_, {}, &clock_, &registry_, nullptr,
                                            [](const char*) { return std::string(); });
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
    cache_.cache_name = "c";
    cache_.flush_all = true;
    cache_.deadline = absl::Milliseconds(50);
    client_ = backend_->NewClient(&loop_, cache_, 1);
    service_ = std::make_unique<ProxyService>(client_.get(), cache_, server_, &loop_, &shared_,
                                              [](absl::string_view) { return Response(); });
    connection_ = std::make_unique<ProxyService::Connection>(service_->Connect());
  }
  template <class Until>
  void RunUntil(Until until) {
    for (int turn = 0; turn < 4000 && !until(); ++turn) loop_.RunOnce(5);
    ASSERT_TRUE(until());
  }
  void Send(const Request& req) {
    service_->Execute(*connection_, req, MemcacheReply(&sink_, {1, 0}, next_sequence_++));
  }
  // One of every kind of operation, some of them behind others of their key.
  void SendEverything() {
    Send(GetOf({"a"}));
    Send(GetOf({"a", "b", "c"}));
    Send(GetsOf({"d"}));
    Send(GatOf(10, {"e"}));
    Send(SetOf("a", "1"));
    Send(StoreOf(proto::memcache::StoreMode::kAppend, "b", "2"));
    Send(CasOf("c", "3", 7));
    Send(CountOf("n", 1));
    Send(CountOf("n", 1));
    Send(TouchOf("f", 9));
    Send(DeleteOf("g"));
    Send(FlushOf());
    Send(GetOf({"h"}));
    service_->EndTurn();
  }
  void TakeApart() {
    connection_.reset();
    service_.reset();
    EXPECT_EQ(sink_.texts.size() + static_cast<size_t>(sink_.abandoned), next_sequence_);
    client_.reset();
    for (int turn = 0; turn < 20; ++turn) loop_.RunOnce(5);  // Past every deadline.
    EXPECT_EQ(sink_.texts.size() + static_cast<size_t>(sink_.abandoned), next_sequence_);
  }

  core::RealClock clock_;
  core::EventLoop loop_{&clock_};
  core::Registry registry_;
  config::Momento options_;
  config::Cache cache_;
  config::Server server_;
  CacheShared shared_{&registry_};
  TestSink sink_;
  uint64_t next_sequence_ = 0;
  std::unique_ptr<momento::FakeServer> peer_;
  std::unique_ptr<momento::Backend> backend_;
  std::unique_ptr<momento::Client> client_;
  std::unique_ptr<ProxyService> service_;
  std::unique_ptr<ProxyService::Connection> connection_;
};

TEST_F(ShutdownTest, WhileCallsWaitForAConnection) {
  Start({.silent = true});
  SendEverything();
  TakeApart();
  EXPECT_GT(sink_.abandoned, 0);
}

TEST_F(ShutdownTest, WhileCallsAreOnTheWire) {
  size_t requests = 0;
  Start({.on_request = [&](momento::FakePeer*, int32_t, const momento::FakeRequest&) {
    ++requests;
  }});
  RunUntil([&] { return client_->ready_connections() == 1; });
  SendEverything();
  RunUntil([&] { return requests >= 6; });
  TakeApart();
  EXPECT_GT(sink_.abandoned, 0);
}

TEST_F(ShutdownTest, WithNothingUnderWay) {
  Start({.silent = true});
  TakeApart();
  EXPECT_EQ(sink_.abandoned, 0);
}

}  // namespace
}  // namespace proxy
