// Faults and limits by themselves, without a wire.
#include "cache/local/faults.h"

#include <gtest/gtest.h>

#include <string>

#include "cache/local/limits.h"

namespace cache::local {
namespace {

config::Local WithErrors(uint32_t percent, uint32_t seed) {
  config::Local options;
  options.fault_error_percent = percent;
  options.fault_error = "internal";
  options.fault_seed = seed;
  return options;
}

// One letter a call: E for an error, . for none.
std::string ThrowDice(Faults* faults, int calls) {
  std::string drawn;
  for (int i = 0; i < calls; ++i) {
    Verdict verdict;
    faults->Roll(Rpc::kGet, &verdict);
    drawn += verdict.error.ok() ? '.' : 'E';
  }
  return drawn;
}

TEST(Faults, DiceRepeatWithTheirSeedAndDifferWithout) {
  Faults one, two, other;
  ASSERT_TRUE(one.Configure(WithErrors(50, 7)).ok());
  ASSERT_TRUE(two.Configure(WithErrors(50, 7)).ok());
  ASSERT_TRUE(other.Configure(WithErrors(50, 8)).ok());
  const std::string drawn = ThrowDice(&one, 200);
  EXPECT_EQ(drawn, ThrowDice(&two, 200));
  EXPECT_NE(drawn, ThrowDice(&other, 200));
}

TEST(Faults, PercentIsKeptRoughlyAndAtItsEndsExactly) {
  Faults faults;
  for (uint32_t percent : {0u, 10u, 50u, 100u}) {
    ASSERT_TRUE(faults.Configure(WithErrors(percent, 1)).ok());
    EXPECT_EQ(faults.configured(), percent > 0);
    const std::string drawn = ThrowDice(&faults, 2000);
    const auto errors = static_cast<double>(std::count(drawn.begin(), drawn.end(), 'E'));
    if (percent == 0 || percent == 100) {
      EXPECT_EQ(errors, percent * 20);
    } else {
      EXPECT_NEAR(errors, percent * 20, 120);  // Over five standard deviations.
    }
  }
}

TEST(Faults, JitterStaysInItsRange) {
  config::Local options;
  options.fault_delay_percent = 100;
  options.fault_delay = absl::Milliseconds(10);
  options.fault_delay_jitter = absl::Milliseconds(5);
  Faults faults;
  ASSERT_TRUE(faults.Configure(options).ok());
  absl::Duration least = absl::InfiniteDuration();
  absl::Duration most = absl::ZeroDuration();
  for (int i = 0; i < 1000; ++i) {
    Verdict verdict;
    faults.Roll(Rpc::kGet, &verdict);
    least = std::min(least, verdict.delay);
    most = std::max(most, verdict.delay);
  }
  EXPECT_GE(least, absl::Milliseconds(10));
  EXPECT_LT(least, absl::Milliseconds(11));
  EXPECT_LT(most, absl::Milliseconds(15));
  EXPECT_GT(most, absl::Milliseconds(14));
}

TEST(Faults, UnknownStatusIsRefusedAndChangesNothing) {
  Faults faults;
  ASSERT_TRUE(faults.Configure(WithErrors(100, 1)).ok());
  config::Local bad = WithErrors(0, 1);
  bad.fault_error = "Unavailable";
  EXPECT_EQ(faults.Configure(bad).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ThrowDice(&faults, 3), "EEE");
}

TEST(Faults, HitTheNamedCallsOnlyAndOnlyTheFirst) {
  config::Local options = WithErrors(100, 1);
  options.fault_rpcs = "set-if-hash,get";
  options.fault_calls_max = 2;
  options.fault_detail = "item_size_limit_exceeded";
  Faults faults;
  ASSERT_TRUE(faults.Configure(options).ok());
  const auto roll = [&](Rpc rpc) {
    Verdict verdict;
    faults.Roll(rpc, &verdict);
    return verdict.error;
  };
  EXPECT_TRUE(roll(Rpc::kSet).ok());
  EXPECT_EQ(roll(Rpc::kSetIfHash).GetPayload(kErrTrailer), "item_size_limit_exceeded");
  EXPECT_FALSE(roll(Rpc::kGet).ok());
  EXPECT_TRUE(roll(Rpc::kGet).ok()) << "two were hit";
  options.fault_rpcs = "get,gets";
  EXPECT_EQ(faults.Configure(options).code(), absl::StatusCode::kInvalidArgument);
}

TEST(Faults, KnowsEveryStatusOfTheInjectionProtocol) {
  for (absl::string_view name :
       {"invalid-argument", "unknown", "already-exists", "not-found", "internal",
        "permission-denied", "unauthenticated", "cancelled", "unavailable", "deadline-exceeded",
        "resource-exhausted", "failed-precondition"}) {
    EXPECT_TRUE(StatusNamed(name).has_value()) << name;
  }
  EXPECT_FALSE(StatusNamed("ok").has_value());
  EXPECT_FALSE(StatusNamed("").has_value());
}

absl::StatusCode Asked(Faults* faults, Rpc rpc, const FaultHeaders& headers) {
  Verdict verdict;
  faults->Obey(rpc, headers, &verdict);
  return verdict.error.code();
}

TEST(Faults, CountsPerSessionAndCall) {
  Faults faults;
  FaultHeaders headers;
  headers.session = "one";
  headers.return_error = "unavailable";
  headers.error_rpcs = "get  set";
  headers.error_count = "2";
  using enum absl::StatusCode;
  EXPECT_EQ(Asked(&faults, Rpc::kGet, headers), kUnavailable);
  EXPECT_EQ(Asked(&faults, Rpc::kGet, headers), kUnavailable);
  EXPECT_EQ(Asked(&faults, Rpc::kGet, headers), kOk);
  EXPECT_EQ(Asked(&faults, Rpc::kSet, headers), kUnavailable);
  EXPECT_EQ(Asked(&faults, Rpc::kDelete, headers), kOk);
  EXPECT_EQ(Asked(&faults, Rpc::kGetBatch, headers), kOk);  // A name is whole, not a prefix.
  headers.session = "two";
  EXPECT_EQ(Asked(&faults, Rpc::kGet, headers), kUnavailable);
}

TEST(Faults, SetIfNotExistsAnswersToBothNames) {
  Faults faults;
  FaultHeaders headers;
  headers.return_error = "aborted";
  headers.error_rpcs = "set-if";
  EXPECT_EQ(Asked(&faults, Rpc::kSetIfNotExists, headers), absl::StatusCode::kAborted);
  EXPECT_EQ(Asked(&faults, Rpc::kSetIfHash, headers), absl::StatusCode::kOk);
  headers.error_rpcs = "set-if-not-exists";
  EXPECT_EQ(Asked(&faults, Rpc::kSetIfNotExists, headers), absl::StatusCode::kAborted);
  EXPECT_EQ(Asked(&faults, Rpc::kSetIf, headers), absl::StatusCode::kOk);
}

TEST(Faults, MalformedHeadersFailTheCall) {
  Faults faults;
  FaultHeaders headers;
  headers.error_rpcs = "get";
  headers.return_error = "no-such-status";
  EXPECT_EQ(Asked(&faults, Rpc::kGet, headers), absl::StatusCode::kInvalidArgument);
  headers.return_error = "internal";
  headers.error_count = "-1";
  EXPECT_EQ(Asked(&faults, Rpc::kGet, headers), absl::StatusCode::kInvalidArgument);
  headers.error_rpcs = std::nullopt;
  headers.delay_rpcs = "get";
  for (absl::string_view ms : {"", "soon", "-5", "600001", "99999999999999999999999"}) {
    headers.delay_ms = ms;
    EXPECT_EQ(Asked(&faults, Rpc::kGet, headers), absl::StatusCode::kInvalidArgument) << ms;
  }
}

TEST(Faults, ForgetsOldSessionsInsteadOfGrowing) {
  Faults faults;
  FaultHeaders headers;
  headers.return_error = "internal";
  headers.error_rpcs = "get";
  headers.error_count = "1";
  for (int i = 0; i < 20'001; ++i) {
    const std::string session = std::to_string(i);
    headers.session = session;
    ASSERT_EQ(Asked(&faults, Rpc::kGet, headers), absl::StatusCode::kInternal) << i;
  }
  headers.session = "20000";  // Recent: still known to be spent.
  EXPECT_EQ(Asked(&faults, Rpc::kGet, headers), absl::StatusCode::kOk);
  headers.session = "0";  // Forgotten: starts afresh.
  EXPECT_EQ(Asked(&faults, Rpc::kGet, headers), absl::StatusCode::kInternal);
}

TEST(Limits, SizesAndLivesAtTheirEdges) {
  const Limits limits{.item_bytes = 10, .ttl_ms = 1000};
  using enum absl::StatusCode;
  EXPECT_EQ(limits.CheckItem("k", "123456789", 1000).code(), kOk);
  EXPECT_EQ(limits.CheckItem("k", "1234567890", 1000).code(), kResourceExhausted);
  EXPECT_EQ(limits.CheckItem("", "v", 1000).code(), kInvalidArgument);
  EXPECT_EQ(limits.CheckItem("k", "", 1).code(), kOk);
  EXPECT_EQ(limits.CheckItem("k", "v", 1001).code(), kInvalidArgument);
  EXPECT_EQ(limits.CheckItem("k", "v", UINT64_MAX).code(), kInvalidArgument);
  EXPECT_EQ(limits.CheckItem("k", "v", 0).code(), kInternal);
  EXPECT_EQ(limits.CheckNewTtl(0).code(), kInvalidArgument);
  EXPECT_EQ(limits.CheckKey("12345678901").code(), kResourceExhausted);
}

TEST(Limits, CacheNames) {
  EXPECT_TRUE(CheckCacheName("js-integration-test-default-0b6b3a4e 1").ok());
  EXPECT_TRUE(CheckCacheName(std::string(255, 'n')).ok());
  for (const std::string& bad : {std::string(), std::string("   "), std::string("a\tb"),
                                 std::string("caf\xc3\xa9"), std::string(256, 'n')}) {
    EXPECT_EQ(CheckCacheName(bad).code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace cache::local
