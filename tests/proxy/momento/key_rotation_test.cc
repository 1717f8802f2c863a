// Which keys are taken and which are kept out, with a clock, a file and a service made here.
#include "proxy/momento/key_rotation.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/log/memory_log.h"

namespace proxy::momento {
namespace {

std::string Jwt(absl::string_view claims) {
  return absl::StrCat(absl::WebSafeBase64Escape("{\"alg\":\"none\"}"), ".",
                      absl::WebSafeBase64Escape(claims), ".c2lnbmF0dXJl");
}

class KeyRotationTest : public ::testing::Test, public KeyChecker {
 protected:
  void SetUp() override { Begin(Key("old")); }

  std::string Key(absl::string_view id, int64_t expires_in_s = 0) {
    const int64_t at = clock_.WallSec() + expires_in_s;
    return Jwt(absl::StrCat("{\"t\":\"g\",\"jti\":\"", id, "\"",
                            expires_in_s == 0 ? "" : absl::StrCat(",\"exp\":", at), "}"));
  }
  void Begin(const std::string& key) {
    rotation_.reset();
    KeySource source{.section = "momento", .file = "/etc/key", .endpoint = "e.com"};
    file_ = key_ = key;
    account_ = std::make_unique<Account>(*ParseCredentials(source, key), &metrics_);
    rotation_ = std::make_unique<KeyRotation>(
        source, Secret(key),
        [this]() -> absl::StatusOr<Secret> {
          if (!file_error_.ok()) return file_error_;
          return Secret(file_);
        },
        account_.get(), this, &metrics_, &clock_, &log_);
  }
  void Look() { rotation_->Look(); }
  void LookAfterMs(int64_t ms) {
    clock_.AdvanceMs(ms);
    Look();
  }
  void Answer(const absl::Status& status) {
    ASSERT_TRUE(asking());
    Verdict verdict = std::exchange(verdict_, nullptr);
    verdict(status);
  }
  bool asking() const { return verdict_ != nullptr; }
  bool InUse(const std::string& key) const { return account_->current()->authorization == key; }
  int Lines(absl::string_view part) const {
    int n = 0;
    for (const auto& line : log_.lines()) n += absl::StrContains(line.text, part);
    return n;
  }
  double Metric(absl::string_view name) const {
    double value = -1;
    registry_.Visit([&](const core::Registry::Sample& sample) {
      if (sample.name == name) value = sample.value;
    });
    return value;
  }

  void Check(const Credentials& candidate, Verdict done) override {
    ++checks_;
    candidate_ = std::string(candidate.authorization.view());
    verdict_ = std::move(done);
  }
  void CallOff() override { verdict_ = nullptr; }

