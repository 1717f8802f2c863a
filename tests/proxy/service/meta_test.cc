// What meta commands ask for beside what the other dialects do: states of items, wins, lives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using translate::ItemState;

class Meta : public ServiceTest {
 protected:
  // The item as meta answers tell it: its value, then what is true of it.
  std::string AskMeta(const Request& req) {
    const uint64_t sent = SendMeta(req);
    Settle();
    return Reply(sent);
  }
  uint64_t SendMeta(const Request& req) { return SendOn(connection(), req, TestSink::kMeta); }
  // Like AskMeta, letting pauses between rounds pass.
  std::string AskPatiently(const Request& req) {
    const uint64_t sent = SendMeta(req);
    Settle();
    for (int i = 0; i < 400 && !Answered(sent); ++i) Pass(1);
    return Reply(sent);
  }
  static Request With(Request req, uint16_t want) {
    req.want |= want;
    return req;
  }
  static std::string InState(const ItemState& state, absl::string_view value, uint32_t flags = 0) {
    return absl::StrCat(translate::WrapWithState(state, flags).view(), value);
  }
  ItemState StateAt(const std::string& key) {
    const std::string stored = StoredAt(key);
    const auto item = translate::Unwrap(cache_.envelope, stored);
    EXPECT_TRUE(item.has_value() && item->state.has_value()) << stored;
    return item.has_value() ? item->state.value_or(ItemState()) : ItemState();
  }
};

constexpr uint16_t kCas = proto::memcache::kWantCas;
constexpr uint16_t kTtl = proto::memcache::kWantTtl;

// --- What is read ---

TEST_F(Meta, AGetIsAGetAndSharesCalls) {
  Put("a", "1");
  Put("b", "2");
  const uint64_t a = SendMeta(MetaGetOf("a"));
  const uint64_t b = SendMeta(MetaGetOf("b"));
  const uint64_t again = Send(GetOf({"a"}));
  const uint64_t none = SendMeta(MetaGetOf("none"));
  Settle();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("GetBatch 3: a b none"));
  EXPECT_EQ(Reply(a), "a=1");
  EXPECT_EQ(Reply(b), "b=2");
  EXPECT_EQ(Reply(again), "a=1/0");
  EXPECT_EQ(Reply(none), "END");
}

TEST_F(Meta, TheLifeCostsACallOnlyWhenAskedFor) {
  Put("k", "v", 29'001);
  EXPECT_THAT(CallsOf(MetaGetOf("k")), ElementsAre("Get k"));
  EXPECT_THAT(CallsOf(With(MetaGetOf("k"), kTtl)), ElementsAre("GetWithHash k", "ItemGetTtl k"));
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kTtl)), "k=v t30");
  EXPECT_EQ(AskMeta(With(MetaGetOf("none"), kTtl)), "END");
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kTtl | kCas)), absl::StrCat("k=v t30 c", TokenOf("v")));
}

