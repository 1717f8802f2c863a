// Meta commands as clients say them, answered by the engine, with a manual clock: a line in, the
// reply out. What memcached 1.6.18 knows of it is in integration/transcripts/meta_*.mc as well.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cache/service/memcache_service.h"
#include "core/base/check.h"
#include "proto/memcache/codec.h"

namespace cache {
namespace {

using proto::memcache::Codec;
using proto::memcache::ReplyContext;
using proto::memcache::Request;
using proto::memcache::Response;

class Replies final : public core::ReplySink<Response> {
 public:
  void Deliver(core::SessionRef, uint64_t, Response&& rsp) override {
    Codec::Compose(context, std::move(rsp), &out);
  }
  void Abandon(core::SessionRef, uint64_t) override { ADD_FAILURE() << "unanswered"; }

  ReplyContext context;
  core::OutBuffer out;
};

// One connection's side of a conversation.
class Client {
 public:
  explicit Client(MemcacheShared* shared) : service_(shared) {}

  // The replies to `wire`, whose lines end in "\n".
  std::string Say(absl::string_view wire) {
    const std::string in = absl::StrReplaceAll(wire, {{"\n", "\r\n"}});
    absl::string_view left = in;
    Replies replies;
    Request req;
    while (!left.empty()) {
      const core::ParseResult parsed = codec_.Parse(left, &req);
      left.remove_prefix(parsed.consumed);
      CHECK(parsed.status != core::ParseStatus::kNeedMore);
      replies.context = Codec::ContextOf(req);
      if (parsed.status == core::ParseStatus::kComplete) {
        service_.Execute(connection_, req, core::Reply<Response>(&replies, {}, 0));
      } else {
        Codec::Compose(replies.context, Codec::Rejection(req), &replies.out);
      }
      replies.context.Release();
    }
    return absl::StrReplaceAll(replies.out.ToString(), {{"\r\n", "\n"}});
  }

 private:
  MemcacheService service_;
  MemcacheService::Connection connection_ = service_.Connect();
  Codec codec_{proto::memcache::Limits()};
};

class MemcacheMetaTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(true); }
  void Open(bool track_access) {
    client_.reset();
    shared_.reset();
    cache_.reset();
    registry_ = std::make_unique<core::Registry>();
    config::Seg seg;
    seg.heap_size = 8 << 20;
    seg.segment_size = 1 << 20;
    seg.track_access = track_access;
    auto cache = seg::Cache::Create(seg, &clock_, registry_.get(), "test");
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
    shared_ = std::make_unique<MemcacheShared>(cache_.get(), &clock_, registry_.get(),
                                               MemcacheOptions(),
                                               [](proto::memcache::StatsNumbers*) {});
    client_ = std::make_unique<Client>(shared_.get());
  }

  std::string Say(absl::string_view wire) { return client_->Say(wire); }
  // The token of `key`, which must be there.
  uint64_t Cas(absl::string_view key) {
    uint64_t cas = 0;
    const std::string reply = Say(absl::StrCat("mg ", key, " c u\n"));
    EXPECT_EQ(std::sscanf(reply.c_str(), "HD c%lu", &cas), 1) << reply;
    return cas;
  }
  std::map<std::string, std::string> Stats() {
    std::map<std::string, std::string> stats;
    const std::string text = Say("stats\n");
    for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
      char name[64], value[64];
      if (std::sscanf(text.c_str() + at, "STAT %63s %63s", name, value) == 2) stats[name] = value;
    }
    return stats;
  }
  void AdvanceSec(int64_t sec) { clock_.AdvanceMs(sec * 1000); }

  core::ManualClock clock_;
  std::unique_ptr<core::Registry> registry_;
  std::unique_ptr<seg::Cache> cache_;
  std::unique_ptr<MemcacheShared> shared_;
  std::unique_ptr<Client> client_;
};

TEST_F(MemcacheMetaTest, OneItemInBothSpellings) {
  EXPECT_EQ(Say("set a 5 60 3\nabc\nmg a v f t s k O1\n"), "STORED\nVA 3 f5 t60 s3 ka O1\nabc\n");
  EXPECT_EQ(Say("ms b 2 F7 T30\nhi\nget b\n"), "HD\nVALUE b 7 2\nhi\nEND\n");
  EXPECT_EQ(Say("ms YQ== 1 b\nz\nget a\n"), "HD\nVALUE a 0 1\nz\nEND\n");
  EXPECT_EQ(Say("mn\nmg none k O2\nmg none q\nmn\n"), "MN\nEN knone O2\nMN\n");
  EXPECT_EQ(Say("md b\nmd b\nmd a q\nmn\nget a\n"), "HD\nNF\nMN\nEND\n");
}

