// Every answer to every meta command. The context is what the command's line leaves behind once its
// bytes are gone.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>

#include "proto/memcache/codec.h"

namespace proto::memcache {
namespace {

// What remains of `line` when the answer comes.
ReplyContext ContextOfLine(std::string line) {
  Codec codec{Limits()};
  Request req;
  const core::ParseResult result = codec.Parse(line, &req);
  EXPECT_EQ(result.status, core::ParseStatus::kComplete) << line;
  ReplyContext context = Codec::ContextOf(req);
  line.assign(line.size(), '#');
  req.Clear();
  return context;
}

std::string Reply(const std::string& line, Response rsp) {
  core::OutBuffer out;
  ReplyContext context = ContextOfLine(line);
  Codec::Compose(context, std::move(rsp), &out);
  context.Release();
  return out.ToString();
}

Response Hit(std::string value) {
  Response rsp(Status::kValues);
  Item& item = rsp.items.emplace_back();
  item.key = "a";
  item.value = core::Bytes(std::move(value));
  item.flags = 7;
  item.cas = 99;
  item.ttl_sec = 30;
  item.last_access_sec = 4;
  item.hit_before = true;
  return rsp;
}

Response Miss() { return Response(Status::kValues); }

TEST(MetaCompose, Noop) { EXPECT_EQ(Reply("mn\r\n", Response(Status::kOk)), "MN\r\n"); }

TEST(MetaCompose, HitsOfGet) {
  EXPECT_EQ(Reply("mg a\r\n", Hit("xyz")), "HD\r\n");
  EXPECT_EQ(Reply("mg a q\r\n", Hit("xyz")), "HD\r\n");
  EXPECT_EQ(Reply("mg a v\r\n", Hit("xyz")), "VA 3\r\nxyz\r\n");
  EXPECT_EQ(Reply("mg a v\r\n", Hit("")), "VA 0\r\n\r\n");
  EXPECT_EQ(Reply("mg a s t c f l h k O1 v\r\n", Hit("xyz")),
            "VA 3 s3 t30 c99 f7 l4 h1 ka O1\r\nxyz\r\n");
  EXPECT_EQ(Reply("mg a O1 k h l f c t s\r\n", Hit("xyz")), "HD O1 ka h1 l4 f7 c99 t30 s3\r\n");
  EXPECT_EQ(Reply("mg YQ== b k v\r\n", Hit("xyz")), "VA 3 kYQ== b\r\nxyz\r\n");
  EXPECT_EQ(Reply("mg !YR=!= b k\r\n", Hit("xyz")), "HD kYQ== b\r\n");
  EXPECT_EQ(Reply("mg a N30 T30 R30 C1 E1 L1 P1 u\r\n", Hit("xyz")), "HD\r\n");
  Response for_ever = Hit("x");
  for_ever.items[0].ttl_sec = -1;
  for_ever.items[0].hit_before = false;
  EXPECT_EQ(Reply("mg a t h\r\n", std::move(for_ever)), "HD t-1 h0\r\n");
}

TEST(MetaCompose, WhatIsNotKnownOfAnItemIsNotTold) {
  Response rsp = Hit("x");
  rsp.items[0].access_known = false;
  EXPECT_EQ(Reply("mg a h s l\r\n", std::move(rsp)), "HD s1\r\n");
}

TEST(MetaCompose, AValueThatTheClientHas) {
  Response rsp = Hit("xyz");
  rsp.items[0].unchanged = true;
  EXPECT_EQ(Reply("mg a v s c C99\r\n", std::move(rsp)), "HD s3 c99\r\n");
}

TEST(MetaCompose, StatesOfItems) {
  const auto reply = [](bool won, bool stale, bool taken) {
    Response rsp = Hit("x");
    rsp.items[0].won = won;
    rsp.items[0].stale = stale;
    rsp.items[0].win_taken = taken;
    return Reply("mg a v k\r\n", std::move(rsp));
  };
  EXPECT_EQ(reply(true, false, false), "VA 1 ka W\r\nx\r\n");
  EXPECT_EQ(reply(true, true, false), "VA 1 ka X W\r\nx\r\n");
  EXPECT_EQ(reply(false, true, true), "VA 1 ka Z X\r\nx\r\n");
  EXPECT_EQ(reply(false, false, true), "VA 1 ka Z\r\nx\r\n");
}

TEST(MetaCompose, LongValuesAndKeys) {
  for (const size_t n : {1023u, 1024u, 1025u, 100'000u}) {
    const std::string value(n, 'v');
    EXPECT_EQ(Reply("mg a v\r\n", Hit(value)), "VA " + std::to_string(n) + "\r\n" + value + "\r\n");
  }
  const std::string key(kKeyBytesMax, 'k'), opaque = "O" + std::string(31, 'o');
  Response rsp = Hit(std::string(1024, 'v'));
  rsp.items[0].cas = std::numeric_limits<uint64_t>::max();
  rsp.items[0].flags = std::numeric_limits<uint32_t>::max();
  rsp.items[0].ttl_sec = rsp.items[0].last_access_sec = std::numeric_limits<int32_t>::max();
  rsp.items[0].win_taken = rsp.items[0].stale = rsp.items[0].won = true;
  EXPECT_EQ(Reply("mg " + key + " v k s t c f l h " + opaque + "\r\n", std::move(rsp)),
            "VA 1024 k" + key + " s1024 t2147483647 c18446744073709551615 f4294967295 l2147483647 h1 " +
                opaque + " Z X W\r\n" + std::string(1024, 'v') + "\r\n");
}

TEST(MetaCompose, ALongValueIsNotCopied) {
  const std::string value(100'000, 'v');
  Response rsp(Status::kValues);
  rsp.items.emplace_back().value = core::Bytes::Pinned(value, nullptr, [](void*) {});
  core::OutBuffer out;
  Codec::Compose(ContextOfLine("mg a v\r\n"), std::move(rsp), &out);
  struct iovec pieces[8];
  const int n = out.Gather(pieces, 8);
  bool found = false;
  for (int i = 0; i < n; ++i) found |= pieces[i].iov_base == value.data();
  EXPECT_TRUE(found) << "the value was copied";
}

TEST(MetaCompose, MissesOfGet) {
  EXPECT_EQ(Reply("mg a v\r\n", Miss()), "EN\r\n");
  EXPECT_EQ(Reply("mg a s k t O1 v\r\n", Miss()), "EN ka O1\r\n");
  EXPECT_EQ(Reply("mg YQ== b O1 k\r\n", Miss()), "EN O1 kYQ== b\r\n");
  EXPECT_EQ(Reply("mg a q k O1\r\n", Miss()), "");
}

TEST(MetaCompose, Set) {
  Response stored(Status::kStored);
  stored.cas = 99;
  stored.bytes = 12;
  EXPECT_EQ(Reply("ms a 2 MA c k s O1\r\nhi\r\n", std::move(stored)), "HD c99 ka s12 O1\r\n");
  EXPECT_EQ(Reply("ms a 2\r\nhi\r\n", Response(Status::kStored)), "HD\r\n");
  EXPECT_EQ(Reply("ms a 2 q k\r\nhi\r\n", Response(Status::kStored)), "");
  EXPECT_EQ(Reply("ms a 2 q k\r\nhi\r\n", Response(Status::kNotStored)), "NS ka\r\n");
  EXPECT_EQ(Reply("ms a 2 c s O1\r\nhi\r\n", Response(Status::kNotStored)), "NS c0 s2 O1\r\n");
  EXPECT_EQ(Reply("ms YQ== 2 b k q\r\nhi\r\n", Response(Status::kExists)), "EX kYQ== b\r\n");
  EXPECT_EQ(Reply("ms a 2 q\r\nhi\r\n", Response(Status::kNotFound)), "NF\r\n");
}

TEST(MetaCompose, Delete) {
  EXPECT_EQ(Reply("md a\r\n", Response(Status::kDeleted)), "HD\r\n");
  EXPECT_EQ(Reply("md a k O1 c t\r\n", Response(Status::kDeleted)), "HD ka O1\r\n");
  EXPECT_EQ(Reply("md a k O1 q\r\n", Response(Status::kDeleted)), "");
  EXPECT_EQ(Reply("md a k q\r\n", Response(Status::kNotFound)), "NF ka\r\n");
  EXPECT_EQ(Reply("md a O1 q\r\n", Response(Status::kExists)), "EX O1\r\n");
  EXPECT_EQ(Reply("md a x\r\n", Response(Status::kNotStored)), "NS\r\n");
}

TEST(MetaCompose, Arithmetic) {
  const auto counted = [] {
    Response rsp = Response::Number(1234);
    rsp.cas = 99;
    rsp.ttl_sec = 30;
    return rsp;
  };
  EXPECT_EQ(Reply("ma a\r\n", counted()), "HD\r\n");
  EXPECT_EQ(Reply("ma a v\r\n", counted()), "VA 4\r\n1234\r\n");
  EXPECT_EQ(Reply("ma a t c k O1 v\r\n", counted()), "VA 4 t30 c99 ka O1\r\n1234\r\n");
  EXPECT_EQ(Reply("ma a t\r\n", Response::Number(0)), "HD t-1\r\n");
  EXPECT_EQ(Reply("ma a v\r\n", Response::Number(std::numeric_limits<uint64_t>::max())),
            "VA 20\r\n18446744073709551615\r\n");
  EXPECT_EQ(Reply("ma a q v\r\n", counted()), "");
  EXPECT_EQ(Reply("ma a q c t k O1\r\n", Response(Status::kNotFound)), "NF ka O1\r\n");
  EXPECT_EQ(Reply("ma a q k\r\n", Response(Status::kExists)), "EX ka\r\n");
  EXPECT_EQ(Reply("ma a\r\n", Response(Status::kNotStored)), "NS\r\n");
}

TEST(MetaCompose, Debug) {
  const auto found = [](bool known) {
    Response rsp = Hit("xyz");
    rsp.status = Status::kDebug;
    rsp.items[0].access_known = known;
    return rsp;
  };
  EXPECT_EQ(Reply("me a\r\n", found(true)), "ME a exp=30 la=4 cas=99 fetch=yes cls=1 size=67\r\n");
  EXPECT_EQ(Reply("me a\r\n", found(false)), "ME a exp=30 cas=99 cls=1 size=67\r\n");
  EXPECT_EQ(Reply("me YQ== b\r\n", found(false)), "ME YQ== exp=30 cas=99 cls=1 size=67\r\n");
  Response for_ever = found(true);
  for_ever.items[0].ttl_sec = -1;
  for_ever.items[0].hit_before = false;
  EXPECT_EQ(Reply("me a\r\n", std::move(for_ever)),
            "ME a exp=-1 la=4 cas=99 fetch=no cls=1 size=67\r\n");
  EXPECT_EQ(Reply("me a\r\n", Response(Status::kNotFound)), "EN\r\n");
  EXPECT_EQ(Reply("me a\r\n", Response(Status::kDebug)), "EN\r\n");
}

TEST(MetaCompose, ErrorsAreNeverSilent) {
  for (const char* line : {"mg a q\r\n", "ms a 2 q\r\nhi\r\n", "md a q\r\n", "ma a q\r\n"}) {
    EXPECT_EQ(Reply(line, Response(Status::kError)), "ERROR\r\n");
    EXPECT_EQ(Reply(line, Response(Status::kTooLarge)), "SERVER_ERROR object too large for cache\r\n");
    EXPECT_EQ(Reply(line, Response(Status::kOutOfMemory)),
              "SERVER_ERROR out of memory storing object\r\n");
    EXPECT_EQ(Reply(line, Response(Status::kNonNumeric)),
              "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
    EXPECT_EQ(Reply(line, Response::Text(Status::kClientError, "no")), "CLIENT_ERROR no\r\n");
    EXPECT_EQ(Reply(line, Response::Text(Status::kServerError, "later")), "SERVER_ERROR later\r\n");
  }
}

// Plain requests keep nothing that must be allocated, and nothing is kept for flags without a text.
TEST(MetaCompose, KeepsLittle) {
  EXPECT_LE(sizeof(ReplyContext), 24u);
  EXPECT_EQ(ContextOfLine("get a\r\n").echo, nullptr);
  EXPECT_EQ(ContextOfLine("mg a v s t c f h l q\r\n").echo, nullptr);
  ReplyContext context = ContextOfLine("mg a k\r\n");
  EXPECT_NE(context.echo, nullptr);
  context.Release();
  EXPECT_EQ(context.echo, nullptr);
}

}  // namespace
}  // namespace proto::memcache