  core::ManualClock clock_;
  core::MemoryLog log_;
  core::Registry registry_;
  KeyMetrics metrics_{&registry_, "momento", [this] { return clock_.WallSec(); }};
  std::unique_ptr<Account> account_;
  std::string key_, file_;
  absl::Status file_error_;
  int checks_ = 0;
  std::string candidate_;
  Verdict verdict_;
  std::unique_ptr<KeyRotation> rotation_;  // Last: it calls the checker off.
};

TEST_F(KeyRotationTest, AnUnchangedFileAsksNobody) {
  for (int i = 0; i < 10; ++i) LookAfterMs(10'000);
  EXPECT_EQ(checks_, 0);
  EXPECT_TRUE(log_.lines().empty());
}

TEST_F(KeyRotationTest, AGoodKeyIsUsedOnceTheServiceHasSaidSo) {
  const uint64_t generation = account_->generation();
  file_ = Key("new", 86400 * 30);
  Look();
  EXPECT_EQ(candidate_, file_);
  EXPECT_TRUE(InUse(key_)) << "not before";
  EXPECT_EQ(Metric("proxy_key_pending"), 1);
  Look();
  EXPECT_EQ(checks_, 1) << "one question at a time";
  Answer(absl::OkStatus());
  EXPECT_TRUE(InUse(file_));
  EXPECT_NE(account_->generation(), generation);
  EXPECT_EQ(metrics_.accepted.Value(), 1u);
  EXPECT_EQ(metrics_.refused.Value(), 0u);
  EXPECT_EQ(Metric("proxy_key_pending"), 0);
  EXPECT_EQ(Metric("proxy_key_expiry_seconds"), 86400 * 30);
  LookAfterMs(1'000'000);
  EXPECT_EQ(checks_, 1);
  EXPECT_EQ(Lines("is in use"), 1);
}

TEST_F(KeyRotationTest, MalformedAndExpiredKeysAreKeptOutWithoutAsking) {
  const std::string bad[] = {"SECRET", Jwt("{\"t\":\"x\"}"), Key("late", -5)};
  for (size_t i = 0; i < std::size(bad); ++i) {
    file_ = bad[i];
    for (int look = 0; look < 5; ++look) LookAfterMs(KeyRotation::kRefusedLastMs);
    EXPECT_EQ(metrics_.refused.Value(), i + 1);
    EXPECT_EQ(Lines("is refused"), static_cast<int>(i) + 1) << "once each";
    EXPECT_EQ(Metric("proxy_key_pending"), 1);
  }
  EXPECT_EQ(checks_, 0);
  EXPECT_TRUE(InUse(key_));
  EXPECT_EQ(Lines("expired on"), 1);
  for (const std::string& key : bad) EXPECT_EQ(Lines(key), 0);
}

TEST_F(KeyRotationTest, ARefusedKeyIsToldOnceAndAskedAgainLater) {
  file_ = Key("new");
  Look();
  Answer(absl::UnauthenticatedError("who?"));
  EXPECT_EQ(Lines("is refused"), 1);
  LookAfterMs(KeyRotation::kRefusedFirstMs - 1);
  EXPECT_EQ(checks_, 1);
  LookAfterMs(1);
  EXPECT_EQ(checks_, 2);
  Answer(absl::PermissionDeniedError("not you"));
  LookAfterMs(KeyRotation::kRefusedFirstMs);
  EXPECT_EQ(checks_, 2) << "twice as long";
  LookAfterMs(KeyRotation::kRefusedFirstMs);
  EXPECT_EQ(checks_, 3);
  EXPECT_TRUE(InUse(key_));
  Answer(absl::OkStatus());
  EXPECT_TRUE(InUse(file_)) << "the service had not known it yet";
  EXPECT_EQ(Lines("is refused"), 1);
  EXPECT_EQ(metrics_.refused.Value(), 1u);
  EXPECT_EQ(metrics_.accepted.Value(), 1u);
}

TEST_F(KeyRotationTest, TheWaitsHaveALimit) {
  file_ = Key("new");
  Look();
  for (int i = 1; i <= 20; ++i) {
    Answer(absl::UnauthenticatedError("who?"));
    LookAfterMs(KeyRotation::kRefusedLastMs);
    EXPECT_EQ(checks_, i + 1);
  }
}

TEST_F(KeyRotationTest, AServiceThatDoesNotAnswerHasNotRefused) {
  file_ = Key("new");
  Look();
  Answer(absl::UnavailableError("down"));
  EXPECT_EQ(metrics_.refused.Value(), 0u);
  EXPECT_EQ(Lines("waits to be checked: down"), 1);
  LookAfterMs(KeyRotation::kUnansweredFirstMs);
  Answer(absl::DeadlineExceededError("slow"));
  LookAfterMs(2 * KeyRotation::kUnansweredFirstMs);
  EXPECT_EQ(Lines("waits to be checked"), 1);
  EXPECT_TRUE(InUse(key_));
  Answer(absl::OkStatus());
  EXPECT_TRUE(InUse(file_));
}

TEST_F(KeyRotationTest, TheFileMayChangeWhileTheServiceIsAsked) {
  file_ = Key("first");
  Look();
  file_ = Key("second");
  Look();
  EXPECT_EQ(candidate_, file_);
  EXPECT_EQ(checks_, 2);
  Answer(absl::OkStatus());
  EXPECT_TRUE(InUse(file_));
  EXPECT_EQ(metrics_.accepted.Value(), 1u);
}

TEST_F(KeyRotationTest, TheOldKeyPutBackEndsTheMatter) {
  file_ = Key("new");
  Look();
  file_ = key_;
  Look();
  EXPECT_FALSE(asking());
  EXPECT_EQ(Metric("proxy_key_pending"), 0);
  LookAfterMs(KeyRotation::kRefusedLastMs);
  EXPECT_EQ(checks_, 1);
}

TEST_F(KeyRotationTest, AFileThatIsGoneOrEmptyChangesNothing) {
  file_error_ = absl::NotFoundError("momento.api_key_file: gone");
  for (int i = 0; i < 5; ++i) LookAfterMs(10'000);
  EXPECT_EQ(Lines("gone; the API key in use stays"), 1);
  EXPECT_EQ(metrics_.unreadable.Value(), 1u);
  EXPECT_TRUE(InUse(key_));
  file_error_ = absl::OkStatus();
  Look();
  EXPECT_EQ(Lines("again"), 1);
  EXPECT_EQ(checks_, 0) << "it is the key in use";
  file_error_ = absl::InvalidArgumentError("empty");
  Look();
  EXPECT_EQ(metrics_.unreadable.Value(), 2u);
  file_error_ = absl::OkStatus();
  file_ = Key("new");
  Look();
  Answer(absl::OkStatus());
  EXPECT_TRUE(InUse(file_));
}

TEST_F(KeyRotationTest, AFileThatGoesWhileAskedCallsTheQuestionOff) {
  file_ = Key("new");
  Look();
  file_error_ = absl::NotFoundError("gone");
  Look();
  EXPECT_FALSE(asking());
  file_error_ = absl::OkStatus();
  Look();
  EXPECT_TRUE(asking());
}

TEST_F(KeyRotationTest, WarnsOnceAWeekADayAnHourAheadAndAtTheEnd) {
  Begin(Key("old", 8 * 86400));
  const auto warned_after = [&](int64_t seconds) {
    const int before = Lines("expire");
    for (int i = 0; i < 3; ++i) LookAfterMs(seconds * 1000 / 3);
    return Lines("expire") - before;
  };
  EXPECT_EQ(warned_after(0), 0);
  EXPECT_EQ(warned_after(86400 - 60), 0);
  EXPECT_EQ(warned_after(120), 1);
  EXPECT_EQ(warned_after(6 * 86400), 1);
  EXPECT_EQ(Lines("expires in 6 days"), 1);
  EXPECT_EQ(warned_after(3600), 0);
  EXPECT_EQ(warned_after(22 * 3600), 1);
  EXPECT_EQ(Lines("expires in 59 minutes"), 1) << log_.lines().back().text;
  EXPECT_EQ(warned_after(3600), 1);
  EXPECT_EQ(Lines("the API key in use expired on"), 1);
  EXPECT_EQ(log_.lines().back().level, core::LogLevel::kError);
  EXPECT_LT(Metric("proxy_key_expiry_seconds"), 0);
  EXPECT_EQ(warned_after(86400), 0);
}

TEST_F(KeyRotationTest, AKeyThatIsShortOfTimeAtStartIsWarnedOfOnce) {
  Begin(Key("old", 1800));
  for (int i = 0; i < 5; ++i) Look();
  EXPECT_EQ(log_.lines().size(), 1u);
  EXPECT_EQ(Lines("expires in 30 minutes"), 1);
}

TEST_F(KeyRotationTest, ANewKeyIsWarnedOfAnew) {
  Begin(Key("old", 1800));
  Look();
  file_ = Key("new", 7200);
  Look();
  Answer(absl::OkStatus());
  Look();
  EXPECT_EQ(Lines("in use expires in"), 2);
  EXPECT_EQ(Lines("expires in 2 hours"), 1);
}

}  // namespace
}  // namespace proxy::momento
