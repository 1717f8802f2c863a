// Calls shared by several commands: one flight for gets of one key, one SetBatch for plain sets; and
// that sharing shows nobody what was before a write he may know of.
#include <gmock/gmock.h>

#include <random>
#include <thread>

#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Flights : public ServiceTest {};

TEST_F(Flights, GetsOfOneKeyInATurnAreOneCall) {
  Put("k", "v");
  ProxyService::Connection other = service().Connect();
  const uint64_t one = Send(GetOf({"k"}));
  const uint64_t two = SendOn(other, GetOf({"k"}));
  const uint64_t many = SendOn(other, GetOf({"k", "k"}));
  Settle();
  EXPECT_THAT(client_.calls, ElementsAre("Get k"));
  EXPECT_EQ(Reply(one), "k=v/0");
  EXPECT_EQ(Reply(two), "k=v/0");
  EXPECT_EQ(Reply(many), "k=v/0 k=v/0");
  EXPECT_EQ(metrics().get_coalesced.Value(), 3u);
  EXPECT_EQ(metrics().get_hit.Value(), 4u);
  ExpectLookupsAddUp();
}

TEST_F(Flights, ALaterTurnJoinsTheCallUnderWay) {
  ProxyService::Connection other = service().Connect();
  const uint64_t one = Send(GetOf({"k", "l"}));
  service().EndTurn();
  const uint64_t two = SendOn(other, GetOf({"m", "k"}));
  service().EndTurn();
  EXPECT_THAT(client_.calls, ElementsAre("GetBatch 2: k l", "Get m"));
  Put("k", "v");
  Put("m", "w");
  Settle();
  EXPECT_EQ(Reply(one), "k=v/0");
  EXPECT_EQ(Reply(two), "m=w/0 k=v/0");
  // The flight has landed.
  EXPECT_THAT(CallsOf(GetOf({"k"})), ElementsAre("Get k"));
}

TEST_F(Flights, LongValuesAndFlagsReachEverybody) {
  const std::string value(100'000, 'x');
  ASSERT_EQ(Ask(SetOf("k", value, 7)), "STORED");
  std::vector<ProxyService::Connection> others;
  std::vector<uint64_t> asked;
  for (int i = 0; i < 5; ++i) {
    others.push_back(service().Connect());
    asked.push_back(SendOn(others.back(), GetOf({"k"})));
  }
  Settle();
  for (uint64_t one : asked) EXPECT_EQ(Reply(one), absl::StrCat("k=", value, "/7"));
  EXPECT_EQ(metrics().get_coalesced.Value(), 4u);
}

// The connection's own write: acknowledged after the flight began, so not to be joined.
TEST_F(Flights, NobodyJoinsAFlightFromBeforeHisOwnWrite) {
  Put("k", "old");
  ProxyService::Connection other = service().Connect();
  const uint64_t slow = SendOn(other, GetOf({"k"}));
  service().EndTurn();
  const uint64_t set = Send(SetOf("k", "new"));
  const uint64_t get = Send(GetOf({"k"}));  // Waits for the set.
  service().EndTurn();
  EXPECT_EQ(client_.pending(), 2u);
  client_.Deliver(1);
  EXPECT_EQ(Reply(set), "STORED");
  service().EndTurn();
  EXPECT_EQ(client_.pending(), 2u) << "a call of its own";
  client_.Deliver(1);
  EXPECT_EQ(Reply(get), "k=new/0");
  EXPECT_FALSE(Answered(slow));
  Settle();
}

// Anybody's acknowledged write: whoever asks after it may have heard of it.
TEST_F(Flights, NobodyJoinsAFlightFromBeforeAnotherConnectionsWrite) {
  for (const Request& write : {SetOf("k", "new"), DeleteOf("k"), CountOf("k", 1), TouchOf("k", 9),
                               GatOf(9, {"k"}), StoreOf(StoreMode::kAppend, "k", "1"), FlushOf()}) {
    Put("k", "1");
    ProxyService::Connection other = service().Connect();
    Send(GetOf({"k"}));
    service().EndTurn();
    const uint64_t done = SendOn(other, write);
    service().EndTurn();
    while (!Answered(done)) {
      client_.Deliver(1);  // The get stays under way.
      service().EndTurn();
    }
    ProxyService::Connection third = service().Connect();
    client_.TakeCalls();
    SendOn(third, GetOf({"k"}));
    service().EndTurn();
    EXPECT_THAT(client_.TakeCalls(), ElementsAre("Get k"));
    Settle();
  }
}

TEST_F(Flights, WritesOfAnotherWorkerCount) {
  ProxyService elsewhere(&client_, cache_, server_, &loop_, &shared_,
                         [](absl::string_view) { return Response(Status::kStats); });
  ProxyService::Connection there = elsewhere.Connect();
  Put("k", "old");
  const uint64_t slow = Send(GetOf({"k"}));
  service().EndTurn();
  elsewhere.Execute(there, SetOf("k", "new"), MemcacheReply(&sink_, {1, 0}, 1000));
  elsewhere.EndTurn();
  client_.Deliver(1);
  EXPECT_EQ(Reply(1000), "STORED");
  ProxyService::Connection other = service().Connect();
  const uint64_t get = SendOn(other, GetOf({"k"}));
  service().EndTurn();
  ASSERT_EQ(client_.pending(), 2u);
  client_.Deliver(1);
  EXPECT_EQ(Reply(get), "k=new/0");
  Settle();
  EXPECT_TRUE(Answered(slow));
}

TEST_F(Flights, ConsistentReadsJoinOnlyWhatHasNotLeft) {
  cache_.reads = config::Cache::Reads::kConsistent;
  Send(GetOf({"k"}));
  ProxyService::Connection other = service().Connect();
  SendOn(other, GetOf({"k"}));
  service().EndTurn();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("Get k"));
  SendOn(other, GetOf({"k"}));
  service().EndTurn();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("Get k"));
  Settle();
}

