// How answers are spelled in packets.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "proto/memcache/codec.h"
#include "tests/proto/memcache/packets.h"

namespace proto::memcache {
namespace {

using binary::BigEndian;
using binary::Code;
using binary::ErrorReply;
using binary::Opcode;

// The context of a request of this opcode, opaque "abcd".
ReplyContext ContextOf(Opcode opcode, bool quiet = false, uint16_t want = kWantNothing) {
  ReplyContext context{.noreply = quiet, .want = want, .dialect = Dialect::kBinary,
                       .opcode = static_cast<uint8_t>(opcode)};
  std::memcpy(&context.opaque, "abcd", 4);
  return context;
}

std::string Composed(const ReplyContext& context, Response rsp) {
  core::OutBuffer out;
  Codec::Compose(context, std::move(rsp), &out);
  return out.ToString();
}

// A reply by its parts.
std::string Packet(Opcode opcode, uint64_t cas, absl::string_view extras, absl::string_view key,
                   absl::string_view value, Code code = Code::kOk) {
  std::string wire("\x81", 1);
  wire += static_cast<char>(opcode);
  wire += BigEndian(static_cast<uint16_t>(key.size()));
  wire += static_cast<char>(extras.size());
  wire += '\0';
  wire += BigEndian(static_cast<uint16_t>(code));
  wire += BigEndian(static_cast<uint32_t>(extras.size() + key.size() + value.size()));
  wire += "abcd" + BigEndian(cas);
  return wire + std::string(extras) + std::string(key) + std::string(value);
}

Response Hit(const std::string& value) {
  Response rsp(Status::kValues);
  Item& item = rsp.items.emplace_back();
  item.key = "key";
  item.value = core::Bytes(std::string(value));
  item.cas = 77;
  item.flags = 0x01020304;
  return rsp;
}

TEST(BinaryCompose, AHitHasFlagsAndToken) {
  // Short, long, and long enough to be kept by reference.
  for (const size_t size : {0, 5, 1024, 1025, 5000, 300'000}) {
    const std::string value(size, 'v');
    EXPECT_EQ(Composed(ContextOf(Opcode::kGet), Hit(value)),
              Packet(Opcode::kGet, 77, "\1\2\3\4", "", value));
    EXPECT_EQ(Composed(ContextOf(Opcode::kGetKQ, true, kWantKey), Hit(value)),
              Packet(Opcode::kGetKQ, 77, "\1\2\3\4", "key", value));
  }
}

TEST(BinaryCompose, AMiss) {
  EXPECT_EQ(Composed(ContextOf(Opcode::kGet), Response(Status::kValues)),
            ErrorReply(Opcode::kGet, Code::kNotFound));
  EXPECT_EQ(Composed(ContextOf(Opcode::kGetQ, true), Response(Status::kValues)), "");
  EXPECT_EQ(Composed(ContextOf(Opcode::kGetK, false, kWantKey | kWantMissKey),
                     Response::Text(Status::kValues, "key")),
            Packet(Opcode::kGetK, 0, "", "key", "", Code::kNotFound));
}

TEST(BinaryCompose, AStoreTellsItsToken) {
  Response rsp(Status::kStored);
  rsp.cas = 9;
  EXPECT_EQ(Composed(ContextOf(Opcode::kSet), std::move(rsp)), Packet(Opcode::kSet, 9, "", "", ""));
}

TEST(BinaryCompose, ACountAndATouch) {
  Response count = Response::Number(0x0102);
  count.cas = 9;
  EXPECT_EQ(Composed(ContextOf(Opcode::kIncrement), std::move(count)),
            Packet(Opcode::kIncrement, 9, "", "", absl::string_view("\0\0\0\0\0\0\1\2", 8)));
  Response touched(Status::kTouched);
  touched.cas = 9;
  touched.flags = 5;
  EXPECT_EQ(Composed(ContextOf(Opcode::kTouch), std::move(touched)),
            Packet(Opcode::kTouch, 9, absl::string_view("\0\0\0\5", 4), "", ""));
}

TEST(BinaryCompose, QuietSilencesSuccessAlone) {
  for (const Status status : {Status::kStored, Status::kDeleted, Status::kOk, Status::kNumber}) {
    EXPECT_EQ(Composed(ContextOf(Opcode::kSetQ, true), Response(status)), "");
  }
  EXPECT_EQ(Composed(ContextOf(Opcode::kDeleteQ, true), Response(Status::kNotFound)),
            ErrorReply(Opcode::kDeleteQ, Code::kNotFound));
}

TEST(BinaryCompose, WhyNothingWasStored) {
  EXPECT_EQ(Composed(ContextOf(Opcode::kAdd), Response(Status::kNotStored)),
            ErrorReply(Opcode::kAdd, Code::kExists));
  EXPECT_EQ(Composed(ContextOf(Opcode::kReplaceQ, true), Response(Status::kNotStored)),
            ErrorReply(Opcode::kReplaceQ, Code::kNotFound));
  EXPECT_EQ(Composed(ContextOf(Opcode::kAppend), Response(Status::kNotStored)),
            ErrorReply(Opcode::kAppend, Code::kNotStored));
  EXPECT_EQ(Composed(ContextOf(Opcode::kPrepend), Response(Status::kNotFound)),
            ErrorReply(Opcode::kPrepend, Code::kNotStored));
  EXPECT_EQ(Composed(ContextOf(Opcode::kSet), Response(Status::kNotFound)),
            ErrorReply(Opcode::kSet, Code::kNotFound));
  EXPECT_EQ(Composed(ContextOf(Opcode::kSet), Response(Status::kExists)),
            ErrorReply(Opcode::kSet, Code::kExists));
  EXPECT_EQ(Composed(ContextOf(Opcode::kSet), Response(Status::kTooLarge)),
            ErrorReply(Opcode::kSet, Code::kTooLarge));
  EXPECT_EQ(Composed(ContextOf(Opcode::kIncrement), Response(Status::kNonNumeric)),
            ErrorReply(Opcode::kIncrement, Code::kNonNumeric));
}

TEST(BinaryCompose, FailuresSayWhy) {
  EXPECT_EQ(Composed(ContextOf(Opcode::kGetQ, true),
                     Response::Text(Status::kServerError, "backend timeout")),
            Packet(Opcode::kGetQ, 0, "", "", "backend timeout", Code::kTemporary));
  EXPECT_EQ(Composed(ContextOf(Opcode::kGet), Response::Text(Status::kServerError, "why")),
            Packet(Opcode::kGet, 0, "", "", "why", Code::kInternal));
  EXPECT_EQ(Composed(ContextOf(Opcode::kFlush),
                     Response::Text(Status::kClientError, "flush_all not allowed")),
            ErrorReply(Opcode::kFlush, Code::kAuthError));
}

TEST(BinaryCompose, StatsEndWithAnEmptyPacket) {
  Response rsp(Status::kStats);
  rsp.stats = {{"pid", "12"}, {"threads", "4"}};
  EXPECT_EQ(Composed(ContextOf(Opcode::kStat), std::move(rsp)),
            Packet(Opcode::kStat, 0, "", "pid", "12") +
                Packet(Opcode::kStat, 0, "", "threads", "4") +
                Packet(Opcode::kStat, 0, "", "", ""));
  EXPECT_EQ(Composed(ContextOf(Opcode::kStat), Response(Status::kReset)),
            Packet(Opcode::kStat, 0, "", "", ""));
  EXPECT_EQ(Composed(ContextOf(Opcode::kStat), Response(Status::kError)),
            ErrorReply(Opcode::kStat, Code::kNotFound));
}

TEST(BinaryCompose, TextContextsSpellText) {
  EXPECT_EQ(Composed(ReplyContext{}, Response(Status::kStored)), "STORED\r\n");
}

}  // namespace
}  // namespace proto::memcache
