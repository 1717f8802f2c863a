#include "proxy/translate/errors.h"

#include <gtest/gtest.h>

#include <set>

namespace proxy::translate {
namespace {

using momento::Code;
using momento::Error;
using proto::memcache::Response;
using proto::memcache::Status;

Error Failed(Code code, std::string detail = "", std::string message = "") {
  Error error;
  error.code = code;
  error.detail = std::move(detail);
  error.message = std::move(message);
  return error;
}

TEST(Errors, EveryCodeHasOneLineOfText) {
  for (int code = 1; code <= 16; ++code) {
    for (Intent intent : {Intent::kRead, Intent::kWrite}) {
      const Response rsp = FailureOf(Failed(static_cast<Code>(code), "\r\nx", "\r\ny"), intent);
      EXPECT_EQ(rsp.status, Status::kServerError) << code;
      EXPECT_FALSE(rsp.text.empty()) << code;
      EXPECT_EQ(rsp.text.find_first_of("\r\n"), std::string::npos) << code;
    }
  }
}

TEST(Errors, SaysWhatAnOperatorCanActOn) {
  const auto text = [](Code code) { return FailureOf(Failed(code), Intent::kRead).text; };
  EXPECT_EQ(text(Code::kDeadlineExceeded), "backend timeout");
  EXPECT_EQ(text(Code::kUnavailable), "backend unavailable");
  EXPECT_EQ(text(Code::kNotFound), "cache not found");
  EXPECT_EQ(text(Code::kUnauthenticated), "backend rejected the credentials");
  EXPECT_EQ(text(Code::kPermissionDenied), "backend denied permission");
  EXPECT_EQ(text(Code::kInvalidArgument), "backend rejected the request");
  EXPECT_EQ(text(Code::kResourceExhausted), "backend limit exceeded");
}

TEST(Errors, TellsLimitsApartByTheTrailer) {
  const auto of = [](std::string detail) {
    return FailureOf(Failed(Code::kResourceExhausted, std::move(detail)), Intent::kWrite);
  };
  EXPECT_EQ(of("operations_rate_limit_exceeded").text, "backend request rate limit exceeded");
  EXPECT_EQ(of("throughput_rate_limit_exceeded").text, "backend bandwidth limit exceeded");
  EXPECT_EQ(of("item_size_limit_exceeded").status, Status::kTooLarge);
  EXPECT_EQ(of("request_size_limit_exceeded").status, Status::kTooLarge);
  EXPECT_EQ(of("something_new").text, "backend limit exceeded");
}

TEST(Errors, FallsBackToTheMessageWithoutATrailer) {
  const auto of = [](std::string message) {
    return FailureOf(Failed(Code::kResourceExhausted, "", std::move(message)), Intent::kWrite);
  };
  EXPECT_EQ(of("Too many Operations").text, "backend request rate limit exceeded");
  EXPECT_EQ(of("Throughput limit").text, "backend bandwidth limit exceeded");
  EXPECT_EQ(of("Request limit exceeded").status, Status::kTooLarge);
  EXPECT_EQ(of("Item size too big").status, Status::kTooLarge);
}

TEST(Errors, TheTrailerOutranksTheMessage) {
  const Error error = Failed(Code::kResourceExhausted, "operations_rate_limit_exceeded", "item size");
  EXPECT_EQ(FailureOf(error, Intent::kWrite).text, "backend request rate limit exceeded");
}

TEST(Errors, SizeWordsMatterOnlyWithTheirCode) {
  EXPECT_FALSE(IsTooLarge(Failed(Code::kInternal, "item_size_limit_exceeded", "item size")));
}

TEST(Errors, AWriteThatMayHaveHappenedSaysSo) {
  Error error = Failed(Code::kDeadlineExceeded);
  EXPECT_EQ(FailureOf(error, Intent::kWrite).text, "backend timeout, outcome unknown");
  EXPECT_EQ(FailureOf(error, Intent::kRead).text, "backend timeout");
  error.sent = false;
  EXPECT_EQ(FailureOf(error, Intent::kWrite).text, "backend timeout");

  const std::set<Code> ambiguous = {Code::kCancelled, Code::kUnknown,  Code::kDeadlineExceeded,
                                    Code::kAborted,   Code::kInternal, Code::kUnavailable,
                                    Code::kDataLoss};
  for (int code = 1; code <= 16; ++code) {
    const Code c = static_cast<Code>(code);
    EXPECT_EQ(MayHaveBeenApplied(Failed(c)), ambiguous.count(c) == 1) << code;
  }
}

}  // namespace
}  // namespace proxy::translate