TEST_F(Meta, ALifeThatIsSetNeedNotBeAskedFor) {
  Put("k", "v");
  Request req = With(MetaGetOf("k"), kTtl);
  req.exptime = 90;
  EXPECT_THAT(CallsOf(req), ElementsAre("Get k", "UpdateTtl k"));
  req.exptime = 70;
  EXPECT_EQ(AskMeta(req), "k=v t70");
  req.exptime = 50;
  req.old_ttl_told = true;
  EXPECT_EQ(AskMeta(req), "k=v t70");
  EXPECT_EQ(client_.TtlOf("k"), 50'000);
  req.exptime = -1;
  EXPECT_EQ(AskMeta(req), "k=v t50");
  EXPECT_EQ(AskMeta(req), "END");
}

TEST_F(Meta, AGetWithTheItemsTokenSaysThatItIsUnchanged) {
  Put("k", "v");
  Request req = MetaGetOf("k");
  req.cas = TokenOf("v");
  EXPECT_EQ(AskMeta(req), "k=v unchanged");
  Put("k", "w");
  EXPECT_EQ(AskMeta(req), "k=w");
}

TEST_F(Meta, GetsThatAskForTheLifeFlyTogether) {
  Put("k", "v", 30'000);
  ProxyService::Connection other = service().Connect();
  const uint64_t first = SendMeta(With(MetaGetOf("k"), kTtl));
  const uint64_t second = SendOn(other, With(MetaGetOf("k"), kTtl), TestSink::kMeta);
  Settle();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("GetWithHash k", "ItemGetTtl k"));
  EXPECT_EQ(Reply(first), "k=v t30");
  EXPECT_EQ(Reply(second), "k=v t30");
}

// Calls that have left are not joined with consistent reads, by these neither.
TEST_F(Meta, ConsistentGetsThatAskForTheLifeJoinOnlyWhatHasNotLeft) {
  cache_.reads = config::Cache::Reads::kConsistent;
  Put("k", "v", 30'000);
  ProxyService::Connection other = service().Connect();
  SendMeta(With(MetaGetOf("k"), kTtl));
  service().EndTurn();
  const uint64_t second = SendOn(other, With(MetaGetOf("k"), kTtl), TestSink::kMeta);
  service().EndTurn();
  EXPECT_EQ(client_.calls.size(), 4u);
  Settle();
  EXPECT_EQ(Reply(second), "k=v t30");
}

TEST_F(Meta, DebugTellsTheItemWithoutItsValue) {
  Put("k", InState({.win_taken = true, .token = 77}, "value", 5), 30'000);
  client_.TakeCalls();
  EXPECT_EQ(AskMeta(KeyOf(Op::kDebug, "k")), "DEBUG k=value/5 t30 c77 Z");
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("GetWithHash k", "ItemGetTtl k"));
  EXPECT_EQ(AskMeta(KeyOf(Op::kDebug, "none")), "NOT_FOUND");
  client_.faults["ItemGetTtl"] = {.count = 1};
  EXPECT_EQ(AskMeta(KeyOf(Op::kDebug, "k")), "SERVER_ERROR backend unavailable");
}

TEST_F(Meta, NoopIsAnsweredOk) { EXPECT_EQ(Ask(KeyOf(Op::kNoop, "")), "OK"); }

// --- Every dialect sees through a state ---

TEST_F(Meta, EveryDialectSeesTheSameItem) {
  Put("k", InState({.stale = true, .win_taken = true, .token = 77}, "v", 5));
  EXPECT_EQ(Ask(GetOf({"k"})), "k=v/5");
  const uint64_t gets = SendOn(connection(), GetsOf({"k"}), TestSink::kWithCas);
  Request packet = GetOf({"k"});
  packet.want |= kCas | proto::memcache::kWantCasAlong;
  const uint64_t binary = SendOn(connection(), packet, TestSink::kWithCas);
  Settle();
  EXPECT_EQ(Reply(gets), "k=v/5/77");
  EXPECT_EQ(Reply(binary), "k=v/5/77");
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kCas)), "k=v/5 c77 X Z");
  EXPECT_EQ(Ask(CasOf("k", "w", 76)), "EXISTS");
  EXPECT_EQ(Ask(CasOf("k", "w", 77)), "STORED");
  EXPECT_EQ(StoredAt("k"), "w");
}

TEST_F(Meta, AClassicGetSeesAnEmptyValueWhereAPlaceholderIs) {
  EXPECT_EQ(AskMeta(VivifyOf("k")), "k= W");
  EXPECT_EQ(Ask(GetOf({"k"})), "k=/0");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAdd, "k", "x")), "NOT_STORED");
  EXPECT_EQ(Ask(CountOf("k", 1)), "NON_NUMERIC");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAppend, "k", "x")), "STORED");
  EXPECT_EQ(StoredAt("k"), "x") << "a store of any kind ends the state";
  EXPECT_EQ(AskMeta(MetaGetOf("k")), "k=x");
}

// --- N ---

