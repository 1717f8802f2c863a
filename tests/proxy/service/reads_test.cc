// get, gets, gat: many keys, batches, tokens, lives.
#include <gmock/gmock.h>

#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::UnorderedElementsAre;
using Batch = config::Cache::Batch;

class Reads : public ServiceTest {};

TEST_F(Reads, OneKeyIsOneGet) {
  Put("k", "v");
  EXPECT_THAT(CallsOf(GetOf({"k"})), ElementsAre("Get k"));
  EXPECT_EQ(Ask(GetOf({"k"})), "k=v/0");
  EXPECT_EQ(Ask(GetOf({"absent"})), "END");
  EXPECT_EQ(metrics().get_hit.Value(), 2u);
  EXPECT_EQ(metrics().get_miss.Value(), 1u);
  ExpectLookupsAddUp();
}

TEST_F(Reads, ManyKeysAreOneBatchAnsweredInTheOrderAsked) {
  Put("a", "1");
  Put("c", "3");
  EXPECT_THAT(CallsOf(GetOf({"c", "b", "a"})), ElementsAre("GetBatch 3: c b a"));
  EXPECT_EQ(Ask(GetOf({"c", "b", "a"})), "c=3/0 a=1/0");
  ExpectLookupsAddUp();
}

TEST_F(Reads, AKeyNamedTwiceIsFetchedOnceAndAnsweredTwice) {
  Put("a", "1");
  EXPECT_THAT(CallsOf(GetOf({"a", "a"})), ElementsAre("Get a"));
  EXPECT_EQ(Ask(GetOf({"a", "b", "a", "b"})), "a=1/0 a=1/0");
  EXPECT_EQ(metrics().get.Value(), 6u);
  EXPECT_EQ(metrics().get_shared.Value(), 3u);
  ExpectLookupsAddUp();
}