TEST_F(Flights, OnlyPlainGetsJoinAndOnlyIfTold) {
  Send(GetOf({"k"}));
  service().EndTurn();
  client_.TakeCalls();
  ProxyService::Connection other = service().Connect();
  SendOn(other, GetsOf({"k"}));
  service().EndTurn();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("GetWithHash k"));
  Settle();
  service_.reset();
  connection_.reset();
  cache_.coalesce = false;
  Send(GetOf({"k"}));
  ProxyService::Connection third = service().Connect();
  SendOn(third, GetOf({"k"}));
  service().EndTurn();
  EXPECT_EQ(metrics().get_coalesced.Value(), 0u);
  EXPECT_THAT(client_.TakeCalls(), testing::Contains("GetBatch 2: k k"));
  Settle();
}

TEST_F(Flights, AnOldFlightIsNotJoinedAndAFailureIsShared) {
  cache_.deadline = absl::Seconds(1);
  cache_.get_error = config::Cache::GetError::kError;
  client_.faults["Get"] = momento::Fault{.code = momento::Code::kUnavailable, .count = 1};
  const uint64_t one = Send(GetOf({"k"}));
  service().EndTurn();
  ProxyService::Connection other = service().Connect();
  clock_.AdvanceMs(400);
  loop_.RunOnce(0);
  const uint64_t two = SendOn(other, GetOf({"k"}));
  service().EndTurn();
  EXPECT_EQ(client_.pending(), 1u);
  clock_.AdvanceMs(200);
  loop_.RunOnce(0);
  const uint64_t three = SendOn(other, GetOf({"k"}));
  service().EndTurn();
  EXPECT_EQ(client_.pending(), 2u);
  Settle();
  EXPECT_THAT(Reply(one), testing::StartsWith("SERVER_ERROR"));
  EXPECT_THAT(Reply(two), testing::StartsWith("SERVER_ERROR"));
  EXPECT_EQ(Reply(three), "END");
  EXPECT_EQ(metrics().get_failed.Value(), 2u);
}

