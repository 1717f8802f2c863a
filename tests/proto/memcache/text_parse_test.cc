// Every kind of line, whole and cut at every byte. The expected outcomes are memcached 1.6.18's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "proto/memcache/codec.h"
#include "tests/proto/memcache/codec_driver.h"

namespace proto::memcache {
namespace {

using ::testing::ElementsAre;

const std::string kLongestKey(250, 'k');
const std::string kTooLongKey(251, 'k');
constexpr absl::string_view kFormat = "!CLIENT_ERROR bad command line format";
constexpr absl::string_view kTooLarge = "!SERVER_ERROR object too large for cache";
// Small, so that tables can exceed it: 100 bytes beside the longest key and flags, so 349 beside a
// one-byte key and flags.
constexpr uint64_t kItemBytesMax = ItemBytes(250, 100, 1);
static_assert(ItemBytes(1, 349, 1) == kItemBytesMax);

struct Case {
  std::string wire;
  std::vector<std::string> outcomes;
};

std::vector<Case> GetCases() {
  const std::string format(kFormat);
  return {
      {"get a\r\n", {"get(a)"}},
      {"get a\n", {"get(a)"}},
      {"gets a b\r\n", {"gets(a,b)"}},
      {"bget a\r\n", {"get(a)"}},
      {"get  a   b \r\n", {"get(a,b)"}},
      {" get a\r\n", {"get(a)"}},
      {"get a a\r\n", {"get(a,a)"}},
      {"get a\r\r\n", {"get(a\r)"}},
      {"get a\rb\r\n", {"get(a\rb)"}},
      {"get \t\r\n", {"get(\t)"}},
      {std::string("get a\0b\r\n", 9), {"get(a)"}},
      {std::string("get\0 a\r\n", 8), {"!ERROR"}},
      {std::string("\0get a\r\n", 8), {"!ERROR"}},
      {"get 1 2 3 4 5 6 7 8 9 10\r\n", {"get(1,2,3,4,5,6,7,8,9,10)"}},
      {"get " + kLongestKey + "\r\n", {"get(" + kLongestKey + ")"}},
      {"get " + kTooLongKey + "\r\n", {format}},
      {"get a " + kTooLongKey + " b\r\nget c\r\n", {format, "get(c)"}},
      {"get noreply\r\n", {"get(noreply)"}},
      {"get\r\n", {"!ERROR"}},
      {"get \r\n", {"!ERROR"}},
      {"gets\r\n", {"!ERROR"}},
      {"gat\r\n", {"!ERROR"}},
      {"gat 0\r\n", {"gat t=0"}},
      {"gats 0\r\n", {"gats t=0"}},
      {"gat 60 a b\r\n", {"gat(a,b) t=60"}},
      {"gats -1 a\r\n", {"gats(a) t=-1"}},
      {"gat a b\r\n", {"!CLIENT_ERROR invalid exptime argument"}},
      {"gat 0 a " + kTooLongKey + "\r\n", {format}},
      {"gat 0\tx a\r\n", {"gat(a) t=0"}},
  };
}

std::vector<Case> StoreCases() {
  const std::string format(kFormat);
  const std::string chunk = "!CLIENT_ERROR bad data chunk";
  return {
      {"set a 0 0 1\r\nx\r\n", {"set(a) f=0 t=0 v=x"}},
      {"set a 0 0 1\nx\r\n", {"set(a) f=0 t=0 v=x"}},
      {"set a 7 60 3 noreply\r\nabc\r\n", {"set(a) f=7 t=60 v=abc noreply"}},
      {"set a 0 0 0\r\n\r\n", {"set(a) f=0 t=0 v="}},
      {"set a 0 0 4\r\n\r\n\r\n\r\n", {"set(a) f=0 t=0 v=\r\n\r\n"}},
      {"set  a  1  2  1  \r\nx\r\n", {"set(a) f=1 t=2 v=x"}},
      {"set a 0 0 1 other\r\nx\r\n", {"set(a) f=0 t=0 v=x"}},
      {"set a +1 +2 +1\r\nx\r\n", {"set(a) f=1 t=2 v=x"}},
      {"set a 1\t2 0 1\r\nx\r\n", {"set(a) f=1 t=0 v=x"}},
      {"set a 0 0 01\r\nx\r\n", {"set(a) f=0 t=0 v=x"}},
      {"set a 4294967295 0 1\r\nx\r\n", {"set(a) f=4294967295 t=0 v=x"}},
      {"set a 4294967299 0 1\r\nx\r\n", {"set(a) f=3 t=0 v=x"}},
      {"set a 18446744073709551615 0 1\r\nx\r\n", {"set(a) f=4294967295 t=0 v=x"}},
      {"set a 0 -1 1\r\nx\r\n", {"set(a) f=0 t=-1 v=x"}},
      {"set a 0 4294967297 1\r\nx\r\n", {"set(a) f=0 t=1 v=x"}},
      {"set a 0 2147483648 1\r\nx\r\n", {"set(a) f=0 t=-2147483648 v=x"}},
      {"add a 1 2 1\r\nx\r\n", {"add(a) f=1 t=2 v=x"}},
      {"replace a 1 2 1\r\nx\r\n", {"replace(a) f=1 t=2 v=x"}},
      {"append a 1 2 1\r\nx\r\n", {"append(a) f=1 t=2 v=x"}},
      {"prepend a 1 2 1\r\nx\r\n", {"prepend(a) f=1 t=2 v=x"}},
      {"cas a 1 2 1 9\r\nx\r\n", {"cas(a) f=1 t=2 c=9 v=x"}},
      {"cas a 1 2 1 18446744073709551615 noreply\r\nx\r\n",
       {"cas(a) f=1 t=2 c=18446744073709551615 v=x noreply"}},
      {"set " + kLongestKey + " 0 0 1\r\nx\r\n", {"set(" + kLongestKey + ") f=0 t=0 v=x"}},

      {"set\r\n", {"!ERROR"}},
      {"set a 0 0\r\n", {"!ERROR"}},
      {"set a 0 0 1 noreply b\r\nx\r\n", {"!ERROR", "!ERROR"}},
      {"set a 0 0 1 2 3 4 5 6\r\n", {"!ERROR"}},
      {"cas a 0 0 1\r\nx\r\n", {"!ERROR", "!ERROR"}},
      {"cas a 0 0 1 1 noreply c\r\n", {"!ERROR"}},
      {"set " + kTooLongKey + " 0 0 1\r\nx\r\n", {format, "!ERROR"}},
      {"set " + kTooLongKey + " 0 0 1 noreply\r\nx\r\n", {"!", "!ERROR"}},
      {"set a x 0 1\r\n", {format}},
      {"set a -1 0 1\r\n", {format}},
      {"set a 0x1 0 1\r\n", {format}},
      {"set a 18446744073709551616 0 1\r\n", {format}},
      {"set a 0 x 1\r\n", {format}},
      {"set a 0 9223372036854775808 1\r\n", {format}},
      {"set a 0 0 x\r\n", {format}},
      {"set a 0 0 1x\r\n", {format}},
      {"set a 0 0 -1\r\n", {format}},
      {"set a 0 0 -1 noreply\r\n", {"!"}},
      {"set a 0 0 noreply\r\n", {"!"}},
      {"set a 0 0 2147483646\r\n", {format}},
      {"set a 0 0 2147483648\r\n", {format}},
      {"set a 0 0 99999999999999999999\r\n", {format}},
      {"cas a 0 0 1 x\r\n", {format}},
      {"cas a 0 0 1 -1\r\n", {format}},
      {"cas a 0 0 1 noreply\r\nx\r\n", {"!", "!ERROR"}},
      {"cas a 0 0 1 18446744073709551616\r\n", {format}},

      {"set a 0 0 1\r\nxx\r\n", {chunk, "!ERROR"}},
      {"set a 0 0 1\r\nxxxget b\r\n", {chunk, "get(b)"}},
      {"set a 0 0 1\r\nx\n\n", {chunk}},
      {"set a 0 0 1 noreply\r\nxx\r\n", {"!", "!ERROR"}},
      {"set a 0 0 4294967296\r\n\r\n", {"set(a) f=0 t=0 v="}},
  };
}

std::vector<Case> TooLargeCases() {
  const std::string large(kTooLarge);
  const std::string fits(349, 'v');
  const std::string block = std::string(350, 'v') + "\r\n";
  return {
      {"set a 1 2 349\r\n" + fits + "\r\n", {"set(a) f=1 t=2 v=" + fits}},
      {"set a 0 2 350\r\n" + block, {"set(a) f=0 t=2 v=" + std::string(350, 'v')}},
      {"set a 1 2 350\r\n" + block + "get b\r\n", {"set(a) too large", "get(b)"}},
      {"set a 1 2 350 noreply\r\n" + block + "get b\r\n", {"set(a) too large noreply", "get(b)"}},
      // How the swallowed block ends does not matter.
      {"set a 1 2 350\r\n" + std::string(352, '\n') + "get b\r\n", {"set(a) too large", "get(b)"}},
      {"add a 1 2 350\r\n" + block + "get b\r\n", {large, "get(b)"}},
      {"add a 1 2 350 noreply\r\n" + block + "get b\r\n", {"!", "get(b)"}},
      {"replace a 1 2 350\r\n" + block + "get b\r\n", {large, "get(b)"}},
      {"append a 1 2 350\r\n" + block + "get b\r\n", {large, "get(b)"}},
      {"prepend a 1 2 350\r\n" + block + "get b\r\n", {large, "get(b)"}},
      {"cas a 1 2 350 9\r\n" + block + "get b\r\n", {large, "get(b)"}},
      {"set a 1 2 350\r\n" + block + "set b 7 0 350\r\n" + block,
       {"set(a) too large", "set(b) too large"}},
      {"set a 0 0 2147483645\r\nxyz", {}},
  };
}

std::vector<Case> OtherCases() {
  const std::string format(kFormat);
  const std::string usage = std::string(kFormat) + ".  Usage: delete <key> [noreply]";
  const std::string delta = "!CLIENT_ERROR invalid numeric delta argument";
  const std::string exptime = "!CLIENT_ERROR invalid exptime argument";
  return {
      {"delete a\r\n", {"delete(a)"}},
      {"delete a 0\r\n", {"delete(a)"}},
      {"delete a noreply\r\n", {"delete(a) noreply"}},
      {"delete a 0 noreply\r\n", {"delete(a) noreply"}},
      {"delete noreply\r\n", {"delete(noreply)"}},
      {"delete\r\n", {"!ERROR"}},
      {"delete a 1 2 3\r\n", {"!ERROR"}},
      {"delete a 5\r\n", {usage}},
      {"delete a 00\r\n", {usage}},
      {"delete a 0 0\r\n", {usage}},
      {"delete a noreply 0\r\n", {usage}},
      {"delete a 5 noreply\r\n", {"!"}},
      {"delete a noreply noreply\r\n", {"!"}},
      {"delete " + kTooLongKey + "\r\n", {format}},
      {"delete " + kTooLongKey + " noreply\r\n", {"!"}},

      {"incr a 1\r\n", {"incr(a) d=1"}},
      {"decr a 18446744073709551615\r\n", {"decr(a) d=18446744073709551615"}},
      {"incr a 1 noreply\r\n", {"incr(a) d=1 noreply"}},
      {"incr a 1 other\r\n", {"incr(a) d=1"}},
      {"incr a +1\r\n", {"incr(a) d=1"}},
      {"incr a 007\r\n", {"incr(a) d=7"}},
      {"incr a -18446744073709551615\r\n", {"incr(a) d=1"}},
      {"incr a \t1\r\n", {"incr(a) d=1"}},
      {"incr a 1\t-\r\n", {"incr(a) d=1"}},
      {"incr\r\n", {"!ERROR"}},
      {"incr a\r\n", {"!ERROR"}},
      {"incr a 1 2 3\r\n", {"!ERROR"}},
      {"incr a x\r\n", {delta}},
      {"incr a \t\r\n", {delta}},
      {"incr a 1.5\r\n", {delta}},
      {"incr a 0x10\r\n", {delta}},
      {"decr a -1\r\n", {delta}},
      {"incr a 18446744073709551616\r\n", {delta}},
      {"incr a 18446744073709551615\t-\r\n", {delta}},
      {"incr a noreply\r\n", {"!"}},
      {"incr a x noreply\r\n", {"!"}},
      {"incr " + kTooLongKey + " 1\r\n", {format}},

      {"touch a 60\r\n", {"touch(a) t=60"}},
      {"touch a -1 noreply\r\n", {"touch(a) t=-1 noreply"}},
      {"touch a 0 other\r\n", {"touch(a) t=0"}},
      {"touch\r\n", {"!ERROR"}},
      {"touch a\r\n", {"!ERROR"}},
      {"touch a 0 1 2\r\n", {"!ERROR"}},
      {"touch a x\r\n", {exptime}},
      {"touch a noreply\r\n", {"!"}},
      {"touch " + kTooLongKey + " 0\r\n", {format}},

      {"flush_all\r\n", {"flush_all"}},
      {"flush_all  \r\n", {"flush_all"}},
      {"flush_all 0\r\n", {"flush_all t=0"}},
      {"flush_all -1\r\n", {"flush_all t=-1"}},
      {"flush_all noreply\r\n", {"flush_all noreply"}},
      {"flush_all 5 noreply\r\n", {"flush_all t=5 noreply"}},
      {"flush_all 5 other\r\n", {"flush_all t=5"}},
      {"flush_all x\r\n", {exptime}},
      {"flush_all 0x\r\n", {exptime}},
      {"flush_all x noreply\r\n", {"!"}},
      {"flush_all noreply noreply\r\n", {"!"}},
      {"flush_all 0 0 0\r\n", {"!ERROR"}},
      {"flush_all 0 noreply x\r\n", {"!ERROR"}},

      {"version\r\n", {"version"}},
      {"version noreply\r\n", {"version"}},
      {"verbosity 1\r\n", {"verbosity [1]"}},
      {"verbosity 1 noreply\r\n", {"verbosity [1] noreply"}},
      {"verbosity 0 other\r\n", {"verbosity [0]"}},
      {"verbosity noreply\r\n", {"verbosity noreply"}},
      {"verbosity 4294967296\r\n", {"verbosity [4294967296]"}},
      {"verbosity\r\n", {"!ERROR"}},
      {"verbosity 0 1 2\r\n", {"!ERROR"}},
      {"verbosity x\r\n", {format}},
      {"verbosity -1\r\n", {format}},
      {"verbosity noreply 1\r\n", {format}},
      {"stats\r\n", {"stats"}},
      {"stats \r\n", {"stats"}},
      {"stats  settings \r\n", {"stats [settings]"}},
      {"stats cachedump 1 0\r\n", {"stats [cachedump 1 0]"}},
      {"quit\r\n", {"quit"}},
      {"quit x\r\nget a\r\n", {"quit"}},

      {"\r\n", {"!ERROR"}},
      {"\n", {"!ERROR"}},
      {"\r\r\n", {"!ERROR"}},
      {"  \r\n", {"!ERROR"}},
      {"x\r\n", {"!ERROR"}},
      {"foo\r\n", {"!ERROR"}},
      {"GET a\r\n", {"!ERROR"}},
      {"getx a\r\n", {"!ERROR"}},
      {"get\ta\r\n", {"!ERROR"}},
      {"quitx\r\n", {"!ERROR"}},
      {"flush_al\r\n", {"!ERROR"}},
      {"replaced a 0 0 1\r\n", {"!ERROR"}},
  };
}

std::vector<Case> PipelineCases() {
  return {
      {"set a 0 0 1\r\nx\r\nget a\r\nset b 0 0 7 noreply\r\nget b\r\n\r\nbad\r\ndelete "
       "b\r\nquit\r\n",
       {"set(a) f=0 t=0 v=x", "get(a)", "set(b) f=0 t=0 v=get b\r\n noreply", "!ERROR", "delete(b)",
        "quit"}},
      {"get a\r\nget b", {"get(a)"}},
      {"set a 0 0 5\r\nab\r\n", {}},
      {"get a\r\nquit\r\nget b\r\n", {"get(a)", "quit"}},
      {"touch a 1 noreply\r\nincr b 1\r\n", {"touch(a) t=1 noreply", "incr(b) d=1"}},
  };
}

std::vector<Case> AllCases() {
  std::vector<Case> all;
  for (auto part : {GetCases(), StoreCases(), TooLargeCases(), OtherCases(), PipelineCases()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

TEST(TextParse, ReadsEveryLineLikeMemcached) {
  for (const Case& c : AllCases()) {
    SCOPED_TRACE(absl::CEscape(c.wire));
    EXPECT_EQ(OutcomesInSteps(c.wire, c.wire.size(), false, {kItemBytesMax}), c.outcomes);
  }
}

TEST(TextParse, DoesNotCareWhereTheInputIsCut) {
  for (const Case& c : AllCases()) {
    SCOPED_TRACE(absl::CEscape(c.wire));
    for (size_t cut = 1; cut < c.wire.size(); ++cut) {
      ASSERT_EQ(OutcomesCutAt(c.wire, cut, {kItemBytesMax}), c.outcomes) << "cut at " << cut;
    }
  }
}

TEST(TextParse, ReadsInputByteByByte) {
  for (const Case& c : AllCases()) {
    SCOPED_TRACE(absl::CEscape(c.wire));
    EXPECT_EQ(OutcomesInSteps(c.wire, 1, false, {kItemBytesMax}), c.outcomes);
    EXPECT_EQ(OutcomesInSteps(c.wire, 1, true, {kItemBytesMax}), c.outcomes) << "impatient";
    EXPECT_EQ(OutcomesInSteps(c.wire, 3, false, {kItemBytesMax}), c.outcomes);
  }
}

TEST(TextParse, DoesNotCareWhatFollows) {
  for (const Case& c : AllCases()) {
    if (c.outcomes.empty() || c.outcomes.back() == "quit") continue;
    CodecDriver driver({kItemBytesMax});
    driver.Feed(c.wire);
    if (!driver.unread().empty()) continue;  // The case ends inside a line.
    std::vector<std::string> expected = c.outcomes;
    expected.push_back("get(next)");
    SCOPED_TRACE(absl::CEscape(c.wire));
    EXPECT_EQ(OutcomesInSteps(c.wire + "get next\r\n", 1 << 20, false, {kItemBytesMax}), expected);
  }
}

TEST(TextParse, FillsWhatServicesLookAt) {
  struct Expected {
    std::string wire;
    Op op;
    StoreMode mode;
    bool decrement;
    uint16_t want;
  };
  constexpr uint16_t kItem = kWantValue | kWantFlags | kWantKey;
  using M = StoreMode;
  const std::vector<Expected> table = {
      {"get a\r\n", Op::kGet, M::kSet, false, kItem},
      {"gets a\r\n", Op::kGet, M::kSet, false, kItem | kWantCas},
      {"gat 1 a\r\n", Op::kGet, M::kSet, false, kItem},
      {"gats 1 a\r\n", Op::kGet, M::kSet, false, kItem | kWantCas},
      {"set a 0 0 0\r\n\r\n", Op::kStore, M::kSet, false, 0},
      {"add a 0 0 0\r\n\r\n", Op::kStore, M::kAdd, false, 0},
      {"replace a 0 0 0\r\n\r\n", Op::kStore, M::kReplace, false, 0},
      {"append a 0 0 0\r\n\r\n", Op::kStore, M::kAppend, false, 0},
      {"prepend a 0 0 0\r\n\r\n", Op::kStore, M::kPrepend, false, 0},
      {"cas a 0 0 0 1\r\n\r\n", Op::kStore, M::kSet, false, 0},
      {"delete a\r\n", Op::kDelete, M::kSet, false, 0},
      {"incr a 1\r\n", Op::kArithmetic, M::kSet, false, 0},
      {"decr a 1\r\n", Op::kArithmetic, M::kSet, true, 0},
      {"touch a 1\r\n", Op::kTouch, M::kSet, false, 0},
      {"flush_all\r\n", Op::kFlushAll, M::kSet, false, 0},
      {"version\r\n", Op::kVersion, M::kSet, false, 0},
      {"verbosity 1\r\n", Op::kVerbosity, M::kSet, false, 0},
      {"stats\r\n", Op::kStats, M::kSet, false, 0},
  };
  TextCodec codec;
  Request req;  // Reused, so that nothing of one request may show in the next.
  for (const Expected& e : table) {
    SCOPED_TRACE(e.wire);
    const core::ParseResult result = codec.Parse(e.wire, &req);
    ASSERT_EQ(result.status, core::ParseStatus::kComplete);
    EXPECT_EQ(result.consumed, e.wire.size());
    EXPECT_EQ(req.op, e.op);
    EXPECT_EQ(req.mode, e.mode);
    EXPECT_EQ(req.decrement, e.decrement);
    EXPECT_EQ(req.want, e.want);
    EXPECT_EQ(req.cas.has_value(), req.verb == Verb::kCas);
    EXPECT_EQ(TextCodec::ContextOf(req).verb, req.verb);
    EXPECT_EQ(TextCodec::ContextOf(req).want, e.want);
  }
}

TEST(TextParse, SaysHowMuchAValueStillNeeds) {
  const std::string line = "set a 0 0 1000000\r\n";
  TextCodec codec;
  Request req;
  const core::ParseResult first = codec.Parse(line, &req);
  EXPECT_EQ(first.status, core::ParseStatus::kNeedMore);
  EXPECT_EQ(first.consumed, 0u);
  EXPECT_EQ(first.need, line.size() + 1000000 + 2);
  const core::ParseResult again = codec.Parse(line + "x", &req);
  EXPECT_EQ(again.need, first.need);
  const std::string all = line + std::string(1000000, 'x') + "\r\n";
  const core::ParseResult last = codec.Parse(all, &req);
  EXPECT_EQ(last.status, core::ParseStatus::kComplete);
  EXPECT_EQ(last.consumed, all.size());
}

TEST(TextParse, LetsGoOfASwallowedBlockAsItComes) {
  TextCodec codec({10});
  Request req;
  core::ParseResult result = codec.Parse("set a 0 0 1000\r\nabc", &req);
  EXPECT_EQ(result.status, core::ParseStatus::kNeedMore);
  EXPECT_EQ(result.consumed, 19u);
  result = codec.Parse(std::string(500, 'x'), &req);
  EXPECT_EQ(result.status, core::ParseStatus::kNeedMore);
  EXPECT_EQ(result.consumed, 500u);
  result = codec.Parse(std::string(499, 'x') + "get b\r\n", &req);
  EXPECT_EQ(result.status, core::ParseStatus::kComplete);
  EXPECT_EQ(result.consumed, 499u);
  EXPECT_TRUE(req.value_too_large);
  EXPECT_EQ(req.key(), "a");
}

TEST(TextParse, TakesAnyNumberOfKeys) {
  for (const absl::string_view verb : {"get", "gets", "gat 0", "gats 0"}) {
    std::string wire(verb);
    for (int i = 0; i < 20000; ++i) absl::StrAppend(&wire, " key", i);
    wire += "\r\n";
    for (const size_t step : {wire.size(), size_t{1000}, size_t{7}}) {
      CodecDriver driver;
      TextCodec codec;
      for (size_t at = 0; at < wire.size(); at += step) {
        driver.Feed(absl::string_view(wire).substr(at, step));
      }
      ASSERT_EQ(driver.outcomes().size(), 1u) << verb << " in steps of " << step;
      EXPECT_EQ(driver.outcomes()[0].substr(0, 3), verb.substr(0, 3));
      EXPECT_NE(driver.outcomes()[0].find(",key19999)"), std::string::npos);
    }
  }
}

TEST(TextParse, HangsUpOnALineThatWillNotEnd) {
  const std::string at_bound(TextCodec::kUnfinishedLineBytesMax, 'x');
  CodecDriver driver;
  driver.Feed(at_bound);
  EXPECT_THAT(driver.outcomes(), ElementsAre());
  driver.Feed("x");
  EXPECT_THAT(driver.outcomes(), ElementsAre("!close"));

  // "get" is no command yet without its space, nor behind too many of them.
  EXPECT_THAT(OutcomesInSteps("gets" + at_bound, 5000), ElementsAre("!close"));
  EXPECT_THAT(OutcomesInSteps(std::string(101, ' ') + "get " + at_bound, 5000),
              ElementsAre("!close"));
  EXPECT_THAT(OutcomesInSteps(std::string(100, ' ') + "get " + at_bound, 5000), ElementsAre());
}

TEST(TextParse, AnswersALongLineThatEnds) {
  const std::string word(3000, 'x');
  EXPECT_THAT(OutcomesInSteps(word + "\r\nget a\r\n", 5000), ElementsAre("!ERROR", "get(a)"));
  EXPECT_THAT(OutcomesInSteps("get " + word + "\r\nget a\r\n", 5000),
              ElementsAre(std::string(kFormat), "get(a)"));
  EXPECT_THAT(OutcomesInSteps("set " + word + " 0 0 0\r\n\r\n", 5000),
              ElementsAre(std::string(kFormat), "!ERROR"));
  const std::string longest(TextCodec::kLineBytesMax, 'x');
  EXPECT_THAT(OutcomesInSteps(longest + "\r\n", longest.size() * 2), ElementsAre("!close"));
}

TEST(TextParse, BoundsTheLongestGet) {
  CodecDriver driver;
  const std::string keys(1 << 20, 'k');
  driver.Feed("get ");
  for (size_t fed = 0; fed <= TextCodec::kGetLineBytesMax; fed += keys.size()) driver.Feed(keys);
  EXPECT_THAT(driver.outcomes(), ElementsAre("!CLIENT_ERROR line too longclose"));
  EXPECT_TRUE(driver.over());
}

TEST(TextParse, TakesBytesOfAnyValueInKeysAndValues) {
  std::string value;
  for (int c = 0; c < 256; ++c) value.push_back(static_cast<char>(c));
  const std::string key = "\x01\x7f\x80\xff\t\r\v";
  const std::string wire = absl::StrCat("set ", key, " 0 0 256\r\n", value, "\r\n");
  EXPECT_THAT(OutcomesInSteps(wire, 1),
              ElementsAre(absl::StrCat("set(", key, ") f=0 t=0 v=", value)));
}

// The plain spelling is read in one pass; a space in front of a line sends it the long way round,
// which must make the same of it.
TEST(TextParse, BothWaysAgreeOnEveryLine) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 rng(seed);
  const std::vector<std::string> words = {
      "get",  "set", "gets", "a",  "key:1", kLongestKey, kTooLongKey, "0",  "1",    "3",
      "007",  "-1",  "+1",   "99", "x",     "123456789", "1234567890", "4294967296", "noreply",
      "a\tb", "\r",  "",     " ",  "\x7f\xff\x80", std::string("a\0b", 3)};
  const std::vector<std::string> ends = {"\r\n", "\r\n", "\r\n", "\n", "\r", " \r\n", "\r\r\n"};
  const std::vector<std::string> verbs = {"get ", "gets ", "set ", "set k ", "set k 0 ", "set k 1 2 "};
  const auto any = [&](const std::vector<std::string>& of) { return of[rng() % of.size()]; };
  for (int i = 0; i < 20000; ++i) {
    std::string line = any(verbs);
    for (int n = rng() % 5; n > 0; --n) line += any(words) + (n > 1 ? " " : "");
    line += any(ends);
    const std::string rest = "abc\r\nversion\r\n";
    const auto plain = OutcomesInSteps(line + rest, line.size() + rest.size());
    const auto the_long_way = OutcomesInSteps(" " + line + rest, line.size() + rest.size() + 1);
    ASSERT_EQ(plain, the_long_way) << absl::CEscape(line);
    ASSERT_EQ(OutcomesInSteps(line + rest, 1), plain) << absl::CEscape(line);
  }
}

// Keys of all lengths end at every offset within the eight bytes that are looked at together.
TEST(TextParse, GuessesTheFirstKeyOfPlainLines) {
  const struct {
    std::string in;
    std::string key;
  } kCases[] = {
      {"get abc\r\n", "abc"},
      {"get a b c\r\nget d\r\n", "a"},
      {"set abc 0 0 5\r\nhel", "abc"},
      {"set abcdefg ", "abcdefg"},
      {"get " + kLongestKey + "\r\n", kLongestKey},
      {"get " + kTooLongKey + "\r\n", ""},
      {"get abcdefg", ""},  // There may be more of it.
      {"get a\r\n", ""},    // Shorter than what is looked at at once.
      {"get  abc\r\n", ""},
      {"gets abc\r\n", ""},
      {"add abc 0 0 5\r\n", ""},
      {"bet abc\r\n", ""},
      {"mg abc v\r\n", ""},
      {"\x80get abc\r\n", ""},
      {"", ""},
  };
  for (const auto& one : kCases) EXPECT_EQ(Codec::FirstKey(one.in), one.key) << one.in;
}

TEST(TextParse, FindsTheEndOfKeysOfAnyLength) {
  for (size_t n = 1; n <= kKeyBytesMax; ++n) {
    const std::string key(n, '\xfe');
    EXPECT_THAT(OutcomesInSteps("get " + key + "\r\n", 1000), ElementsAre("get(" + key + ")"));
    EXPECT_THAT(OutcomesInSteps("gets " + key + " b\r\n", 1000),
                ElementsAre("gets(" + key + ",b)"));
    EXPECT_THAT(OutcomesInSteps("set " + key + " 1 2 1 noreply\r\nx\r\n", 1000),
                ElementsAre("set(" + key + ") f=1 t=2 v=x noreply"));
  }
}

}  // namespace
}  // namespace proto::memcache