TEST_F(MemcacheMetaTest, TokensAreTheSameInBoth) {
  Say("set a 0 0 1\nx\n");
  const uint64_t cas = Cas("a");
  EXPECT_EQ(Say("gets a\n"), absl::StrCat("VALUE a 0 1 ", cas, "\nx\nEND\n"));
  EXPECT_EQ(Say(absl::StrCat("ms a 1 C", cas, "\ny\n")), "HD\n");
  EXPECT_EQ(Say(absl::StrCat("ms a 1 C", cas, "\nz\n")), "EX\n");
  EXPECT_EQ(Say("ms none 1 C1\nz\n"), "NF\n");
  EXPECT_EQ(Say("ms none 1 C1 MR\nz\nms none 1 C1 MA\nz\n"), "NF\nNS\n");
  EXPECT_EQ(Say(absl::StrCat("md a C", cas, "\nmd a C", Cas("a"), "\nmg a\n")), "EX\nHD\nEN\n");
}

TEST_F(MemcacheMetaTest, AGivenTokenIsTheToken) {
  EXPECT_EQ(Say("ms a 1 E77 c\nx\nmg a c\n"), "HD c77\nHD c77\n");
  EXPECT_EQ(Say("gets a\ncas a 0 0 1 77\ny\n"), "VALUE a 0 1 77\nx\nEND\nSTORED\n");
  EXPECT_EQ(Say("ms a 1 E5 C4\nx\n"), "EX\n");
  EXPECT_EQ(Say("ms a 1 MA E9\nz\nmg a c v\n"), "HD\nVA 2 c9\nyz\n");
  EXPECT_EQ(Say("ms a 1 MR E10\nz\nmg a c\nmd a I E12\nmg a c\n"), "HD\nHD c10\nHD\nHD c12 X W\n");
  EXPECT_EQ(Say("md a x E14\nmg a c v\n"), "HD\nVA 0 c14\n\n");
  EXPECT_EQ(Say("ma n N0 E20 c\nma n E21 c\nmg n c v\n"), "HD c20\nHD c21\nVA 1 c21\n1\n");
  EXPECT_EQ(Say("mg v N0 E30 c\nmg v c\n"), "HD c30 W\nHD c30 Z\n");
  // E names what is written; a get that writes nothing changes nothing.
  EXPECT_EQ(Say("mg n E50 c\n"), "HD c21\n");
}

TEST_F(MemcacheMetaTest, AValueThatTheClientHasIsNotSentAgain) {
  Say("ms a 3 E7\nabc\n");
  EXPECT_EQ(Say("mg a C7 v c s\nmg a C8 v c s\nmg none C7 v\n"), "HD c7 s3\nVA 3 c7 s3\nabc\nEN\n");
}

TEST_F(MemcacheMetaTest, TimesToLive) {
  Say("ms a 1 T60\nx\n");
  AdvanceSec(10);
  EXPECT_EQ(Say("mg a t\nmg a t T100\nmg a t\nmg a T200 t\n"), "HD t50\nHD t50\nHD t100\nHD t200\n");
  EXPECT_EQ(Say("mg a T0 t\nmg a t\n"), "HD t-1\nHD t-1\n");
  EXPECT_EQ(Say("mg a T-1 t\nmg a\n"), "HD t0\nEN\n");
  EXPECT_EQ(Say("ms a 1 T2\nx\n"), "HD\n");
  clock_.AdvanceMs(1);
  EXPECT_EQ(Say("mg a t\n"), "HD t2\n");
  clock_.AdvanceMs(1998);
  EXPECT_EQ(Say("mg a t\n"), "HD t1\n");
  clock_.AdvanceMs(1);
  EXPECT_EQ(Say("mg a t\n"), "EN\n");
  EXPECT_EQ(Say("ms a 1 T-1 c\nx\nmg a\n"), "HD c0\nEN\n");
  const int64_t in_an_hour = clock_.WallNs() / 1'000'000'000 + 3600;
  EXPECT_EQ(Say(absl::StrCat("ms a 1 T", in_an_hour, "\nx\nmg a t\n")), "HD\nHD t3600\n");
}

