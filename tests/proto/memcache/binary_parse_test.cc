// What each packet means, at every split.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/proto/memcache/codec_driver.h"
#include "tests/proto/memcache/fragmentation.h"
#include "tests/proto/memcache/packets.h"

namespace proto::memcache {
namespace {

using binary::BigEndian;
using binary::Code;
using binary::Counting;
using binary::ErrorReply;
using binary::FlagsAndExpiry;
using binary::Opcode;
using binary::Packet;
using binary::Wire;

struct Case {
  std::string wire;
  std::vector<std::string> outcomes;
};

// However it is cut, an input means the same.
void Check(const Case& c, Limits limits = {}) {
  EXPECT_EQ(OutcomesInSteps(c.wire, c.wire.size(), false, limits), c.outcomes);
  EXPECT_EQ(OutcomesInSteps(c.wire, 1, false, limits), c.outcomes);
  EXPECT_EQ(OutcomesInSteps(c.wire, 1, true, limits), c.outcomes);
  for (size_t cut = 1; cut < c.wire.size(); ++cut) {
    EXPECT_EQ(OutcomesCutAt(c.wire, cut, limits), c.outcomes) << cut;
  }
}

std::string Noop() { return Wire({.opcode = Opcode::kNoop}); }
const char kNoop[] = "none @0a o=abcd";

TEST(BinaryParse, EveryOpcode) {
  const std::string set = FlagsAndExpiry(7, 60);
  const std::string expiry = BigEndian<uint32_t>(60);
  const std::string count = Counting(5, 9, 60);
  const Case cases[] = {
      {Wire({Opcode::kGet, "k"}), {"get(k) @00 o=abcd"}},
      {Wire({Opcode::kGetQ, "k"}), {"get(k) noreply @09 o=abcd"}},
      {Wire({Opcode::kGetK, "k"}), {"get(k) @0c o=abcd"}},
      {Wire({Opcode::kGetKQ, "k"}), {"get(k) noreply @0d o=abcd"}},
      {Wire({Opcode::kGat, "k", "", expiry}), {"gat(k) t=60 @1d o=abcd"}},
      {Wire({Opcode::kGatQ, "k", "", expiry}), {"gat(k) t=60 noreply @1e o=abcd"}},
      {Wire({Opcode::kGatK, "k", "", expiry}), {"gat(k) t=60 @23 o=abcd"}},
      {Wire({Opcode::kGatKQ, "k", "", expiry}), {"gat(k) t=60 noreply @24 o=abcd"}},
      {Wire({Opcode::kTouch, "k", "", expiry}), {"touch(k) t=60 @1c o=abcd"}},
      {Wire({Opcode::kSet, "k", "v", set}), {"set(k) f=7 t=60 v=v @01 o=abcd"}},
      {Wire({Opcode::kSetQ, "k", "v", set}), {"set(k) f=7 t=60 v=v noreply @11 o=abcd"}},
      {Wire({Opcode::kAdd, "k", "", set}), {"add(k) f=7 t=60 v= @02 o=abcd"}},
      {Wire({Opcode::kAddQ, "k", "v", set}), {"add(k) f=7 t=60 v=v noreply @12 o=abcd"}},
      {Wire({Opcode::kReplace, "k", "v", set}), {"replace(k) f=7 t=60 v=v @03 o=abcd"}},
      {Wire({Opcode::kReplaceQ, "k", "v", set}), {"replace(k) f=7 t=60 v=v noreply @13 o=abcd"}},
      {Wire({Opcode::kAppend, "k", "v"}), {"append(k) f=0 v=v @0e o=abcd"}},
      {Wire({Opcode::kAppendQ, "k", "v"}), {"append(k) f=0 v=v noreply @19 o=abcd"}},
      {Wire({Opcode::kPrepend, "k", "v"}), {"prepend(k) f=0 v=v @0f o=abcd"}},
      {Wire({Opcode::kPrependQ, "k", "v"}), {"prepend(k) f=0 v=v noreply @1a o=abcd"}},
      {Wire({Opcode::kDelete, "k"}), {"delete(k) @04 o=abcd"}},
      {Wire({Opcode::kDeleteQ, "k"}), {"delete(k) noreply @14 o=abcd"}},
      {Wire({Opcode::kIncrement, "k", "", count}), {"incr(k) d=5 initial=9 t=60 @05 o=abcd"}},
      {Wire({Opcode::kIncrementQ, "k", "", count}),
       {"incr(k) d=5 initial=9 t=60 noreply @15 o=abcd"}},
      {Wire({Opcode::kDecrement, "k", "", count}), {"decr(k) d=5 initial=9 t=60 @06 o=abcd"}},
      {Wire({Opcode::kDecrementQ, "k", "", count}),
       {"decr(k) d=5 initial=9 t=60 noreply @16 o=abcd"}},
      {Wire({Opcode::kFlush}), {"flush_all @08 o=abcd"}},
      {Wire({Opcode::kFlushQ, "", "", expiry}), {"flush_all t=60 noreply @18 o=abcd"}},
      {Wire({Opcode::kNoop}), {kNoop}},
      {Wire({Opcode::kVersion}), {"version @0b o=abcd"}},
      {Wire({Opcode::kVerbosity, "", "", expiry}), {"verbosity @1b o=abcd"}},
      {Wire({Opcode::kStat}), {"stats @10 o=abcd"}},
      {Wire({Opcode::kStat, "items"}), {"stats [items] @10 o=abcd"}},
      {Wire({Opcode::kQuitQ}), {"quit"}},
      {Wire({Opcode::kQuit}), {"=" + ErrorReply(Opcode::kQuit, Code::kOk) + "close"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.outcomes[0]);
    Check(c);
    if (c.outcomes[0] == "quit" || c.outcomes[0][0] == '=') continue;
    Check({c.wire + Noop(), {c.outcomes[0], kNoop}});
  }
}

TEST(BinaryParse, ACountThatShallMakeNoItem) {
  Check({Wire({Opcode::kIncrement, "k", "", Counting(1, 9, binary::kNeverCreate)}),
         {"incr(k) d=1 @05 o=abcd"}});
}

TEST(BinaryParse, AStoreWithATokenIsACas) {
  for (const Opcode opcode : {Opcode::kSet, Opcode::kAdd, Opcode::kReplace}) {
    CodecDriver driver;
    driver.Feed(Wire({opcode, "k", "v", FlagsAndExpiry(0, 0), 77}));
    EXPECT_EQ(driver.Joined().substr(0, 22), "cas(k) f=0 t=0 c=77 v=");
  }
  Check({Wire({Opcode::kAppend, "k", "v", "", 77}), {"append(k) f=0 c=77 v=v @0e o=abcd"}});
  Check({Wire({Opcode::kDelete, "k", "", "", 77}), {"delete(k) c=77 @04 o=abcd"}});
}

TEST(BinaryParse, KeysAndValuesAreAnyBytes) {
  const std::string odd("a b\r\n\0\x80", 7);
  Check({Wire({Opcode::kSet, odd, odd, FlagsAndExpiry(0, 0)}),
         {"set(" + odd + ") f=0 t=0 v=" + odd + " @01 o=abcd"}});
}

// Every opcode, with each length wrong in turn.
TEST(BinaryParse, LengthsThatCannotBe) {
  const std::string count = Counting(1, 0, 0);
  const std::string set = FlagsAndExpiry(0, 0);
  const Packet wrong[] = {
      {Opcode::kGet},
      {Opcode::kGet, "k", "v"},
      {Opcode::kGetKQ, "k", "", "extr"},
      {Opcode::kDelete},
      {Opcode::kDelete, "k", "v"},
      {Opcode::kGat, "k"},
      {Opcode::kTouch, "", "", "extr"},
      {Opcode::kGatKQ, "k", "", "extras"},
      {Opcode::kSet, "k", "v"},
      {Opcode::kSet, "", "v", set},
      {Opcode::kAddQ, "k", "v", "extr"},
      {Opcode::kAppend, "", "v"},
      {Opcode::kPrependQ, "k", "v", "extr"},
      {Opcode::kIncrement, "k"},
      {Opcode::kIncrement, "", "", count},
      {Opcode::kDecrementQ, "k", "v", count},
      {Opcode::kFlush, "k"},
      {Opcode::kFlush, "", "v"},
      {Opcode::kFlushQ, "", "", set},
      {Opcode::kNoop, "k"},
      {Opcode::kVersion, "", "v"},
      {Opcode::kQuit, "", "", "e"},
      {Opcode::kStat, "", "", "extr"},
      {Opcode::kVerbosity},
      {Opcode::kSaslList, "k"},
      {Opcode::kSaslAuth, "", "v"},
      {Opcode::kSaslStep, "k", "v", "extr"},
      {Opcode::kGet, std::string(kKeyBytesMax + 1, 'k')},
  };
  for (const Packet& packet : wrong) {
    SCOPED_TRACE(static_cast<int>(packet.opcode));
    Check({Wire(packet), {"!" + ErrorReply(packet.opcode, Code::kInvalid) + "close"}});
  }
}

TEST(BinaryParse, ABodyShorterThanItsParts) {
  Packet packet{Opcode::kGet, "key"};
  packet.body_bytes = 2;
  Check({Wire(packet), {"!" + ErrorReply(Opcode::kGet, Code::kUnknownCommand) + "close"}});
}

TEST(BinaryParse, NoPacket) {
  Packet packet{Opcode::kGet, "k"};
  packet.magic = 0x81;
  Check({Noop() + Wire(packet), {kNoop, "!close"}});
}

TEST(BinaryParse, AHeadTooLongToBeReadAtOnce) {
  EXPECT_EQ(OutcomesInSteps(Wire({Opcode::kGet, std::string(20'000, 'k')}), 1000),
            std::vector<std::string>{"!close"});
  const std::string longest(BinaryCodec::kHeadBytesMax - binary::kHeaderBytes, 'k');
  EXPECT_EQ(OutcomesInSteps(Wire({Opcode::kGet, longest}), 1000),
            std::vector<std::string>{"!" + ErrorReply(Opcode::kGet, Code::kInvalid) + "close"});
}

TEST(BinaryParse, UnknownOpcodesLoseTheirBody) {
  for (const int opcode : {0x1f, 0x25, 0x30, 0xff}) {
    const auto unknown = static_cast<Opcode>(opcode);
    Check({Wire({unknown, "key", "value", "extras"}) + Noop(),
           {"!" + ErrorReply(unknown, Code::kUnknownCommand), kNoop}});
  }
}

TEST(BinaryParse, SaslWithoutUsersIsUnknown) {
  Check({Wire({Opcode::kSaslAuth, "PLAIN", std::string("\0u\0p", 4)}) + Noop(),
         {"!" + ErrorReply(Opcode::kSaslAuth, Code::kUnknownCommand), kNoop}});
  Check({Wire({Opcode::kSaslList}) + Noop(),
         {"!" + ErrorReply(Opcode::kSaslList, Code::kUnknownCommand), kNoop}});
}

TEST(BinaryParse, AValueTooLong) {
  constexpr Limits kLimits{59 + 1 + 64};
  const std::string set = FlagsAndExpiry(0, 0), large(65, 'v'), fits(64, 'v');
  Check({Wire({Opcode::kSet, "k", fits, set}), {"set(k) f=0 t=0 v=" + fits + " @01 o=abcd"}},
        kLimits);
  Check({Wire({Opcode::kSet, "k", large, set}) + Noop(), {"set(k) too large @01 o=abcd", kNoop}},
        kLimits);
  Check({Wire({Opcode::kSetQ, "k", large, set, 5}) + Noop(),
         {"set(k) too large noreply @11 o=abcd", kNoop}},
        kLimits);
  for (const Opcode opcode : {Opcode::kAdd, Opcode::kReplaceQ}) {
    Check({Wire({opcode, "k", large, set}) + Noop(),
           {"!" + ErrorReply(opcode, Code::kTooLarge), kNoop}},
          kLimits);
  }
  Check({Wire({Opcode::kAppend, "k", large}) + Noop(),
         {"!" + ErrorReply(Opcode::kAppend, Code::kTooLarge), kNoop}},
        kLimits);
}

// The largest length there is: swallowed as it comes, never waited for.
TEST(BinaryParse, AValueOfFourGigabytesIsNotKept) {
  Packet packet{Opcode::kSet, "k", "", FlagsAndExpiry(0, 0)};
  packet.body_bytes = 0xffffffff;
  CodecDriver driver;
  driver.Feed(Wire(packet) + std::string(100'000, 'v'));
  EXPECT_EQ(driver.unread(), "");
  EXPECT_EQ(driver.Joined(), "");
  EXPECT_FALSE(driver.over());
}

TEST(BinaryParse, TheFirstByteChoosesTheDialect) {
  Check({"get a\r\nversion\r\n", {"get(a)", "version"}});
  // Later bytes do not: text goes on as text.
  CodecDriver driver;
  driver.Feed("get a\r\n" + Noop() + "\r\n");
  EXPECT_EQ(driver.Joined().substr(0, 6), "get(a)");
  EXPECT_EQ(driver.Joined().find("@0a"), std::string::npos);
}

TEST(BinaryParse, ARequestLeavesNothingForTheNext) {
  const std::string set = Wire({Opcode::kSet, "k", "v", FlagsAndExpiry(7, 9), 77});
  Check({set + Wire({Opcode::kGet, "k"}),
         {"cas(k) f=7 t=9 c=77 v=v @01 o=abcd", "get(k) @00 o=abcd"}});
}

}  // namespace
}  // namespace proto::memcache
