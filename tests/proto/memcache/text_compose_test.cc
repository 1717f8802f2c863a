// Every status, spelled.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/memcache/text_codec.h"

namespace proto::memcache {
namespace {

std::string Spell(Response rsp, const ReplyContext& context = {}) {
  core::OutBuffer out;
  TextCodec::Compose(context, std::move(rsp), &out);
  return out.ToString();
}

Item Hit(absl::string_view key, std::string value, uint32_t flags = 0, uint64_t cas = 0) {
  Item item;
  item.key = key;
  item.value = core::Bytes(std::move(value));
  item.flags = flags;
  item.cas = cas;
  return item;
}

const ReplyContext kGetContext{Verb::kGet, false, kWantValue | kWantFlags | kWantKey};
const ReplyContext kGetsContext{Verb::kGets, false,
                                kWantValue | kWantFlags | kWantKey | kWantCas};

TEST(TextCompose, SpellsPlainStatuses) {
  EXPECT_EQ(Spell(Response(Status::kStored)), "STORED\r\n");
  EXPECT_EQ(Spell(Response(Status::kNotStored)), "NOT_STORED\r\n");
  EXPECT_EQ(Spell(Response(Status::kExists)), "EXISTS\r\n");
  EXPECT_EQ(Spell(Response(Status::kNotFound)), "NOT_FOUND\r\n");
  EXPECT_EQ(Spell(Response(Status::kDeleted)), "DELETED\r\n");
  EXPECT_EQ(Spell(Response(Status::kTouched)), "TOUCHED\r\n");
  EXPECT_EQ(Spell(Response(Status::kOk)), "OK\r\n");
  EXPECT_EQ(Spell(Response(Status::kReset)), "RESET\r\n");
  EXPECT_EQ(Spell(Response(Status::kError)), "ERROR\r\n");
  EXPECT_EQ(Spell(Response(Status::kTooLarge)), "SERVER_ERROR object too large for cache\r\n");
  EXPECT_EQ(Spell(Response(Status::kOutOfMemory)), "SERVER_ERROR out of memory storing object\r\n");
  EXPECT_EQ(Spell(Response(Status::kNonNumeric)),
            "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
}

TEST(TextCompose, SpellsStatusesWithAText) {
  EXPECT_EQ(Spell(Response::Text(Status::kVersion, "1.2.3")), "VERSION 1.2.3\r\n");
  EXPECT_EQ(Spell(Response::Text(Status::kClientError, "no")), "CLIENT_ERROR no\r\n");
  EXPECT_EQ(Spell(Response::Text(Status::kServerError, "later")), "SERVER_ERROR later\r\n");
  EXPECT_EQ(Spell(Response::Text(Status::kRaw, "as it is")), "as it is");
}

TEST(TextCompose, SpellsNumbers) {
  EXPECT_EQ(Spell(Response::Number(0)), "0\r\n");
  EXPECT_EQ(Spell(Response::Number(std::numeric_limits<uint64_t>::max())),
            "18446744073709551615\r\n");
}

TEST(TextCompose, SpellsStats) {
  Response rsp(Status::kStats);
  EXPECT_EQ(Spell(std::move(rsp)), "END\r\n");
  Response two(Status::kStats);
  two.stats = {{"pid", "7"}, {"version", "1.2.3 beta"}};
  EXPECT_EQ(Spell(std::move(two)), "STAT pid 7\r\nSTAT version 1.2.3 beta\r\nEND\r\n");
}

TEST(TextCompose, SpellsItems) {
  EXPECT_EQ(Spell(Response(Status::kValues), kGetContext), "END\r\n");
  Response rsp(Status::kValues);
  rsp.items.push_back(Hit("a", "x\r\ny", 4294967295u, 9));
  rsp.items.push_back(Hit("b", ""));
  EXPECT_EQ(Spell(std::move(rsp), kGetContext),
            "VALUE a 4294967295 4\r\nx\r\ny\r\nVALUE b 0 0\r\n\r\nEND\r\n");
}

TEST(TextCompose, AddsTheTokenForGets) {
  Response rsp(Status::kValues);
  rsp.items.push_back(Hit("a", "x", 5, std::numeric_limits<uint64_t>::max()));
  EXPECT_EQ(Spell(std::move(rsp), kGetsContext),
            "VALUE a 5 1 18446744073709551615\r\nx\r\nEND\r\n");
}

TEST(TextCompose, HasRoomForTheLongestItemLine) {
  const std::string key(kKeyBytesMax, 'k');
  core::OutBuffer out;
  for (int i = 0; i < 100; ++i) {  // Over several chunks of the buffer.
    Response rsp(Status::kValues);
    rsp.items.push_back(Hit(key, "v", 4294967295u, std::numeric_limits<uint64_t>::max()));
    TextCodec::Compose(kGetsContext, std::move(rsp), &out);
  }
  const std::string one = "VALUE " + key + " 4294967295 1 18446744073709551615\r\nv\r\nEND\r\n";
  std::string all;
  for (int i = 0; i < 100; ++i) all += one;
  EXPECT_EQ(out.ToString(), all);
}

TEST(TextCompose, WritesValuesOfAnyLengthOverChunks) {
  core::ChunkPool pool;
  core::OutBuffer out(&pool);
  std::string all;
  for (size_t n = 0; n < 6000; n += 1 + n / 7) {
    Response rsp(Status::kValues);
    rsp.items.push_back(Hit("first", std::string(n, 'x')));
    rsp.items.push_back(Hit("second", std::string(n / 2, 'y'), 12345));
    TextCodec::Compose(kGetContext, std::move(rsp), &out);
    all += absl::StrCat("VALUE first 0 ", n, "\r\n", std::string(n, 'x'), "\r\nVALUE second 12345 ",
                        n / 2, "\r\n", std::string(n / 2, 'y'), "\r\nEND\r\n");
  }
  EXPECT_EQ(out.ToString(), all);
}

TEST(TextCompose, MovesLongValues) {
  Response rsp(Status::kValues);
  rsp.items.push_back(Hit("a", std::string(100000, 'v')));
  const char* const data = rsp.items[0].value.view().data();
  core::OutBuffer out;
  TextCodec::Compose(kGetContext, std::move(rsp), &out);
  struct iovec pieces[8];
  const int n = out.Gather(pieces, 8);
  bool found = false;
  for (int i = 0; i < n; ++i) found |= pieces[i].iov_base == data;
  EXPECT_TRUE(found) << "the value was copied";
  EXPECT_EQ(out.ToString(), "VALUE a 0 100000\r\n" + std::string(100000, 'v') + "\r\nEND\r\n");
}

TEST(TextCompose, SaysNothingWhereNoReplyIsWanted) {
  ReplyContext context;
  context.noreply = true;
  for (const Status status :
       {Status::kStored, Status::kNotStored, Status::kExists, Status::kNotFound, Status::kDeleted,
        Status::kTouched, Status::kOk, Status::kNumber, Status::kTooLarge, Status::kOutOfMemory,
        Status::kNonNumeric, Status::kServerError, Status::kClientError}) {
    EXPECT_EQ(Spell(Response(status), context), "") << static_cast<int>(status);
  }
}

}  // namespace
}  // namespace proto::memcache
