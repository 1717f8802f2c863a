// Both ways to log in, at every split; and that nothing else is said before.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/proto/memcache/codec_driver.h"
#include "tests/proto/memcache/packets.h"

namespace proto::memcache {
namespace {

using binary::Code;
using binary::ErrorReply;
using binary::Opcode;
using binary::Wire;

class LoginTest : public ::testing::Test {
 protected:
  LoginTest() {
    const std::string file = absl::StrCat("/tmp/login_test_", ::getpid());
    std::ofstream(file) << "user:pass\n";
    gate_ = *core::AuthGate::Open("server.auth_file", file, &clock_, &registry_, {});
    ::unlink(file.c_str());
  }
  // However it is cut. Time passes, so that no address has failed too often.
  void Check(const std::string& wire, const std::vector<std::string>& outcomes) {
    for (size_t cut = 0; cut <= wire.size(); ++cut) {
      CodecDriver driver({}, gate_.get());
      driver.Feed(absl::string_view(wire).substr(0, cut));
      driver.Feed(absl::string_view(wire).substr(cut));
      EXPECT_EQ(driver.outcomes(), outcomes) << cut;
      clock_.AdvanceMs(100'000);
    }
    CodecDriver driver({}, gate_.get());
    for (const char c : wire) driver.Feed(absl::string_view(&c, 1));
    EXPECT_EQ(driver.outcomes(), outcomes);
    clock_.AdvanceMs(100'000);
  }
  static std::string Auth(absl::string_view data, Opcode opcode = Opcode::kSaslAuth,
                          const std::string& mechanism = "PLAIN") {
    return Wire({opcode, mechanism, std::string(data)});
  }
  static std::string Said(Opcode opcode, Code code, absl::string_view text) {
    std::string wire(binary::kHeaderBytes, '\0');
    binary::ReplyHeader header{.opcode = static_cast<uint8_t>(opcode), .code = code};
    header.value_bytes = static_cast<uint32_t>(text.size());
    std::memcpy(&header.opaque, "abcd", 4);
    header.WriteTo(wire.data());
    return absl::StrCat("=", wire, text);
  }

  core::ManualClock clock_;
  core::Registry registry_;
  std::unique_ptr<core::AuthGate> gate_;
  const std::string kNoop = Wire({.opcode = Opcode::kNoop});
  const std::string kGood = absl::StrCat(absl::string_view("\0user\0", 6), "pass");
  const std::string kBad = absl::StrCat(absl::string_view("\0user\0", 6), "wrong");
};

TEST_F(LoginTest, TextLogsInWithASet) {
  const std::string good = "set k 0 0 9\r\nuser pass\r\n";
  Check(good + "get a\r\n", {"=STORED", "get(a)"});
  Check("set k x y 9 noreply more\nuser pass\r\nversion\r\n", {"=STORED", "version"});
  Check(good + good, {"=STORED", "set(k) f=0 t=0 v=user pass"});
}

TEST_F(LoginTest, TextIsRefusedUntilThen) {
  const std::string no = "!CLIENT_ERROR unauthenticated";
  Check("get a\r\nversion\r\nquit\r\nmn\r\n\r\n", {no, no, no, no, no});
  Check("add k 0 0 9\r\nuser pass\r\n", {no, no});
  Check("set k 0 0\r\nset k 0 0 x\r\nset k 0 0 -1\r\n", {no, no, no});
  Check("set k 0 0 9\r\nuser pasX\r\nget a\r\n", {"!CLIENT_ERROR authentication failure", no});
  Check("set k 0 0 8\r\nuserpass\r\n", {"!CLIENT_ERROR bad authentication token format"});
  Check("set k 0 0 4\r\nuserXX", {"!CLIENT_ERROR bad command line termination"});
  CodecDriver driver({}, gate_.get());
  driver.Feed(std::string(2049, 'x'));
  EXPECT_EQ(driver.Joined(), "!close");
  CodecDriver huge({}, gate_.get());
  huge.Feed("set k 0 0 4294967295\r\n");
  EXPECT_EQ(huge.Joined(), "!close") << "strangers get no memory";
}

TEST_F(LoginTest, SaslPlain) {
  const std::string welcome = Said(Opcode::kSaslAuth, Code::kOk, "Authenticated");
  Check(Wire({.opcode = Opcode::kSaslList}), {Said(Opcode::kSaslList, Code::kOk, "PLAIN")});
  Check(Auth(kGood) + kNoop, {welcome, "none @0a o=abcd"});
  Check(Auth("user" + kGood) + kNoop, {welcome, "none @0a o=abcd"});
  Check(Auth("", Opcode::kSaslAuth) + Auth(kGood, Opcode::kSaslStep) + kNoop,
        {Said(Opcode::kSaslAuth, Code::kAuthContinue, ""),
         Said(Opcode::kSaslStep, Code::kOk, "Authenticated"), "none @0a o=abcd"});
}

TEST_F(LoginTest, SaslRefuses) {
  const std::string no = "!" + ErrorReply(Opcode::kSaslAuth, Code::kAuthError);
  const std::string out = "!" + ErrorReply(Opcode::kNoop, Code::kAuthError) + "close";
  Check(kNoop, {out});
  Check(Wire({.opcode = Opcode::kVersion}), {"version @0b o=abcd"});
  Check(Auth(kBad) + kNoop, {no, out});
  Check(Auth("other" + kGood), {no});
  Check(Auth(kGood + std::string(1, '\0')), {no});
  Check(Auth("userpass"), {no});
  Check(Auth(kGood, Opcode::kSaslAuth, "CRAM-MD5"), {no});
  Check(Auth(kGood, Opcode::kSaslStep),
        {"!" + ErrorReply(Opcode::kSaslStep, Code::kAuthError)});
  Check(Auth(kGood, Opcode::kSaslAuth, std::string(33, 'P')) + kNoop,
        {"!" + ErrorReply(Opcode::kSaslAuth, Code::kInvalid), out});
}

// As in memcached: who begins again is out until he has succeeded.
TEST_F(LoginTest, SaslBeginsAnew) {
  const std::string welcome = Said(Opcode::kSaslAuth, Code::kOk, "Authenticated");
  const std::string out = "!" + ErrorReply(Opcode::kNoop, Code::kAuthError) + "close";
  Check(Auth(kGood) + Wire({.opcode = Opcode::kSaslList}) + kNoop,
        {welcome, Said(Opcode::kSaslList, Code::kOk, "PLAIN"), out});
  Check(Auth(kGood) + Auth(kBad) + kNoop,
        {welcome, "!" + ErrorReply(Opcode::kSaslAuth, Code::kAuthError), out});
}

TEST_F(LoginTest, TooManyFailuresHangUp) {
  CodecDriver text({}, gate_.get());
  for (int i = 0; i < 10; ++i) text.Feed("set k 0 0 9\r\nuser pasX\r\n");
  EXPECT_FALSE(text.over());
  text.Feed("set k 0 0 9\r\nuser pass\r\n");
  EXPECT_EQ(text.outcomes().back(), "!CLIENT_ERROR authentication failureclose");
  CodecDriver packets({}, gate_.get());
  packets.Feed(Auth(kGood));
  EXPECT_EQ(packets.Joined(), "!" + ErrorReply(Opcode::kSaslAuth, Code::kAuthError) + "close");
  clock_.AdvanceMs(1000);
  CodecDriver later({}, gate_.get());
  later.Feed(Auth(kGood));
  EXPECT_EQ(later.Joined(), Said(Opcode::kSaslAuth, Code::kOk, "Authenticated"));
}

}  // namespace
}  // namespace proto::memcache
