// The near cache: what it saves, and that it shows nothing it must not.
#include <gmock/gmock.h>

#include <atomic>
#include <random>
#include <thread>

#include "proxy/service/near_cache.h"
#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class Near : public ServiceTest {
 protected:
  Near() {
    cache_.near_size = 1 << 20;
    cache_.near_staleness = absl::Seconds(1);
    cache_.default_ttl = absl::Seconds(60);
    cache_.cache_name = "c";
  }
  // Made with the service, so that a test can turn knobs before.
  ProxyService& service() {
    near();
    return ServiceTest::service();
  }
  ProxyService::Connection& connection() {
    near();
    return ServiceTest::connection();
  }
  NearCache& near() {
    if (near_ == nullptr) {
      auto made = NearCache::Create(cache_, &shared_.marks, &clock_, &registry_, {});
      EXPECT_TRUE(made.ok()) << made.status();
      near_ = *std::move(made);
      shared_.near = near_.get();
    }
    return *near_;
  }
  uint64_t Send(const Request& req) { return SendOn(connection(), req); }
  std::string Ask(const Request& req) {
    const uint64_t sequence = Send(req);
    Settle();
    return Reply(sequence);
  }
  // The answer to a get of `key`, and the calls it took.
  std::string Get(const std::string& key) {
    client_.TakeCalls();
    const std::string reply = Ask(GetOf({key}));
    return absl::StrCat(reply, " after ", client_.calls.size());
  }
  void Wait(int64_t ms) {
    clock_.AdvanceMs(ms);
    loop_.RunOnce(0);
  }

  std::unique_ptr<NearCache> near_;
};

TEST_F(Near, ASecondGetMakesNoCall) {
  ASSERT_EQ(Ask(SetOf("other", "x")), "STORED");
  Put("k", std::string("\xf5MP\x01\0\0\x01\x02value", 13));
  EXPECT_EQ(Get("k"), "k=value/258 after 1");
  EXPECT_EQ(Get("k"), "k=value/258 after 0");
  ProxyService::Connection connection = service().Connect();
  const uint64_t many = SendOn(connection, GetOf({"k", "other", "none", "k"}));
  Settle();
  EXPECT_EQ(Reply(many), "k=value/258 other=x/0 k=value/258");
  EXPECT_THAT(client_.calls, ElementsAre("Get none"));
  EXPECT_EQ(near().metrics().hit.Value(), 3u);
  EXPECT_EQ(near().metrics().miss.Value(), 2u);
  EXPECT_EQ(metrics().get_hit.Value(), 5u);
  EXPECT_EQ(near().items(), 2u);
  ExpectLookupsAddUp();
}

TEST_F(Near, StalenessCountsFromWhenTheCallLeft) {
  Put("k", "1");
  const uint64_t slow = Send(GetOf({"k"}));
  service().EndTurn();
  Wait(600);
  Settle();
  EXPECT_EQ(Reply(slow), "k=1/0");
  Put("k", "2");  // By somebody else.
  Wait(399);
  EXPECT_EQ(Get("k"), "k=1/0 after 0");
  Wait(1);
  EXPECT_EQ(Get("k"), "k=2/0 after 1");
  Wait(999);
  EXPECT_EQ(Get("k"), "k=2/0 after 0");
}

TEST_F(Near, AnAnswerOlderThanTheStalenessIsNotKept) {
  Put("k", "1");
  Send(GetOf({"k"}));
  service().EndTurn();
  Wait(1000);
  Settle();
  EXPECT_EQ(Get("k"), "k=1/0 after 1");
}

TEST_F(Near, WhatWasStoredIsThereForEveryConnectionAndWorker) {
  ProxyService elsewhere(&client_, cache_, server_, &loop_, &(near(), shared_),
                         [](absl::string_view) { return Response(Status::kStats); });
  ProxyService::Connection there = elsewhere.Connect();
  EXPECT_EQ(Get("k"), "END after 1");
  for (const Request& write :
       {SetOf("k", "1", 7), CasOf("k", "2", TokenOf(std::string("\xf5MP\x01\0\0\0\7" "1", 9)), 8),
        StoreOf(StoreMode::kReplace, "k", "3", 9)}) {
    client_.TakeCalls();
    ASSERT_EQ(Ask(write), "STORED");
    const size_t made = client_.calls.size();
    elsewhere.Execute(there, GetOf({"k"}), MemcacheReply(&sink_, {1, 0}, 900 + write.flags));
    elsewhere.EndTurn();
    EXPECT_EQ(Reply(900 + write.flags), absl::StrCat("k=", write.value, "/", write.flags));
    EXPECT_EQ(client_.calls.size(), made);
  }
}

