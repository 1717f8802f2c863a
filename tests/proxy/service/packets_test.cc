// What binary clients ask for beside what text has words for: a token with every answer, keys of
// misses, counters that are made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using ::testing::ElementsAre;

// A get as a packet asks for it.
Request PacketGetOf(absl::string_view key) {
  Request req = GetOf({key});
  req.want |= proto::memcache::kWantCas | proto::memcache::kWantCasAlong;
  return req;
}
Request MakingCount(absl::string_view key, uint64_t initial, int64_t exptime = 0) {
  Request req = CountOf(key, 1);
  req.initial = initial;
  req.initial_exptime = exptime;
  req.want = proto::memcache::kWantCas;
  return req;
}

class Packets : public ServiceTest {
 protected:
  std::string AskWithCas(const Request& req) {
    const uint64_t sent = SendOn(connection(), req, TestSink::kWithCas);
    Settle();
    return Reply(sent);
  }
};

TEST_F(Packets, GetsOfATurnShareACallAndHaveTokens) {
  Put("a", "1");
  Put("b", "2");
  const uint64_t a = SendOn(connection(), PacketGetOf("a"), TestSink::kWithCas);
  const uint64_t b = SendOn(connection(), PacketGetOf("b"), TestSink::kWithCas);
  const uint64_t none = SendOn(connection(), PacketGetOf("none"), TestSink::kWithCas);
  Settle();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("GetBatch 3: a b none"));
  EXPECT_EQ(Reply(a), absl::StrCat("a=1/0/", TokenOf("1")));
  EXPECT_EQ(Reply(b), absl::StrCat("b=2/0/", TokenOf("2")));
  EXPECT_EQ(Reply(none), "END");
  EXPECT_EQ(Ask(CasOf("a", "3", TokenOf("1"))), "STORED");
  EXPECT_EQ(Ask(CasOf("b", "3", TokenOf("1"))), "EXISTS");
}

TEST_F(Packets, FollowersHaveTheToken) {
  Put("k", "1");
  const uint64_t plain = Send(GetOf({"k"}));
  ProxyService::Connection other = service().Connect();
  const uint64_t follower = SendOn(other, PacketGetOf("k"), TestSink::kWithCas);
  Settle();
  EXPECT_THAT(client_.TakeCalls(), ElementsAre("Get k"));
  EXPECT_EQ(Reply(plain), "k=1/0");
  EXPECT_EQ(Reply(follower), absl::StrCat("k=1/0/", TokenOf("1")));
}

// Set and SetBatch tell no hash; the token is known without.
TEST_F(Packets, PlainWritesTellTheTokenThatReadsTell) {
  cache_.writes = config::Cache::Writes::kPlain;
  Request set = SetOf("k", "v", 7);
  set.want = proto::memcache::kWantCas;
  EXPECT_THAT(CallsOf(set), ElementsAre("Set k"));
  const std::string got = AskWithCas(PacketGetOf("k"));
  EXPECT_EQ(got, absl::StrCat("k=v/7/", TokenOf(StoredAt("k"))));
  EXPECT_EQ(Ask(CasOf("k", "w", TokenOf(StoredAt("k")))), "STORED");
}

TEST_F(Packets, ACountMakesItsCounter) {
  EXPECT_THAT(CallsOf(MakingCount("n", 5)),
              ElementsAre("GetWithHash n", "ItemGetTtl n", "SetIf n"));
  EXPECT_EQ(StoredAt("n"), "5");
  EXPECT_EQ(metrics().incr_miss.Value(), 0u);
  EXPECT_EQ(Ask(MakingCount("n", 5)), "6");
  EXPECT_EQ(StoredAt("n"), "6");
  EXPECT_EQ(Ask(CountOf("none", 1)), "NOT_FOUND");
  EXPECT_EQ(metrics().incr_miss.Value(), 1u);
}

TEST_F(Packets, ACounterThatIsGoneAtOnceIsNotMade) {
  EXPECT_EQ(Ask(MakingCount("n", 5, /*exptime=*/2'592'001)), "5");
  EXPECT_EQ(StoredAt("n"), "(none)");
}

// Somebody else makes the counter between the read and the store.
TEST_F(Packets, OfTwoThatMakeACounterOneCounts) {
  const uint64_t sent = Send(MakingCount("n", 5));
  service().EndTurn();
  client_.Deliver(0);  // Both reads have seen nothing.
  client_.Deliver(0);
  Put("n", "10");
  Settle();
  EXPECT_EQ(Reply(sent), "11");
}

}  // namespace
}  // namespace proxy
