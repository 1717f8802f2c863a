// append, prepend, incr, decr: what they store, for how long, and what happens when others write.
#include <gmock/gmock.h>

#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;

const std::string kFlags5 = "\xF5MP\x01\0\0\0\5"s;

class Updates : public ServiceTest {
 protected:
  // Like Settle, letting pauses between rounds pass.
  std::string AskPatiently(const Request& req) {
    const uint64_t sequence = Send(req);
    Settle();
    for (int i = 0; i < 400 && !Answered(sequence); ++i) Pass(1);
    return Reply(sequence);
  }
};

TEST_F(Updates, AppendAndPrependKeepFlagsAndLife) {
  Put("k", kFlags5 + "mid", 30'000);
  EXPECT_THAT(CallsOf(StoreOf(StoreMode::kAppend, "k", "-end", 9, 1)),
              ElementsAre("GetWithHash k", "ItemGetTtl k", "SetIfHash k"));
  EXPECT_EQ(Ask(StoreOf(StoreMode::kPrepend, "k", "start-", 9, 1)), "STORED");
  EXPECT_EQ(StoredAt("k"), kFlags5 + "start-mid-end");
  EXPECT_EQ(client_.TtlOf("k"), 30'000);
}

TEST_F(Updates, AppendToNothingIsNotStored) {
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAppend, "k", "x")), "NOT_STORED");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kPrepend, "k", "x")), "NOT_STORED");
  EXPECT_EQ(StoredAt("k"), "(none)");
}

TEST_F(Updates, PrependingTheMagicToABareValueStillReadsBack) {
  Put("k", "\x01\0\0\0\7x"s);
  EXPECT_EQ(Ask(StoreOf(StoreMode::kPrepend, "k", "\xF5MP")), "STORED");
  EXPECT_EQ(Ask(GetOf({"k"})), "k=\xF5MP\x01\0\0\0\7x/0"s);
}

TEST_F(Updates, AppendPastTheValueLimitIsNotStoredAndKeepsTheOld) {
  server_.item_size_max = 59 + 1 + 10;
  Put("k", "1234567");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAppend, "k", "8901")), "NOT_STORED");
  EXPECT_EQ(StoredAt("k"), "1234567");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAppend, "k", "890")), "STORED");
}

TEST_F(Updates, CountsAsMemcachedDoes) {
  EXPECT_EQ(Ask(CountOf("k", 1)), "NOT_FOUND");
  Put("k", kFlags5 + "10", 30'000);
  EXPECT_EQ(Ask(CountOf("k", 1, true)), "9");
  EXPECT_EQ(StoredAt("k"), kFlags5 + "9 ");
  EXPECT_EQ(Ask(CountOf("k", 991)), "1000");
  EXPECT_EQ(Ask(CountOf("k", 5000, true)), "0");
  EXPECT_EQ(StoredAt("k"), kFlags5 + "0   ");
  EXPECT_EQ(Ask(CountOf("k", ~0ull)), "18446744073709551615");
  EXPECT_EQ(Ask(CountOf("k", 2)), "1");
  EXPECT_EQ(client_.TtlOf("k"), 30'000);
  EXPECT_EQ(metrics().incr_hit.Value(), 3u);
  EXPECT_EQ(metrics().incr_miss.Value(), 1u);
  EXPECT_EQ(metrics().decr_hit.Value(), 2u);
}

TEST_F(Updates, CountingWhatIsNoNumberIsRefused) {
  Put("k", "abc");
  EXPECT_EQ(Ask(CountOf("k", 1)), "NON_NUMERIC");
  EXPECT_EQ(StoredAt("k"), "abc");
}

TEST_F(Updates, ALostRaceIsRunAgain) {
  Put("k", "5");
  client_.lose_races = 3;
  EXPECT_EQ(AskPatiently(CountOf("k", 1)), "6");
  EXPECT_EQ(StoredAt("k"), "6");
  EXPECT_EQ(metrics().update_retry.Value(), 3u);
  EXPECT_EQ(metrics().incr_hit.Value(), 1u);
}

TEST_F(Updates, ARivalsWriteIsBuiltUponNotLost) {
  Put("k", "5");
  const uint64_t sent = Send(CountOf("k", 1));
  service().EndTurn();
  client_.Deliver();
  client_.Deliver();
  Put("k", "50");
  Settle();
  EXPECT_EQ(Reply(sent), "51");
}

TEST_F(Updates, RoundsAreBounded) {
  Put("k", "5");
  client_.lose_races = 1'000;
  EXPECT_EQ(AskPatiently(CountOf("k", 1)), "SERVER_ERROR too many concurrent updates");
  EXPECT_EQ(1'000 - client_.lose_races, 4);
  EXPECT_EQ(StoredAt("k"), "5");
  EXPECT_EQ(metrics().update_exhausted.Value(), 1u);
}

TEST_F(Updates, RoundsEndAtTheCommandsDeadlineToo) {
  cache_.update_attempts = 1'000;
  cache_.deadline = absl::Milliseconds(100);
  Put("k", "5");
  client_.lose_races = 1'000;
  EXPECT_EQ(AskPatiently(CountOf("k", 1)), "SERVER_ERROR too many concurrent updates");
  EXPECT_GT(client_.lose_races, 800);
}

TEST_F(Updates, AnItemWithoutALifeIsReadAgain) {
  Put("k", "5");
  client_.hide_ttl = true;
  EXPECT_EQ(AskPatiently(CountOf("k", 1)), "SERVER_ERROR too many concurrent updates");
  client_.hide_ttl = false;
  EXPECT_EQ(AskPatiently(CountOf("k", 1)), "6");
}

TEST_F(Updates, TheReadsMayAnswerInEitherOrder) {
  Put("k", "5");
  const uint64_t sent = Send(CountOf("k", 1));
  service().EndTurn();
  client_.Deliver(1);
  Settle();
  EXPECT_EQ(Reply(sent), "6");
}

TEST_F(Updates, ManyConnectionsCountingOneKeyDoNotMakeEachOtherFail) {
  Put("k", "0");
  std::vector<ProxyService::Connection> connections;
  std::vector<uint64_t> sent;
  for (int i = 0; i < 50; ++i) connections.push_back(service().Connect());
  for (auto& one : connections) sent.push_back(SendOn(one, CountOf("k", 1)));
  Settle();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Reply(sent[i]), absl::StrCat(i + 1));
  EXPECT_EQ(metrics().update_retry.Value(), 0u);
  EXPECT_EQ(client_.calls.size(), 150u);
}

TEST_F(Updates, ATokenLimitsTheUpdateToThatItem) {
  Put("k", "5");
  Request req = CountOf("k", 1);
  req.cas = TokenOf("4");
  EXPECT_EQ(Ask(req), "EXISTS");
  req.cas = TokenOf("5");
  EXPECT_EQ(Ask(req), "6");
}

TEST_F(Updates, AFlags4ValueThatIsNotOneIsAbsent) {
  cache_.envelope = config::Cache::Envelope::kFlags4;
  Put("k", "5");
  EXPECT_EQ(Ask(CountOf("k", 1)), "NOT_FOUND");
  EXPECT_EQ(Ask(CasOf("k", "x", TokenOf("5"))), "NOT_FOUND");
}

}  // namespace
}  // namespace proxy
