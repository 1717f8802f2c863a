// The questions asked of the service at start and for a new key, against the real grpc++ server.
#include "proxy/momento/service_check.h"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "cache/local/server.h"
#include "core/log/memory_log.h"
#include "proxy/momento/backend.h"

namespace proxy::momento {
namespace {

using Startup = config::Momento::StartupCheck;

class ServiceCheckTest : public ::testing::Test {
 protected:
  ServiceCheckTest() {
    local_.port = 0;
    local_.token = "right";
    momento_.api_key = "right";
    momento_.startup_timeout = absl::Seconds(20);
    caches_.emplace_back().cache_name = "a";
  }
  void StartServer() {
    auto server =
        cache::local::LocalServer::Start(local_, config::Seg(), &clock_, &server_registry_, &log_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    momento_.endpoint_override = server_->target();
  }
  absl::StatusOr<std::vector<CheckedCache>> Check(Startup wish) {
    momento_.startup_check = wish;
    auto backend =
        Backend::Create(momento_, caches_, &clock_, &registries_.emplace_back(), &log_,
                        [](const char*) { return std::string(); });
    if (!backend.ok()) return backend.status();
    return (*backend)->CheckService();
  }

  core::RealClock clock_;
  core::NullLog log_;
  core::Registry server_registry_;
  std::deque<core::Registry> registries_;
  config::Local local_;
  config::Momento momento_;
  std::vector<config::Cache> caches_;
  std::unique_ptr<cache::local::LocalServer> server_;
};

TEST_F(ServiceCheckTest, OffAsksNobody) {
  momento_.endpoint_override = "127.0.0.1:1";
  EXPECT_TRUE(Check(Startup::kOff).ok());
}

TEST_F(ServiceCheckTest, NoAnswerIsUnavailableWithinTheTimeout) {
  momento_.endpoint_override = "127.0.0.1:1";
  momento_.startup_timeout = absl::Milliseconds(300);
  for (const Startup wish : {Startup::kPing, Startup::kKey, Startup::kCaches}) {
    const absl::Status status = Check(wish).status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "startup_timeout (300ms)")) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "refused")) << status;
  }
}

TEST_F(ServiceCheckTest, TheTimeoutIsForAllStepsTogether) {
  local_.fault_delay = absl::Milliseconds(400);
  local_.fault_delay_percent = 100;
  StartServer();
  ASSERT_TRUE(server_->CreateCache("a").ok());
  momento_.startup_timeout = absl::Milliseconds(900);
  const int64_t began_ms = clock_.MonotonicMs();
  const absl::Status status = Check(Startup::kCaches).status();  // Ping, list, read: 1.2 s.
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_GE(clock_.MonotonicMs() - began_ms, 800);
}

TEST_F(ServiceCheckTest, EachModeAsksForMore) {
  StartServer();
  EXPECT_TRUE(Check(Startup::kPing).ok());
  EXPECT_EQ(server_->Calls("ping"), 1u);
  absl::Status status = Check(Startup::kKey).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "cache \"a\"")) << status;
  status = Check(Startup::kCaches).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "no such cache; it has none")) << status;
  ASSERT_TRUE(server_->CreateCache("b").ok());
  EXPECT_TRUE(absl::StrContains(Check(Startup::kCaches).status().message(), "it has \"b\""));
  ASSERT_TRUE(server_->CreateCache("a").ok());
  EXPECT_TRUE(Check(Startup::kKey).ok());
  const auto checked = Check(Startup::kCaches);
  ASSERT_TRUE(checked.ok()) << checked.status();
  ASSERT_EQ(checked->size(), 1u);
  EXPECT_EQ((*checked)[0].index, 0u);
  EXPECT_EQ((*checked)[0].info.name, "a");
  EXPECT_EQ((*checked)[0].info.ttl_seconds_max, 86400u);
  EXPECT_EQ((*checked)[0].info.item_bytes_max, 4883u * 1024);
}

TEST_F(ServiceCheckTest, AWrongKeyIsRefusedInEveryMode) {
  StartServer();
  ASSERT_TRUE(server_->CreateCache("a").ok());
  momento_.api_key = "wrong-but-long-enough-to-see";
  for (const Startup wish : {Startup::kPing, Startup::kKey, Startup::kCaches}) {
    const absl::Status status = Check(wish).status();
    EXPECT_TRUE(absl::IsUnauthenticated(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "refuses the API key")) << status;
    EXPECT_FALSE(absl::StrContains(status.message(), momento_.api_key)) << status;
  }
}

TEST_F(ServiceCheckTest, MissingCachesAreCreatedWhenAllowedTo) {
  StartServer();
  ASSERT_TRUE(server_->CreateCache("a").ok());
  caches_.emplace_back().cache_name = "b";
  caches_.emplace_back().cache_name = "c";
  momento_.create_missing_caches = true;
  for (int i = 0; i < 2; ++i) {  // The second time there is nothing to create.
    const auto checked = Check(Startup::kOff);
    ASSERT_TRUE(checked.ok()) << checked.status();
    ASSERT_EQ(checked->size(), 3u);
    for (const CheckedCache& cache : *checked) EXPECT_EQ(cache.info.ttl_seconds_max, 86400u);
    EXPECT_EQ(server_->Calls("create-cache"), 2u);
  }
}

TEST_F(ServiceCheckTest, ACacheThatCannotBeCreatedSaysWhy) {
  local_.caches_max = 1;
  StartServer();
  ASSERT_TRUE(server_->CreateCache("other").ok());
  momento_.create_missing_caches = true;
  momento_.startup_timeout = absl::Milliseconds(400);
  const absl::Status status = Check(Startup::kCaches).status();
  EXPECT_TRUE(absl::StrContains(status.message(), "creation of cache \"a\"")) << status;
}

TEST_F(ServiceCheckTest, CachesWithTheirOwnKeysAreCheckedWithThem) {
  StartServer();
  ASSERT_TRUE(server_->CreateCache("a").ok());
  momento_.api_key = "wrong";
  caches_[0].api_key = "right";
  EXPECT_TRUE(Check(Startup::kCaches).ok()) << "nobody needs [momento]'s key";
  caches_.emplace_back().cache_name = "a2";
  EXPECT_TRUE(absl::IsUnauthenticated(Check(Startup::kKey).status()));
}

TEST_F(ServiceCheckTest, AServiceThatComesLateIsWaitedFor) {
  StartServer();
  const int port = server_->port();
  ASSERT_GT(port, 0);
  server_.reset();
  local_.port = static_cast<uint16_t>(port);
  core::Registry late_registry;
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    auto server = cache::local::LocalServer::Start(local_, config::Seg(), &clock_, &late_registry,
                                                   &log_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  });
  EXPECT_TRUE(Check(Startup::kPing).ok());
  late.join();
  server_.reset();  // Before the registry it counts in.
}

TEST_F(ServiceCheckTest, AnExpiredKeyIsRefusedBeforeAnythingIsAsked) {
  momento_.endpoint_override = "127.0.0.1:1";
  momento_.api_key = "eyJhbGciOiJub25lIn0.eyJ0IjoiZyIsImV4cCI6MTcwMDAwMDAwMH0.c2ln";
  const absl::Status status = Check(Startup::kOff).status();
  EXPECT_TRUE(absl::IsUnauthenticated(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "expired on 2023-11-14")) << status;
}

}  // namespace
}  // namespace proxy::momento