// Copies have no state, and of items that have one there are none.
TEST_F(Near, ItemsWithAStateAreNotCopied) {
  const std::string stored =
      absl::StrCat(translate::WrapWithState({.win_taken = true, .token = 7}, 5).view(), "v");
  Put("k", stored);
  EXPECT_EQ(Get("k"), "k=v/5 after 1");
  EXPECT_EQ(Get("k"), "k=v/5 after 1");
  Request given = SetOf("k", "w");
  given.new_cas = 8;
  EXPECT_EQ(Ask(given), "STORED");
  EXPECT_EQ(Get("k"), "k=w/0 after 1");
  EXPECT_EQ(near().items(), 0u);
}

TEST_F(Near, WhatOnlyReadsIsAnsweredFromACopyWhateverItsDialect) {
  Put("k", "v");
  EXPECT_EQ(Get("k"), "k=v/0 after 1");
  client_.TakeCalls();
  Request quiet = MetaGetOf("k");
  quiet.no_bump = true;
  EXPECT_EQ(Ask(quiet), "k=v/0");
  EXPECT_EQ(Ask(VivifyOf("k")), "k=v/0") << "there is one";
  EXPECT_THAT(client_.TakeCalls(), IsEmpty());
  Request unchanged = MetaGetOf("k");
  unchanged.cas = TokenOf("v");
  const uint64_t sent = SendOn(connection(), unchanged, TestSink::kMeta);
  Settle();
  EXPECT_EQ(Reply(sent), "k=v unchanged");
  EXPECT_THAT(client_.TakeCalls(), IsEmpty());
  // The token for a store to come, and lives, are the service's to tell.
  EXPECT_EQ(Ask(MetaGetOf("k", proto::memcache::kWantCas)), "k=v/0");
  EXPECT_EQ(Ask(MetaGetOf("k", proto::memcache::kWantTtl)), "k=v/0");
  EXPECT_THAT(client_.TakeCalls(),
              ElementsAre("GetWithHash k", "GetWithHash k", "ItemGetTtl k"));
}

TEST_F(Near, AWinClearsItsKey) {
  cache_.near_staleness = absl::Hours(1);
  Put("k", "v");
  EXPECT_EQ(Get("k"), "k=v/0 after 1");
  EXPECT_EQ(Ask(RecacheOf("k", 10)), "k=v/0");
  EXPECT_EQ(Get("k"), "k=v/0 after 0") << "nothing was won";
  EXPECT_EQ(Ask(RecacheOf("k", 1000)), "k=v/0");
  EXPECT_EQ(Get("k"), "k=v/0 after 1");
}

TEST_F(Near, ThereIsNoMakingFromTheCopyOfAMiss) {
  cache_.near_negative = absl::Seconds(10);
  EXPECT_EQ(Get("k"), "END after 1");
  EXPECT_EQ(Get("k"), "END after 0");
  EXPECT_EQ(Ask(MetaGetOf("k")), "END");
  EXPECT_EQ(client_.calls.size(), 0u);
  Put("k", "v");
  EXPECT_EQ(Ask(VivifyOf("k")), "k=v/0") << "somebody has made it";
  client_.items.clear();
  near().ForgetAll();
  EXPECT_EQ(Get("k"), "END after 1");
  EXPECT_EQ(Ask(VivifyOf("k")), "k=/0");
  EXPECT_EQ(Get("k"), "k=/0 after 1") << "the copy of the miss is gone";
}

