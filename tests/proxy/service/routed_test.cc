// One listener over three caches, each with a backend that answers when the test says so.
#include "proxy/service/routed_service.h"

#include <gmock/gmock.h>

#include <random>

#include "absl/strings/match.h"
#include "core/net/out_buffer.h"
#include "proto/memcache/codec.h"
#include "proto/memcache/klog.h"
#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

static_assert(core::Service<proto::memcache::WithKlog<RoutedService>, proto::memcache::Codec>);

class Routed : public testing::Test {
 protected:
  // What belongs to one cache.
  struct Backend {
    Backend(const std::string& called, core::Clock* clock, core::Registry* registry)
        : name(called), shared(registry, {{"cache", called}}), client(clock) {
      cache.cache_name = called;
      cache.default_ttl = absl::Seconds(60);
    }
    std::string name;
    config::Cache cache;
    CacheShared shared;
    momento::FakeClient client;
    std::unique_ptr<ProxyService> service;
  };

  Routed() {
    listener().routes = {{"u:", "users"}, {"s:", "sess", true}};
  }
  ~Routed() override {
    connection_.reset();
    for (const auto& one : backends_) {
      if (one->service == nullptr) continue;
      EXPECT_EQ(one->service->in_flight(), expected_in_flight_);
      one->service->Forsake();
    }
    if (router_ != nullptr) {
      EXPECT_EQ(router_->merging(), 0u);
    }
    EXPECT_EQ(sink_.abandoned, expected_abandoned_);
  }

  config::Cache& listener() { return backends_[0]->cache; }
  momento::FakeClient& client(size_t i) { return backends_[i]->client; }
  Metrics& metrics(size_t i) { return backends_[i]->shared.metrics; }

