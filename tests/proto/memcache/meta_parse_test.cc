// Every kind of meta line, whole and cut at every byte. The expected refusals are memcached 1.6.18's, but
// for flags that it does not know.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/proto/memcache/codec_driver.h"

namespace proto::memcache {
namespace {

using ::testing::ElementsAre;

const std::string kLongestKey(250, 'k');
const std::string kTooLongKey(251, 'k');
const std::string kLongestOpaque = "O" + std::string(31, 'o');
const std::string kTooLongOpaque = "O" + std::string(32, 'o');
const std::string kError = "!ERROR";
const std::string kFormat = "!CLIENT_ERROR bad command line format";
const std::string kToken = "!CLIENT_ERROR bad token in command line format";
const std::string kDuplicate = "!CLIENT_ERROR duplicate flag";
const std::string kUnknown = "!CLIENT_ERROR invalid flag";
const std::string kBadFlag = "!CLIENT_ERROR invalid or duplicate flag";
const std::string kBadKey = "!CLIENT_ERROR error decoding key";
const std::string kModeLength = "!CLIENT_ERROR incorrect length for M token";
const std::string kOpaque = "!CLIENT_ERROR opaque token too long";
const std::string kTooManyOfGet = "!CLIENT_ERROR options flags are too long";
const std::string kTooMany = "!CLIENT_ERROR options flags too long";
const std::string kInitial = "!CLIENT_ERROR invalid numeric initial value";
const std::string kDelta = "!CLIENT_ERROR invalid numeric delta value";

struct Case {
  std::string wire;
  std::vector<std::string> outcomes;
};

void CheckAtEveryCut(const std::vector<Case>& cases, Limits limits = {}) {
  for (const Case& c : cases) {
    SCOPED_TRACE(absl::CEscape(c.wire));
    EXPECT_EQ(OutcomesInSteps(c.wire, c.wire.size(), false, limits), c.outcomes);
    EXPECT_EQ(OutcomesInSteps(c.wire, 1, false, limits), c.outcomes);
    EXPECT_EQ(OutcomesInSteps(c.wire, 1, true, limits), c.outcomes);
    for (size_t cut = 1; cut < c.wire.size(); ++cut) {
      EXPECT_EQ(OutcomesCutAt(c.wire, cut, limits), c.outcomes) << cut;
    }
  }
}

TEST(MetaParse, Noop) {
  CheckAtEveryCut({
      {"mn\r\n", {"mn"}},
      {"mn\n", {"mn"}},
      {" mn \r\n", {"mn"}},
      {"mn x\r\n", {"mn"}},
      {"mn\r\nget a\r\nmn\r\n", {"mn", "get(a)", "mn"}},
      {"mnx\r\n", {kError}},
      {"MN\r\n", {kError}},
      {"mx a\r\n", {kError}},
      {"m a\r\n", {kError}},
  });
}

TEST(MetaParse, Get) {
  CheckAtEveryCut({
      {"mg a\r\n", {"mg(a)"}},
      {"mg a\n", {"mg(a)"}},
      {"mg a v\r\n", {"mg(a) v"}},
      {"  mg  a  v  \r\n", {"mg(a) v"}},
      {"mg " + kLongestKey + " v\r\n", {"mg(" + kLongestKey + ") v"}},
      {"mg a s t c f l h k\r\n", {"mg(a) fctskhl >stcflhk"}},
      {"mg a k h l f c t s v u q\r\n", {"mg(a) noreply vfctskhl u >khlfcts"}},
      {"mg a Oabc k\r\n", {"mg(a) k >Ok Oabc"}},
      {"mg a O\r\n", {"mg(a) >O O"}},
      {"mg a " + kLongestOpaque + "\r\n", {"mg(a) >O " + kLongestOpaque}},
      {"mg a T30\r\n", {"mg(a) t=30"}},
      {"mg a T-1\r\n", {"mg(a) t=-1"}},
      {"mg a T30 t\r\n", {"mg(a) t=30 t >t"}},
      {"mg a t T30\r\n", {"mg(a) t=30 t old-t >t"}},
      {"mg a N60\r\n", {"mg(a) N60"}},
      {"mg a t N60\r\n", {"mg(a) t N60 old-t >t"}},
      {"mg a N60 t\r\n", {"mg(a) t N60 >t"}},
      {"mg a N60 T30\r\n", {"mg(a) t=30 N30"}},
      {"mg a T30 N60\r\n", {"mg(a) t=30 N60"}},
      {"mg a T30 t N60\r\n", {"mg(a) t=30 t N60 >t"}},
      {"mg a R30\r\n", {"mg(a) R30"}},
      {"mg a R30 T60\r\n", {"mg(a) t=60 R30 old-R"}},
      {"mg a T60 R30\r\n", {"mg(a) t=60 R30"}},
      {"mg a C5 E18446744073709551615\r\n", {"mg(a) c=5 E18446744073709551615"}},
      {"mg a Lroute Pany\r\n", {"mg(a) Lroute"}},
      {"mg a L P\r\n", {"mg(a)"}},
      // What asks for nothing here.
      {"mg a F1 I MX J5 D5 x\r\n", {"mg(a)"}},
      // What stands behind a letter that needs none.
      {"mg a vxx kyy t7 qz\r\n", {"mg(a) noreply vtk >kt"}},
      {"mg a v\tf\r\n", {"mg(a) v"}},
      {std::string("mg a\0 v\r\n", 9), {"mg(a)"}},

      {"mg\r\n", {kError}},
      {"mg \r\n", {kError}},
      {"mg " + kTooLongKey + "\r\n", {kFormat}},
      {"mg " + kTooLongKey + " q z\r\n", {kFormat}},
      {"mg a v v\r\n", {kDuplicate}},
      {"mg a T1 T2\r\n", {kDuplicate}},
      {"mg a \x7f\r\n", {kDuplicate}},
      {"mg a \xff\r\n", {kDuplicate}},
      {"mg a z\r\n", {kUnknown}},
      {"mg a S100\r\n", {kUnknown}},
      {"mg a \x01\r\n", {kUnknown}},
      {"mg a q z\r\n", {kUnknown}},
      {"mg a T\r\n", {kToken}},
      {"mg a Tx\r\n", {kToken}},
      {"mg a N\r\n", {kToken}},
      {"mg a R1.5\r\n", {kToken}},
      {"mg a C-1\r\n", {kToken}},
      {"mg a E\r\n", {kToken}},
      {"mg a Fx\r\n", {kFormat}},
      {"mg a M\r\n", {kModeLength}},
      {"mg a MSS\r\n", {kModeLength}},
      {"mg a Jx\r\n", {kInitial}},
      {"mg a D18446744073709551616\r\n", {kDelta}},
      {"mg a " + kTooLongOpaque + "\r\n", {kOpaque}},
      // Of several mistakes.
      {"mg a Tx z\r\n", {kUnknown}},
      {"mg a Tx Dx\r\n", {kDelta}},
      {"mg a Dx Tx\r\n", {kToken}},
      {"mg a Tx Fx\r\n", {kToken}},
      {"mg a Fx Dx\r\n", {kDelta}},
      {"mg a " + kTooLongOpaque + " z\r\n", {kUnknown}},
      {"mg a " + kTooLongOpaque + " Tx\r\n", {kToken}},
      {"mg a b Tx\r\n", {kToken}},
      {"mg a Tx b\r\n", {kBadKey}},
      {"mg a q z\r\nmg b\r\n", {kUnknown, "mg(b)"}},
  });
}

TEST(MetaParse, KeysInBase64) {
  CheckAtEveryCut({
      {"mg YQ== b\r\n", {"mg(a) b"}},
      {"mg YQ== v b k\r\n", {"mg(a) vk >k b"}},
      {"mg DQog b\r\nget b\r\n", {"mg(\r\n ) b", "get(b)"}},
      {"mg YQ b\r\n", {kBadKey}},
      {"mg !!!! b\r\n", {kBadKey}},
      {"md YQ== b k\r\n", {"md(a) k >k b"}},
      {"md YQ b\r\n", {kBadFlag}},
      {"ma YQ== b\r\n", {"ma(a) d=1 b"}},
      {"ms YQ== 2 b\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MS b"}},
      {"ms YQ 2 b\r\nhi\r\nmn\r\n", {kBadKey, "mn"}},
      {"me YQ== b\r\n", {"me(a) k b"}},
      {"me YQ b\r\n", {kFormat}},
      // A request that is read next to others keeps its key.
      {"mg YQ== b\r\nmg Yg== b\r\nmg c\r\n", {"mg(a) b", "mg(b) b", "mg(c)"}},
      {"mg " + std::string(252, 'A') + " b\r\n", {kFormat}},
  });
}

TEST(MetaParse, Set) {
  CheckAtEveryCut({
      {"ms a 2\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MS"}},
      {"ms a 2\nhi\r\n", {"ms(a) f=0 t=0 v=hi MS"}},
      {"ms a 0\r\n\r\n", {"ms(a) f=0 t=0 v= MS"}},
      {"ms a +2 \r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MS"}},
      {"ms a 4294967298\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MS"}},
      {"ms a 4\r\n\r\n\r\n\r\n", {"ms(a) f=0 t=0 v=\r\n\r\n MS"}},
      {"ms a 2 T60 F7 c k s Oab q\r\nhi\r\n",
       {"ms(a) f=7 t=60 v=hi noreply csk MS >cksO Oab"}},
      {"ms a 2 F4294967296\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MS"}},
      {"ms a 2 MS\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MS"}},
      {"ms a 2 ME\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi ME"}},
      {"ms a 2 MR\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MR"}},
      {"ms a 2 MA\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MA"}},
      {"ms a 2 MP N30\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MP N30"}},
      {"ms a 2 N30\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MS"}},
      {"ms a 2 C5\r\nhi\r\n", {"ms(a) f=0 t=0 c=5 v=hi MS"}},
      {"ms a 2 C0\r\nhi\r\n", {"ms(a) f=0 t=0 c=0 v=hi MS"}},
      {"ms a 2 C5 I\r\nhi\r\n", {"ms(a) f=0 t=0 c=5 v=hi MS I"}},
      {"ms a 2 C5 I MR E9\r\nhi\r\n", {"ms(a) f=0 t=0 c=5 v=hi MR E9 I"}},
      {"ms a 2 I\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MS"}},
      {"ms a 2 C0 I\r\nhi\r\n", {"ms(a) f=0 t=0 c=0 v=hi MS"}},
      {"ms a 2 C5 I MA\r\nhi\r\n", {"ms(a) f=0 t=0 c=5 v=hi MA"}},
      {"ms a 2 C0 MP\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi MP"}},
      {"ms a 2 C5 ME\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi ME"}},
      {"ms a 2 Lb v t f h l u\r\nhi\r\n", {"ms(a) f=0 t=0 v=hi vfthl MS u Lb"}},

      {"ms\r\n", {kError}},
      {"ms a\r\n", {kFormat}},
      {"ms " + kTooLongKey + " 2\r\nhi\r\n", {kFormat, kError}},
      {"ms a x\r\nhi\r\n", {kFormat, kError}},
      {"ms a -1 q\r\nhi\r\n", {kFormat, kError}},
      {"ms a 2x\r\nhi\r\n", {kFormat, kError}},
      {"ms a 2147483646\r\nmn\r\n", {kFormat, "mn"}},
      {"ms a S2 2\r\nhi\r\n", {kFormat, kError}},
      {"ms a 2\r\nhix\r\nmn\r\n", {"!CLIENT_ERROR bad data chunk", kError, "mn"}},
      {"ms a 2 q\r\nhix\r\nmn\r\n", {"!CLIENT_ERROR bad data chunk", kError, "mn"}},
      // The block of a line with wrong flags is passed over, however it ends.
      {"ms a 2 z\r\nhi\r\nmn\r\n", {kUnknown, "mn"}},
      {"ms a 2 z q\r\nhixxmn\r\n", {kUnknown, "mn"}},
      {"ms a 0 v v\r\n\r\nmn\r\n", {kDuplicate, "mn"}},
      {"ms a 2 Tx\r\nhi\r\nmn\r\n", {kToken, "mn"}},
      {"ms a 2 Fx\r\nhi\r\nmn\r\n", {kFormat, "mn"}},
      {"ms a 2 F-1\r\nhi\r\nmn\r\n", {kFormat, "mn"}},
      {"ms a 2 M\r\nhi\r\nmn\r\n", {kModeLength, "mn"}},
      {"ms a 2 Ms\r\nhi\r\nmn\r\n", {"!CLIENT_ERROR invalid mode for ms M token", "mn"}},
      {"ms a 2 MZ " + kTooLongOpaque + "\r\nhi\r\nmn\r\n",
       {"!CLIENT_ERROR invalid mode for ms M token", "mn"}},
      {"ms a 2 " + kTooLongOpaque + "\r\nhi\r\nmn\r\n", {kOpaque, "mn"}},
      {"ms a 2 S2\r\nhi\r\nset b 0 0 1\r\nx\r\n", {kUnknown, "set(b) f=0 t=0 v=x"}},
  });
}

