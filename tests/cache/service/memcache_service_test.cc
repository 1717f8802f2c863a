// memcached's semantics, command by command, through Execute with a manual clock.
#include "cache/service/memcache_service.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cache/service/server_numbers.h"
#include "cache/service/sizes.h"
#include "core/net/service.h"
#include "proto/memcache/text_codec.h"

namespace cache {
namespace {

using proto::memcache::Op;
using proto::memcache::Request;
using proto::memcache::Response;
using proto::memcache::Status;
using proto::memcache::StoreMode;

static_assert(core::Service<MemcacheService, proto::memcache::TextCodec>);

constexpr int64_t kDay = 86'400;

// Takes the one answer of one request.
class Answers final : public core::ReplySink<Response> {
 public:
  void Deliver(core::SessionRef, uint64_t, Response&& rsp) override {
    ++count;
    last = std::move(rsp);
    for (auto& item : last.items) item.value = core::Bytes(std::string(item.value.view()));
  }
  void Abandon(core::SessionRef, uint64_t) override { ADD_FAILURE() << "unanswered"; }

  int count = 0;
  Response last;
};

class MemcacheServiceTest : public ::testing::Test {
 protected:
  void SetUp() override { Open({}); }
  void Open(MemcacheOptions options, uint64_t heap = 1 << 20, uint64_t segment = 64 << 10,
            config::Seg::Eviction eviction = config::Seg::Eviction::kFifo) {
    service_.reset();
    shared_.reset();
    cache_.reset();
    registry_ = std::make_unique<core::Registry>();
    config::Seg seg;
    seg.heap_size = heap;
    seg.segment_size = segment;
    seg.eviction = eviction;
    auto cache = seg::Cache::Create(seg, &clock_, registry_.get(), "test");
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
    shared_ = std::make_unique<MemcacheShared>(
        cache_.get(), &clock_, registry_.get(), std::move(options),
        [this](proto::memcache::StatsNumbers* n) {
          FillProcess(clock_, 0, n);
          n->threads = 2;
          n->counters.total_connections = connections_;
        });
    service_ = std::make_unique<MemcacheService>(shared_.get());
  }

  Response Run(const Request& req) {
    Answers answers;
    MemcacheService::Connection connection = service_->Connect();
    service_->Execute(connection, req, core::Reply<Response>(&answers, {}, 0));
    EXPECT_EQ(answers.count, 1);
    return std::move(answers.last);
  }

  Response Get(std::initializer_list<absl::string_view> keys,
               std::optional<int64_t> exptime = std::nullopt) {
    Request req;
    req.op = Op::kGet;
    req.want = proto::memcache::kWantValue | proto::memcache::kWantCas | proto::memcache::kWantTtl;
    req.keys.assign(keys.begin(), keys.end());
    req.exptime = exptime;
    return Run(req);
  }
  // The value of one key, or "(none)".
  std::string Value(absl::string_view key) {
    const Response rsp = Get({key});
    return rsp.items.empty() ? "(none)" : std::string(rsp.items[0].value.view());
  }
  uint64_t Cas(absl::string_view key) {
    const Response rsp = Get({key});
    return rsp.items.empty() ? 0 : rsp.items[0].cas;
  }
  uint32_t Flags(absl::string_view key) { return Get({key}).items.at(0).flags; }
  int64_t TtlSec(absl::string_view key) { return Get({key}).items.at(0).ttl_sec; }

  Status Store(StoreMode mode, absl::string_view key, absl::string_view value,
               int64_t exptime = 0, uint32_t flags = 0,
               std::optional<uint64_t> cas = std::nullopt) {
    Request req;
    req.op = Op::kStore;
    req.mode = mode;
    req.keys.push_back(key);
    req.value = value;
    req.exptime = exptime;
    req.flags = flags;
    req.cas = cas;
    return Run(req).status;
  }
  Status Set(absl::string_view key, absl::string_view value, int64_t exptime = 0,
             uint32_t flags = 0) {
    return Store(StoreMode::kSet, key, value, exptime, flags);
  }
  Status SetIfCas(absl::string_view key, absl::string_view value, uint64_t cas) {
    return Store(StoreMode::kSet, key, value, 0, 0, cas);
  }
  Response Count(absl::string_view key, uint64_t delta, bool decrement) {
    Request req;
    req.op = Op::kArithmetic;
    req.keys.push_back(key);
    req.delta = delta;
    req.decrement = decrement;
    return Run(req);
  }
  std::string Incr(absl::string_view key, uint64_t delta) { return Said(Count(key, delta, false)); }
  std::string Decr(absl::string_view key, uint64_t delta) { return Said(Count(key, delta, true)); }
  static std::string Said(const Response& rsp) {
    if (rsp.status == Status::kNumber) return absl::StrCat(rsp.number);
    if (rsp.status == Status::kNotFound) return "NOT_FOUND";
    if (rsp.status == Status::kNonNumeric) return "NON_NUMERIC";
    return "?";
  }
  Status Simple(Op op, absl::string_view key, std::optional<int64_t> exptime = std::nullopt) {
    Request req;
    req.op = op;
    if (!key.empty()) req.keys.push_back(key);
    req.exptime = exptime;
    return Run(req).status;
  }
  Status Delete(absl::string_view key) { return Simple(Op::kDelete, key); }
  Status Touch(absl::string_view key, int64_t exptime) {
    return Simple(Op::kTouch, key, exptime);
  }
  Status FlushAll(std::optional<int64_t> delay = std::nullopt) {
    return Simple(Op::kFlushAll, "", delay);
  }
  Response StatsOf(absl::string_view argument) {
    Request req;
    req.op = Op::kStats;
    req.argument = argument;
    return Run(req);
  }
  std::map<std::string, std::string> Stats(absl::string_view argument = "") {
    const Response rsp = StatsOf(argument);
    EXPECT_EQ(rsp.status, Status::kStats);
    return {rsp.stats.begin(), rsp.stats.end()};
  }
  // That "stats <argument>" has each of `names`, which are apart by a space.
  void ExpectNames(absl::string_view argument, absl::string_view names) {
    const auto stats = Stats(argument);
    for (const absl::string_view name : absl::StrSplit(names, ' ')) {
      EXPECT_EQ(stats.count(std::string(name)), 1u) << argument << " " << name;
    }
  }
  void AdvanceSec(int64_t sec) { clock_.AdvanceMs(sec * 1000); }