  RoutedService& router() {
    if (router_ != nullptr) return *router_;
    table_.emplace(listener());
    router_ = std::make_unique<RoutedService>(&*table_, &route_metrics_, listener().route_flag);
    std::vector<ProxyService*> services;
    for (const auto& one : backends_) {
      one->service = std::make_unique<ProxyService>(
          &one->client, one->cache, server_, &loop_, &one->shared,
          [name = one->name](absl::string_view argument) {
            Response rsp(Status::kStats);
            rsp.stats.emplace_back(name, std::string(argument));
            return rsp;
          });
      services.push_back(one->service.get());
    }
    router_->Lead(std::move(services));
    connection_ = std::make_unique<RoutedService::Connection>(router_->Connect());
    return *router_;
  }
  uint64_t Send(const Request& req) {
    router();
    return SendOn(*connection_, req);
  }
  // The request's bytes die as soon as Execute returns, as in a session.
  uint64_t SendOn(RoutedService::Connection& connection, const Request& req) {
    const uint64_t sequence = next_sequence_++;
    std::vector<std::unique_ptr<std::string>> bytes;
    const auto own = [&bytes](absl::string_view view) -> absl::string_view {
      bytes.push_back(std::make_unique<std::string>(view));
      return *bytes.back();
    };
    Request moved = CopyOf(req);
    for (absl::string_view& key : moved.keys) key = own(key);
    moved.value = own(moved.value);
    moved.argument = own(moved.argument);
    router().Execute(connection, moved, MemcacheReply(&sink_, {1, 0}, sequence));
    for (auto& text : bytes) std::fill(text->begin(), text->end(), '!');
    return sequence;
  }
  size_t pending() const {
    size_t sum = 0;
    for (const auto& one : backends_) sum += one->client.pending();
    return sum;
  }
  void EndTurns() {
    router().EndTurn();
    for (const auto& one : backends_) one->service->EndTurn();  // As their own hooks do.
  }
  void Settle() {
    EndTurns();
    while (pending() > 0) {
      for (const auto& one : backends_) {
        if (one->client.pending() > 0) one->client.Deliver();
      }
      EndTurns();
    }
  }
  std::string Reply(uint64_t sequence) const {
    const auto it = sink_.texts.find(sequence);
    return it == sink_.texts.end() ? "(none)" : it->second;
  }
  std::string Ask(const Request& req) {
    const uint64_t sequence = Send(req);
    Settle();
    return Reply(sequence);
  }
  void Put(size_t backend, const std::string& key, const std::string& stored) {
    client(backend).items[key] = {stored, clock_.MonotonicMs() + 60'000};
  }
  std::vector<std::string> KeysOf(size_t backend) {
    std::vector<std::string> keys;
    for (const auto& [key, item] : client(backend).items) keys.push_back(key);
    return keys;
  }

  core::ManualClock clock_;
  core::EventLoop loop_{&clock_};
  core::Registry registry_;
  config::Server server_;
  RouteMetrics route_metrics_{&registry_, {{"cache", "own"}}};
  std::vector<std::unique_ptr<Backend>> backends_ = [this] {
    std::vector<std::unique_ptr<Backend>> all;
    for (const char* name : {"own", "users", "sess"}) {
      all.push_back(std::make_unique<Backend>(name, &clock_, &registry_));
    }
    return all;
  }();
  TestSink sink_;
  size_t expected_in_flight_ = 0;
  int expected_abandoned_ = 0;
  std::optional<RouteTable> table_;
  std::unique_ptr<RoutedService> router_;
  std::unique_ptr<RoutedService::Connection> connection_;
  uint64_t next_sequence_ = 0;
};

constexpr size_t kOwn = 0, kUsers = 1, kSess = 2;

TEST_F(Routed, EveryCommandGoesToTheCacheThatHasTheKey) {
  EXPECT_EQ(Ask(SetOf("k", "1")), "STORED");
  EXPECT_EQ(Ask(SetOf("u:k", "2")), "STORED");
  EXPECT_EQ(Ask(SetOf("s:k", "3")), "STORED");
  EXPECT_THAT(KeysOf(kOwn), ElementsAre("k"));
  EXPECT_THAT(KeysOf(kUsers), ElementsAre("u:k"));
  EXPECT_THAT(KeysOf(kSess), ElementsAre("k"));
  EXPECT_EQ(Ask(GetOf({"k"})), "k=1/0");
  EXPECT_EQ(Ask(GetOf({"u:k"})), "u:k=2/0");
  EXPECT_EQ(Ask(GetOf({"s:k"})), "s:k=3/0");
  EXPECT_EQ(Ask(CountOf("s:k", 4)), "7");
  EXPECT_EQ(Ask(TouchOf("s:k", 9)), "TOUCHED");
  EXPECT_EQ(client(kSess).TtlOf("k"), 9000);
  EXPECT_EQ(Ask(GatOf(5, {"s:k"})), "s:k=7/0");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAdd, "s:k", "x")), "NOT_STORED");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAppend, "s:k", "8")), "STORED");
  EXPECT_EQ(Ask(CasOf("s:k", "y", translate::CasToken("78"))), "STORED");
  EXPECT_EQ(Ask(DeleteOf("s:k")), "DELETED");
  EXPECT_EQ(Ask(DeleteOf("s:k")), "NOT_FOUND");
  EXPECT_EQ(Ask(GetOf({"s:k"})), "END");
  EXPECT_THAT(KeysOf(kSess), IsEmpty());
  EXPECT_THAT(KeysOf(kOwn), ElementsAre("k"));
  EXPECT_EQ(metrics(kUsers).get_hit.Value(), 1u);
  EXPECT_EQ(metrics(kSess).get_hit.Value(), 1u);
  EXPECT_EQ(metrics(kSess).get_miss.Value(), 1u);
  EXPECT_EQ(metrics(kOwn).store.Value(), 1u);
  EXPECT_EQ(metrics(kSess).store.Value(), 4u);
}

TEST_F(Routed, AKeyThatIsNothingButAStrippedPrefixIsNotRouted) {
  EXPECT_EQ(Ask(SetOf("s:", "1")), "STORED");
  EXPECT_THAT(KeysOf(kOwn), ElementsAre("s:"));
  EXPECT_EQ(Ask(GetOf({"s:"})), "s:=1/0");
}