TEST_F(Meta, WhoFindsNothingWinsAndTheOthersWait) {
  EXPECT_THAT(CallsOf(VivifyOf("k")), ElementsAre("Get k", "SetIf k"));
  EXPECT_EQ(client_.TtlOf("k"), 30'000);
  EXPECT_EQ(AskMeta(VivifyOf("k")), "k= Z");
  EXPECT_EQ(AskMeta(MetaGetOf("k")), "k= Z");
  EXPECT_EQ(Ask(SetOf("k", "v")), "STORED");
  EXPECT_THAT(CallsOf(VivifyOf("k")), ElementsAre("Get k"));
  EXPECT_EQ(AskMeta(VivifyOf("k")), "k=v");
  EXPECT_EQ(metrics().win_absent.Value(), 1u);
}

TEST_F(Meta, ThePlaceholdersTokenGuardsTheStoreOfTheWinner) {
  const std::string won = AskMeta(With(VivifyOf("k"), kCas | kTtl));
  const uint64_t token = StateAt("k").token;
  EXPECT_EQ(won, absl::StrCat("k= t30 c", token, " W"));
  EXPECT_EQ(AskMeta(With(VivifyOf("k"), kCas)), absl::StrCat("k= c", token, " Z"));
  EXPECT_EQ(Ask(CasOf("k", "late", token + 1)), "EXISTS");
  EXPECT_EQ(Ask(CasOf("k", "v", token)), "STORED");
}

TEST_F(Meta, APlaceholderHasTheTokenAndTheLifeThatAreGiven) {
  Request req = With(VivifyOf("k"), kCas | kTtl);
  req.new_cas = 5;
  req.exptime = 60;  // T is of an item that was there; the codec says which counts for one that was not.
  EXPECT_EQ(AskMeta(req), "k= t30 c5 W");
  EXPECT_EQ(client_.TtlOf("k"), 30'000);
  EXPECT_TRUE(StateAt("k").ranked);
  Request old = With(VivifyOf("j"), kTtl);
  old.old_ttl_told = true;
  EXPECT_EQ(AskMeta(old), "j= W") << "there was none before: -1";
  EXPECT_EQ(AskMeta(VivifyOf("gone", -1)), "gone= W");
  Pass(2);
  EXPECT_EQ(AskMeta(MetaGetOf("gone")), "END");
}

// The answer of one call is never the win of two clients, on a worker or beside it.
TEST_F(Meta, OfManyThatShareAReadTheFirstWins) {
  std::vector<ProxyService::Connection> others;
  std::vector<uint64_t> sent;
  for (int i = 0; i < 50; ++i) {
    others.push_back(service().Connect());
    sent.push_back(SendOn(others.back(), VivifyOf("k"), TestSink::kMeta));
  }
  const uint64_t plain = Send(GetOf({"k"}));
  Settle();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("Get k", "SetIf k"));
  EXPECT_EQ(Reply(sent[0]), "k= W");
  for (size_t i = 1; i < sent.size(); ++i) EXPECT_EQ(Reply(sent[i]), "k= Z") << i;
  EXPECT_EQ(Reply(plain), "END") << "it did not ask for more than was there";
}

// Two workers, or two proxies: services that know nothing of each other.
TEST_F(Meta, OfTwoProxiesOneWins) {
  CacheShared shared(&registry_, {{"cache", "other"}});
  ProxyService other(backend_, cache_, server_, &loop_, &shared, [](absl::string_view) {
    return Response(Status::kStats);
  });
  ProxyService::Connection there = other.Connect();
  for (const Request& req : {VivifyOf("absent"), RecacheOf("short", 100), MetaGetOf("stale")}) {
    Put("short", "v", 30'000);
    Put("stale", InState({.stale = true, .token = 7}, "v"));
    const uint64_t here = SendMeta(req);
    other.Execute(there, req, MemcacheReply(&sink_, {1, TestSink::kMeta}, next_sequence_++));
    const uint64_t at_other = next_sequence_ - 1;
    for (int i = 0; i < 10; ++i) {
      other.EndTurn();
      Settle();
    }
    const std::string a = Reply(here), b = Reply(at_other);
    EXPECT_EQ(absl::StrContains(a, "W") + absl::StrContains(b, "W"), 1) << a << " and " << b;
    EXPECT_EQ(absl::StrContains(a, "Z") + absl::StrContains(b, "Z"), 1) << a << " and " << b;
  }
}

TEST_F(Meta, APlaceholderThatReadsDoNotSeeYetIsWaitedFor) {
  cache_.update_attempts = 3;
  const uint64_t sent = SendMeta(VivifyOf("k"));
  service().EndTurn();
  for (int i = 0; i < 400 && !Answered(sent); ++i) {
    // Somebody's item is there whenever a store asks, and never when a read does.
    const bool stores = client_.calls.back() == "SetIf k";
    if (stores) Put("k", "v");
    if (client_.pending() > 0) client_.Deliver();
    client_.items.clear();
    clock_.AdvanceMs(1);
    loop_.RunOnce(0);
    service().EndTurn();
  }
  EXPECT_EQ(Reply(sent), "k= Z");
  EXPECT_EQ(metrics().update_exhausted.Value(), 1u);
  EXPECT_EQ(metrics().win_absent.Value(), 0u);
}

// --- R ---

TEST_F(Meta, WhoFindsAShortLifeWinsOnce) {
  Put("k", "\xF5MP\x01\0\0\0\5v"s, 30'000);
  const uint64_t token = TokenOf(StoredAt("k"));
  EXPECT_EQ(AskMeta(RecacheOf("k", 30)), "k=v/5") << "30 are not less than 30";
  EXPECT_THAT(CallsOf(RecacheOf("k", 31)),
              ElementsAre("GetWithHash k", "ItemGetTtl k", "SetIfHash k"));
  EXPECT_EQ(client_.TtlOf("k"), 30'000) << "the life stays";
  EXPECT_EQ(AskMeta(With(RecacheOf("k", 31), kCas)), absl::StrCat("k=v/5 c", token, " Z"))
      << "the token stays";
  EXPECT_EQ(Ask(CasOf("k", "new", token)), "STORED");
  EXPECT_EQ(AskMeta(RecacheOf("k", 31)), "k=new");
  EXPECT_EQ(metrics().win_recache.Value(), 1u);
}

TEST_F(Meta, OfManyThatFindAShortLifeTogetherOneWins) {
  Put("k", "v", 30'000);
  std::vector<ProxyService::Connection> others;
  std::vector<uint64_t> sent;
  for (int i = 0; i < 20; ++i) {
    others.push_back(service().Connect());
    sent.push_back(SendOn(others.back(), RecacheOf("k", i == 0 ? 10 : 40), TestSink::kMeta));
  }
  Settle();
  EXPECT_EQ(Reply(sent[0]), "k=v") << "its bound is lower";
  EXPECT_EQ(Reply(sent[1]), "k=v W");
  for (size_t i = 2; i < sent.size(); ++i) EXPECT_EQ(Reply(sent[i]), "k=v Z") << i;
}

TEST_F(Meta, RecacheJudgesTheLifeBeforeOrAfterTheTouch) {
  Put("k", "v", 30'000);
  Request req = RecacheOf("k", 40);
  req.exptime = 60;
  EXPECT_EQ(AskMeta(req), "k=v");
  Put("k", "v", 30'000);
  req.old_ttl_judged = true;
  client_.TakeCalls();
  EXPECT_EQ(AskMeta(req), "k=v W");
  EXPECT_THAT(client_.TakeCalls(),
              ElementsAre("GetWithHash k", "ItemGetTtl k", "SetIfHash k", "UpdateTtl k"));
  EXPECT_EQ(client_.TtlOf("k"), 60'000);
}

TEST_F(Meta, RecacheOfNothingIsAMissUnlessItMayBeMade) {
  EXPECT_EQ(AskMeta(RecacheOf("k", 40)), "END");
  Request req = RecacheOf("k", 40);
  req.vivify_exptime = 10;
  EXPECT_EQ(AskMeta(req), "k= W");
}

// --- Stale ---

TEST_F(Meta, AnInvalidatedItemIsWonByTheNextThatAsks) {
  Put("k", "v", 30'000);
  EXPECT_THAT(CallsOf(InvalidatingOf(DeleteOf("k"))), ElementsAre("GetWithHash k", "ItemGetTtl k", "SetIfHash k"));
  const ItemState marked = StateAt("k");
  EXPECT_NE(marked.token, TokenOf("v"));
  EXPECT_EQ(Ask(GetOf({"k"})), "k=v/0") << "which takes no win";
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kCas)), absl::StrCat("k=v c", marked.token, " X W"));
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kCas)), absl::StrCat("k=v c", marked.token, " X Z"));
  EXPECT_EQ(client_.TtlOf("k"), 30'000);
  EXPECT_EQ(Ask(InvalidatingOf(DeleteOf("k"))), "DELETED");
  EXPECT_EQ(AskMeta(MetaGetOf("k")), "k=v X W") << "the win is anew, too";
  EXPECT_EQ(Ask(SetOf("k", "w")), "STORED");
  EXPECT_EQ(AskMeta(MetaGetOf("k")), "k=w");
  EXPECT_EQ(Ask(InvalidatingOf(DeleteOf("none"))), "NOT_FOUND");
  EXPECT_EQ(metrics().win_stale.Value(), 2u);
}

TEST_F(Meta, PlainGetsOfAStaleItemThatShareAReadAreWonOnce) {
  Put("k", InState({.stale = true, .token = 7}, "v"), 30'000);
  std::vector<ProxyService::Connection> others;
  std::vector<uint64_t> sent;
  for (int i = 0; i < 20; ++i) {
    others.push_back(service().Connect());
    sent.push_back(i == 3 ? SendOn(others.back(), GetOf({"k"}))
                          : SendOn(others.back(), MetaGetOf("k"), TestSink::kMeta));
  }
  Settle();
  EXPECT_THAT(client_.TakeCalls(),
              ElementsAre("Get k", "GetWithHash k", "ItemGetTtl k", "SetIfHash k"));
  EXPECT_EQ(Reply(sent[0]), "k=v X W");
  EXPECT_EQ(Reply(sent[3]), "k=v/0");
  for (const size_t i : {1, 2, 4, 19}) EXPECT_EQ(Reply(sent[i]), "k=v X Z") << i;
}

TEST_F(Meta, InvalidatingSetsTheLifeAndTheTokenThatAreGiven) {
  Put("k", "v", 30'000);
  Request req = InvalidatingOf(DeleteOf("k"));
  req.exptime = 10;
  req.new_cas = 99;
  EXPECT_THAT(CallsOf(req), ElementsAre("GetWithHash k", "SetIfHash k"));
  EXPECT_EQ(client_.TtlOf("k"), 10'000);
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kCas)), "k=v c99 X W");
  req.exptime = -1;
  EXPECT_EQ(Ask(req), "DELETED");
  EXPECT_EQ(AskMeta(MetaGetOf("k")), "END");
}

TEST_F(Meta, InvalidatingComparesTheToken) {
  Put("k", "v");
  Request req = InvalidatingOf(DeleteOf("k"));
  req.cas = TokenOf("w");
  EXPECT_EQ(Ask(req), "EXISTS");
  EXPECT_EQ(StoredAt("k"), "v");
  req.cas = TokenOf("v");
  EXPECT_EQ(Ask(req), "DELETED");
  Request del = DeleteOf("k");
  del.cas = TokenOf(StoredAt("k"));
  EXPECT_EQ(Ask(del), "EXISTS") << "the token is the envelope's";
  del.cas = StateAt("k").token;
  EXPECT_EQ(Ask(del), "DELETED");
  EXPECT_EQ(Ask(del), "NOT_FOUND");
}

TEST_F(Meta, EmptyingKeepsTheTokenAndStoresForTheLifeGiven) {
  Put("k", "\xF5MP\x01\0\0\0\5v"s, 30'000);
  const uint64_t token = TokenOf(StoredAt("k"));
  Request req = DeleteOf("k");
  req.drop_value = true;
  EXPECT_EQ(Ask(req), "DELETED");
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kCas)), absl::StrCat("k= c", token));
  EXPECT_EQ(client_.TtlOf("k"), 60'000) << "that of a store without";
  req.invalidate = true;
  req.exptime = 10;
  req.flags = 3;
  EXPECT_EQ(Ask(req), "DELETED");
  EXPECT_EQ(AskMeta(MetaGetOf("k")), "k=/3 X W");
  EXPECT_EQ(client_.TtlOf("k"), 10'000);
}

// --- ms ---

TEST_F(Meta, AGivenTokenIsTheItemsToken) {
  Request set = SetOf("k", "v", 5, 30);
  set.new_cas = 1000;
  set.want = kCas;
  EXPECT_THAT(CallsOf(set), ElementsAre("SetIfHash k"));
  EXPECT_EQ(StoredAt("k"), InState({.ranked = true, .token = 1000}, "v", 5));
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kCas)), "k=v/5 c1000");
  for (const StoreMode mode : {StoreMode::kReplace, StoreMode::kAppend, StoreMode::kPrepend}) {
    Request req = StoreOf(mode, "k", "x");
    req.new_cas = 2000;
    EXPECT_EQ(Ask(req), "STORED");
    EXPECT_EQ(StateAt("k").token, 2000u);
  }
  Request cas = CasOf("k", "w", 2000);
  cas.new_cas = 2001;
  EXPECT_EQ(Ask(cas), "STORED");
  Request add = StoreOf(StoreMode::kAdd, "new", "7");
  add.new_cas = 1;
  EXPECT_EQ(Ask(add), "STORED");
  EXPECT_EQ(StateAt("new").token, 1u);
  Request count = CountOf("new", 1);
  count.new_cas = 2;
  EXPECT_EQ(Ask(count), "8");
  EXPECT_EQ(StateAt("new").token, 2u);
  EXPECT_EQ(Ask(SetOf("k", "w")), "STORED");
  EXPECT_EQ(StoredAt("k"), "w");
}

TEST_F(Meta, PlainSetsOfATurnHaveTheTokensThatAreGiven) {
  cache_.writes = config::Cache::Writes::kPlain;
  Request first = SetOf("a", "1"), second = SetOf("b", "2");
  first.new_cas = 10;
  const uint64_t a = Send(first);
  const uint64_t b = Send(second);
  Settle();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("SetBatch 2: a b"));
  EXPECT_EQ(Reply(a) + Reply(b), "STOREDSTORED");
  EXPECT_EQ(StateAt("a").token, 10u);
  EXPECT_EQ(StoredAt("b"), "2");
}