TEST(MetaParse, ValuesTooLarge) {
  constexpr Limits kSmall{ItemBytes(1, 100, 1)};
  const std::string fits(100, 'v');
  const std::string block = std::string(105, 'v') + "\r\n";
  const std::string keyless = "md c\r\n";
  CheckAtEveryCut(
      {
          {"ms a 100 F1\r\n" + fits + "\r\n", {"ms(a) f=1 t=0 v=" + fits + " MS"}},
          {"ms a 105\r\n" + block + keyless, {"ms(a) too large", "md(c)"}},
          {"ms a 105 q k Oab ME\r\n" + block + keyless, {"ms(a) too large noreply", "md(c)"}},
          {"ms YQ== 105 b MA\r\n" + block + keyless, {"ms(a) too large", "md(c)"}},
          {"ms a 105\r\n" + block + "ms b 105\r\n" + block, {"ms(a) too large", "ms(b) too large"}},
          {"ms a 105 z\r\n" + block + keyless, {kUnknown, "md(c)"}},
          {"ms a 105 " + kTooLongOpaque + "\r\n" + block + keyless, {kOpaque, "md(c)"}},
      },
      kSmall);
}

// A request that is executed later than the next line is read, as sessions do.
TEST(MetaParse, AKeyOutlivesTheNextSwallowedBlock) {
  TextCodec codec({10});
  Request first, second;
  const std::string block = std::string(100, 'x') + "\r\n";
  const std::string in = "set a 0 0 100\r\n" + block + "set b 0 0 100\r\n";
  const core::ParseResult result = codec.Parse(in, &first);
  ASSERT_EQ(result.status, core::ParseStatus::kComplete);
  ASSERT_EQ(codec.Parse(in.substr(result.consumed), &second).status, core::ParseStatus::kNeedMore);
  EXPECT_EQ(first.key(), "a");
  ASSERT_EQ(codec.Parse(block, &second).status, core::ParseStatus::kComplete);
  EXPECT_EQ(first.key(), "a");
  EXPECT_EQ(second.key(), "b");
}