TEST_F(Routed, AGetOverThreeCachesIsOneAnswerInTheOrderAsked) {
  for (const char* key : {"a", "b", "c"}) {
    Put(kOwn, key, std::string("own-") + key);
    Put(kUsers, std::string("u:") + key, std::string("user-") + key);
    Put(kSess, key, std::string("sess-") + key);
  }
  const std::string expected =
      "s:a=sess-a/0 a=own-a/0 u:a=user-a/0 u:b=user-b/0 s:b=sess-b/0 a=own-a/0 s:a=sess-a/0";
  const Request req = GetOf({"s:a", "a", "u:a", "u:x", "u:b", "s:x", "s:b", "a", "x", "s:a"});
  EXPECT_EQ(Ask(req), expected);
  // Each cache batches its own keys.
  EXPECT_THAT(client(kOwn).TakeCalls(), ElementsAre("GetBatch 2: a x"));
  EXPECT_THAT(client(kUsers).TakeCalls(), ElementsAre("GetBatch 3: u:a u:x u:b"));
  EXPECT_THAT(client(kSess).TakeCalls(), ElementsAre("GetBatch 3: a x b"));
  EXPECT_EQ(route_metrics_.spread.Value(), 1u);

  // Whatever the order of the answers.
  std::vector<size_t> order = {0, 1, 2};
  do {
    const uint64_t sequence = Send(req);
    EndTurns();
    for (const size_t i : order) {
      EXPECT_EQ(Reply(sequence), "(none)");
      client(i).Deliver();
    }
    EXPECT_EQ(Reply(sequence), expected);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(Routed, LongValuesAndShortOnesTravelTogether) {
  const std::string large(100'000, 'x');
  Put(kOwn, "l", large);
  Put(kUsers, "u:s", "short");
  Put(kUsers, "u:l", large);
  Put(kSess, "s", "also short, and yet longer than a short string is");
  for (const size_t last : {kOwn, kUsers, kSess}) {
    const uint64_t sequence = Send(GetsOf({"u:s", "l", "s:s", "u:l"}));
    EndTurns();
    for (size_t i = 0; i < backends_.size(); ++i) {
      while (i != last && client(i).pending() > 0) client(i).Deliver();
    }
    while (client(last).pending() > 0) client(last).Deliver();
    EXPECT_EQ(Reply(sequence),
              absl::StrCat("u:s=short/0 l=", large,
                           "/0 s:s=also short, and yet longer than a short string is/0 u:l=", large,
                           "/0"));
  }
}

TEST_F(Routed, AGetOfOneCacheIsItsOwn) {
  Put(kUsers, "u:a", "1");
  Put(kUsers, "u:b", "2");
  EXPECT_EQ(Ask(GetOf({"u:b", "u:a"})), "u:b=2/0 u:a=1/0");
  Put(kSess, "a", "3");
  EXPECT_EQ(Ask(GetOf({"s:b", "s:a"})), "s:a=3/0");
  EXPECT_EQ(route_metrics_.spread.Value(), 0u);
}

TEST_F(Routed, AGatOverCachesTouchesInEach) {
  Put(kOwn, "a", "1");
  Put(kSess, "a", "2");
  EXPECT_EQ(Ask(GatOf(7, {"a", "s:a", "s:b", "s:a"})), "a=1/0 s:a=2/0 s:a=2/0");
  EXPECT_EQ(client(kOwn).TtlOf("a"), 7000);
  EXPECT_EQ(client(kSess).TtlOf("a"), 7000);
}

TEST_F(Routed, CommandsOnAKeyKeepTheirOrderAndOtherCachesDoNotWait) {
  Put(kSess, "k", "old");
  const uint64_t first = Send(SetOf("s:k", "new"));
  const uint64_t get = Send(GetOf({"s:k", "k", "u:k"}));
  const uint64_t second = Send(SetOf("s:k", "newer"));
  EndTurns();
  EXPECT_THAT(client(kSess).calls, ElementsAre("SetIfHash k"));
  EXPECT_THAT(client(kOwn).calls, ElementsAre("Get k"));
  EXPECT_THAT(client(kUsers).calls, ElementsAre("Get u:k"));
  Settle();
  EXPECT_EQ(Reply(first), "STORED");
  EXPECT_EQ(Reply(get), "s:k=new/0");
  EXPECT_EQ(Reply(second), "STORED");
  EXPECT_EQ(client(kSess).items["k"].value, "newer");
  // Another connection's commands are in no line of this one's.
  RoutedService::Connection other = router().Connect();
  Send(SetOf("s:k", "1"));
  SendOn(other, SetOf("s:k", "2"));
  EXPECT_EQ(client(kSess).pending(), 2u);
  Settle();
}

TEST_F(Routed, GetsOfAKeyShareAFlightThroughTheRouterToo) {
  Put(kSess, "k", "1");
  RoutedService::Connection other = router().Connect();
  const uint64_t one = Send(GetOf({"s:k", "a"}));
  const uint64_t two = SendOn(other, GetOf({"s:k"}));
  Settle();
  EXPECT_THAT(client(kSess).calls, ElementsAre("Get k"));
  EXPECT_EQ(Reply(one), "s:k=1/0");
  EXPECT_EQ(Reply(two), "s:k=1/0");
  EXPECT_EQ(metrics(kSess).get_coalesced.Value(), 1u);
}

TEST_F(Routed, ACacheThatFailsFailsAlone) {
  Put(kOwn, "k", "1");
  Put(kUsers, "u:k", "2");
  client(kUsers).faults = {{"Get", {}}, {"SetIfHash", {}}};
  EXPECT_EQ(Ask(GetOf({"u:k", "k", "s:k"})), "k=1/0");
  EXPECT_TRUE(absl::StartsWith(Ask(SetOf("u:k", "3")), "SERVER_ERROR"));
  EXPECT_EQ(Ask(SetOf("k", "4")), "STORED");
  EXPECT_EQ(metrics(kUsers).get_failed.Value(), 1u);
  EXPECT_EQ(metrics(kOwn).get_failed.Value(), 0u);
}

TEST_F(Routed, TheErrorOfTheKeyThatCameFirstIsTheAnswerWhereErrorsAreTold) {
  backends_[kUsers]->cache.get_error = config::Cache::GetError::kError;
  backends_[kSess]->cache.get_error = config::Cache::GetError::kError;
  Put(kOwn, "k", "1");
  client(kUsers).faults["Get"].code = momento::Code::kDeadlineExceeded;
  client(kSess).faults["Get"].code = momento::Code::kUnavailable;
  for (const bool users_last : {false, true}) {
    const uint64_t sequence = Send(GetOf({"k", "u:k", "s:k"}));
    EndTurns();
    client(kOwn).Deliver();
    client(users_last ? kSess : kUsers).Deliver();
    EXPECT_EQ(Reply(sequence), "(none)");
    client(users_last ? kUsers : kSess).Deliver();
    EXPECT_EQ(Reply(sequence), "SERVER_ERROR backend timeout");
  }
}

TEST_F(Routed, KeysWithoutARouteMayBeRefused) {
  listener().no_route = config::Cache::NoRoute::kError;
  EXPECT_EQ(Ask(SetOf("k", "1")), "SERVER_ERROR no route for this key");
  EXPECT_EQ(Ask(GetOf({"k"})), "SERVER_ERROR no route for this key");
  EXPECT_EQ(Ask(GetOf({"u:k", "s:k", "k"})), "SERVER_ERROR no route for this key");
  EXPECT_EQ(Ask(SetOf("u:k", "1")), "STORED");
  Request version;
  version.op = Op::kVersion;
  EXPECT_TRUE(absl::StartsWith(Ask(version), "VERSION"));
  EXPECT_EQ(route_metrics_.refused.Value(), 3u);
  EXPECT_THAT(client(kOwn).calls, IsEmpty());
  EXPECT_THAT(client(kSess).calls, IsEmpty());
}

TEST_F(Routed, AMetaCommandMayNameItsCache) {
  Put(kUsers, "s:k", "named");
  Put(kSess, "k", "by prefix");
  Request get = GetOf({"s:k"});
  get.dialect = proto::memcache::Dialect::kMeta;
  const auto asked = [&](absl::string_view name) {
    get.route = name;
    return Ask(get);
  };
  EXPECT_THAT(asked("users"), testing::HasSubstr("named"));
  EXPECT_THAT(asked("sess"), testing::Not(testing::HasSubstr("by prefix")));  // The key is whole.
  for (const absl::string_view hint : {"", "nobody"}) {
    EXPECT_THAT(asked(hint), testing::HasSubstr("by prefix")) << hint;
  }
}

TEST_F(Routed, ANameIsNotHeardUnlessItMay) {
  listener().route_flag = false;
  Put(kUsers, "s:k", "named");
  Put(kSess, "k", "by prefix");
  Request get = GetOf({"s:k"});
  get.dialect = proto::memcache::Dialect::kMeta;
  get.route = "users";
  EXPECT_THAT(Ask(get), testing::HasSubstr("by prefix"));
}

// What a meta command asks beside the key reaches a cache that is told the rest of the key.
TEST_F(Routed, AStrippedMetaCommandAsksTheSame) {
  Request get = VivifyOf("s:k");
  get.dialect = proto::memcache::Dialect::kMeta;
  (void)Ask(get);
  EXPECT_THAT(KeysOf(kSess), ElementsAre("k"));  // Made, since there was none.
  (void)Ask(GetOf({"s:none"}));
  EXPECT_THAT(KeysOf(kSess), ElementsAre("k"));  // And the next command does not ask for it.
}

TEST_F(Routed, FlushAllIsOfEveryCacheThatAllowsIt) {
  EXPECT_EQ(Ask(FlushOf()), "CLIENT_ERROR flush_all not allowed");
  router_.reset();
  backends_[kUsers]->cache.flush_all = true;
  for (const auto& [backend, key] : {std::pair(kOwn, "k"), {kUsers, "u:k"}, {kSess, "k"}}) {
    Put(backend, key, "v");
  }
  EXPECT_EQ(Ask(FlushOf()), "OK");
  EXPECT_EQ(client(kUsers).flushes, 1);
  EXPECT_THAT(KeysOf(kOwn), ElementsAre("k"));
  router_.reset();
  backends_[kSess]->cache.flush_all = true;
  const uint64_t flush = Send(FlushOf());
  const uint64_t behind = Send(GetOf({"s:k"}));  // Waits for the flush of its cache.
  EndTurns();
  client(kUsers).Deliver();
  EXPECT_EQ(Reply(flush), "(none)");
  Settle();
  EXPECT_EQ(Reply(flush), "OK");
  EXPECT_EQ(Reply(behind), "END");
  EXPECT_EQ(client(kUsers).flushes, 2);
  EXPECT_EQ(client(kSess).flushes, 1);
  EXPECT_EQ(client(kOwn).flushes, 0);
  EXPECT_EQ(Ask(FlushOf(3600)), "OK");  // Each by its own clock.
  client(kSess).faults["FlushCache"].count = 1;
  EXPECT_TRUE(absl::StartsWith(Ask(FlushOf()), "SERVER_ERROR"));
  EXPECT_EQ(client(kUsers).flushes, 3);
}

TEST_F(Routed, StatsAreOfTheListenerOrOfTheCacheThatIsNamed) {
  const auto stats = [](absl::string_view argument) {
    Request req = KeyOf(Op::kStats, "");
    req.keys.clear();
    req.argument = argument;
    return req;
  };
  struct Pairs final : core::ReplySink<Response> {
    void Deliver(core::SessionRef, uint64_t, Response&& rsp) override {
      status = rsp.status;
      lines = rsp.stats;
    }
    void Abandon(core::SessionRef, uint64_t) override {}
    Status status = Status::kError;
    std::vector<std::pair<std::string, std::string>> lines;
  } sink;
  const auto ask = [&](absl::string_view argument) {
    router().Execute(*connection_, stats(argument), MemcacheReply(&sink, {}, 0));
    return sink.lines.empty() ? std::pair<std::string, std::string>() : sink.lines[0];
  };
  using Line = std::pair<std::string, std::string>;
  router();
  EXPECT_EQ(ask(""), Line("own", ""));
  EXPECT_EQ(ask("near"), Line("own", "near"));
  EXPECT_EQ(ask("cache sess"), Line("sess", ""));
  EXPECT_EQ(ask("cache users near"), Line("users", "near"));
  EXPECT_EQ(ask("cache own"), Line("own", ""));
  EXPECT_EQ(ask("routes"), Line("0:prefix", "s:"));
  ask("cache elsewhere");
  EXPECT_EQ(sink.status, Status::kClientError);
}

// A binary GETK that finds nothing has the key in its answer, whole.
TEST_F(Routed, AMissThatTellsItsKeyTellsItWhole) {
  struct Whole final : core::ReplySink<Response> {
    void Deliver(core::SessionRef, uint64_t, Response&& rsp) override { text = rsp.text; }
    void Abandon(core::SessionRef, uint64_t) override {}
    std::string text;
  } sink;
  Request req = GetOf({"s:k"});
  req.want |= proto::memcache::kWantMissKey;
  router().Execute(*connection_, req, MemcacheReply(&sink, {}, 0));
  Settle();
  EXPECT_EQ(sink.text, "s:k");
}

TEST_F(Routed, MoreKeysThanOneGetMayHaveAreRefusedWithoutACall) {
  Request req = GetOf({"u:a"});
  req.keys.resize(65'537, "a");
  const uint64_t get = Send(req);
  EXPECT_EQ(client(kOwn).calls.size(), 0u);
  Settle();
  EXPECT_EQ(Reply(get), "SERVER_ERROR out of memory writing get response");
}

TEST_F(Routed, WhatIsUnderWayAtTheEndIsDroppedWhole) {
  expected_abandoned_ = 2;
  const uint64_t get = Send(GetOf({"s:k", "k", "u:k"}));
  const uint64_t set = Send(SetOf("s:j", "1"));
  EndTurns();
  client(kOwn).Deliver();
  connection_.reset();
  for (const auto& one : backends_) one->service->Forsake();
  EXPECT_EQ(sink_.abandoned, 2);
  EXPECT_EQ(Reply(get), "(none)");
  EXPECT_EQ(Reply(set), "(none)");
  for (const auto& one : backends_) one->service.reset();
}

// Random commands of two connections, answers in random order: what is read is what the same
// connection wrote last, wherever the key lives.
TEST_F(Routed, AgreesWithOneMapForAnyOrderOfAnswers) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::vector<std::string> keys = {"a", "b", "u:a", "u:b", "s:a", "s:b"};
  std::map<std::string, std::string> model;
  std::map<uint64_t, std::string> expected;
  for (int i = 0; i < 3000; ++i) {
    if (random() % 3 == 0) {
      const std::string& key = keys[random() % keys.size()];
      model[key] = std::to_string(i);
      expected[Send(SetOf(key, model[key]))] = "STORED";
    } else {
      Request req = GetOf({});
      std::string text;
      for (size_t n = 1 + random() % 5; n > 0; --n) {
        const std::string& key = keys[random() % keys.size()];
        req.keys.push_back(key);
        if (model.count(key) == 0) continue;
        absl::StrAppend(&text, text.empty() ? "" : " ", key, "=", model[key], "/0");
      }
      expected[Send(req)] = text.empty() ? "END" : text;
    }
    if (random() % 4 == 0) EndTurns();
    for (size_t n = random() % 4; n > 0; --n) {
      momento::FakeClient& one = client(random() % backends_.size());
      if (one.pending() > 0) one.Deliver(random() % one.pending());
    }
  }
  Settle();
  for (const auto& [sequence, text] : expected) ASSERT_EQ(Reply(sequence), text) << sequence;
}

}  // namespace
}  // namespace proxy