TEST_F(MemcacheMetaTest, OneOfThoseWhoMissWins) {
  EXPECT_EQ(Say("mg a N30 v t\nmg a N30 v t\nmg a v\nmg a q\n"),
            "VA 0 t30 W\n\nVA 0 t30 Z\n\nVA 0 Z\n\nHD Z\n");
  EXPECT_EQ(Say("get a\n"), "VALUE a 0 0\n\nEND\n");
  EXPECT_EQ(Say("ms a 2\nhi\nmg a v N30\n"), "HD\nVA 2\nhi\n");
  EXPECT_EQ(Say("md a\nmg a t N30\nmg a t\n"), "HD\nHD t-1 W\nHD t30 Z\n");
  // Who wins and fails leaves it to the next when the placeholder ends.
  AdvanceSec(31);
  EXPECT_EQ(Say("mg a N30\nmg a N30\n"), "HD W\nHD Z\n");
  // A placeholder that is gone at once is made by nobody.
  EXPECT_EQ(Say("mg b N-1\nmg b N-1\nmg b\n"), "HD W\nHD W\nEN\n");
  EXPECT_EQ(Say("mg c N30 T90 t\nmg d T90 N30 t\n"), "HD t90 W\nHD t30 W\n");
}

TEST_F(MemcacheMetaTest, OneIsToldToRenewWhatEndsSoon) {
  Say("ms a 1 T60\nx\n");
  EXPECT_EQ(Say("mg a R30\nmg a R60\n"), "HD\nHD\n");
  AdvanceSec(31);
  EXPECT_EQ(Say("mg a R29\nmg a R0\nmg a R-1\nmg a R30 v\nmg a R30\nmg a\n"),
            "HD\nHD\nHD\nVA 1 W\nx\nHD Z\nHD Z\n");
  EXPECT_EQ(Say("touch a 100\nmg a R300\n"), "TOUCHED\nHD Z\n");
  EXPECT_EQ(Say("ms a 1 T20\ny\nmg a R30\n"), "HD\nHD W\n");
  // By the time that a T before it gives, or that is left if it stands first.
  EXPECT_EQ(Say("ms a 1 T20\ny\nmg a T40 R30\nms a 1 T20\ny\nmg a R30 T40 t\n"),
            "HD\nHD\nHD\nHD t40 W\n");
  EXPECT_EQ(Say("ms a 1\ny\nmg a R30\n"), "HD\nHD\n");  // What never ends.
  const int64_t in_an_hour = clock_.WallNs() / 1'000'000'000 + 3600;
  Say("ms a 1 T3000\ny\n");
  EXPECT_EQ(Say(absl::StrCat("mg a R", in_an_hour, "\n")), "HD W\n");
}

TEST_F(MemcacheMetaTest, StaleItems) {
  Say("ms a 3 F5\nabc\n");
  const uint64_t before = Cas("a");
  EXPECT_EQ(Say("md a I k\nget a\n"), "HD ka\nVALUE a 5 3\nabc\nEND\n");
  EXPECT_EQ(Say("mg a v f\nmg a v\nmg a\n"), "VA 3 f5 X W\nabc\nVA 3 Z X\nabc\nHD Z X\n");
  EXPECT_EQ(Say("touch a 100\nmg a t\n"), "TOUCHED\nHD t100 Z X\n");
  // Marked again: the next one wins again. The winner of before comes late, and its value is stale.
  EXPECT_EQ(Say("md a I\n"), "HD\n");
  EXPECT_EQ(Say(absl::StrCat("ms a 1 C", before, " I F1 T9\nl\n")), "HD\n");
  EXPECT_EQ(Say("mg a v f t\nmg a\n"), "VA 1 f1 t100 X W\nl\nHD Z X\n");
  // A plain store ends it.
  EXPECT_EQ(Say("set a 0 0 1\nn\nmg a v\n"), "STORED\nVA 1\nn\n");
  EXPECT_EQ(Say("md a I\nappend a 0 0 1\no\nmg a v\n"), "HD\nSTORED\nVA 2\nno\n");
  EXPECT_EQ(Say("md a I T30\nmg a t\nmd a I T-1\nmg a\nmd a I\n"), "HD\nHD t30 X W\nHD\nEN\nNF\n");
}