Request InvalidatingCas(absl::string_view key, absl::string_view value, uint64_t token) {
  return InvalidatingOf(CasOf(key, value, token, 5, 90));
}

TEST_F(Meta, AnInvalidatingStoreWithTheTokenIsACas) {
  Put("k", "v", 30'000);
  EXPECT_THAT(CallsOf(InvalidatingCas("k", "w", TokenOf("v"))),
              ElementsAre("GetWithHash k", "ItemGetTtl k", "SetIfHash k"));
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kTtl)), "k=w/5 t90");
  EXPECT_EQ(Ask(InvalidatingCas("none", "w", 1)), "NOT_FOUND");
  EXPECT_EQ(metrics().cas_hit.Value(), 1u);
  EXPECT_EQ(metrics().cas_miss.Value(), 1u);
}

TEST_F(Meta, AnInvalidatingStoreWithAnOlderTokenIsStale) {
  Put("k", "v", 30'000);
  EXPECT_EQ(Ask(InvalidatingCas("k", "w", TokenOf("before"))), "STORED");
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kTtl)), "k=w/5 t30 X W") << "the life stays";
  EXPECT_EQ(Ask(InvalidatingCas("k", "y", TokenOf("before"))), "STORED");
  EXPECT_EQ(AskMeta(MetaGetOf("k")), "k=y/5 X Z") << "whoever has the win keeps it";
  // Neither add nor append and prepend know of it.
  Request append = StoreOf(StoreMode::kAppend, "k", "z");
  append.cas = TokenOf("before");
  append.invalidate = true;
  EXPECT_EQ(Ask(append), "EXISTS");
  Request add = StoreOf(StoreMode::kAdd, "k", "z");
  add.cas = TokenOf("before");
  add.invalidate = true;
  EXPECT_EQ(Ask(add), "NOT_STORED");
}