TEST_F(Near, EveryWriteClearsItsKeyAndAFailedOneToo) {
  cache_.near_staleness = absl::Hours(1);
  const std::vector<KeptRequest> writes = {
      SetOf("k", "7"), SetOf("k", "7", 0, -1), StoreOf(StoreMode::kAdd, "k", "7"),
      StoreOf(StoreMode::kAppend, "k", "7"), CasOf("k", "7", 1), DeleteOf("k"), CountOf("k", 1),
      TouchOf("k", 9), GatOf(9, {"k"}), GatOf(9, {"k", "l"}), FlushOf(),
      InvalidatingOf(DeleteOf("k")), InvalidatingOf(CasOf("k", "7", 1))};
  for (bool fails : {false, true}) {
    for (const Request& write : writes) {
      Put("k", "1");
      Ask(GetOf({"k"}));
      ASSERT_EQ(Get("k"), "k=1/0 after 0");
      if (fails) {
        for (const char* call : {"SetIfHash", "SetIf", "Delete", "UpdateTtl", "FlushCache", "Get",
                                 "GetBatch", "GetWithHash", "KeyExists", "ItemGetTtl"}) {
          client_.faults[call] = momento::Fault{.count = 1};
        }
      }
      Send(write);
      Settle();
      client_.faults.clear();
      Put("k", "2");  // Whatever came of it.
      const std::string got = Get("k");
      if (!fails && write.op == Op::kStore && write.value == "7" && write.exptime != -1 &&
          write.mode == StoreMode::kSet && !write.cas.has_value()) {
        EXPECT_EQ(got, "k=7/0 after 0");
      } else {
        EXPECT_EQ(got, "k=2/0 after 1");
      }
      Ask(DeleteOf("k"));
    }
  }
}

TEST_F(Near, ALifeThatIsKnownIsNotOutlived) {
  cache_.near_staleness = absl::Hours(1);
  ASSERT_EQ(Ask(SetOf("k", "v", 0, 2)), "STORED");
  Wait(1999);
  EXPECT_EQ(Get("k"), "k=v/0 after 0");
  Wait(1);
  EXPECT_EQ(Get("k"), "END after 1");
}

// A copy is let go when its staleness is over, and a get that reads the item again tells no life: its
// end is then a change from elsewhere.
TEST_F(Near, WhatIsReadAgainMayBeShownPastItsLifeForTheStaleness) {
  ASSERT_EQ(Ask(SetOf("k", "v", 0, 2)), "STORED");
  Wait(1500);
  EXPECT_EQ(Get("k"), "k=v/0 after 1");
  Wait(999);
  EXPECT_EQ(Get("k"), "k=v/0 after 0");
  Wait(1);
  EXPECT_EQ(Get("k"), "END after 1");
}

TEST_F(Near, ASlowSetsLifeCountsFromItsBeginning) {
  cache_.near_staleness = absl::Hours(1);
  Send(SetOf("k", "v", 0, 2));
  service().EndTurn();
  Wait(500);
  Settle();
  Wait(1499);
  EXPECT_EQ(Get("k"), "k=v/0 after 0");
  Wait(1);
  EXPECT_EQ(Get("k"), "k=v/0 after 1");  // There for half a second more.
}

// A get that read the old value and whose answer comes after a later write's.
TEST_F(Near, ASlowReadLeavesNoOldCopyBehindAWrite) {
  cache_.near_staleness = absl::Hours(1);
  for (const bool written_first : {false, true}) {
    Put("k", "old");
    Ask(DeleteOf("x"));
    ProxyService::Connection other = service().Connect();
    uint64_t set = 0;
    if (written_first) {  // The get begins while the write runs.
      set = Send(SetOf("k", "new"));
      service().EndTurn();
    }
    const uint64_t slow = SendOn(other, GetOf({"k"}));
    service().EndTurn();
    client_.Perform(written_first ? 1 : 0);
    if (!written_first) {
      set = Send(SetOf("k", "new"));
      service().EndTurn();
    }
    client_.Deliver(written_first ? 0 : 1);
    ASSERT_EQ(Reply(set), "STORED");
    client_.Deliver();
    ASSERT_EQ(Reply(slow), "k=old/0");
    EXPECT_EQ(Get("k"), "k=new/0 after 0");
    Ask(DeleteOf("k"));
  }
  EXPECT_EQ(near().metrics().raced.Value(), 2u);
}

// The get's answer comes while the write runs: what is kept then would be the old value, and what
// was kept before must not be shown once the new one may have been.
TEST_F(Near, WhileAWriteRunsThereIsNoCopy) {
  cache_.near_staleness = absl::Hours(1);
  Put("k", "old");
  ASSERT_EQ(Get("k"), "k=old/0 after 1");
  ProxyService::Connection other = service().Connect();
  const uint64_t set = Send(SetOf("k", "new"));
  service().EndTurn();
  const uint64_t before = SendOn(other, GetOf({"k"}));
  service().EndTurn();
  client_.Deliver(1);
  EXPECT_EQ(Reply(before), "k=old/0");
  client_.Perform(0);  // Done at the service, not told yet.
  const uint64_t after = SendOn(other, GetOf({"k"}));
  service().EndTurn();
  ASSERT_EQ(client_.pending(), 2u) << "no copy to answer from";
  client_.Deliver(1);
  EXPECT_EQ(Reply(after), "k=new/0");
  Settle();
  EXPECT_EQ(Reply(set), "STORED");
  EXPECT_EQ(Get("k"), "k=new/0 after 0");
}