TEST_F(MemcacheMetaTest, AnOlderTokenStoresStaleAndANewerOneNot) {
  Say("ms a 1 E100 T60\nx\n");
  EXPECT_EQ(Say("ms a 1 C101 I\ny\nms a 1 C99\ny\n"), "EX\nEX\n");
  EXPECT_EQ(Say("ms a 1 C99 I T90 F3\ny\nmg a v t f\n"), "HD\nVA 1 t60 f3 X W\ny\n");
  // The win stays taken.
  EXPECT_EQ(Say("ms a 1 C1 I MR\nz\nmg a v\n"), "HD\nVA 1 Z X\nz\n");
  EXPECT_EQ(Say("ms a 1 C1 I MA\nz\nms a 1 C0 I\nz\nms b 1 C1 I\nz\n"), "EX\nEX\nNF\n");
  EXPECT_EQ(Say("ms c 1 I\nz\nmg c\n"), "HD\nHD\n");
}

// Whatever segments its writes lie in, and whatever was between them.
TEST_F(MemcacheMetaTest, EveryTokenOfAnEarlierWriteIsOlder) {
  const auto life = [](int i) { return absl::StrCat(" T", 1 + (i * 7 % 20) * 1000); };
  const std::string between[] = {"", "md d I\n", "md d\n", "flush_all\n", "touch d 99999\n",
                                 "ms d 1 E100\nx\n"};
  for (int i = 0; i < 60; ++i) {
    Say(absl::StrCat("ms d 1", life(i), "\nx\n"));
    const uint64_t before = Cas("d");
    Say(between[i % std::size(between)]);
    ASSERT_EQ(Say(absl::StrCat("ms d 1", life(3 * i + 1), "\ny\nms d 1 I C", before,
                               "\nz\nmg d v\n")),
              "HD\nHD\nVA 1 X W\nz\n") << i;
  }
  // No token of ours is as high.
  EXPECT_EQ(Say("ms d 1 I C18446744073709551615\nz\nms d 1 I C9223372036854775808\nz\n"), "EX\nEX\n");
}

TEST_F(MemcacheMetaTest, NamedTokensAreNumbersUntilTheNextWriteThatNamesNone) {
  const uint64_t ours = [&] { Say("ms a 1\nx\n"); return Cas("a"); }();
  // A change of life or marks, and an emptied item, keep the token and how it came about.
  for (const char* change : {"", "touch a 99999\n", "mg a R100000\n", "md a x\n", "mg a T50\n"}) {
    Say(absl::StrCat("ms a 1 T60 E", ours - 1, "\nx\n", change));
    ASSERT_EQ(Cas("a"), ours - 1) << change;
    EXPECT_EQ(Say(absl::StrCat("ms a 1 I C", ours, "\ny\n")), "EX\n") << change;
    EXPECT_EQ(Say(absl::StrCat("ms a 1 I C", ours - 2, "\ny\n")), "HD\n") << change;
  }
  for (const char* write :
       {"set a 0 0 1\nx\n", "append a 0 0 1\nx\n", "md a I\n", "ma a\n", "md a\nadd a 0 0 1\nx\n"}) {
    Say(absl::StrCat("ms a 1 E", ours - 1, "\n1\n", write));
    ASSERT_NE(Cas("a"), ours - 1) << write;
    EXPECT_EQ(Say(absl::StrCat("ms a 1 I C", ours, "\ny\n")), "HD\n") << write;
  }
}

TEST_F(MemcacheMetaTest, AnEmptiedItemStays) {
  Say("ms a 3 F5 T60 E7\nabc\n");
  EXPECT_EQ(Say("md a x T30\nmg a v f t c\n"), "HD\nVA 0 f0 t30 c7\n\n");
  EXPECT_EQ(Say("md a x\nmg a t\n"), "HD\nHD t-1\n");
  EXPECT_EQ(Say("ms a 3 T60 E7\nabc\nmd a x I\nmg a v t\nmg a v\n"),
            "HD\nHD\nVA 0 t-1 X W\n\nVA 0 Z X\n\n");
  EXPECT_NE(Cas("a"), 7u);
  EXPECT_EQ(Say("md a x C1\nmd none x\nmd a x F9\nmg a f\n"), "EX\nNF\nHD\nHD f9\n");
  EXPECT_EQ(Say("md a x T-1\nmg a\n"), "HD\nEN\n");
}