// Tokens that clients count up have an order.
TEST_F(Meta, AnInvalidatingStoreWithANewerTokenIsRefused) {
  Put("k", InState({.ranked = true, .token = 100}, "v"));
  EXPECT_EQ(Ask(InvalidatingCas("k", "w", 101)), "EXISTS");
  EXPECT_EQ(Ask(InvalidatingCas("k", "w", 99)), "STORED");
  EXPECT_EQ(AskMeta(MetaGetOf("k")), "k=w/5 X W");
  EXPECT_EQ(metrics().cas_badval.Value(), 1u);
}

TEST_F(Meta, AnAddComparesNoToken) {
  Request add = StoreOf(StoreMode::kAdd, "k", "v");
  add.cas = 1;
  EXPECT_EQ(Ask(add), "STORED");
  EXPECT_EQ(Ask(add), "NOT_STORED");
  Request replace = StoreOf(StoreMode::kReplace, "k", "w");
  replace.cas = 1;
  EXPECT_EQ(Ask(replace), "EXISTS");
  replace.cas = TokenOf("v");
  EXPECT_EQ(Ask(replace), "STORED");
}

TEST_F(Meta, AppendingMakesTheItemIfItMay) {
  Request append = StoreOf(StoreMode::kAppend, "k", "ab", 5);
  append.vivify_exptime = 20;
  EXPECT_THAT(CallsOf(append), ElementsAre("GetWithHash k", "ItemGetTtl k", "SetIf k"));
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kTtl)), "k=ab/5 t20");
  append.value = "cd";
  EXPECT_EQ(Ask(append), "STORED");
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kTtl)), "k=abcd/5 t20");
}