TEST(MetaParse, Delete) {
  CheckAtEveryCut({
      {"md a\r\n", {"md(a)"}},
      {"md a q k Oxy\r\n", {"md(a) noreply k >kO Oxy"}},
      {"md a C7\r\n", {"md(a) c=7"}},
      {"md a C0\r\n", {"md(a) c=0"}},
      {"md a I\r\n", {"md(a) I"}},
      {"md a I T30 E5\r\n", {"md(a) t=30 E5 I"}},
      {"md a T30\r\n", {"md(a)"}},
      {"md a x\r\n", {"md(a) x"}},
      {"md a x I T30 F5\r\n", {"md(a) t=30 I x"}},
      // Its answer has nothing but these two.
      {"md a c t s f v O1 k\r\n", {"md(a) vfctsk >Ok O1"}},

      {"md\r\n", {kError}},
      {"md " + kTooLongKey + "\r\n", {kFormat}},
      {"md a z\r\n", {kBadFlag}},
      {"md a q q\r\n", {kBadFlag}},
      {"md a Tx\r\n", {kBadFlag}},
      {"md a C\r\n", {kBadFlag}},
      {"md a M\r\n", {kBadFlag}},
      {"md a MX\r\n", {"md(a)"}},
      {"md a " + kTooLongOpaque + "\r\n", {kOpaque}},
  });
}