TEST_F(Near, OfTwoWritesAtOnceNoneIsKept) {
  cache_.near_staleness = absl::Hours(1);
  ProxyService::Connection other = service().Connect();
  Send(SetOf("k", "1"));
  SendOn(other, SetOf("k", "2"));
  service().EndTurn();
  client_.Perform(1);
  client_.Perform(0);
  client_.Deliver(0);
  client_.Deliver(0);  // Told last, done first.
  EXPECT_EQ(StoredAt("k"), "1");
  EXPECT_EQ(Get("k"), "k=1/0 after 1");
  EXPECT_EQ(Get("k"), "k=1/0 after 0");
}

TEST_F(Near, AFlushLeavesNothingNotEvenWhatIsUnderWay) {
  cache_.near_staleness = absl::Hours(1);
  Put("a", "1");
  Put("b", "2");
  ASSERT_EQ(Get("a"), "a=1/0 after 1");
  ProxyService::Connection other = service().Connect();
  Send(GetOf({"b"}));
  service().EndTurn();
  client_.Perform(0);
  const uint64_t set = Send(SetOf("c", "3"));
  service().EndTurn();
  client_.Perform(1);
  const uint64_t flush = SendOn(other, FlushOf());
  service().EndTurn();
  client_.Deliver(2);
  EXPECT_EQ(Reply(flush), "OK");
  Settle();
  EXPECT_EQ(Reply(set), "STORED");
  for (const char* key : {"a", "b", "c"}) EXPECT_EQ(Get(key), "END after 1");
}

TEST_F(Near, ADelayedFlushCountsToo) {
  cache_.near_staleness = absl::Hours(1);
  Put("a", "1");
  ASSERT_EQ(Get("a"), "a=1/0 after 1");
  ASSERT_EQ(Ask(FlushOf(2)), "OK");
  EXPECT_EQ(Get("a"), "a=1/0 after 0");
  Pass(2001);
  EXPECT_EQ(Get("a"), "END after 1");
}

TEST_F(Near, OfTwoReadsTheLaterOneIsKept) {
  cache_.coalesce = false;
  Put("k", "1");
  ProxyService::Connection other = service().Connect();
  Send(GetOf({"k"}));
  service().EndTurn();
  client_.Perform(0);
  Wait(100);
  Put("k", "2");
  const uint64_t later = SendOn(other, GetOf({"k"}));
  service().EndTurn();
  client_.Deliver(1);
  EXPECT_EQ(Reply(later), "k=2/0");
  client_.Deliver(0);
  EXPECT_EQ(Get("k"), "k=2/0 after 0");
}

TEST_F(Near, MissesAreKeptIfTold) {
  EXPECT_EQ(Get("k"), "END after 1");
  EXPECT_EQ(Get("k"), "END after 1");
  connection_.reset();
  service_.reset();
  core::Registry other_registry;
  cache_.near_negative = absl::Milliseconds(300);
  auto made = NearCache::Create(cache_, &shared_.marks, &clock_, &other_registry, {});
  ASSERT_TRUE(made.ok());
  near_ = *std::move(made);
  shared_.near = near_.get();
  EXPECT_EQ(Get("k"), "END after 1");
  Put("k", "v");  // By somebody else.
  Wait(299);
  EXPECT_EQ(Get("k"), "END after 0");
  EXPECT_EQ(near().metrics().negative_hit.Value(), 1u);
  Wait(1);
  EXPECT_EQ(Get("k"), "k=v/0 after 1");
  Ask(DeleteOf("k"));
  EXPECT_EQ(Get("k"), "END after 1");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAdd, "k", "w")), "STORED");
  EXPECT_EQ(Get("k"), "k=w/0 after 0");
  connection_.reset();
  service_.reset();
  near_.reset();
}

