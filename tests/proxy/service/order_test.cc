// Commands of one connection take effect in the order sent, whatever order the backend answers in.
#include <gmock/gmock.h>

#include <random>

#include "proto/memcache/arithmetic.h"
#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using testing::ElementsAre;

class Order : public ServiceTest {};

TEST_F(Order, AReadWaitsForTheWriteBeforeIt) {
  Put("k", "old");
  const uint64_t set = Send(SetOf("k", "new"));
  const uint64_t get = Send(GetOf({"k"}));
  service().EndTurn();
  EXPECT_THAT(client_.calls, ElementsAre("SetIfHash k"));
  Settle();
  EXPECT_EQ(Reply(set), "STORED");
  EXPECT_EQ(Reply(get), "k=new/0");
  EXPECT_EQ(metrics().order_wait.Value(), 1u);
}

TEST_F(Order, AWriteWaitsForTheReadsBeforeItWhichOverlap) {
  Put("k", "old");
  const uint64_t one = Send(GetOf({"k"}));
  const uint64_t two = Send(GetsOf({"k"}));
  const uint64_t set = Send(SetOf("k", "new"));
  service().EndTurn();
  EXPECT_EQ(client_.pending(), 2u);
  client_.Deliver(1);
  EXPECT_EQ(client_.pending(), 1u);
  client_.Deliver();
  Settle();
  EXPECT_EQ(Reply(one), "k=old/0");
  EXPECT_EQ(Reply(two), "k=old/0");
  EXPECT_EQ(Reply(set), "STORED");
}

TEST_F(Order, DifferentKeysAndConnectionsRunAtOnce) {
  ProxyService::Connection other = service().Connect();
  Send(SetOf("a", "1"));
  Send(SetOf("b", "1"));
  SendOn(other, SetOf("a", "2"));
  EXPECT_EQ(client_.pending(), 3u);
  Settle();
}

TEST_F(Order, AManyKeyGetWaitsOnlyForTheKeysBeingWritten) {
  Put("b", "2");
  Send(SetOf("a", "1"));
  const uint64_t get = Send(GetOf({"a", "b"}));
  service().EndTurn();
  EXPECT_THAT(client_.calls, ElementsAre("SetIfHash a", "Get b"));
  Settle();
  EXPECT_EQ(Reply(get), "a=1/0 b=2/0");
}

TEST_F(Order, FlushAllWaitsForAllBeforeAndHoldsAllAfter) {
  const uint64_t before = Send(SetOf("a", "1"));
  const uint64_t flush = Send(FlushOf());
  const uint64_t after = Send(SetOf("b", "2"));
  const uint64_t again = Send(FlushOf());
  const uint64_t get = Send(GetOf({"b"}));
  service().EndTurn();
  EXPECT_THAT(client_.calls, ElementsAre("SetIfHash a"));
  client_.Deliver();
  EXPECT_TRUE(Answered(before));
  EXPECT_EQ(client_.calls.back(), "FlushCache");
  EXPECT_EQ(client_.pending(), 1u);
  client_.Deliver();
  EXPECT_TRUE(Answered(flush));
  EXPECT_FALSE(Answered(after));
  Settle();
  EXPECT_EQ(Reply(after), "STORED");
  EXPECT_EQ(Reply(again), "OK");
  EXPECT_EQ(Reply(get), "END");
}

TEST_F(Order, ValuesThatWaitAreKeptWhole) {
  Send(SetOf("k", "1"));
  for (int i = 2; i <= 20; ++i) {
    Send(StoreOf(StoreMode::kAppend, "k", std::string(static_cast<size_t>(i), 'x')));
  }
  Settle();
  EXPECT_EQ(StoredAt("k"), "1" + std::string(209, 'x'));
}