TEST_F(Reads, ALongValueNamedTwiceIsWholeTwice) {
  const std::string value(10'000, 'x');
  Put("a", value);
  EXPECT_EQ(Ask(GetOf({"a", "a"})), absl::StrCat("a=", value, "/0 a=", value, "/0"));
  Ask(SetOf("b", value, 3));
  EXPECT_EQ(Ask(GetOf({"b"})), absl::StrCat("b=", value, "/3"));
}

TEST_F(Reads, OneAnswerDoesNotTakeAllMemory) {
  const std::string value(1'000'000, 'v');
  std::vector<std::string> keys;
  for (int i = 0; i < 70; ++i) {
    keys.push_back(absl::StrCat("key", i));
    Put(keys.back(), value);
  }
  Request req = GetOf({});
  req.keys.assign(keys.begin(), keys.begin() + 60);
  EXPECT_GT(Ask(req).size(), 60u * value.size());
  req.keys.assign(keys.begin(), keys.end());
  EXPECT_EQ(Ask(req), "SERVER_ERROR out of memory writing get response");
  req.keys.assign(70, keys[0]);  // One call, but seventy copies.
  EXPECT_EQ(Ask(req), "SERVER_ERROR out of memory writing get response");
  EXPECT_EQ(Ask(GetOf({keys[1]})).size(), value.size() + keys[1].size() + 3);
  ExpectLookupsAddUp();
}

TEST_F(Reads, MoreKeysThanOneGetMayHaveAreRefusedWithoutACall) {
  std::vector<std::string> keys;
  for (int i = 0; i < 65'536; ++i) keys.push_back(absl::StrCat(i));
  Request req = GetOf({});
  req.keys.assign(keys.begin(), keys.end());
  EXPECT_EQ(Ask(req), "END");
  const size_t calls = client_.calls.size();
  req.keys.push_back("one more");
  EXPECT_EQ(Ask(req), "SERVER_ERROR out of memory writing get response");
  EXPECT_EQ(client_.calls.size(), calls);
  ExpectLookupsAddUp();
}

TEST_F(Reads, NoKeysAreNoItems) {
  EXPECT_EQ(Ask(GetOf({})), "END");
  EXPECT_EQ(Ask(GatOf(0, {})), "END");
}

TEST_F(Reads, TenThousandKeysComeInFullBatchesAndInOrder) {
  cache_.batch_keys_max = 64;
  std::vector<std::string> keys;
  for (int i = 0; i < 10'000; ++i) keys.push_back(absl::StrCat("key", i));
  Request req = GetOf({});
  std::string expected;
  for (int i = 0; i < 10'000; ++i) {
    req.keys.push_back(keys[i]);
    if (i % 3 != 0) continue;
    Put(keys[i], absl::StrCat(i));
    absl::StrAppend(&expected, expected.empty() ? "" : " ", keys[i], "=", i, "/0");
  }
  EXPECT_EQ(Ask(req), expected);
  EXPECT_EQ(client_.calls.size(), (10'000u + 63) / 64);
  EXPECT_EQ(metrics().batch_key.Value(), 10'000u);
  EXPECT_EQ(metrics().get_hit.Value(), 3'334u);
  ExpectLookupsAddUp();
}

TEST_F(Reads, PipelinedGetsOfATurnShareABatch) {
  Put("a", "1");
  const uint64_t a = Send(GetOf({"a"}));
  const uint64_t b = Send(GetOf({"b"}));
  EXPECT_EQ(client_.pending(), 0u);
  Settle();
  EXPECT_THAT(client_.calls, ElementsAre("GetBatch 2: a b"));
  EXPECT_EQ(Reply(a), "a=1/0");
  EXPECT_EQ(Reply(b), "END");
}

TEST_F(Reads, ByWorkerAllConnectionsShareABatch) {
  ProxyService::Connection other = service().Connect();
  Send(GetOf({"a"}));
  SendOn(other, GetOf({"b"}));
  Send(GetOf({"c"}));
  Settle();
  EXPECT_THAT(client_.calls, ElementsAre("GetBatch 3: a b c"));
}

TEST_F(Reads, ByConnectionEachHasItsOwnBatch) {
  cache_.batch = Batch::kConnection;
  ProxyService::Connection other = service().Connect();
  Send(GetOf({"a"}));
  SendOn(other, GetOf({"b"}));
  Send(GetOf({"c"}));
  SendOn(other, GetOf({"d"}));
  Settle();
  EXPECT_THAT(client_.calls, UnorderedElementsAre("GetBatch 2: a c", "GetBatch 2: b d"));
}

TEST_F(Reads, WithoutBatchesEveryKeyIsItsOwnCall) {
  cache_.batch = Batch::kOff;
  Put("b", "2");
  const uint64_t got = Send(GetOf({"a", "b"}));
  service().EndTurn();
  EXPECT_EQ(client_.pending(), 2u);
  Settle();
  EXPECT_THAT(client_.calls, ElementsAre("Get a", "Get b"));
  EXPECT_EQ(Reply(got), "b=2/0");
}

TEST_F(Reads, TheLastKeyOverAFullBatchGoesAlone) {
  cache_.batch_keys_max = 2;
  EXPECT_THAT(CallsOf(GetOf({"a", "b", "c"})), ElementsAre("GetBatch 2: a b", "Get c"));
}

TEST_F(Reads, ABatchTooLargeForOneReplyIsAskedForInParts) {
  for (const char* key : {"a", "b", "c", "d"}) Put(key, key);
  for (momento::Code code : {momento::Code::kResourceExhausted, momento::Code::kDeadlineExceeded}) {
    client_.faults["GetBatch"] = {.code = code, .count = 1, .came = 2};
    EXPECT_THAT(CallsOf(GetOf({"a", "b", "c", "d"})),
                ElementsAre("GetBatch 4: a b c d", "GetBatch 2: c d"));
    client_.faults["GetBatch"] = {.code = code, .count = 1, .came = 3};
    EXPECT_EQ(Ask(GetOf({"a", "b", "c", "d"})), "a=a/0 b=b/0 c=c/0 d=d/0");
  }
  EXPECT_EQ(metrics().get_miss.Value(), 0u);
  ExpectLookupsAddUp();
}

TEST_F(Reads, ABatchThatGetsNowhereIsNotRepeated) {
  for (const char* key : {"a", "b"}) Put(key, key);
  for (momento::Code code : {momento::Code::kResourceExhausted, momento::Code::kDeadlineExceeded}) {
    client_.faults["GetBatch"] = {.code = code, .count = 1};
    EXPECT_THAT(CallsOf(GetOf({"a", "b"})), ElementsAre("GetBatch 2: a b"));
  }
  client_.faults["GetBatch"] = {.code = momento::Code::kUnavailable, .count = 1, .came = 1};
  EXPECT_EQ(Ask(GetOf({"a", "b"})), "a=a/0");  // What came is not thrown away.
}

TEST_F(Reads, GetsAnswersTheTokenThatCasTakes) {
  Put("k", "v");
  const uint64_t got = SendOn(connection(), GetsOf({"k"}), TestSink::kWithCas);
  Settle();
  EXPECT_EQ(Reply(got), absl::StrCat("k=v/0/", TokenOf("v")));
  EXPECT_THAT(client_.calls, ElementsAre("GetWithHash k"));
  EXPECT_EQ(Ask(CasOf("k", "w", TokenOf("v"))), "STORED");
}

TEST_F(Reads, GetsOfManyKeysAnswersInOrderWhateverComesFirst) {
  Put("a", "1");
  Put("b", "2");
  const uint64_t got = Send(GetsOf({"a", "x", "b", "a"}));
  service().EndTurn();
  while (client_.pending() > 0) client_.Deliver(client_.pending() - 1);
  EXPECT_EQ(Reply(got), "a=1/0 b=2/0 a=1/0");
}

TEST_F(Reads, GatReadsThenTouches) {
  EXPECT_THAT(CallsOf(GatOf(10, {"k"})), ElementsAre("Get k"));
  Put("k", "v");
  EXPECT_THAT(CallsOf(GatOf(10, {"k"})), ElementsAre("Get k", "UpdateTtl k"));
  EXPECT_EQ(client_.TtlOf("k"), 10'000);
  EXPECT_EQ(Ask(GatOf(0, {"x", "k"})), "k=v/0");
  EXPECT_EQ(client_.TtlOf("k"), 60'000);
  EXPECT_EQ(metrics().touch_hit.Value(), 2u);
  EXPECT_EQ(metrics().touch_miss.Value(), 2u);
  ExpectLookupsAddUp();
}

TEST_F(Reads, GatsAnswersTheToken) {
  Put("k", "v");
  Request req = GetsOf({"k"});
  req.exptime = 10;
  const uint64_t got = SendOn(connection(), req, TestSink::kWithCas);
  Settle();
  EXPECT_EQ(Reply(got), absl::StrCat("k=v/0/", TokenOf("v")));
  EXPECT_EQ(client_.TtlOf("k"), 10'000);
}

TEST_F(Reads, GatOfAnItemThatDiesBeforeTheTouchIsAMiss) {
  Put("k", "v", 100);
  const uint64_t got = Send(GatOf(10, {"k"}));
  service().EndTurn();
  client_.Deliver();
  clock_.AdvanceMs(100);
  Settle();
  EXPECT_EQ(Reply(got), "END");
  ExpectLookupsAddUp();
}

TEST_F(Reads, GatIntoThePastAnswersTheItemForTheLastTime) {
  Put("k", "v");
  EXPECT_EQ(Ask(GatOf(-1, {"k", "k"})), "k=v/0");
  EXPECT_EQ(StoredAt("k"), "(none)");
}

}  // namespace
}  // namespace proxy