// --- ma ---

TEST_F(Meta, CountingTellsTokenAndLifeAtNoCallMore) {
  Put("n", "10", 30'000);
  Request req = With(CountOf("n", 5), kCas | kTtl | proto::memcache::kWantSize);
  client_.TakeCalls();
  EXPECT_EQ(AskMeta(req), absl::StrCat("15 c", TokenOf("15"), " t30 s2"));
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("GetWithHash n", "ItemGetTtl n", "SetIfHash n"));
  req.exptime = 99;
  EXPECT_EQ(AskMeta(req), absl::StrCat("20 c", TokenOf("20"), " t99 s2"));
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("GetWithHash n", "SetIfHash n"));
  EXPECT_EQ(client_.TtlOf("n"), 99'000);
}

TEST_F(Meta, CountingTellsTheLifeThatWasWhereItIsAskedFor) {
  Request req = With(CountOf("n", 5), kTtl);
  req.initial = 7;
  req.initial_exptime = 20;
  req.exptime = 60;
  req.old_ttl_told = true;
  EXPECT_EQ(AskMeta(req), "7") << "there was none: -1";
  client_.TakeCalls();
  EXPECT_EQ(AskMeta(req), "12 t20");
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("GetWithHash n", "ItemGetTtl n", "SetIfHash n"));
  EXPECT_EQ(AskMeta(req), "17 t60");
}

TEST_F(Meta, WhatIsToBeGoneAtOnceIs) {
  Put("n", "10");
  Request count = CountOf("n", 5);
  count.exptime = -1;
  EXPECT_THAT(CallsOf(count), ElementsAre("GetWithHash n", "SetIfHash n", "Delete n"));
  EXPECT_EQ(Ask(count), "NOT_FOUND");
  Put("k", "v");
  Request store = InvalidatingOf(CasOf("k", "w", TokenOf("v"), 0, -1));
  EXPECT_EQ(Ask(store), "STORED");
  EXPECT_EQ(StoredAt("k"), "(none)");
}