// Many connections on few keys; the backend answers in any order. A value is the number of its
// write; every connection must read what it wrote last, or something newer than all that anybody had
// been told of when it asked.
TEST_F(Flights, NoReadGoesBackBehindAnAcknowledgedWrite) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  std::vector<ProxyService::Connection> peers;
  for (int i = 0; i < 8; ++i) peers.push_back(service().Connect());
  struct Asked {
    size_t peer;
    size_t key;
    std::optional<uint64_t> wrote;
    uint64_t least = 0;  // The newest write that anybody had been told of.
  };
  constexpr size_t kKeys = 2;
  std::map<uint64_t, Asked> asked;
  uint64_t told[kKeys] = {};
  uint64_t applied[kKeys] = {};
  uint64_t number = 0;
  size_t seen = 0;
  for (int step = 0; step < 30'000; ++step) {
    const uint64_t dice = random() % 10;
    const size_t peer = random() % peers.size();
    const size_t key = random() % kKeys;
    const std::string name = absl::StrCat("key", key);
    if (dice < 4) {
      asked[SendOn(peers[peer], GetOf({name}))] = {peer, key, std::nullopt, told[key]};
    } else if (dice < 5 && applied[key] == 0) {
      // One write of a key at a time, so that their order is known.
      applied[key] = ++number;
      asked[SendOn(peers[peer], SetOf(name, absl::StrCat(number)))] = {peer, key, number};
    } else if (dice < 7) {
      service().EndTurn();
    } else if (client_.pending() > 0) {
      client_.Deliver(random() % client_.pending());
    }
    if (sink_.texts.size() == seen) continue;
    for (auto it = asked.begin(); it != asked.end();) {
      const auto reply = sink_.texts.find(it->first);
      if (reply == sink_.texts.end()) {
        ++it;
        continue;
      }
      const Asked& one = it->second;
      if (one.wrote.has_value()) {
        ASSERT_EQ(reply->second, "STORED");
        told[one.key] = *one.wrote;
        applied[one.key] = 0;
      } else if (one.least > 0) {
        uint64_t value = 0;
        const std::vector<std::string> parts = absl::StrSplit(reply->second, absl::ByAnyChar("=/"));
        ASSERT_EQ(parts.size(), 3u) << reply->second;
        ASSERT_TRUE(absl::SimpleAtoi(parts[1], &value));
        ASSERT_GE(value, one.least);
      }
      it = asked.erase(it);
    }
    seen = sink_.texts.size();
  }
  Settle();
  EXPECT_GT(metrics().get_coalesced.Value(), 100u);
}

class SharedSets : public ServiceTest {
 protected:
  SharedSets() { cache_.writes = config::Cache::Writes::kPlain; }
};

TEST_F(SharedSets, PlainSetsOfATurnAreOneCall) {
  ProxyService::Connection other = service().Connect();
  const uint64_t one = Send(SetOf("a", "1", 5));
  const uint64_t two = Send(SetOf("b", std::string(1000, 'b')));
  const uint64_t three = SendOn(other, SetOf("c", ""));
  Settle();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("SetBatch 3: a b c"));
  for (uint64_t reply : {one, two, three}) EXPECT_EQ(Reply(reply), "STORED");
  EXPECT_EQ(metrics().set_batch.Value(), 1u);
  EXPECT_EQ(metrics().set_batch_key.Value(), 3u);
  EXPECT_EQ(Ask(GetOf({"a", "b", "c"})), absl::StrCat("a=1/5 b=", std::string(1000, 'b'), "/0 c=/0"));
}