// What one connection sees when its commands run one after the other.
class Model {
 public:
  std::string Run(const Request& req) {
    switch (req.op) {
      case Op::kGet: return Get(req);
      case Op::kStore: return Store(req);
      case Op::kDelete: return items_.erase(std::string(req.key())) == 1 ? "DELETED" : "NOT_FOUND";
      case Op::kTouch: return items_.count(std::string(req.key())) == 1 ? "TOUCHED" : "NOT_FOUND";
      case Op::kArithmetic: return Count(req);
      default: items_.clear(); return "OK";
    }
  }
  uint64_t TokenOf(const std::string& key) const {
    const auto it = items_.find(key);
    if (it == items_.end()) return 1;
    const auto prefix = translate::Wrap(config::Cache::Envelope::kTransparent, it->second.flags,
                                        it->second.value, 0);
    return translate::CasToken(prefix.view(), it->second.value);
  }

 private:
  struct Item {
    std::string value;
    uint32_t flags;
  };
  std::string Get(const Request& req) {
    Response rsp(Status::kValues);
    for (absl::string_view key : req.keys) {
      const auto it = items_.find(std::string(key));
      if (it == items_.end()) continue;
      proto::memcache::Item item;
      item.key = key;
      item.value = core::Bytes(it->second.value);
      item.flags = it->second.flags;
      rsp.items.push_back(std::move(item));
    }
    return Text(rsp);
  }
  std::string Store(const Request& req) {
    const std::string key(req.key());
    const std::string value(req.value);
    const auto it = items_.find(key);
    const bool present = it != items_.end();
    if (req.cas.has_value()) {
      if (!present) return "NOT_FOUND";
      if (TokenOf(key) != *req.cas) return "EXISTS";
    }
    switch (req.mode) {
      case StoreMode::kSet: break;
      case StoreMode::kAdd:
        if (present) return "NOT_STORED";
        break;
      case StoreMode::kReplace:
        if (!present) return "NOT_STORED";
        break;
      case StoreMode::kAppend:
      case StoreMode::kPrepend: {
        if (!present) return "NOT_STORED";
        std::string& old = it->second.value;
        old = req.mode == StoreMode::kAppend ? old + value : value + old;
        return "STORED";
      }
    }
    items_[key] = {value, req.flags};
    return "STORED";
  }
  std::string Count(const Request& req) {
    const auto it = items_.find(std::string(req.key()));
    if (it == items_.end()) return "NOT_FOUND";
    const auto number = proto::memcache::ParseCounter(it->second.value);
    if (!number.has_value()) return "NON_NUMERIC";
    const uint64_t after = proto::memcache::Count(*number, req.delta, req.decrement);
    it->second.value = proto::memcache::CounterText(after, it->second.value.size());
    return absl::StrCat(after);
  }

  std::map<std::string, Item> items_;
};

// A random command on the keys of one connection. `words` keeps its bytes.
Request RandomRequest(std::mt19937_64& random, const Model& model, const std::string& who,
                      bool with_flush, std::deque<std::string>* words) {
  const auto word = [&](std::string text) -> absl::string_view {
    words->push_back(std::move(text));
    return words->back();
  };
  const auto key = [&] { return word(absl::StrCat(who, random() % 4)); };
  const auto value = [&] { return word(absl::StrCat(random() % 3 == 0 ? "x" : "", random() % 200)); };
  const uint32_t flags = random() % 3 == 0 ? 0 : static_cast<uint32_t>(random() % 9);
  switch (random() % (with_flush ? 14 : 13)) {
    case 0: return GetOf({key(), key(), key()});
    case 1: return GetsOf({key(), key()});
    case 2: return SetOf(key(), value(), flags);
    case 3: return StoreOf(StoreMode::kAdd, key(), value(), flags);
    case 4: return StoreOf(StoreMode::kReplace, key(), value(), flags);
    case 5: return StoreOf(StoreMode::kAppend, key(), value(), flags);
    case 6: return StoreOf(StoreMode::kPrepend, key(), value(), flags);
    case 7: {
      const absl::string_view k = key();
      return CasOf(k, value(), model.TokenOf(std::string(k)) + (random() % 4 == 0 ? 1 : 0), flags);
    }
    case 8: return CountOf(key(), random() % 50, random() % 2 == 0);
    case 9: return DeleteOf(key());
    case 10: return TouchOf(key(), 30);
    case 11: return GatOf(30, {key(), key()});
    case 12: return GetOf({key()});
    default: return FlushOf();
  }
}