TEST_F(Near, GetsAndGatAskTheService) {
  Put("k", "1");
  ASSERT_EQ(Get("k"), "k=1/0 after 1");
  EXPECT_THAT(CallsOf(GetsOf({"k"})), ElementsAre("GetWithHash k"));
  EXPECT_EQ(Get("k"), "k=1/0 after 0");
  Put("k", "2");
  EXPECT_EQ(Ask(GetsOf({"k"})), "k=2/0");
  EXPECT_EQ(Get("k"), "k=1/0 after 0");  // They leave the copies alone.
  EXPECT_THAT(CallsOf(GatOf(9, {"k"})), ElementsAre("Get k", "UpdateTtl k"));
  EXPECT_EQ(Get("k"), "k=2/0 after 1");
}

TEST_F(Near, LongValuesAreNotKept) {
  cache_.near_value_max = 100;
  ASSERT_EQ(Ask(SetOf("short", std::string(100, 'x'))), "STORED");
  ASSERT_EQ(Ask(SetOf("long", std::string(101, 'x'))), "STORED");
  EXPECT_THAT(Get("short"), testing::EndsWith("after 0"));
  EXPECT_THAT(Get("long"), testing::EndsWith("after 1"));
  EXPECT_THAT(Get("long"), testing::EndsWith("after 1"));
  EXPECT_EQ(near().metrics().too_large.Value(), 2u);
}

TEST_F(Near, ACopyHasTheFlagsThatAReadWouldHave) {
  cache_.envelope = config::Cache::Envelope::kRaw;
  ASSERT_EQ(Ask(SetOf("k", "v", 7)), "STORED");
  EXPECT_EQ(Get("k"), "k=v/0 after 0");
}

TEST_F(Near, AnEmptyValueIsAValue) {
  ASSERT_EQ(Ask(SetOf("k", "")), "STORED");
  EXPECT_EQ(Get("k"), "k=/0 after 0");
}

TEST_F(Near, PlainSetsInABatchAreKeptToo) {
  cache_.writes = config::Cache::Writes::kPlain;
  Send(SetOf("a", "1"));
  Send(SetOf("b", "2"));
  Settle();
  EXPECT_EQ(Get("a"), "a=1/0 after 0");
  EXPECT_EQ(Get("b"), "b=2/0 after 0");
}