// As memcached's, which writes a number that fits over the old one.
TEST_F(Meta, ACountInPlaceKeepsTheState) {
  Put("n", InState({.stale = true, .win_taken = true, .token = 7}, "10"));
  EXPECT_EQ(Ask(CountOf("n", 5)), "15");
  EXPECT_NE(StateAt("n").token, 7u);
  EXPECT_EQ(AskMeta(MetaGetOf("n")), "n=15 X Z");
  EXPECT_EQ(Ask(CountOf("n", 100)), "115");
  EXPECT_EQ(StoredAt("n"), "115");
}

// --- Forms that keep no state ---

TEST_F(Meta, FormsWithoutMarksRefuseWhatNeedsThem) {
  for (const auto form : {config::Cache::Envelope::kRaw, config::Cache::Envelope::kFlags4}) {
    cache_.envelope = form;
    service().Retune(cache_);
    const std::string refused = "CLIENT_ERROR this cache keeps no state of items (envelope)";
    client_.TakeCalls();
    Request set = SetOf("k", "v");
    set.new_cas = 1;
    EXPECT_EQ(Ask(set), refused);
    EXPECT_EQ(AskMeta(VivifyOf("k")), refused);
    EXPECT_EQ(AskMeta(RecacheOf("k", 10)), refused);
    EXPECT_EQ(Ask(InvalidatingOf(DeleteOf("k"))), refused);
    EXPECT_EQ(Ask(InvalidatingCas("k", "v", 1)), refused);
    EXPECT_THAT(client_.TakeCalls(), IsEmpty());
    // What looks like a mark is a value there.
    EXPECT_EQ(Ask(SetOf("k", InState({.stale = true}, "v"))), "STORED");
    EXPECT_EQ(AskMeta(MetaGetOf("k")), "k=" + InState({.stale = true}, "v"));
    Request empty = DeleteOf("k");
    empty.drop_value = true;
    EXPECT_EQ(Ask(empty), "DELETED");
    EXPECT_EQ(AskMeta(MetaGetOf("k")), "k=");
    client_.items.clear();
  }
}

TEST_F(Meta, TheNonceFormKeepsStatesToo) {
  cache_.envelope = config::Cache::Envelope::kNonce;
  EXPECT_EQ(Ask(SetOf("k", "v", 5)), "STORED");
  const uint64_t token = TokenOf(StoredAt("k"));
  EXPECT_EQ(AskMeta(With(RecacheOf("k", 1000), kCas)), absl::StrCat("k=v/5 c", token, " W"));
  EXPECT_EQ(AskMeta(With(RecacheOf("k", 1000), kCas)), absl::StrCat("k=v/5 c", token, " Z"));
}

// --- Failures ---

TEST_F(Meta, AFailureOfAnyCallIsAMiss) {
  for (const std::string call : {"GetWithHash", "ItemGetTtl", "SetIfHash"}) {
    Put("k", InState({.stale = true, .token = 7}, "v"));
    client_.faults[call] = {.count = 1};
    EXPECT_EQ(AskMeta(MetaGetOf("k")), "END") << call;
    EXPECT_EQ(AskMeta(MetaGetOf("k")), "k=v X W") << call;
  }
  client_.faults["SetIf"] = {.count = 1};
  EXPECT_EQ(AskMeta(VivifyOf("none")), "END");
  EXPECT_EQ(AskMeta(VivifyOf("none")), "none= W");
  EXPECT_EQ(metrics().get_failed.Value(), 4u);
  ExpectLookupsAddUp();
}

TEST_F(Meta, AFailureIsAnErrorWhereGetsHaveErrors) {
  cache_.get_error = config::Cache::GetError::kError;
  client_.faults["SetIf"] = {.count = 1};
  const std::string error = "SERVER_ERROR backend unavailable";
  EXPECT_EQ(AskMeta(VivifyOf("none")), error);
  Put("k", "v");
  client_.faults["ItemGetTtl"] = {.count = 1};
  EXPECT_EQ(AskMeta(With(MetaGetOf("k"), kTtl)), error);
  client_.faults["SetIfHash"] = {.count = 3};
  EXPECT_EQ(AskMeta(RecacheOf("k", 1000)), error);
  EXPECT_EQ(Ask(InvalidatingOf(DeleteOf("k"))), error + ", outcome unknown");
  EXPECT_EQ(Ask(InvalidatingCas("k", "w", 1)), error + ", outcome unknown");
}

