// Every command, hit and miss: its answer, the calls it makes, what is stored and for how long.
#include <gmock/gmock.h>

#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::IsEmpty;

const std::string kFlags5 = "\xF5MP\x01\0\0\0\5"s;  // The envelope of flags 5.

class Commands : public ServiceTest {};

TEST_F(Commands, SetGoesThroughTheConditionalFamily) {
  EXPECT_THAT(CallsOf(SetOf("k", "v", 5, 10)), ElementsAre("SetIfHash k"));
  EXPECT_EQ(StoredAt("k"), kFlags5 + "v");
  EXPECT_EQ(client_.TtlOf("k"), 10'000);
  EXPECT_EQ(Ask(GetOf({"k"})), "k=v/5");
}

TEST_F(Commands, SetIsPlainWhereTheOperatorSaysSo) {
  cache_.writes = config::Cache::Writes::kPlain;
  EXPECT_THAT(CallsOf(SetOf("k", "v")), ElementsAre("Set k"));
  EXPECT_EQ(StoredAt("k"), "v");
}

TEST_F(Commands, SetThatMustTellItsTokenStaysOneCallInEitherMode) {
  Request req = SetOf("k", "v");
  req.want = proto::memcache::kWantCas;
  EXPECT_THAT(CallsOf(req), ElementsAre("SetIfHash k"));
  cache_.writes = config::Cache::Writes::kPlain;
  service_.reset();
  EXPECT_THAT(CallsOf(req), ElementsAre("Set k"));
}

TEST_F(Commands, EachEnvelopeIsWrittenAndRead) {
  cache_.envelope = config::Cache::Envelope::kFlags4;
  EXPECT_EQ(Ask(SetOf("k", "v", 7)), "STORED");
  EXPECT_EQ(StoredAt("k"), "\0\0\0\7v"s);
  EXPECT_EQ(Ask(GetOf({"k"})), "k=v/7");
  EXPECT_EQ(Ask(SetOf("empty", "")), "STORED");
  EXPECT_EQ(Ask(GetOf({"empty"})), "empty=/0");
  Put("foreign", "abc");
  EXPECT_EQ(Ask(GetOf({"foreign"})), "END");
  ExpectLookupsAddUp();
}

TEST_F(Commands, NonceEnvelopeMakesRewritingEqualBytesVisibleToCas) {
  cache_.envelope = config::Cache::Envelope::kNonce;
  Ask(SetOf("k", "a"));
  const uint64_t token = TokenOf(StoredAt("k"));
  Ask(SetOf("k", "b"));
  Ask(SetOf("k", "a"));
  EXPECT_EQ(Ask(CasOf("k", "c", token)), "EXISTS");
  EXPECT_EQ(Ask(GetOf({"k"})), "k=a/0");
}

TEST_F(Commands, ExptimeZeroBecomesTheDefault) {
  Ask(SetOf("k", "v", 0, 0));
  EXPECT_EQ(client_.TtlOf("k"), 60'000);
}

TEST_F(Commands, LongExptimeIsClampedAndCounted) {
  cache_.max_ttl = absl::Seconds(100);
  Ask(SetOf("k", "v", 0, 101));
  EXPECT_EQ(client_.TtlOf("k"), 100'000);
  Ask(TouchOf("k", 1000));
  EXPECT_EQ(client_.TtlOf("k"), 100'000);
  EXPECT_EQ(metrics().ttl_clamped.Value(), 2u);
}

TEST_F(Commands, AnItemDiesWhenItsTimeIsUp) {
  Ask(SetOf("k", "v", 0, 10));
  Pass(9'999);
  EXPECT_EQ(Ask(GetOf({"k"})), "k=v/0");
  Pass(1);
  EXPECT_EQ(Ask(GetOf({"k"})), "END");
}

TEST_F(Commands, AbsoluteExptimeCountsFromTheWallClock) {
  Ask(SetOf("k", "v", 0, clock_.WallSec() + 40));
  EXPECT_EQ(client_.TtlOf("k"), 40'000);
  EXPECT_THAT(CallsOf(SetOf("k", "v", 0, clock_.WallSec())), ElementsAre("Delete k"));
}

TEST_F(Commands, AddStoresOnlyWhatIsAbsent) {
  EXPECT_THAT(CallsOf(StoreOf(StoreMode::kAdd, "k", "a", 5)), ElementsAre("SetIf k"));
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAdd, "k", "b")), "NOT_STORED");
  EXPECT_EQ(StoredAt("k"), kFlags5 + "a");
}

TEST_F(Commands, ReplaceStoresOnlyWhatIsPresent) {
  EXPECT_EQ(Ask(StoreOf(StoreMode::kReplace, "k", "a")), "NOT_STORED");
  Put("k", "old");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kReplace, "k", "new", 5, 7)), "STORED");
  EXPECT_EQ(StoredAt("k"), kFlags5 + "new");
  EXPECT_EQ(client_.TtlOf("k"), 7'000);
}

TEST_F(Commands, NegativeExptimeStoresNothingButKeepsTheConditions) {
  Put("k", "v");
  EXPECT_EQ(Ask(SetOf("k", "x", 0, -1)), "STORED");
  EXPECT_EQ(StoredAt("k"), "(none)");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kReplace, "k", "x", 0, -1)), "NOT_STORED");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAdd, "k", "x", 0, -1)), "STORED");
  EXPECT_EQ(StoredAt("k"), "(none)");
  Put("k", "v");
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAdd, "k", "x", 0, -1)), "NOT_STORED");
  EXPECT_EQ(StoredAt("k"), "v");
  EXPECT_EQ(Ask(CasOf("k", "x", TokenOf("v"), 0, -1)), "STORED");
  EXPECT_EQ(StoredAt("k"), "(none)");
}