class RandomOrder : public ServiceTest, public testing::WithParamInterface<int> {};

// Several connections pipeline at random; the backend answers in random order; every reply must be
// that of the connection's commands run one after the other.
TEST_P(RandomOrder, EqualsTheSequentialModel) {
  const bool with_flush = GetParam() == 1;  // One connection: a flush empties the others' keys.
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  struct Peer {
    ProxyService::Connection connection;
    Model model;
    std::string name;
  };
  std::vector<Peer> peers;
  for (int i = 0; i < (with_flush ? 1 : 4); ++i) {
    peers.push_back({service().Connect(), Model(), absl::StrCat("peer", i, ".")});
  }
  std::deque<std::string> words;
  std::map<uint64_t, std::string> expected;
  for (int step = 0; step < 20'000; ++step) {
    const uint64_t dice = random() % 10;
    if (dice < 5) {
      Peer& peer = peers[random() % peers.size()];
      const Request req = RandomRequest(random, peer.model, peer.name, with_flush, &words);
      const std::string reply = peer.model.Run(req);
      expected[SendOn(peer.connection, req)] = reply;
    } else if (dice < 6) {
      service().EndTurn();
    } else if (client_.pending() > 0) {
      client_.Deliver(random() % client_.pending());
    }
  }
  Settle();
  for (const auto& [sequence, reply] : expected) {
    ASSERT_EQ(Reply(sequence), reply) << "command " << sequence;
  }
  ExpectLookupsAddUp();
  EXPECT_EQ(service().in_flight(), 0u);
}
INSTANTIATE_TEST_SUITE_P(, RandomOrder, testing::Values(0, 1));

// The same with calls that fail at random: exactly one answer each, and no state left.
TEST_F(Order, RandomFaultsLeaveEveryCommandAnsweredOnce) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  const char* const kCalls[] = {"Get", "GetBatch", "GetWithHash", "SetIf", "SetIfHash", "Delete",
                                "KeyExists", "UpdateTtl", "ItemGetTtl", "FlushCache"};
  std::deque<std::string> words;
  const Model model;
  std::vector<uint64_t> sent;
  std::vector<ProxyService::Connection> connections;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 50 == 0) connections.clear();
    if (connections.empty() || random() % 20 == 0) connections.push_back(service().Connect());
    auto& connection = connections[random() % connections.size()];
    sent.push_back(SendOn(connection, RandomRequest(random, model, "k", true, &words)));
    client_.faults[kCalls[random() % std::size(kCalls)]] =
        momento::Fault{.code = static_cast<momento::Code>(1 + random() % 16),
                       .count = static_cast<int>(random() % 4),
                       .applied = random() % 2 == 0};
    if (random() % 3 == 0) service().EndTurn();
    while (client_.pending() > 20) client_.Deliver(random() % client_.pending());
    if (random() % 10 == 0) {
      clock_.AdvanceMs(static_cast<int64_t>(random() % 300));
      loop_.RunOnce(0);
    }
  }
  client_.faults.clear();
  Settle();
  // Updates that lost a race pause between rounds, one behind the other.
  for (int ms = 0; ms < 100'000 && service().in_flight() > 0; ++ms) Pass(1);
  for (uint64_t sequence : sent) ASSERT_TRUE(Answered(sequence)) << "command " << sequence;
  EXPECT_EQ(service().in_flight(), 0u);
  ExpectLookupsAddUp();
}

}  // namespace
}  // namespace proxy
