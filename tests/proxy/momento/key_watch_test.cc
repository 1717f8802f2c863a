// The key watch beside a client that works: its thread, a file, a service and a worker's loop.
#include "proxy/momento/key_watch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/log/memory_log.h"
#include "proxy/momento/backend.h"
#include "tests/proxy/momento/fake_server.h"

namespace proxy::momento {
namespace {

const std::string kHit = std::string("\x08\x02\x12\x01v", 5);  // result: Hit, cache_body: "v".

class KeyWatchTest : public ::testing::Test {
 protected:
  KeyWatchTest() {
    file_ = absl::StrCat(::testing::TempDir(), "/key_watch_", ::getpid());
    momento_.endpoint_override = server_.target();
    momento_.api_key_file = file_;
    momento_.key_poll_interval = absl::Milliseconds(10);
    cache_.cache_name = "c";
    cache_.deadline = absl::Seconds(20);
  }
  ~KeyWatchTest() override { ::unlink(file_.c_str()); }
  void Write(const std::string& key) {
    std::ofstream(file_ + ".new") << key << "\n";
    ASSERT_EQ(std::rename((file_ + ".new").c_str(), file_.c_str()), 0);
  }
  void StartClient() {
    auto backend = Backend::Create(momento_, {cache_}, &clock_, &registry_, &log_,
                                   [](const char*) { return std::string(); });
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
    client_ = backend_->NewClient(&loop_, cache_, 2);
    backend_->WatchKeys();
  }
  // The key that a Get of the client carries.
  std::string KeyOfAGet() {
    key_of_client_.clear();
    bool done = false, hit = false;
    client_->Get("k", [&](const GetResult& result) {
      done = true;
      hit = result.hit;
    });
    for (int turn = 0; turn < 4000 && !done; ++turn) loop_.RunOnce(5);
    EXPECT_TRUE(hit);
    return key_of_client_;
  }
  template <class Until>
  void GetUntil(Until until) {
    for (int i = 0; i < 3000 && !until(KeyOfAGet()); ++i) ::usleep(2000);
    ASSERT_TRUE(until(KeyOfAGet()));
  }
  bool Logged(absl::string_view part) const {
    for (const auto& line : log_.lines()) {
      if (line.text.find(std::string(part)) != std::string::npos) return true;
    }
    return false;
  }

  core::RealClock clock_;
  core::EventLoop loop_{&clock_};
  core::MemoryLog log_;
  core::Registry registry_;
  std::string key_of_client_;
  FakeServer server_{&loop_, FakeScript{.on_request = [this](FakePeer* peer, int32_t stream,
                                                             const FakeRequest& request) {
    const std::string& key = request.headers.at("authorization");
    // Of a Get's message the probe's is the longer one.
    if (request.body == GrpcFrame("\x0a\x01k")) key_of_client_ = key;
    if (key == "bad") {
      return peer->Reply(stream,
                         {{":status", "200"}, {"content-type", "application/grpc"},
                          {"grpc-status", "16"}},
                         "", {});
    }
    peer->ReplyGrpc(stream, kHit);
  }}};
  config::Momento momento_;
  config::Cache cache_;
  std::string file_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Client> client_;  // Destroyed before its backend.
};

TEST_F(KeyWatchTest, ANewKeyReachesAWorkingClient) {
  Write("one");
  StartClient();
  EXPECT_EQ(KeyOfAGet(), "one");
  for (const char* key : {"two", "three"}) {
    Write(key);
    GetUntil([&](const std::string& now) { return now == key; });
  }
  Write("bad");
  GetUntil([&](const std::string&) { return Logged("is refused"); });
  EXPECT_EQ(KeyOfAGet(), "three");
}

TEST_F(KeyWatchTest, EndsWhileTheServiceIsAsked) {
  Write("one");
  StartClient();
  EXPECT_EQ(KeyOfAGet(), "one");
  Write("two");
  // The server is on this thread, which stands still: the question stays open.
  ::usleep(100'000);
  client_.reset();
  backend_.reset();
}

TEST_F(KeyWatchTest, LooksAtOnceWhenTold) {
  momento_.key_poll_interval = absl::Hours(1);
  Write("one");
  StartClient();
  EXPECT_EQ(KeyOfAGet(), "one");
  Write("two");
  backend_->LookAtKeysNow();
  GetUntil([&](const std::string& now) { return now == "two"; });
}

}  // namespace
}  // namespace proxy::momento