TEST_F(Commands, CasStoresWhenTheTokenIsCurrent) {
  EXPECT_EQ(Ask(CasOf("k", "x", 1)), "NOT_FOUND");
  Put("k", "v");
  EXPECT_EQ(Ask(CasOf("k", "x", TokenOf("v") + 1)), "EXISTS");
  EXPECT_EQ(StoredAt("k"), "v");
  EXPECT_THAT(CallsOf(CasOf("k", "x", TokenOf("v"), 5, 9)),
              ElementsAre("GetWithHash k", "SetIfHash k"));
  EXPECT_EQ(StoredAt("k"), kFlags5 + "x");
  EXPECT_EQ(client_.TtlOf("k"), 9'000);
  EXPECT_EQ(metrics().cas_miss.Value(), 1u);
  EXPECT_EQ(metrics().cas_badval.Value(), 1u);
  EXPECT_EQ(metrics().cas_hit.Value(), 1u);
}

TEST_F(Commands, CasThatLosesTheRaceAnswersExists) {
  Put("k", "v");
  client_.lose_races = 1;
  EXPECT_EQ(Ask(CasOf("k", "x", TokenOf("v"))), "EXISTS");
  EXPECT_EQ(StoredAt("k"), "v");
}

TEST_F(Commands, TooLargeASetRemovesTheOldItem) {
  Put("k", "old");
  Request req = SetOf("k", "");
  req.value_too_large = true;
  EXPECT_EQ(Ask(req), "TOO_LARGE");
  EXPECT_EQ(StoredAt("k"), "(none)");
}

TEST_F(Commands, TouchSetsTheLifeOfWhatIsThere) {
  EXPECT_EQ(Ask(TouchOf("k", 10)), "NOT_FOUND");
  Put("k", "v");
  EXPECT_THAT(CallsOf(TouchOf("k", 10)), ElementsAre("UpdateTtl k"));
  EXPECT_EQ(client_.TtlOf("k"), 10'000);
  EXPECT_EQ(Ask(TouchOf("k", 0)), "TOUCHED");
  EXPECT_EQ(client_.TtlOf("k"), 60'000);
  EXPECT_EQ(Ask(TouchOf("k", -1)), "TOUCHED");
  EXPECT_EQ(StoredAt("k"), "(none)");
  EXPECT_EQ(Ask(TouchOf("k", -1)), "NOT_FOUND");
  EXPECT_EQ(metrics().touch_hit.Value(), 3u);
  EXPECT_EQ(metrics().touch_miss.Value(), 2u);
}

TEST_F(Commands, DeleteKnowsWhetherTheKeyWasThere) {
  EXPECT_EQ(Ask(DeleteOf("k")), "NOT_FOUND");
  Put("k", "v");
  EXPECT_THAT(CallsOf(DeleteOf("k")), ElementsAre("KeyExists k", "Delete k"));
  EXPECT_EQ(StoredAt("k"), "(none)");
  EXPECT_EQ(metrics().delete_hit.Value(), 1u);
  EXPECT_EQ(metrics().delete_miss.Value(), 1u);
}

TEST_F(Commands, ABalancedNoIsNotTrustedWithTheDelete) {
  EXPECT_THAT(CallsOf(DeleteOf("k")), ElementsAre("KeyExists k", "Delete k"));
}

TEST_F(Commands, AConsistentNoSavesTheDelete) {
  cache_.reads = config::Cache::Reads::kConsistent;
  EXPECT_THAT(CallsOf(DeleteOf("k")), ElementsAre("KeyExists k"));
}

TEST_F(Commands, FastDeleteIsOneCall) {
  cache_.delete_reply = config::Cache::DeleteReply::kFast;
  EXPECT_THAT(CallsOf(DeleteOf("k")), ElementsAre("Delete k"));
  EXPECT_EQ(Ask(DeleteOf("k")), "DELETED");
}

TEST_F(Commands, DeleteWithATokenDeletesOnlyThatItem) {
  Request req = DeleteOf("k");
  req.cas = TokenOf("v");
  EXPECT_EQ(Ask(req), "NOT_FOUND");
  Put("k", "other");
  EXPECT_EQ(Ask(req), "EXISTS");
  Put("k", "v");
  EXPECT_EQ(Ask(req), "DELETED");
}

TEST_F(Commands, FlushAllEmptiesTheCache) {
  Put("k", "v");
  EXPECT_EQ(Ask(FlushOf()), "OK");
  EXPECT_EQ(Ask(GetOf({"k"})), "END");
  EXPECT_EQ(Ask(FlushOf(0)), "OK");
  EXPECT_EQ(Ask(FlushOf(-3)), "OK");
  EXPECT_EQ(client_.flushes, 3);
  EXPECT_EQ(metrics().flush.Value(), 3u);
}

TEST_F(Commands, FlushAllIsRefusedUnlessAllowed) {
  cache_.flush_all = false;
  EXPECT_EQ(Ask(FlushOf()), "CLIENT_ERROR flush_all not allowed");
  EXPECT_EQ(Ask(FlushOf(5)), "CLIENT_ERROR flush_all not allowed");
  Pass(10'000);
  EXPECT_EQ(client_.flushes, 0);
}

TEST_F(Commands, DelayedFlushAnswersNowAndActsLater) {
  EXPECT_EQ(Ask(FlushOf(5)), "OK");
  Pass(4'900);
  EXPECT_EQ(client_.flushes, 0);
  Pass(200);
  EXPECT_EQ(client_.flushes, 1);
  Pass(20'000);
  EXPECT_EQ(client_.flushes, 1);
}

TEST_F(Commands, DelayedFlushTakesAnAbsoluteTime) {
  EXPECT_EQ(Ask(FlushOf(clock_.WallSec() + 5)), "OK");
  Pass(4'900);
  EXPECT_EQ(client_.flushes, 0);
  Pass(200);
  EXPECT_EQ(client_.flushes, 1);
}

TEST_F(Commands, ALaterFlushReplacesADelayedOne) {
  Ask(FlushOf(5));
  Ask(FlushOf(10));
  Pass(9'000);
  EXPECT_EQ(client_.flushes, 0);
  Pass(1'100);
  EXPECT_EQ(client_.flushes, 1);

  Ask(FlushOf(5));
  Ask(FlushOf());
  EXPECT_EQ(client_.flushes, 2);
  Pass(10'000);
  EXPECT_EQ(client_.flushes, 2);
}

TEST_F(Commands, AFlushOnAnotherWorkerReplacesADelayedOneToo) {
  Ask(FlushOf(5));
  ProxyService other(&client_, cache_, server_, &loop_, &shared_,
                     [](absl::string_view) { return Response(Status::kStats); });
  ProxyService::Connection there = other.Connect();
  other.Execute(there, FlushOf(), MemcacheReply(&sink_, {}, 1'000'000));
  Settle();
  EXPECT_EQ(client_.flushes, 1);
  Pass(10'000);
  EXPECT_EQ(client_.flushes, 1);
}

TEST_F(Commands, CommandsWithoutAKeyAreAnsweredHere) {
  Request req;
  req.op = Op::kVersion;
  EXPECT_EQ(Ask(req), "VERSION 1.6.45-momento-" MP_VERSION);
  req.op = Op::kVerbosity;
  EXPECT_EQ(Ask(req), "OK");
  req.op = Op::kNoop;
  EXPECT_EQ(Ask(req), "OK");
  req.op = Op::kStats;
  EXPECT_EQ(Ask(req), "STATS 1");
  req.argument = "reset";
  EXPECT_EQ(Ask(req), "RESET");
  EXPECT_THAT(client_.calls, IsEmpty());
}

TEST_F(Commands, KeysAndValuesOfAnyBytesPass) {
  const std::string key(250, '\xff');
  const std::string value = "\0\r\n\xF5MP\x01"s + std::string(100'000, 'v');
  Ask(SetOf(key, value, 0xffffffff));
  EXPECT_EQ(Ask(GetOf({key})), absl::StrCat(key, "=", value, "/", 0xffffffffu));
  const std::string magic = "\xF5MP\x01\0\0\0\7x"s;
  Ask(SetOf("m", magic));
  EXPECT_EQ(Ask(GetOf({"m"})), absl::StrCat("m=", magic, "/0"));
}

}  // namespace
}  // namespace proxy
