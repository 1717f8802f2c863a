// See errors.h. The trailer values and the fallback words in a status message are those that
// Momento's SDKs tell limits apart by.
#include "proxy/translate/errors.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace proxy::translate {
namespace {

using momento::Code;
using proto::memcache::Response;
using proto::memcache::Status;

struct Sign {
  absl::string_view detail;  // The service's `err` trailer.
  absl::string_view word;    // In the message, any case, when there is no such trailer.
  Limit limit;
};
constexpr Sign kSigns[] = {
    {"operations_rate_limit_exceeded", "operations", Limit::kOperations},
    {"throughput_rate_limit_exceeded", "throughput", Limit::kThroughput},
    {"request_size_limit_exceeded", "request limit", Limit::kSize},
    {"item_size_limit_exceeded", "item size", Limit::kSize},
    {"element_size_limit_exceeded", "element size", Limit::kSize},
};

absl::string_view TextOf(Limit limit) {
  switch (limit) {
    case Limit::kOperations: return "backend request rate limit exceeded";
    case Limit::kThroughput: return "backend bandwidth limit exceeded";
    default: return "backend limit exceeded";
  }
}

absl::string_view TextOf(const momento::Error& error) {
  using momento::Refusal;
  if (error.refusal == Refusal::kBusy) return "busy";
  if (error.refusal == Refusal::kCircuitOpen) return "backend unavailable, circuit open";
  switch (error.code) {
    case Code::kDeadlineExceeded: return "backend timeout";
    case Code::kUnavailable: return "backend unavailable";
    case Code::kCancelled: return "backend request cancelled";
    case Code::kUnauthenticated: return "backend rejected the credentials";
    case Code::kPermissionDenied: return "backend denied permission";
    case Code::kNotFound: return "cache not found";
    case Code::kInvalidArgument:
    case Code::kOutOfRange: return "backend rejected the request";
    case Code::kFailedPrecondition: return "backend refused the operation on this item";
    case Code::kUnimplemented: return "backend does not support the operation";
    case Code::kResourceExhausted: return TextOf(LimitOf(error));
    case Code::kOk:
    case Code::kUnknown:
    case Code::kAlreadyExists:
    case Code::kAborted:
    case Code::kInternal:
    case Code::kDataLoss: break;
  }
  return "backend error";
}

}  // namespace

bool MayHaveBeenApplied(const momento::Error& error) {
  return error.sent && !momento::IsVerdict(error.code);
}

Limit LimitOf(const momento::Error& error) {
  if (error.code != Code::kResourceExhausted || error.refusal != momento::Refusal::kNone) {
    return Limit::kNone;
  }
  for (const Sign& sign : kSigns) {
    if (error.detail == sign.detail) return sign.limit;
  }
  const std::string message = absl::AsciiStrToLower(error.message);
  for (const Sign& sign : kSigns) {
    if (absl::StrContains(message, sign.word)) return sign.limit;
  }
  return Limit::kOther;
}

Response FailureOf(const momento::Error& error, Intent intent) {
  if (IsTooLarge(error)) return Response(Status::kTooLarge);
  const absl::string_view text = TextOf(error);
  if (intent == Intent::kRead || !MayHaveBeenApplied(error)) {
    return Response::Text(Status::kServerError, std::string(text));
  }
  return Response::Text(Status::kServerError, absl::StrCat(text, ", outcome unknown"));
}

}  // namespace proxy::translate