// Behind a write wait more gets than the stack has room for if they ended inside one another.
TEST_F(Near, ALongLineOfHitsEnds) {
  Send(SetOf("k", "v"));
  std::vector<uint64_t> asked;
  for (int i = 0; i < 200'000; ++i) asked.push_back(Send(GetOf({"k"})));
  client_.TakeCalls();
  Settle();
  for (uint64_t one : asked) ASSERT_EQ(Reply(one), "k=v/0");
  EXPECT_THAT(client_.calls, IsEmpty());
}

TEST_F(Near, WhileTheServiceFailsCopiesOfKnownLifeAreServedStale) {
  cache_.near_stale = absl::Seconds(10);
  ASSERT_EQ(Ask(SetOf("k", "v", 3, 5)), "STORED");
  Put("unknown", "u");
  ASSERT_EQ(Get("unknown"), "unknown=u/0 after 1");
  Wait(1500);
  client_.faults["Get"] = momento::Fault{.code = momento::Code::kUnavailable};
  EXPECT_EQ(Get("k"), "k=v/3 after 1");
  EXPECT_EQ(Get("unknown"), "END after 1");
  EXPECT_EQ(near().metrics().stale.Value(), 1u);
  // Gets that share the call share its stale answer.
  ProxyService::Connection other = service().Connect();
  const uint64_t one = Send(GetOf({"k"}));
  const uint64_t two = SendOn(other, GetOf({"k"}));
  Settle();
  EXPECT_EQ(Reply(one), "k=v/3");
  EXPECT_EQ(Reply(two), "k=v/3");
  EXPECT_EQ(metrics().get_failed.Value(), 1u);
  // A refusal is no outage.
  client_.faults["Get"] = momento::Fault{.code = momento::Code::kPermissionDenied};
  EXPECT_EQ(Get("k"), "END after 1");
  client_.faults.clear();
  // Read again, unchanged, it keeps its known life; and is not served past that.
  EXPECT_EQ(Get("k"), "k=v/3 after 1");
  Wait(3499);
  client_.faults["Get"] = momento::Fault{.code = momento::Code::kDeadlineExceeded};
  EXPECT_EQ(Get("k"), "k=v/3 after 1");
  Wait(1);
  EXPECT_EQ(Get("k"), "END after 1");
}

TEST_F(Near, ASetSlowerThanTheStalenessMayStillBeServedStale) {
  cache_.near_stale = absl::Seconds(2);
  const uint64_t set = Send(SetOf("k", "v"));
  service().EndTurn();
  Wait(1500);
  Settle();
  ASSERT_EQ(Reply(set), "STORED");
  client_.faults["Get"] = momento::Fault{};
  EXPECT_EQ(Get("k"), "k=v/0 after 1");
}

TEST_F(Near, StaleCopiesEndWithTheirBoundAndWithAWrite) {
  cache_.near_stale = absl::Seconds(2);
  ASSERT_EQ(Ask(SetOf("k", "v")), "STORED");
  ASSERT_EQ(Ask(SetOf("l", "v")), "STORED");
  client_.faults["Get"] = client_.faults["SetIfHash"] = momento::Fault{};
  Wait(2999);
  EXPECT_EQ(Get("k"), "k=v/0 after 1");
  EXPECT_THAT(Ask(SetOf("k", "w")), StartsWith("SERVER_ERROR"));
  EXPECT_EQ(Get("k"), "END after 1");
  Wait(1);
  EXPECT_EQ(Get("l"), "END after 1");
}

// Several connections on two workers, and somebody elsewhere, at random; calls are performed and
// answered in any order. Every value is written once. A read must not show a value older than
// one that anybody had been told of when it asked, nor one that was replaced longer ago than the
// staleness.
TEST_F(Near, RandomReadsAreAsFreshAsPromised) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  ProxyService elsewhere(&client_, cache_, server_, &loop_, &(near(), shared_),
                         [](absl::string_view) { return Response(Status::kStats); });
  constexpr size_t kKeys = 2;
  struct Value {
    uint64_t order;               // In which the values of the key came to be.
    int64_t replaced_ms = INT64_MAX;
  };
  struct Key {
    std::string name, current;
    std::map<std::string, Value> values;
    uint64_t told = 0;
  } keys[kKeys];
  for (size_t i = 0; i < kKeys; ++i) keys[i].name = absl::StrCat("key", i);
  struct Asked {
    size_t key;
    std::string wrote;
    uint64_t told;
    int64_t at_ms;
  };
  std::map<uint64_t, Asked> asked;
  uint64_t number = 0;
  // Notes what the service holds now.
  const auto note = [&] {
    for (Key& key : keys) {
      const auto it = client_.items.find(key.name);
      if (it == client_.items.end() || it->second.value == key.current) continue;
      if (!key.current.empty()) key.values[key.current].replaced_ms = clock_.MonotonicMs();
      key.current = it->second.value;
      key.values[key.current] = {key.values.size() + 1, INT64_MAX};
    }
  };
  {
    std::vector<std::pair<ProxyService*, ProxyService::Connection>> peers;
    for (int i = 0; i < 6; ++i) {
      ProxyService* worker = i % 2 == 0 ? &service() : &elsewhere;
      peers.emplace_back(worker, worker->Connect());
    }
    for (int step = 0; step < 40'000; ++step) {
      const uint64_t dice = random() % 20;
      const size_t k = random() % kKeys;
      auto& [worker, connection] = peers[random() % peers.size()];
      const uint64_t sequence = 1'000'000 + static_cast<uint64_t>(step);
      if (dice < 7) {
        asked[sequence] = {k, "", keys[k].told, clock_.MonotonicMs()};
        worker->Execute(connection, GetOf({keys[k].name}), MemcacheReply(&sink_, {1, 0}, sequence));
      } else if (dice < 8) {
        const std::string value = absl::StrCat("v", ++number);
        asked[sequence] = {k, value, 0, 0};
        worker->Execute(connection, SetOf(keys[k].name, value, 0, 1000),
                        MemcacheReply(&sink_, {1, 0}, sequence));
      } else if (dice < 9) {
        if (random() % 4 == 0) Put(keys[k].name, absl::StrCat("v", ++number), 1'000'000);
      } else if (dice < 12) {
        service().EndTurn();
        elsewhere.EndTurn();
      } else if (dice < 13) {
        Wait(static_cast<int64_t>(random() % 200));
      } else if (client_.pending() > 0) {
        const size_t index = random() % client_.pending();
        if (random() % 3 == 0) {
          client_.Perform(index);
          note();
        }
        if (random() % 2 == 0) client_.Deliver(index);
      }
      note();
      for (auto it = asked.begin(); it != asked.end();) {
        const auto reply = sink_.texts.find(it->first);
        if (reply == sink_.texts.end()) {
          ++it;
          continue;
        }
        const Asked& one = it->second;
        Key& key = keys[one.key];
        if (!one.wrote.empty()) {
          ASSERT_EQ(reply->second, "STORED");
          key.told = std::max(key.told, key.values.at(one.wrote).order);
        } else if (reply->second != "END") {
          const std::string value = reply->second.substr(5, reply->second.rfind('/') - 5);
          const Value& v = key.values.at(value);
          ASSERT_GE(v.order, one.told) << value << " step " << step;
          ASSERT_GT(v.replaced_ms, one.at_ms - 1000) << value << " step " << step;
        } else {
          ASSERT_EQ(one.told, 0u);
        }
        sink_.texts.erase(reply);
        it = asked.erase(it);
      }
    }
    // An answer may let a queued request go: until neither worker has any left.
    for (int round = 0; round < 1000 && (service().in_flight() > 0 || elsewhere.in_flight() > 0 ||
                                         client_.pending() > 0);
         ++round) {
      elsewhere.EndTurn();
      Settle();
    }
  }
  EXPECT_EQ(elsewhere.in_flight(), 0u);
  EXPECT_GT(near().metrics().hit.Value(), 100u);
  EXPECT_GT(near().metrics().raced.Value(), 100u);
}