TEST(MetaParse, Arithmetic) {
  CheckAtEveryCut({
      {"ma a\r\n", {"ma(a) d=1"}},
      {"ma a D7 v q k Oxy c t\r\n", {"ma(a) d=7 noreply vctk >kOct Oxy"}},
      {"ma a MD\r\n", {"ma(a) d=1 decr"}},
      {"ma a M-\r\n", {"ma(a) d=1 decr"}},
      {"ma a MI\r\n", {"ma(a) d=1"}},
      {"ma a M+\r\n", {"ma(a) d=1"}},
      {"ma a N30\r\n", {"ma(a) d=1 initial=0 t=30"}},
      {"ma a N30 J13\r\n", {"ma(a) d=1 initial=13 t=30"}},
      {"ma a J13\r\n", {"ma(a) d=1"}},
      {"ma a N30 T60\r\n", {"ma(a) t=60 d=1 initial=0 t=60"}},
      {"ma a T60 N30\r\n", {"ma(a) t=60 d=1 initial=0 t=30"}},
      {"ma a t T60\r\n", {"ma(a) t=60 d=1 t old-t >t"}},
      {"ma a C5 E9\r\n", {"ma(a) c=5 d=1 E9"}},
      {"ma a C0\r\n", {"ma(a) d=1"}},
      {"ma a D18446744073709551615\r\n", {"ma(a) d=18446744073709551615"}},

      {"ma\r\n", {kError}},
      {"ma " + kTooLongKey + " q\r\n", {kFormat}},
      {"ma a z\r\n", {kBadFlag}},
      {"ma a Dx\r\n", {kBadFlag}},
      {"ma a Jx\r\n", {kBadFlag}},
      {"ma a Fx\r\n", {kBadFlag}},
      {"ma a MII\r\n", {kBadFlag}},
      {"ma a Mi\r\n", {"!CLIENT_ERROR invalid mode for ma M token"}},
      {"ma a MX " + kTooLongOpaque + "\r\n", {"!CLIENT_ERROR invalid mode for ma M token"}},
      {"ma a " + kTooLongOpaque + "\r\n", {kOpaque}},
  });
}

