// The client against the real grpc++ server: every call of the interface, as the service answers
// it, over TCP and over a Unix socket.
#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cache/local/server.h"
#include "core/log/memory_log.h"
#include "proxy/momento/backend.h"
#include "proxy/momento/meter.h"

namespace proxy::momento {
namespace {

class LocalServerTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    config::Local local;
    local.port = 0;
    if (GetParam()) local.host = absl::StrCat("unix-abstract:momento-client-test-", ::getpid());
    auto server =
        cache::local::LocalServer::Start(local, config::Seg(), &clock_, &server_registry_, &log_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(server_->CreateCache("c").ok());
    NewClient("c");
  }

  void NewClient(const std::string& cache_name) {
    client_.reset();
    config::Momento momento;
    momento.endpoint_override = server_->target();
    auto backend = Backend::Create(momento, {}, &clock_, &registries_.emplace_back(), &log_,
                                   [](const char*) { return std::string(); });
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
    config::Cache cache;
    cache.cache_name = cache_name;
    cache.deadline = absl::Seconds(20);
    meter_ = std::make_unique<Meter>(&registries_.back(), core::Labels());
    client_ = backend_->NewClient(&loop_, cache, 2, meter_.get());
  }

  // Runs the loop until `done`, or too many turns.
  void RunUntil(const bool& done) {
    for (int turn = 0; turn < 3000 && !done; ++turn) loop_.RunOnce(10);
    ASSERT_TRUE(done);
  }
  template <class Result, class Start>
  Result Do(Start start) {
    Result result;
    bool done = false;
    start([&](Result r) {
      result = std::move(r);
      done = true;
    });
    EXPECT_FALSE(done) << "called back from inside";
    client_->Flush();
    RunUntil(done);
    return result;
  }
  GetResult Get(absl::string_view key) {
    return Do<GetResult>([&](auto done) { client_->Get(key, std::move(done)); });
  }
  StoreResult Set(absl::string_view key, absl::string_view value) {
    return Do<StoreResult>(
        [&](auto done) { client_->Set(key, "", value, 60'000, std::move(done)); });
  }

  core::RealClock clock_;
  core::EventLoop loop_{&clock_};
  core::NullLog log_;
  core::Registry server_registry_;
  std::deque<core::Registry> registries_;
  std::unique_ptr<cache::local::LocalServer> server_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Meter> meter_;
  std::unique_ptr<Client> client_;
};

INSTANTIATE_TEST_SUITE_P(Sockets, LocalServerTest, ::testing::Bool(),
                         [](const auto& param) { return param.param ? "Unix" : "Tcp"; });

TEST_P(LocalServerTest, GetsWhatWasSet) {
  EXPECT_FALSE(Get("k").hit);
  const StoreResult stored = Set("k", "value");
  EXPECT_TRUE(stored.error.ok()) << stored.error.message;
  EXPECT_TRUE(stored.stored);
  const GetResult got = Get("k");
  EXPECT_TRUE(got.hit);
  EXPECT_EQ(got.value, "value");
}

TEST_P(LocalServerTest, JoinsPrefixAndBody) {
  Do<StoreResult>([&](auto done) { client_->Set("k", "pre", "fix", 60'000, std::move(done)); });
  EXPECT_EQ(Get("k").value, "prefix");
}

TEST_P(LocalServerTest, CarriesEmptyAndLargeAndBinaryValues) {
  EXPECT_TRUE(Set("empty", "").stored);
  EXPECT_TRUE(Get("empty").hit);
  EXPECT_EQ(Get("empty").value, "");
  std::string large;
  for (int i = 0; i < 4'000'000; ++i) large.push_back(static_cast<char>(i * 31 >> 3));
  const StoreResult stored = Set("large", large);
  ASSERT_TRUE(stored.stored) << stored.error.message;
  EXPECT_TRUE(Get("large").value == large);
}

TEST_P(LocalServerTest, BatchAnswersInOrder) {
  Set("a", "1");
  Set("c", "3");
  const std::vector<absl::string_view> keys = {"a", "b", "c", "a"};
  const auto results = Do<std::vector<GetResult>>(
      [&](auto done) { client_->GetBatch(keys, std::move(done)); });
  ASSERT_EQ(results.size(), 4u);
  EXPECT_EQ(results[0].value, "1");
  EXPECT_FALSE(results[1].hit);
  EXPECT_EQ(results[2].value, "3");
  EXPECT_EQ(results[3].value, "1");
}

TEST_P(LocalServerTest, ABatchOfWritesAnswersEach) {
  const std::vector<StoreItem> items = {{"a", "", "1", 60'000}, {"b", "p", "2", 60'000}};
  const auto results = Do<std::vector<StoreResult>>(
      [&](auto done) { client_->SetBatch(items, std::move(done)); });
  ASSERT_EQ(results.size(), 2u);
  for (const StoreResult& result : results) EXPECT_TRUE(result.stored);
  EXPECT_EQ(Get("a").value, "1");
  EXPECT_EQ(Get("b").value, "p2");
  const std::string large(6'000'000, 'x');
  const std::vector<StoreItem> refused = {{"c", "", "1", 60'000}, {"d", "", large, 60'000}};
  const auto failed = Do<std::vector<StoreResult>>(
      [&](auto done) { client_->SetBatch(refused, std::move(done)); });
  ASSERT_FALSE(failed.empty());
  EXPECT_EQ(failed.back().error.code, Code::kResourceExhausted);
}

// By the rule, item by item: its key and value, each begun KiB one operation; SetIf counts twice.
TEST_P(LocalServerTest, TheMeterCountsAsTheServiceDoes) {
  Set("a", std::string(1023, 'x'));      // 1024 bytes: 1.
  Set("b", std::string(1024, 'x'));      // 1025 bytes: 2.
  Get("b");                              // 2.
  Get("none");                           // 1.
  const std::vector<absl::string_view> keys = {"a", "b", "none"};
  Do<std::vector<GetResult>>([&](auto done) { client_->GetBatch(keys, std::move(done)); });  // 4.
  Do<StoreResult>([&](auto done) {       // 2.
    client_->SetIf("c", "", "v", 60'000, Condition::kAbsent, std::move(done));
  });
  Do<DoneResult>([&](auto done) { client_->Delete("c", std::move(done)); });  // 1.
  const std::vector<StoreItem> items = {{"a", "", "1", 60'000}, {"b", "p", "2", 60'000}};
  Do<std::vector<StoreResult>>([&](auto done) { client_->SetBatch(items, std::move(done)); });  // 2.
  EXPECT_EQ(meter_->read.Value(), 7u);
  EXPECT_EQ(meter_->write.Value(), 8u);
  EXPECT_EQ(meter_->consistent_read.Value(), 0u);
  EXPECT_EQ(meter_->doubtful.Value(), 0u);
  EXPECT_EQ(meter_->sent_bytes.Value(), 1024u + 1025 + 1 + 4 + 6 + 2 + 1 + 2 + 3);
  EXPECT_EQ(meter_->received_bytes.Value(), 1024u + 1023 + 1024);
  NewClient("no-such-cache");
  EXPECT_EQ(Set("k", std::string(2048, 'x')).error.code, Code::kNotFound);
  EXPECT_EQ(meter_->write.Value(), 0u);
  EXPECT_EQ(meter_->doubtful.Value(), 3u);
}

TEST_P(LocalServerTest, ConditionalWrites) {
  const auto set_if = [&](Condition condition) {
    return Do<StoreResult>([&](auto done) {
      client_->SetIf("k", "", "v", 60'000, condition, std::move(done));
    });
  };
  EXPECT_FALSE(set_if(Condition::kPresent).stored);
  EXPECT_TRUE(set_if(Condition::kAbsent).stored);
  EXPECT_FALSE(set_if(Condition::kAbsent).stored);
  EXPECT_TRUE(set_if(Condition::kPresent).stored);
}

TEST_P(LocalServerTest, HashesGuardWrites) {
  const auto set_if = [&](absl::string_view value, std::optional<absl::string_view> hash) {
    return Do<StoreResult>([&](auto done) {
      client_->SetIfHash("k", "", value, 60'000, hash, std::move(done));
    });
  };
  EXPECT_FALSE(
      Do<HashedGetResult>([&](auto done) { client_->GetWithHash("k", std::move(done)); }).hit);
  const StoreResult first = set_if("one", std::nullopt);
  ASSERT_TRUE(first.stored) << first.error.message;
  const auto read =
      Do<HashedGetResult>([&](auto done) { client_->GetWithHash("k", std::move(done)); });
  EXPECT_TRUE(read.hit);
  EXPECT_EQ(read.value, "one");
  EXPECT_EQ(read.hash, first.hash);
  EXPECT_TRUE(set_if("two", first.hash).stored);
  EXPECT_FALSE(set_if("three", first.hash).stored);
  EXPECT_EQ(Get("k").value, "two");
}

TEST_P(LocalServerTest, DeletesAndLooks) {
  Set("k", "v");
  const auto exists = [&] {
    return Do<FoundResult>([&](auto done) { client_->KeyExists("k", std::move(done)); });
  };
  EXPECT_TRUE(exists().found);
  EXPECT_TRUE(
      Do<DoneResult>([&](auto done) { client_->Delete("k", std::move(done)); }).error.ok());
  EXPECT_FALSE(exists().found);
  EXPECT_TRUE(exists().error.ok());
}

TEST_P(LocalServerTest, ReadsAndChangesTtl) {
  const auto update = [&](uint64_t ttl_ms) {
    return Do<FoundResult>([&](auto done) { client_->UpdateTtl("k", ttl_ms, std::move(done)); });
  };
  const auto read = [&] {
    return Do<TtlResult>([&](auto done) { client_->ItemGetTtl("k", std::move(done)); });
  };
  EXPECT_FALSE(update(5000).found);
  EXPECT_FALSE(read().found);
  Set("k", "v");
  EXPECT_GT(read().ttl_ms, 30'000u);
  EXPECT_TRUE(update(5000).found);
  const TtlResult ttl = read();
  EXPECT_TRUE(ttl.found);
  EXPECT_LE(ttl.ttl_ms, 5000u);
  EXPECT_GT(ttl.ttl_ms, 0u);
}

TEST_P(LocalServerTest, FlushesThroughTheControlPlane) {
  Set("k", "v");
  const auto flushed = Do<DoneResult>([&](auto done) { client_->FlushCache(std::move(done)); });
  EXPECT_TRUE(flushed.error.ok()) << flushed.error.message;
  EXPECT_FALSE(Get("k").hit);
}

TEST_P(LocalServerTest, Pings) {
  const auto pong = Do<DoneResult>([&](auto done) { client_->Ping(std::move(done)); });
  EXPECT_TRUE(pong.error.ok()) << pong.error.message;
}

TEST_P(LocalServerTest, UnknownCacheIsNotFound) {
  NewClient("nobody");
  EXPECT_EQ(Get("k").error.code, Code::kNotFound);
  const std::vector<absl::string_view> keys = {"a", "b"};
  const auto results = Do<std::vector<GetResult>>(
      [&](auto done) { client_->GetBatch(keys, std::move(done)); });
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].error.code, Code::kNotFound);
}

TEST_P(LocalServerTest, ManyCallsAtOnceAllAnswer) {
  constexpr int kCalls = 3000;
  Set("k", "v");
  int hits = 0;
  int ended = 0;
  for (int i = 0; i < kCalls; ++i) {
    client_->Get("k", [&](GetResult result) {
      ++ended;
      hits += result.hit ? 1 : 0;
    });
  }
  for (int turn = 0; turn < 3000 && ended < kCalls; ++turn) loop_.RunOnce(10);
  EXPECT_EQ(ended, kCalls);
  EXPECT_EQ(hits, kCalls);
}

TEST_P(LocalServerTest, LimitsCarryTheirDetail) {
  const StoreResult stored = Set("k", std::string(6'000'000, 'x'));
  EXPECT_EQ(stored.error.code, Code::kResourceExhausted) << stored.error.message;
  EXPECT_NE(stored.error.detail, "");
}

TEST_P(LocalServerTest, DestroyingTheClientDropsItsCalls) {
  Set("k", "v");
  int called = 0;
  for (int i = 0; i < 300; ++i) client_->Get("k", [&](GetResult) { ++called; });
  client_->Flush();
  client_.reset();
  EXPECT_EQ(called, 0);
}

}  // namespace
}  // namespace proxy::momento
