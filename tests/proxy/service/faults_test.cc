// Every call of every command failing in every way: one answer, nothing repeated that may have
// happened, nothing left behind.
#include <gmock/gmock.h>

#include "tests/proxy/service/harness.h"

namespace proxy {
namespace {

using momento::Code;
using momento::Fault;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class Faults : public ServiceTest {};

struct Command {
  const char* name;
  KeptRequest req;
  std::vector<std::string> calls;  // The names it makes, each of which is made to fail in turn.
};

std::vector<Command> CommandsOnAnItem(uint64_t token) {
  return {
      {"mg", MetaGetOf("k"), {"Get"}},
      {"mg t", MetaGetOf("k", proto::memcache::kWantTtl), {"GetWithHash", "ItemGetTtl"}},
      {"mg R", RecacheOf("k", 100), {"GetWithHash", "ItemGetTtl", "SetIfHash"}},
      {"ms C I", InvalidatingOf(CasOf("k", "1", 1)), {"GetWithHash", "ItemGetTtl", "SetIfHash"}},
      {"md I", InvalidatingOf(DeleteOf("k")), {"GetWithHash", "ItemGetTtl", "SetIfHash"}},
      {"me", KeyOf(Op::kDebug, "k"), {"GetWithHash", "ItemGetTtl"}},
      {"gets", GetsOf({"k"}), {"GetWithHash"}},
      {"get", GetOf({"k"}), {"Get"}},
      {"get many", GetOf({"k", "l"}), {"GetBatch"}},
      {"gat", GatOf(5, {"k"}), {"Get", "UpdateTtl"}},
      {"gat past", GatOf(-1, {"k"}), {"Get", "Delete"}},
      {"set", SetOf("k", "1"), {"SetIfHash"}},
      {"set past", SetOf("k", "1", 0, -1), {"Delete"}},
      {"replace", StoreOf(StoreMode::kReplace, "k", "1"), {"SetIf"}},
      {"cas", CasOf("k", "1", token), {"GetWithHash", "SetIfHash"}},
      {"append", StoreOf(StoreMode::kAppend, "k", "1"), {"GetWithHash", "ItemGetTtl", "SetIfHash"}},
      {"incr", CountOf("k", 1), {"GetWithHash", "ItemGetTtl", "SetIfHash"}},
      {"touch", TouchOf("k", 5), {"UpdateTtl"}},
      {"delete", DeleteOf("k"), {"KeyExists", "Delete"}},
      {"flush_all", FlushOf(), {"FlushCache"}},
  };
}

TEST_F(Faults, EveryFailureOfEveryCallIsOneServerError) {
  cache_.get_error = config::Cache::GetError::kError;
  for (const Command& command : CommandsOnAnItem(TokenOf("5"))) {
    for (const std::string& call : command.calls) {
      for (int code = 1; code <= 16; ++code) {
        SCOPED_TRACE(absl::StrCat(command.name, ", ", call, " fails with ", code));
        Put("k", "5");
        client_.faults = {{call, Fault{.code = static_cast<Code>(code)}}};
        EXPECT_THAT(Ask(command.req), StartsWith("SERVER_ERROR "));
        EXPECT_EQ(service().in_flight(), 0u);
      }
    }
  }
  ExpectLookupsAddUp();
}

TEST_F(Faults, AFailingGetIsAMissWhereTheOperatorSaysSo) {
  for (const Command& command : CommandsOnAnItem(TokenOf("5"))) {
    if (command.req.req.op != Op::kGet) continue;
    for (const std::string& call : command.calls) {
      Put("k", "5");
      client_.faults = {{call, Fault{}}};
      EXPECT_EQ(Ask(command.req), "END") << command.name << " " << call;
    }
  }
  EXPECT_EQ(metrics().get_failed.Value(), 14u);
  ExpectLookupsAddUp();
}

TEST_F(Faults, OneFailedKeyOfManyIsAMissOrFailsTheCommand) {
  cache_.batch = config::Cache::Batch::kOff;
  Put("b", "2");
  client_.faults = {{"Get", Fault{.count = 1}}};
  EXPECT_EQ(Ask(GetOf({"a", "b"})), "b=2/0");
}

TEST_F(Faults, AFailedBatchFailsOnlyItsOwnCommands) {
  cache_.batch_keys_max = 2;
  cache_.get_error = config::Cache::GetError::kError;
  Put("c", "3");
  client_.faults = {{"GetBatch", Fault{.code = Code::kDeadlineExceeded, .count = 1}}};
  const uint64_t a = Send(GetOf({"a"}));
  const uint64_t b = Send(GetOf({"b"}));
  const uint64_t c = Send(GetOf({"c", "d"}));
  Settle();
  EXPECT_EQ(Reply(a), "SERVER_ERROR backend timeout");
  EXPECT_EQ(Reply(b), "SERVER_ERROR backend timeout");
  EXPECT_EQ(Reply(c), "c=3/0");
}

TEST_F(Faults, AnUpdateOfUnknownOutcomeIsNotRepeated) {
  Put("k", "5");
  client_.faults = {{"SetIfHash", Fault{.code = Code::kUnavailable, .applied = true}}};
  EXPECT_EQ(Ask(CountOf("k", 1)), "SERVER_ERROR backend unavailable, outcome unknown");
  EXPECT_EQ(StoredAt("k"), "6");
  EXPECT_EQ(client_.calls.size(), 3u);
}

TEST_F(Faults, AWriteThatWasNeverSentSaysOnlyWhatFailed) {
  client_.faults = {{"SetIfHash", Fault{.code = Code::kUnavailable, .sent = false}}};
  EXPECT_EQ(Ask(SetOf("k", "v")), "SERVER_ERROR backend unavailable");
}

TEST_F(Faults, ATooLargeItemIsRefusedAsMemcachedDoes) {
  Put("k", "old");
  client_.faults = {{"SetIfHash", Fault{.code = Code::kResourceExhausted,
                                        .detail = "item_size_limit_exceeded"}}};
  EXPECT_EQ(Ask(SetOf("k", "v")), "TOO_LARGE");
  EXPECT_EQ(StoredAt("k"), "(none)");
}

TEST_F(Faults, ARateLimitSaysSo) {
  client_.faults = {{"SetIfHash", Fault{.code = Code::kResourceExhausted,
                                        .detail = "operations_rate_limit_exceeded"}}};
  EXPECT_EQ(Ask(SetOf("k", "v")), "SERVER_ERROR backend request rate limit exceeded");
}

TEST_F(Faults, AnUnknownCacheSaysSo) {
  client_.faults = {{"SetIfHash", Fault{.code = Code::kNotFound}}};
  EXPECT_EQ(Ask(SetOf("k", "v")), "SERVER_ERROR cache not found");
}

TEST_F(Faults, TheDeleteAfterAConditionalStoreMayFail) {
  client_.faults = {{"Delete", Fault{}}};
  EXPECT_EQ(Ask(StoreOf(StoreMode::kAdd, "k", "v", 0, -1)), "STORED");
  Pass(1);  // The item lives a millisecond at most.
  EXPECT_EQ(Ask(GetOf({"k"})), "END");
}

TEST_F(Faults, NothingTheBackendSaysReachesTheClient) {
  cache_.get_error = config::Cache::GetError::kError;
  client_.faults = {{"Get", Fault{.code = Code::kUnknown, .detail = "secret\r\n"}}};
  EXPECT_EQ(Ask(GetOf({"k"})), "SERVER_ERROR backend error");
}

TEST_F(Faults, AcceptedWritesRunOnAfterADisconnect) {
  {
    ProxyService::Connection leaving = service().Connect();
    SendOn(leaving, SetOf("k", "1"));
    SendOn(leaving, CountOf("k", 1));
    SendOn(leaving, FlushOf());
    SendOn(leaving, SetOf("after", "flush"));
    SendOn(leaving, GetOf({"k", "after"}));
  }
  Settle();
  EXPECT_EQ(client_.flushes, 1);
  EXPECT_EQ(StoredAt("after"), "flush");
  EXPECT_EQ(service().in_flight(), 0u);
}

TEST_F(Faults, AServiceThatEndsEarlyFreesWhatIsUnderWay) {
  expected_in_flight_ = 7;
  Put("k", "5");
  Send(GetOf({"a", "b"}));
  Send(SetOf("k", "1"));
  Send(CountOf("k", 1));
  Send(GetOf({"c"}));
  Send(FlushOf());
  Send(GetOf({"after"}));
  service().EndTurn();
}

// Behind a dead backend a pipeline on one key ends after about one deadline, not one each.
TEST_F(Faults, ALongLineDoesNotTimeOutOneByOne) {
  cache_.deadline = absl::Milliseconds(100);
  std::vector<uint64_t> sent;
  for (int i = 0; i < 1'000; ++i) {
    sent.push_back(Send(i % 3 == 0 ? SetOf("k", "v") : i % 3 == 1 ? GetOf({"k"}) : CountOf("k", 1)));
  }
  client_.faults = {{"SetIfHash", Fault{.code = Code::kDeadlineExceeded}}};
  service().EndTurn();
  clock_.AdvanceMs(100);
  loop_.RunOnce(0);
  client_.Deliver();
  for (size_t i = 0; i < sent.size(); ++i) {
    ASSERT_TRUE(Answered(sent[i])) << i;
    EXPECT_THAT(Reply(sent[i]), HasSubstr(i % 3 == 1 ? "END" : "backend timeout"));
  }
  EXPECT_EQ(client_.calls.size(), 1u);
  client_.faults.clear();
  EXPECT_EQ(Ask(SetOf("k", "v")), "STORED");
}

TEST_F(Faults, ALongLineBehindALiveBackendWaits) {
  cache_.deadline = absl::Milliseconds(100);
  const uint64_t first = Send(SetOf("k", "1"));
  const uint64_t second = Send(CountOf("k", 1));
  service().EndTurn();
  clock_.AdvanceMs(500);
  loop_.RunOnce(0);
  Settle();
  EXPECT_EQ(Reply(first), "STORED");
  EXPECT_EQ(Reply(second), "2");
}

TEST_F(Faults, UpdatesOfManyConnectionsDoNotTimeOutOneByOne) {
  cache_.deadline = absl::Milliseconds(100);
  std::vector<ProxyService::Connection> connections;
  std::vector<uint64_t> sent;
  for (int i = 0; i < 20; ++i) connections.push_back(service().Connect());
  for (auto& one : connections) sent.push_back(SendOn(one, CountOf("k", 1)));
  client_.faults = {{"GetWithHash", Fault{.code = Code::kDeadlineExceeded}}};
  service().EndTurn();
  clock_.AdvanceMs(100);
  loop_.RunOnce(0);
  Settle();
  for (uint64_t one : sent) EXPECT_EQ(Reply(one), "SERVER_ERROR backend timeout");
  EXPECT_EQ(client_.calls.size(), 2u);
}

}  // namespace
}  // namespace proxy