TEST_F(MemcacheMetaTest, ModesOfStores) {
  EXPECT_EQ(Say("ms a 1 MR\nx\nms a 1 MA\nx\nms a 1 MP q k\nx\n"), "NS\nNS\nNS ka\n");
  EXPECT_EQ(Say("ms a 1 ME c\nx\nms a 1 ME c s O1\nx\n").substr(0, 4), "HD c");
  EXPECT_EQ(Say("ms a 1 ME c s O1\nx\n"), "NS c0 s1 O1\n");
  EXPECT_EQ(Say("ms a 2 MA s\nyz\nms a 1 MP s\nw\nmg a v\n"), "HD s3\nHD s4\nVA 4\nwxyz\n");
  EXPECT_EQ(Say("ms b 2 MA N30 s F3\nyz\nmg b v t f\nms b 1 MP N60\nx\nmg b v t f\n"),
            "HD s2\nVA 2 t30 f3\nyz\nHD\nVA 3 t30 f3\nxyz\n");
  EXPECT_EQ(Say("ms c 1 MA N-1\nx\nmg c\n"), "HD\nEN\n");
  EXPECT_EQ(Say("ms a 2 MS s q\nok\nmg a v\n"), "VA 2\nok\n");
}

TEST_F(MemcacheMetaTest, Counts) {
  EXPECT_EQ(Say("ma n\nma n q k\nma n N0 J13 v t\nma n D5 v\nma n MD D7 v t\n"),
            "NF\nNF kn\nVA 2 t-1\n13\nVA 2\n18\nVA 2 t-1\n11\n");
  EXPECT_EQ(Say("ma n T60 v t\nma n t T90\nma n t\nma n q\nma n v\n"),
            "VA 2 t60\n12\nHD t60\nHD t90\nVA 2\n16\n");
  EXPECT_EQ(Say("ma n MD D100 v\nget n\n"), "VA 1\n0\nVALUE n 0 2\n0 \nEND\n");
  EXPECT_EQ(Say("ma n C1\nma n C0 v\nma m t N30\nma m t\n"), "EX\nVA 1\n1\nHD t-1\nHD t30\n");
  const uint64_t cas = Cas("n");
  EXPECT_EQ(Say(absl::StrCat("ma n C", cas, "\nma n C", cas, "\n")), "HD\nEX\n");
  EXPECT_EQ(Say("ma n T-1 v\nma n\n"), "VA 1\n3\nNF\n");
  EXPECT_EQ(Say("set s 0 0 1\nx\nma s q\n"),
            "STORED\nCLIENT_ERROR cannot increment or decrement non-numeric value\n");
  // What lies in pieces in memcached is no number there.
  const std::string spaces(524'300, ' ');
  EXPECT_EQ(Say(absl::StrCat("set s 0 0 ", spaces.size() + 1, "\n1", spaces, "\nma s\n")),
            "STORED\nCLIENT_ERROR cannot increment or decrement non-numeric value\n");
}

// memcached writes over a number where there is room, and makes an item anew where there is none.
TEST_F(MemcacheMetaTest, CountingInPlaceKeepsMarks) {
  EXPECT_EQ(Say("set n 0 0 1\n8\nmd n I\nma n\nmg n v\nincr n 1\nmg n v\n"),
            "STORED\nHD\nHD\nVA 1 X W\n9\n10\nVA 2\n10\n");
}

TEST_F(MemcacheMetaTest, UsesAreKnownWhereTheyAreTracked) {
  Say("ms a 1\nx\n");
  AdvanceSec(7);
  EXPECT_EQ(Say("mg a h l u\nmg a h l\nmg a h l\n"), "HD h0 l7\nHD h0 l7\nHD h1 l0\n");
  AdvanceSec(5);
  EXPECT_EQ(Say("mg a l\nget a\nmg a h l u\n"), "HD l5\nVALUE a 0 1\nx\nEND\nHD h1 l0\n");
  EXPECT_EQ(Say("ms b 1\nx\ntouch b 0\nmg b h u\n"), "HD\nTOUCHED\nHD h1\n");
  EXPECT_EQ(Say("mg c N30 h\nmg c h\nmg d N30 u\nmg d h\n"), "HD h0 W\nHD h1 Z\nHD W\nHD h0 Z\n");
  EXPECT_EQ(Say("md a I\nmg a h u\n"), "HD\nHD h1 X W\n");
  const std::string me = Say("me a\n");
  EXPECT_EQ(me.substr(0, 19), "ME a exp=-1 la=0 ca") << me;
  EXPECT_NE(me.find(" fetch=yes cls=1 size=61\n"), std::string::npos) << me;
  EXPECT_EQ(Say("me none\nme bm9uZQ== b\n"), "EN\nEN\n");
}

TEST_F(MemcacheMetaTest, WhatIsNotTrackedIsNotTold) {
  Open(false);
  EXPECT_EQ(Say("ms a 1 T60\nx\nmg a h l t\nmg b N30 h\nmg b h s\n"),
            "HD\nHD t60\nHD W\nHD s0 Z\n");
  const std::string me = Say("me a\n");
  EXPECT_EQ(me.find("la="), std::string::npos) << me;
  EXPECT_EQ(me.find("fetch="), std::string::npos) << me;
  EXPECT_EQ(me.substr(0, 16), "ME a exp=60 cas=") << me;
}

TEST_F(MemcacheMetaTest, ValuesTooLarge) {
  const std::string large(2 << 20, 'x');
  Say("set a 0 0 1\nx\nset b 0 0 1\nx\n");
  EXPECT_EQ(Say(absl::StrCat("ms a ", large.size(), " q k\n", large, "\nmn\nmg a\n")),
            "SERVER_ERROR object too large for cache\nMN\nEN\n");
  EXPECT_EQ(Say(absl::StrCat("ms b ", large.size(), " ME C1\n", large, "\nmg b\n")),
            "SERVER_ERROR object too large for cache\nEN\n");
}

TEST_F(MemcacheMetaTest, CountedAsMemcachedDoes) {
  Say("mn\nme a\nms a 1\n1\nme a\nmg a\nmg none\nmg a T0\nmg none T0\nmg n N0\nmg n N0\nms a 1 C1\nx\n");
  Say("ms none 1 C1\nx\nms a 1 ME\nx\nms q 1 MA\nx\nma a\nma a MD\nma none\nma none MD\nma m N0\n");
  Say("md none\nmd m C1\nmd m I\nmd m\nmd q C1 I\n");
  std::map<std::string, std::string> stats = Stats();
  for (const auto& [name, value] : std::initializer_list<std::pair<std::string, std::string>>{
           {"cmd_meta", "2"}, {"cmd_get", "5"}, {"get_hits", "3"}, {"get_misses", "2"},
           {"cmd_touch", "1"}, {"touch_hits", "1"}, {"cmd_set", "5"}, {"cas_badval", "1"},
           {"cas_misses", "1"}, {"incr_hits", "1"}, {"decr_hits", "1"}, {"incr_misses", "1"},
           {"decr_misses", "1"}, {"delete_misses", "3"}, {"delete_hits", "1"}, {"total_items", "3"}}) {
    EXPECT_EQ(stats[name], value) << name;
  }
}

// Many threads miss one key at once, again and again: each time one wins.
TEST_F(MemcacheMetaTest, OfManyThreadsOneWins) {
  constexpr int kThreads = 4, kRounds = 300;
  std::vector<std::thread> threads;
  std::vector<std::vector<std::string>> heard(kThreads, std::vector<std::string>(kRounds));
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      registry_->ClaimShard();
      Client client(shared_.get());
      for (int i = 0; i < kRounds; ++i) {
        heard[t][i] = client.Say(absl::StrCat("mg m", i, " N30 v\nmg s", i, " N30\nmd s", i,
                                              " I C1\nmg s", i, " v\n"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kRounds; ++i) {
    int wins_of_miss = 0;
    for (int t = 0; t < kThreads; ++t) {
      const std::string first = heard[t][i].substr(0, heard[t][i].find('\n'));
      EXPECT_TRUE(first == "VA 0 W" || first == "VA 0 Z") << first;
      wins_of_miss += first == "VA 0 W";
    }
    EXPECT_EQ(wins_of_miss, 1) << i;
  }
}

// Many threads get one stale item at once: each invalidation has one winner.
TEST_F(MemcacheMetaTest, OfManyThreadsOneRenewsAStaleItem) {
  constexpr int kThreads = 4, kRounds = 200;
  for (int i = 0; i < kRounds; ++i) Say(absl::StrCat("ms k", i, " 1\nx\nmd k", i, " I\n"));
  std::vector<std::vector<std::string>> heard(kThreads, std::vector<std::string>(kRounds));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      registry_->ClaimShard();
      Client client(shared_.get());
      for (int i = 0; i < kRounds; ++i) heard[t][i] = client.Say(absl::StrCat("mg k", i, " v T90\n"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kRounds; ++i) {
    int wins = 0;
    for (int t = 0; t < kThreads; ++t) {
      EXPECT_TRUE(heard[t][i] == "VA 1 X W\nx\n" || heard[t][i] == "VA 1 Z X\nx\n") << heard[t][i];
      wins += heard[t][i] == "VA 1 X W\nx\n";
    }
    EXPECT_EQ(wins, 1) << i;
  }
}

}  // namespace
}  // namespace cache