  core::ManualClock clock_;
  uint64_t connections_ = 3;
  std::unique_ptr<core::Registry> registry_;
  std::unique_ptr<seg::Cache> cache_;
  std::unique_ptr<MemcacheShared> shared_;
  std::unique_ptr<MemcacheService> service_;
};

TEST_F(MemcacheServiceTest, SetAndGet) {
  EXPECT_EQ(Set("k", absl::string_view("a\0b", 3), 0, 42), Status::kStored);
  EXPECT_EQ(Value("k"), std::string("a\0b", 3));
  EXPECT_EQ(Flags("k"), 42u);
  EXPECT_EQ(Set("k", ""), Status::kStored);
  EXPECT_EQ(Value("k"), "");
  EXPECT_EQ(Flags("k"), 0u);
}

TEST_F(MemcacheServiceTest, GetAnswersHitsInTheOrderAskedAndTwiceIfAskedTwice) {
  Set("a", "1");
  Set("b", "2");
  const Response rsp = Get({"b", "none", "a", "b"});
  EXPECT_EQ(rsp.status, Status::kValues);
  ASSERT_EQ(rsp.items.size(), 3u);
  EXPECT_EQ(rsp.items[0].key, "b");
  EXPECT_EQ(rsp.items[1].key, "a");
  EXPECT_EQ(rsp.items[2].key, "b");
  EXPECT_EQ(rsp.items[2].value.view(), "2");
  EXPECT_TRUE(Get({}, 0).items.empty());
}

TEST_F(MemcacheServiceTest, AddAndReplaceMindWhatIsThere) {
  EXPECT_EQ(Store(StoreMode::kReplace, "k", "r"), Status::kNotStored);
  EXPECT_EQ(Store(StoreMode::kAdd, "k", "a", 0, 1), Status::kStored);
  EXPECT_EQ(Store(StoreMode::kAdd, "k", "b"), Status::kNotStored);
  EXPECT_EQ(Value("k"), "a");
  EXPECT_EQ(Store(StoreMode::kReplace, "k", "r", 0, 2), Status::kStored);
  EXPECT_EQ(Value("k"), "r");
  EXPECT_EQ(Flags("k"), 2u);
}

TEST_F(MemcacheServiceTest, AppendAndPrependKeepFlagsAndLife) {
  EXPECT_EQ(Store(StoreMode::kAppend, "k", "x"), Status::kNotStored);
  EXPECT_EQ(Store(StoreMode::kPrepend, "k", "x"), Status::kNotStored);
  Set("k", "mid", 100, 7);
  const uint64_t cas = Cas("k");
  EXPECT_EQ(Store(StoreMode::kAppend, "k", ">", 5, 1), Status::kStored);
  EXPECT_EQ(Store(StoreMode::kPrepend, "k", "<", -1, 1), Status::kStored);
  EXPECT_EQ(Value("k"), "<mid>");
  EXPECT_EQ(Flags("k"), 7u);
  EXPECT_EQ(TtlSec("k"), 100);
  EXPECT_NE(Cas("k"), cas);
}

TEST_F(MemcacheServiceTest, AppendPastTheLimitIsNotStored) {
  Open({.item_bytes_max = 59 + 1 + 10, .flush_enabled = true, .settings = {}});
  Set("k", "12345678");
  EXPECT_EQ(Store(StoreMode::kAppend, "k", "9a"), Status::kStored);
  EXPECT_EQ(Store(StoreMode::kAppend, "k", "b"), Status::kNotStored);
  EXPECT_EQ(Store(StoreMode::kPrepend, "k", "b"), Status::kNotStored);
  EXPECT_EQ(Value("k"), "123456789a");
}

TEST_F(MemcacheServiceTest, AppendPastASegmentIsNotStored) {
  Open({}, 4 * 4096, 4096);
  Set("k", std::string(3000, 'x'));
  EXPECT_EQ(Store(StoreMode::kAppend, "k", std::string(3000, 'y')), Status::kNotStored);
  EXPECT_EQ(Value("k"), std::string(3000, 'x'));
}

TEST_F(MemcacheServiceTest, CasStoresOnlyOverItsToken) {
  EXPECT_EQ(SetIfCas("k", "v", 1), Status::kNotFound);
  Set("k", "old", 0, 3);
  const uint64_t cas = Cas("k");
  EXPECT_NE(cas, 0u);
  EXPECT_EQ(SetIfCas("k", "new", cas + 1), Status::kExists);
  EXPECT_EQ(Value("k"), "old");
  EXPECT_EQ(SetIfCas("k", "new", cas), Status::kStored);
  EXPECT_EQ(Value("k"), "new");
  EXPECT_EQ(Flags("k"), 0u);
  EXPECT_EQ(SetIfCas("k", "again", cas), Status::kExists);
  Set("gone", "v", 10);
  const uint64_t gone = Cas("gone");
  AdvanceSec(10);
  EXPECT_EQ(SetIfCas("gone", "v", gone), Status::kNotFound);
}

TEST_F(MemcacheServiceTest, SameValueWrittenAgainHasAnotherToken) {
  Set("k", "v");
  const uint64_t cas = Cas("k");
  Set("k", "v");
  EXPECT_EQ(SetIfCas("k", "w", cas), Status::kExists);
}

TEST_F(MemcacheServiceTest, CountsUpAndDown) {
  EXPECT_EQ(Incr("n", 1), "NOT_FOUND");
  EXPECT_EQ(Value("n"), "(none)");
  Set("n", "10", 100, 5);
  const uint64_t cas = Cas("n");
  EXPECT_EQ(Incr("n", 5), "15");
  EXPECT_EQ(Flags("n"), 5u);
  EXPECT_EQ(TtlSec("n"), 100);
  EXPECT_NE(Cas("n"), cas);
  EXPECT_EQ(Decr("n", 6), "9");
  EXPECT_EQ(Value("n"), "9 ");  // As long as it was.
  EXPECT_EQ(Incr("n", 991), "1000");
  EXPECT_EQ(Value("n"), "1000");
  EXPECT_EQ(Decr("n", 5000), "0");
  EXPECT_EQ(Value("n"), "0   ");
}

TEST_F(MemcacheServiceTest, CountingWrapsAtTheTop) {
  Set("n", "18446744073709551615");
  EXPECT_EQ(Incr("n", 1), "0");
  EXPECT_EQ(Value("n"), "0" + std::string(19, ' '));
  EXPECT_EQ(Incr("n", 18446744073709551615u), "18446744073709551615");
}

TEST_F(MemcacheServiceTest, CountingRefusesWhatIsNoNumber) {
  for (const char* value : {"", " ", "x", "7x", "-7", "18446744073709551616"}) {
    Set("n", value);
    EXPECT_EQ(Incr("n", 1), "NON_NUMERIC") << '"' << value << '"';
    EXPECT_EQ(Value("n"), value);
  }
  Set("n", "007");
  EXPECT_EQ(Incr("n", 1), "8");
  EXPECT_EQ(Value("n"), "8  ");
}

TEST_F(MemcacheServiceTest, ExptimeIsRelativeAbsoluteOrNever) {
  Set("never", "v", 0);
  Set("month", "v", 30 * kDay);
  Set("absolute", "v", clock_.WallSec() + 50 * kDay);
  Set("past", "v", clock_.WallSec() - 1);
  EXPECT_EQ(TtlSec("never"), -1);
  EXPECT_EQ(TtlSec("month"), 30 * kDay);
  EXPECT_NEAR(static_cast<double>(TtlSec("absolute")), 50.0 * kDay, 1);
  EXPECT_EQ(Value("past"), "(none)");
  AdvanceSec(30 * kDay);
  EXPECT_EQ(Value("month"), "(none)");
  EXPECT_EQ(Value("absolute"), "v");
  AdvanceSec(20 * kDay);
  EXPECT_EQ(Value("absolute"), "(none)");
  EXPECT_EQ(Value("never"), "v");
}

TEST_F(MemcacheServiceTest, PastThirtyDaysAnExptimeIsATime) {
  Set("k", "v", 30 * kDay + 1);  // Since 1970.
  EXPECT_EQ(Value("k"), "(none)");
  Set("k", "v");
  EXPECT_EQ(Touch("k", 30 * kDay), Status::kTouched);
  EXPECT_EQ(TtlSec("k"), 30 * kDay);
  EXPECT_EQ(Touch("k", 30 * kDay + 1), Status::kTouched);
  EXPECT_EQ(Value("k"), "(none)");
}

TEST_F(MemcacheServiceTest, LivesEndToTheMillisecond) {
  for (const int64_t past_the_second_ms : {0, 250, 999}) {
    clock_.AdvanceMs(1000 - clock_.WallNs() / 1'000'000 % 1000 + past_the_second_ms);
    Set("relative", "v", 10);
    Set("absolute", "v", clock_.WallSec() + 10);
    Set("now", "v", clock_.WallSec());
    EXPECT_EQ(Value("now"), "(none)");
    clock_.AdvanceMs(9'999 - past_the_second_ms);
    EXPECT_EQ(Value("absolute"), "v") << past_the_second_ms;
    clock_.AdvanceMs(1);
    EXPECT_EQ(Value("absolute"), "(none)") << past_the_second_ms;
    if (past_the_second_ms != 0) {
      clock_.AdvanceMs(past_the_second_ms - 1);
      EXPECT_EQ(Value("relative"), "v") << past_the_second_ms;
      clock_.AdvanceMs(1);
    }
    EXPECT_EQ(Value("relative"), "(none)") << past_the_second_ms;
  }
}

TEST_F(MemcacheServiceTest, NegativeExptimeIsStoredAndGone) {
  Set("k", "old");
  EXPECT_EQ(Set("k", "v", -1), Status::kStored);
  EXPECT_EQ(Value("k"), "(none)");
  EXPECT_EQ(Store(StoreMode::kAdd, "k", "v", -1), Status::kStored);
  EXPECT_EQ(Value("k"), "(none)");
  Set("k", "old");
  EXPECT_EQ(Store(StoreMode::kReplace, "k", "v", -1), Status::kStored);
  EXPECT_EQ(Value("k"), "(none)");
  Set("k", "old");
  EXPECT_EQ(Store(StoreMode::kSet, "k", "v", -1, 0, Cas("k")), Status::kStored);
  EXPECT_EQ(Value("k"), "(none)");
  EXPECT_EQ(Store(StoreMode::kAdd, "k", "v"), Status::kStored);
}

TEST_F(MemcacheServiceTest, DeleteSaysWhetherThereWasSomething) {
  EXPECT_EQ(Delete("k"), Status::kNotFound);
  Set("k", "v", 10);
  EXPECT_EQ(Delete("k"), Status::kDeleted);
  EXPECT_EQ(Delete("k"), Status::kNotFound);
  Set("k", "v", 10);
  AdvanceSec(10);
  EXPECT_EQ(Delete("k"), Status::kNotFound);
}

TEST_F(MemcacheServiceTest, TouchChangesTheLifeAlone) {
  EXPECT_EQ(Touch("k", 10), Status::kNotFound);
  Set("k", "v", 10, 6);
  const uint64_t cas = Cas("k");
  for (const int64_t exptime : {int64_t{1000}, int64_t{5}, int64_t{0}, int64_t{77}}) {
    EXPECT_EQ(Touch("k", exptime), Status::kTouched);
    EXPECT_EQ(TtlSec("k"), exptime == 0 ? -1 : exptime);
    EXPECT_EQ(Cas("k"), cas);
    EXPECT_EQ(Flags("k"), 6u);
  }
  EXPECT_EQ(Touch("k", -1), Status::kTouched);
  EXPECT_EQ(Value("k"), "(none)");
}

TEST_F(MemcacheServiceTest, GatReturnsAndTouches) {
  Set("k", "v", 10, 6);
  const uint64_t cas = Cas("k");
  const Response rsp = Get({"k", "none"}, 500);
  ASSERT_EQ(rsp.items.size(), 1u);
  EXPECT_EQ(rsp.items[0].value.view(), "v");
  EXPECT_EQ(rsp.items[0].cas, cas);
  EXPECT_EQ(TtlSec("k"), 500);
  EXPECT_EQ(Cas("k"), cas);
  EXPECT_EQ(Flags("k"), 6u);
  EXPECT_EQ(Value("k"), "v");
  EXPECT_EQ(Get({"k"}, 0).items.size(), 1u);
  EXPECT_EQ(TtlSec("k"), -1);
  EXPECT_EQ(Get({"k"}, -1).items.size(), 1u);
  EXPECT_EQ(Value("k"), "(none)");
}

TEST_F(MemcacheServiceTest, GatTouchesEveryKeyItNames) {
  for (const char* key : {"a", "b", "c"}) Set(key, "v", 10);
  EXPECT_EQ(Get({"a", "none", "b", "c"}, 500).items.size(), 3u);
  for (const char* key : {"a", "b", "c"}) EXPECT_EQ(TtlSec(key), 500) << key;
  EXPECT_EQ(Get({"a", "b", "c"}, -1).items.size(), 3u);
  for (const char* key : {"a", "b", "c"}) EXPECT_EQ(Value(key), "(none)") << key;
}

TEST_F(MemcacheServiceTest, TouchTellsFlagsAndTokenToWhoAsks) {
  Set("k", "v", 10, 6);
  Request req;
  req.op = Op::kTouch;
  req.want = proto::memcache::kWantCas | proto::memcache::kWantFlags;
  req.keys.push_back("k");
  req.exptime = 500;
  const Response rsp = Run(req);
  EXPECT_EQ(rsp.status, Status::kTouched);
  EXPECT_EQ(rsp.flags, 6u);
  EXPECT_EQ(rsp.cas, Cas("k"));
  EXPECT_EQ(TtlSec("k"), 500);
}

TEST_F(MemcacheServiceTest, TooLargeRemovesTheOldItemOfASet) {
  Set("k", "old");
  Request req;
  req.op = Op::kStore;
  req.keys.push_back("k");
  req.value_too_large = true;
  req.exptime = 0;
  EXPECT_EQ(Run(req).status, Status::kTooLarge);
  EXPECT_EQ(Value("k"), "(none)");
  Set("k", "old");
  EXPECT_EQ(Set("k", std::string(70'000, 'x')), Status::kTooLarge);  // Past a segment.
  EXPECT_EQ(Value("k"), "(none)");
  Set("k", "old");
  EXPECT_EQ(Store(StoreMode::kReplace, "k", std::string(70'000, 'x')), Status::kTooLarge);
  EXPECT_EQ(Value("k"), "old");
}

TEST_F(MemcacheServiceTest, OutOfMemoryRemovesTheOldItemOfASetOnly) {
  Open({}, 2 * 4096, 4096, config::Seg::Eviction::kNone);
  const std::string kilo(1000, 'x');
  for (int i = 0; i < 8; ++i) ASSERT_EQ(Set(absl::StrCat("k", i), kilo), Status::kStored);
  EXPECT_EQ(Store(StoreMode::kReplace, "k0", kilo), Status::kOutOfMemory);
  EXPECT_EQ(Value("k0"), kilo);
  EXPECT_EQ(Set("k0", kilo), Status::kOutOfMemory);
  EXPECT_EQ(Value("k0"), "(none)");
  EXPECT_EQ(Store(StoreMode::kAdd, "new", kilo), Status::kOutOfMemory);
  EXPECT_EQ(Stats()["store_no_memory"], "3");
  EXPECT_EQ(Stats("items")["items:1:outofmemory"], "3");
}

TEST_F(MemcacheServiceTest, FlushAllForgetsWhatWasBefore) {
  Set("a", "1");
  EXPECT_EQ(FlushAll(), Status::kOk);
  EXPECT_EQ(Value("a"), "(none)");
  Set("a", "2");
  EXPECT_EQ(Value("a"), "2");
  EXPECT_EQ(FlushAll(-5), Status::kOk);
  EXPECT_EQ(Value("a"), "(none)");
  EXPECT_EQ(Stats()["cmd_flush"], "2");
}

TEST_F(MemcacheServiceTest, DelayedFlushTakesEffectAtItsTime) {
  Set("before", "1");
  EXPECT_EQ(FlushAll(10), Status::kOk);
  Set("between", "2");
  AdvanceSec(9);
  EXPECT_EQ(Value("before"), "1");
  AdvanceSec(1);
  Set("after", "3");  // The first command after the time: the flush comes before it.
  EXPECT_EQ(Value("before"), "(none)");
  EXPECT_EQ(Value("between"), "(none)");
  EXPECT_EQ(Value("after"), "3");
  AdvanceSec(100);
  EXPECT_EQ(Value("after"), "3");
}

TEST_F(MemcacheServiceTest, LaterFlushReplacesThePendingOne) {
  FlushAll(10);
  FlushAll(20);
  Set("k", "v");
  AdvanceSec(10);
  EXPECT_EQ(Value("k"), "v");
  AdvanceSec(10);
  EXPECT_EQ(Value("k"), "(none)");
  FlushAll(10);
  FlushAll();
  Set("k", "v");
  AdvanceSec(60);
  EXPECT_EQ(Value("k"), "v");
}

TEST_F(MemcacheServiceTest, FlushAtAnAbsoluteTime) {
  Set("k", "v");
  FlushAll(clock_.WallSec() + 100);
  AdvanceSec(98);
  EXPECT_EQ(Value("k"), "v");
  AdvanceSec(2);
  EXPECT_EQ(Value("k"), "(none)");
}

TEST_F(MemcacheServiceTest, FlushAllCanBeForbidden) {
  Open({.item_bytes_max = 59 + 1 + 100, .flush_enabled = false, .settings = {}});
  Set("k", "v");
  EXPECT_EQ(FlushAll(), Status::kClientError);
  EXPECT_EQ(Value("k"), "v");
}

TEST_F(MemcacheServiceTest, VersionBeginsLikeMemcacheds) {
  Request req;
  req.op = Op::kVersion;
  const Response rsp = Run(req);
  EXPECT_EQ(rsp.status, Status::kVersion);
  int major = 0, minor = 0, micro = 0;
  EXPECT_EQ(std::sscanf(rsp.text.c_str(), "%d.%d.%d", &major, &minor, &micro), 3);
  EXPECT_EQ(major, 1);
  EXPECT_GE(minor, 6);
  req.op = Op::kVerbosity;
  EXPECT_EQ(Run(req).status, Status::kOk);
}

TEST_F(MemcacheServiceTest, StatsCountAsMemcachedDoes) {
  // The sequence and its numbers were checked against memcached 1.6.18.
  Set("a", "1");
  Get({"a", "a", "b"});
  Get({"a", "b"}, 100);
  Touch("a", 10);
  Touch("zz", 10);
  const uint64_t cas = cache_->Peek("a").cas();
  SetIfCas("a", "1", cas);
  SetIfCas("a", "1", cas);
  SetIfCas("zz", "1", 1);
  Store(StoreMode::kAdd, "a", "1");
  Store(StoreMode::kAppend, "a", "1");
  Incr("a", 1);
  Decr("a", 1);
  Incr("zz", 1);
  Decr("zz", 1);
  Delete("zz");
  Set("d", "1");
  Delete("d");
  auto stats = Stats();
  const std::pair<const char*, const char*> kWant[] = {
      {"cmd_get", "3"},     {"get_hits", "2"},     {"get_misses", "1"},  {"cmd_touch", "4"},
      {"touch_hits", "2"},  {"touch_misses", "2"}, {"cmd_set", "7"},     {"cas_hits", "1"},
      {"cas_badval", "1"},  {"cas_misses", "1"},   {"incr_hits", "1"},   {"incr_misses", "1"},
      {"decr_hits", "1"},   {"decr_misses", "1"},  {"delete_hits", "1"}, {"delete_misses", "1"},
      {"total_items", "4"}, {"curr_items", "1"},   {"cmd_flush", "0"},   {"evictions", "0"},
      {"threads", "2"},     {"pointer_size", "64"}, {"total_connections", "3"}};
  for (const auto& [name, value] : kWant) EXPECT_EQ(stats[name], value) << name;
  EXPECT_NE(stats["bytes"], "0");
}

TEST_F(MemcacheServiceTest, StatsResetBeginsAnew) {
  Set("a", "1");
  Get({"a"});
  EXPECT_EQ(StatsOf("reset").status, Status::kReset);
  auto stats = Stats();
  for (const char* name : {"cmd_get", "get_hits", "cmd_set", "total_items", "total_connections"}) {
    EXPECT_EQ(stats[name], "0") << name;
  }
  EXPECT_EQ(stats["curr_items"], "1");
  Get({"a"});
  connections_ = 5;
  stats = Stats();
  EXPECT_EQ(stats["get_hits"], "1");
  EXPECT_EQ(stats["total_connections"], "2");
}

TEST_F(MemcacheServiceTest, StatsHaveTheShapeMonitorsRead) {
  const Response rsp = StatsOf("");
  size_t bytes = 5;  // END\r\n
  std::map<std::string, int> seen;
  for (const auto& [name, value] : rsp.stats) {
    bytes += 5 + name.size() + 1 + 20 + 2;  // No value is longer than 20 digits but the version.
    EXPECT_EQ(++seen[name], 1) << name;
    EXPECT_FALSE(value.empty()) << name;
    if (name == "version") {
      bytes += value.size();
    } else if (absl::StartsWith(name, "rusage_")) {
      EXPECT_EQ(std::count(value.begin(), value.end(), '.'), 1) << value;
      EXPECT_EQ(value.size() - value.find('.'), 7u) << value;
    } else {
      EXPECT_EQ(value.find_first_not_of("0123456789"), std::string::npos) << name << " " << value;
    }
  }
  EXPECT_LE(bytes, proto::memcache::kStatsBytesMax);
}

TEST_F(MemcacheServiceTest, StatsFitTheSmallestReadBufferWhateverTheNumbers) {
  proto::memcache::StatsNumbers n;
  std::memset(static_cast<void*>(&n), 0xff, sizeof(n));
  n.accepting = n.kicks_idle = true;  // Not every byte is a bool.
  n.accepting = true;
  size_t bytes = 5;
  for (const auto& [name, value] : proto::memcache::GeneralStats(n)) {
    bytes += 5 + name.size() + 1 + value.size() + 2;
  }
  EXPECT_LE(bytes, proto::memcache::kStatsBytesMax);
}

TEST_F(MemcacheServiceTest, StatsNameEveryFieldOfStockMemcached) {
  // memcached 1.6.18 on Debian 12 as started by the package, but for libevent and reserved_fds.
  const absl::string_view kStock =
      "pid uptime time version pointer_size rusage_user rusage_system max_connections "
      "curr_connections total_connections rejected_connections connection_structures "
      "response_obj_oom response_obj_count response_obj_bytes read_buf_count read_buf_bytes "
      "read_buf_bytes_free read_buf_oom cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits "
      "get_misses get_expired get_flushed delete_misses delete_hits incr_misses incr_hits "
      "decr_misses decr_hits cas_misses cas_hits cas_badval touch_hits touch_misses "
      "store_too_large store_no_memory auth_cmds auth_errors bytes_read bytes_written "
      "limit_maxbytes accepting_conns listen_disabled_num time_in_listen_disabled_us threads "
      "conn_yields hash_power_level hash_bytes hash_is_expanding slab_reassign_rescues "
      "slab_reassign_chunk_rescues slab_reassign_evictions_nomem slab_reassign_inline_reclaim "
      "slab_reassign_busy_items slab_reassign_busy_deletes slab_reassign_running slabs_moved "
      "lru_crawler_running lru_crawler_starts lru_maintainer_juggles malloc_fails "
      "log_worker_dropped log_worker_written log_watcher_skipped log_watcher_sent log_watchers "
      "unexpected_napi_ids round_robin_fallback bytes curr_items total_items "
      "slab_global_page_pool expired_unfetched evicted_unfetched evicted_active evictions "
      "reclaimed crawler_reclaimed crawler_items_checked lrutail_reflocked moves_to_cold "
      "moves_to_warm moves_within_lru direct_reclaims lru_bumps_dropped";
  ExpectNames("", kStock);
}

// What is left out of "stats settings" tunes what is not here. The other two are whole: prometheus'
// memcached_exporter takes a server for dead that does not answer all four.
TEST_F(MemcacheServiceTest, OtherStatsNameWhatMonitorsRead) {
  ExpectNames("settings",
              "maxbytes maxconns tcpport udpport inter verbosity evictions domain_socket umask "
              "shutdown_command num_threads stat_key_prefix detail_enabled cas_enabled tcp_backlog "
              "binding_protocol auth_enabled_sasl auth_enabled_ascii item_size_max maxconns_fast "
              "slab_reassign slab_automove lru_crawler flush_enabled dump_enabled hash_algorithm "
              "lru_maintainer_thread lru_segmented temp_lru idle_timeout track_sizes "
              "inline_ascii_response ssl_enabled");
  Set("k", "v");
  ExpectNames("items",
              "items:1:number items:1:number_hot items:1:number_warm items:1:number_cold "
              "items:1:age_hot items:1:age_warm items:1:age items:1:mem_requested items:1:evicted "
              "items:1:evicted_nonzero items:1:evicted_time items:1:outofmemory "
              "items:1:tailrepairs items:1:reclaimed items:1:expired_unfetched "
              "items:1:evicted_unfetched items:1:evicted_active items:1:crawler_reclaimed "
              "items:1:crawler_items_checked items:1:lrutail_reflocked items:1:moves_to_cold "
              "items:1:moves_to_warm items:1:moves_within_lru items:1:direct_reclaims "
              "items:1:hits_to_hot items:1:hits_to_warm items:1:hits_to_cold items:1:hits_to_temp");
  ExpectNames("slabs",
              "1:chunk_size 1:chunks_per_page 1:total_pages 1:total_chunks 1:used_chunks "
              "1:free_chunks 1:free_chunks_end 1:mem_requested 1:get_hits 1:cmd_set 1:delete_hits "
              "1:incr_hits 1:decr_hits 1:cas_hits 1:cas_badval 1:touch_hits active_slabs "
              "total_malloced");
}

TEST_F(MemcacheServiceTest, TooLargeIsNoSetCommand) {
  Request req;
  req.op = Op::kStore;
  req.mode = StoreMode::kSet;
  req.keys.push_back("k");
  req.value_too_large = true;
  EXPECT_EQ(Run(req).status, Status::kTooLarge);
  auto stats = Stats();  // As memcached 1.6.18 counts it.
  EXPECT_EQ(stats["cmd_set"], "0");
  EXPECT_EQ(stats["store_too_large"], "1");
}

TEST_F(MemcacheServiceTest, LookupsOfWhatHasGoneAreTold) {
  Set("short", "1", 1);
  Set("long", "1");
  AdvanceSec(1);
  EXPECT_EQ(Value("short"), "(none)");
  EXPECT_EQ(Value("never"), "(none)");
  auto stats = Stats();
  EXPECT_EQ(stats["get_expired"], "1");
  EXPECT_EQ(stats["get_flushed"], "0");
  FlushAll();
  EXPECT_EQ(Value("long"), "(none)");
  EXPECT_EQ(Touch("long", 5), Status::kNotFound);
  stats = Stats();
  EXPECT_EQ(stats["get_expired"], "1");
  EXPECT_EQ(stats["get_flushed"], "2");
  EXPECT_EQ(stats["get_misses"], "3");
}

TEST_F(MemcacheServiceTest, StatsTellWhatWasNeverFetched) {
  Open({}, 1 << 20, 64 << 10, config::Seg::Eviction::kS3Fifo);
  Set("short", "1", 1);
  Set("read", "1", 1);
  Get({"read"});
  AdvanceSec(2);
  cache_->Tick();
  auto stats = Stats();
  EXPECT_EQ(stats["reclaimed"], "2");
  EXPECT_EQ(stats["expired_unfetched"], "1");
  for (int i = 0; i < 100; ++i) Set(absl::StrCat("k", i), std::string(30'000, 'x'), i % 2 * 100);
  stats = Stats();
  EXPECT_NE(stats["evictions"], "0");
  EXPECT_EQ(stats["evicted_unfetched"], stats["evictions"]) << "none was got";
  EXPECT_EQ(stats["evicted_active"], "0");
  EXPECT_NE(stats["direct_reclaims"], "0");
  AdvanceSec(5);
  for (int i = 0; i < 100; ++i) Set(absl::StrCat("l", i), std::string(30'000, 'x'));
  auto items = Stats("items");
  EXPECT_NE(items["items:1:evicted_nonzero"], "0");
  EXPECT_LT(std::stoull(items["items:1:evicted_nonzero"]), std::stoull(items["items:1:evicted"]));
  EXPECT_EQ(items["items:1:evicted_unfetched"], items["items:1:evicted"]);
}

TEST_F(MemcacheServiceTest, AgesAreThoseOfTheOldest) {
  EXPECT_TRUE(Stats("items").empty());
  Set("k", "v");
  AdvanceSec(7);
  Set("new", "v", 100);
  EXPECT_EQ(Stats("items")["items:1:age"], "7");
}

TEST_F(MemcacheServiceTest, SegmentsAreThePagesOfTheOneSlab) {
  EXPECT_EQ(Stats("slabs")["active_slabs"], "0");
  EXPECT_EQ(Stats("slabs")["total_malloced"], "1048576");
  Set("k", "v");
  auto slabs = Stats("slabs");
  EXPECT_EQ(slabs["active_slabs"], "1");
  EXPECT_EQ(slabs["1:chunk_size"], "65536");
  EXPECT_EQ(slabs["1:total_pages"], "16");
  EXPECT_EQ(slabs["1:used_chunks"], "1");
  EXPECT_EQ(slabs["1:free_chunks"], "15");
  EXPECT_EQ(slabs["1:cmd_set"], "1");
  EXPECT_EQ(slabs["1:mem_requested"], Stats()["bytes"]);
  EXPECT_EQ(Stats()["slab_global_page_pool"], "15");
}

TEST_F(MemcacheServiceTest, StatsKnowMemcachedsWords) {
  MemcacheOptions options;
  options.settings.maxconns = 77;
  Open(std::move(options));
  EXPECT_EQ(Stats("settings")["maxconns"], "77");
  EXPECT_EQ(Stats("settings")["lru_crawler"], "no");
  EXPECT_TRUE(Stats("items").empty());
  Set("k", "v");
  EXPECT_EQ(Stats("items")["items:1:number"], "1");
  EXPECT_EQ(Stats("slabs")["active_slabs"], "1");
  EXPECT_EQ(Stats("sizes")["sizes_status"], "disabled");
  EXPECT_EQ(StatsOf("conns").status, Status::kStats);
  EXPECT_EQ(StatsOf("detail on").status, Status::kOk);
  EXPECT_EQ(StatsOf("detail dump").status, Status::kRaw);
  EXPECT_EQ(StatsOf("detail").status, Status::kClientError);
  EXPECT_EQ(StatsOf("cachedump").text, "bad command line");
  EXPECT_EQ(StatsOf("cachedump a b").text, "bad command line format");
  EXPECT_EQ(StatsOf("cachedump 1 1").status, Status::kStats);
  EXPECT_EQ(StatsOf("nonsense").status, Status::kError);
}

TEST_F(MemcacheServiceTest, SizesAreCountedInStepsOf32Bytes) {
  EXPECT_EQ(SizesText(cache_.get()), "END\n");
  Set("a", "");                       // 9 + 1 bytes of head and key: 16 with padding.
  Set("b", std::string(22, 'x'));     // 32.
  Set("c", std::string(23, 'x'));     // 40.
  Set("d", std::string(1000, 'x'));   // 1016.
  Set("e", std::string(1000, 'x'), 0, 7);  // Flags take 4: 1016 as well.
  Set("gone", std::string(500, 'x'));
  Delete("gone");
  Set("dead", std::string(500, 'x'), 1);
  AdvanceSec(1);
  EXPECT_EQ(SizesText(cache_.get()), "STAT 32 2\nSTAT 64 1\nSTAT 1024 2\nEND\n");
  FlushAll();
  EXPECT_EQ(SizesText(cache_.get()), "END\n");
}

TEST_F(MemcacheServiceTest, SizesOfManyItemsAreAnEstimate) {
  for (int i = 0; i < 4000; ++i) Set(absl::StrCat("key", 1000 + i), std::string(220, 'x'));
  const std::string text = SizesText(cache_.get(), 1000);
  // 240 bytes an item, 273 in a segment, 15 segments; every fourth is looked at.
  EXPECT_TRUE(absl::StartsWith(text, "STAT sampled_one_in 4\nSTAT 256 ")) << text;
  const int items = std::stoi(text.substr(text.find("256 ") + 4));
  EXPECT_NEAR(items, 4000, 1100);
}

TEST_F(MemcacheServiceTest, LongValuesAreNotPinnedByReplies) {
  Open({}, 2 * 64 * 1024, 64 * 1024);
  const std::string big(60'000, 'b');
  Set("a", big);
  Set("b", big);
  const Response a = Get({"a"});
  const Response b = Get({"b"});
  EXPECT_EQ(Set("c", big), Status::kStored);
  EXPECT_EQ(Set("d", big), Status::kStored);
  EXPECT_EQ(a.items[0].value.view(), big);
  EXPECT_EQ(b.items[0].value.view(), big);
}

TEST_F(MemcacheServiceTest, OneAnswerDoesNotTakeAllMemory) {
  const std::string value(50'000, 'v');
  ASSERT_EQ(Set("big", value), Status::kStored);
  Request req;
  req.op = Op::kGet;
  req.want = proto::memcache::kWantValue;
  req.keys.assign((64 << 20) / proto::memcache::AnswerBytes("big", value), "big");
  EXPECT_EQ(Run(req).items.size(), req.keys.size());
  req.keys.push_back("big");
  const Response rsp = Run(req);
  EXPECT_EQ(rsp.status, Status::kServerError);
  EXPECT_EQ(rsp.text, "out of memory writing get response");
  EXPECT_TRUE(rsp.items.empty());
  EXPECT_EQ(Value("big"), value) << "the next answer begins anew";
}

// Where values are short it is the items that take the memory.
TEST_F(MemcacheServiceTest, NorDoesOneAnswerOfVeryManyShortValues) {
  ASSERT_EQ(Set("a", "x"), Status::kStored);
  Request req;
  req.op = Op::kGet;
  req.want = proto::memcache::kWantValue;
  req.keys.assign(1'000'000, "a");
  EXPECT_EQ(Run(req).status, Status::kServerError);
  req.keys.assign(500'000, "a");
  EXPECT_EQ(Run(req).items.size(), 500'000u);
}

}  // namespace
}  // namespace cache