TEST(MetaParse, Debug) {
  CheckAtEveryCut({
      {"me a\r\n", {"me(a) k"}},
      {"me a x\r\n", {"me(a) k"}},
      {"me YQ== b c\r\n", {"me(a) k b"}},
      {"me YQ== x b\r\n", {"me(YQ==) k"}},
      {"me a b\r\n", {kFormat}},
      {"me\r\n", {kFormat}},
      {"me " + kTooLongKey + "\r\n", {kFormat}},
  });
}

// memcached counts words: 20 with the verb, the key, of ms the length, and the end.
TEST(MetaParse, NumberOfFlags) {
  const std::string sixteen = " N1 T1 R1 l O P L k s t c f v h u F1";
  for (const auto& [line, refusal] : {std::pair(std::string("mg a"), kTooManyOfGet),
                                      {"md a", kTooMany}, {"ma a", kTooMany}}) {
    EXPECT_EQ(OutcomesInSteps(line + sixteen + " J1\r\n", 1)[0].substr(0, 4), line.substr(0, 2) + "(a");
    EXPECT_THAT(OutcomesInSteps(line + sixteen + " J1 D1\r\n", 1), ElementsAre(refusal));
    EXPECT_THAT(OutcomesInSteps(line + sixteen + " J1 D1 q z\r\n", 1), ElementsAre(refusal));
  }
  EXPECT_EQ(OutcomesInSteps("ms a 2" + sixteen + "\r\nhi\r\n", 1)[0].substr(0, 4), "ms(a");
  // Refused before its length is looked at, so that what should be the block is a line.
  EXPECT_THAT(OutcomesInSteps("ms a x" + sixteen + " J1\r\nhi\r\n", 1), ElementsAre(kTooMany, kError));
}

TEST(MetaParse, NothingOfOneRequestShowsInTheNext) {
  TextCodec codec;
  Request req;
  const auto parse = [&](absl::string_view wire) {
    ASSERT_EQ(codec.Parse(wire, &req).status, core::ParseStatus::kComplete);
  };
  parse("mg YQ== b v N1 R1 E1 u t T1 O1 La q C1\r\n");
  parse("mg a\r\n");
  EXPECT_EQ(Describe(req), "mg(a)");
  parse("md a I x E7 T5\r\n");
  parse("get a\r\n");
  EXPECT_EQ(Describe(req), "get(a)");
  EXPECT_FALSE(req.invalidate || req.drop_value || req.new_cas.has_value());
  EXPECT_EQ(req.dialect, Dialect::kText);
  EXPECT_EQ(TextCodec::ContextOf(req).echo, nullptr);
}

}  // namespace
}  // namespace proto::memcache