TEST_F(SharedSets, WhatIsNoPlainSetOrLongGoesAlone) {
  EXPECT_THAT(CallsOf(SetOf("k", "v")), ElementsAre("Set k"));
  Send(SetOf("long", std::string(20'000, 'x')));
  Send(StoreOf(StoreMode::kAdd, "add", "v"));
  Send(SetOf("gone", "v", 0, -1));
  Send(SetOf("a", "v"));
  Send(SetOf("b", "v"));
  service().EndTurn();
  EXPECT_THAT(client_.TakeCalls(),
              ElementsAre("Set long", "SetIf add", "Delete gone", "SetBatch 2: a b"));
  Settle();
}

TEST_F(SharedSets, ExactModeHasNoBatch) {
  cache_.writes = config::Cache::Writes::kExact;
  Send(SetOf("a", "v"));
  Send(SetOf("b", "v"));
  service().EndTurn();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("SetIfHash a", "SetIfHash b"));
  Settle();
}

TEST_F(SharedSets, GroupsAreCutAsForGets) {
  cache_.batch_keys_max = 2;
  for (const char* key : {"a", "b", "c"}) Send(SetOf(key, "v"));
  service().EndTurn();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("SetBatch 2: a b", "Set c"));
  Settle();
}

TEST_F(SharedSets, SetsOfOneKeyStayInOrder) {
  const uint64_t one = Send(SetOf("k", "1"));
  const uint64_t two = Send(SetOf("k", "2"));
  const uint64_t get = Send(GetOf({"k"}));
  Send(SetOf("l", "1"));
  service().EndTurn();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("SetBatch 2: k l"));
  Settle();
  EXPECT_EQ(Reply(one), "STORED");
  EXPECT_EQ(Reply(two), "STORED");
  EXPECT_EQ(Reply(get), "k=2/0");
}

TEST_F(SharedSets, AFailureIsOfThoseThatGotNoAnswer) {
  client_.faults["SetBatch"] =
      momento::Fault{.code = momento::Code::kUnavailable, .count = 1, .came = 1};
  const uint64_t one = Send(SetOf("a", "1"));
  const uint64_t two = Send(SetOf("b", "1"));
  const uint64_t three = Send(SetOf("c", "1"));
  Settle();
  EXPECT_EQ(Reply(one), "STORED");
  EXPECT_THAT(Reply(two), testing::StartsWith("SERVER_ERROR"));
  EXPECT_THAT(Reply(three), testing::StartsWith("SERVER_ERROR"));
  EXPECT_EQ(StoredAt("b"), "(none)");
}

// Otherwise every key of the batch would be deleted, as memcached does with what a set leaves behind
// that is too large.
TEST_F(SharedSets, ABatchRefusedForItsSizeGoesOneByOne) {
  client_.faults["SetBatch"] = momento::Fault{.code = momento::Code::kResourceExhausted,
                                              .count = 1,
                                              .detail = "request_size_limit_exceeded"};
  Put("b", "old");
  const uint64_t one = Send(SetOf("a", "1"));
  const uint64_t two = Send(SetOf("b", "2"));
  Settle();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("SetBatch 2: a b", "Set a", "Set b"));
  EXPECT_EQ(Reply(one), "STORED");
  EXPECT_EQ(Reply(two), "STORED");
  EXPECT_EQ(StoredAt("b"), "2");
}

// Marks as several threads make and read them.
TEST(WriteMarks, AMomentTellsWhatFell) {
  WriteMarks marks;
  const WriteMarks::Moment before = marks.Now(7);
  EXPECT_EQ(before.writers(), 0u);
  const WriteMarks::Moment own = marks.Begin(7);
  EXPECT_EQ(own.writers(), 1u);
  EXPECT_TRUE(own == marks.Now(7));
  EXPECT_FALSE(before == marks.Now(7));
  marks.End(7);
  EXPECT_FALSE(own == marks.Now(7));
  EXPECT_EQ(marks.Now(7).writers(), 0u);
  EXPECT_FALSE(before == marks.Now(7));
  const WriteMarks::Moment other = marks.Now(8);
  marks.BeginAll();
  EXPECT_EQ(marks.Now(8).writers(), 1u);
  marks.EndAll();
  EXPECT_FALSE(other == marks.Now(8));
  EXPECT_EQ(marks.Now(8).writers(), 0u);
}

TEST(WriteMarks, CountsFromManyThreads) {
  WriteMarks marks;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&marks] {
      for (uint64_t n = 0; n < 10'000; ++n) {
        marks.Begin(n % 3);
        EXPECT_GE(marks.Now(n % 3).writers(), 1u);
        marks.End(n % 3);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint64_t key : {0, 1, 2}) EXPECT_EQ(marks.Now(key).writers(), 0u);
}

}  // namespace
}  // namespace proxy