// All that share a contest share its failure; nobody is left waiting.
TEST_F(Meta, WhoFollowsAFailedContestFailsWithIt) {
  ProxyService::Connection other = service().Connect();
  client_.faults["SetIf"] = {.count = 1};
  const uint64_t first = SendMeta(VivifyOf("k"));
  const uint64_t second = SendOn(other, VivifyOf("k"), TestSink::kMeta);
  Settle();
  EXPECT_EQ(Reply(first), "END");
  EXPECT_EQ(Reply(second), "END");
}

TEST_F(Meta, AnInvalidationThatLosesARaceIsDoneAgain) {
  Put("k", "v");
  client_.lose_races = 2;
  EXPECT_EQ(AskPatiently(InvalidatingOf(DeleteOf("k"))), "DELETED");
  client_.lose_races = 2;
  EXPECT_EQ(AskPatiently(MetaGetOf("k")), "k=v X W");
  client_.lose_races = 100;
  EXPECT_EQ(AskPatiently(InvalidatingOf(DeleteOf("k"))), "SERVER_ERROR too many concurrent updates");
  Put("k", "v", 10'000);
  EXPECT_EQ(AskPatiently(RecacheOf("k", 1000)), "k=v") << "others write all the time: not won";
}

// --- Order ---

TEST_F(Meta, AConnectionsCommandsOnAKeyKeepTheirOrder) {
  const uint64_t first = SendMeta(VivifyOf("k"));
  const uint64_t second = SendMeta(VivifyOf("k"));
  const uint64_t plain = Send(GetOf({"k"}));
  const uint64_t set = Send(SetOf("k", "v"));
  const uint64_t third = SendMeta(VivifyOf("k"));
  const uint64_t invalid = Send(InvalidatingOf(DeleteOf("k")));
  const uint64_t fourth = SendMeta(MetaGetOf("k"));
  const uint64_t fifth = SendMeta(MetaGetOf("k"));
  Settle();
  EXPECT_EQ(Reply(first), "k= W");
  EXPECT_EQ(Reply(second), "k= Z");
  EXPECT_EQ(Reply(plain), "k=/0");
  EXPECT_EQ(Reply(set), "STORED");
  EXPECT_EQ(Reply(third), "k=v");
  EXPECT_EQ(Reply(invalid), "DELETED");
  EXPECT_EQ(Reply(fourth), "k=v X W");
  EXPECT_EQ(Reply(fifth), "k=v X Z");
}

// Gets that only read run side by side; whichever of them wins, the first one is told so.
TEST_F(Meta, TheWinIsOfTheFirstGetOfAConnection) {
  for (const bool contends : {false, true}) {
    Put("k", InState({.stale = true, .token = 7}, "v"), 30'000);
    const uint64_t first = SendMeta(With(MetaGetOf("k"), kCas));
    const uint64_t second = SendMeta(With(MetaGetOf("k"), kTtl));
    service().EndTurn();
    // One call is the first's, then two are the second's.
    if (contends) client_.Deliver(0);
    const size_t of_second = contends ? 0 : 1;
    client_.Deliver(of_second);
    client_.Deliver(of_second);
    service().EndTurn();
    EXPECT_EQ(client_.calls.back(), "SetIfHash k");
    client_.Deliver(client_.pending() - 1);
    EXPECT_EQ(Reply(second), "k=v t30 X Z");
    EXPECT_FALSE(Answered(first));
    Settle();
    EXPECT_EQ(Reply(first), "k=v c7 X W");
  }
  EXPECT_EQ(metrics().win_stale.Value(), 2u);
}

TEST_F(Meta, AFollowerIsHandedTheWinOfAnotherFlight) {
  ProxyService::Connection other = service().Connect();
  Put("k", InState({.stale = true, .token = 7}, "v"), 30'000);
  const uint64_t leader = SendOn(other, GetOf({"k"}));
  const uint64_t first = SendMeta(MetaGetOf("k"));
  const uint64_t second = SendMeta(With(MetaGetOf("k"), kCas));
  service().EndTurn();
  ASSERT_THAT(client_.calls, ElementsAre("GetWithHash k", "Get k"));
  client_.Deliver(0);
  for (int i = 0; i < 3; ++i) {  // Two reads and the store; the Get is before them.
    service().EndTurn();
    client_.Deliver(1);
  }
  EXPECT_EQ(Reply(second), "k=v c7 X Z");
  EXPECT_FALSE(Answered(first));
  Settle();
  EXPECT_EQ(Reply(leader), "k=v/0");
  EXPECT_EQ(Reply(first), "k=v X W");
}

TEST_F(Meta, AClosedConnectionLeavesAContestToItsEnd) {
  {
    ProxyService::Connection gone = service().Connect();
    SendOn(gone, VivifyOf("k"), TestSink::kMeta);
    service().EndTurn();
  }
  Settle();
  EXPECT_TRUE(StateAt("k").win_taken);
}

}  // namespace
}  // namespace proxy