// Threads that write, read slowly and look: no copy older than what was acknowledged before the look.
TEST(NearThreads, NoCopyIsOlderThanWhatWasAcknowledged) {
  config::Cache cache;
  cache.cache_name = "c";
  cache.near_size = 1 << 20;
  cache.near_staleness = absl::Hours(1);
  core::RealClock clock;
  core::Registry registry;
  WriteMarks marks;
  auto made = NearCache::Create(cache, &marks, &clock, &registry, {});
  ASSERT_TRUE(made.ok()) << made.status();
  NearCache& near = **made;
  constexpr uint64_t kHash = 42;
  std::atomic<uint64_t> stored{1}, acknowledged{0}, hits{0};
  std::atomic<bool> done{false};
  // Until enough was found: a thread that is not let run finds nothing.
  const auto enough = [&](uint64_t n) { return (n >= 4'000 && hits >= 100) || n >= 20'000'000; };
  std::thread writer([&] {
    for (uint64_t n = 2; !enough(n) && !done.load(); ++n) {
      const WriteMarks::Moment moment = marks.Begin(kHash);
      near.Forget("k");
      stored.store(n);
      if (n % 3 != 0) {
        const std::string value = absl::StrCat(n);
        near.KeepWritten({.key = "k", .key_hash = kHash, .moment = moment,
                          .since_ms = clock.MonotonicMs(), .value = value});
      }
      marks.End(kHash);
      acknowledged.store(n);
      if (n % 64 == 0) near.ForgetAll();
    }
    done.store(true);
  });
  std::thread reader([&] {
    for (int i = 0; !done.load(); ++i) {
      const WriteMarks::Moment moment = marks.Now(kHash);
      const int64_t since_ms = clock.MonotonicMs();
      const std::string value = absl::StrCat(stored.load());
      if (i % 4 == 0) std::this_thread::yield();
      near.KeepRead({.key = "k", .key_hash = kHash, .moment = moment, .since_ms = since_ms,
                     .value = value});
    }
  });
  std::string value;
  uint32_t flags = 0;
  while (!done.load()) {
    const uint64_t least = acknowledged.load();
    if (near.Find("k", {}, &value, &flags) != NearCache::Answer::kHit) continue;
    ++hits;
    uint64_t got = 0;
    EXPECT_TRUE(absl::SimpleAtoi(value, &got)) << value;
    EXPECT_GE(got, least);
    if (got < least) done.store(true);
  }
  writer.join();
  reader.join();
  EXPECT_GT(hits.load(), 0u);
}

TEST(NearCacheSizes, TooSmallIsRefused) {
  config::Cache cache;
  cache.near_size = 1;
  core::ManualClock clock;
  core::Registry registry;
  WriteMarks marks;
  EXPECT_FALSE(NearCache::Create(cache, &marks, &clock, &registry, {}).ok());
}

}  // namespace
}  // namespace proxy
