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

struct Limit {
  absl::string_view detail;  // The service's `err` trailer.
  absl::string_view word;    // In the message, any case, when there is no such trailer.
  absl::string_view text;    // Empty: too large.
};
constexpr Limit kLimits[] = {
    {"operations_rate_limit_exceeded", "operations", "backend request rate limit exceeded"},
    {"throughput_rate_limit_exceeded", "throughput", "backend bandwidth limit exceeded"},
    {"request_size_limit_exceeded", "request limit", ""},
    {"item_size_limit_exceeded", "item size", ""},
    {"element_size_limit_exceeded", "element size", ""},
};

const Limit* LimitOf(const momento::Error& error) {
  if (error.code != Code::kResourceExhausted) return nullptr;
  for (const Limit& limit : kLimits) {
    if (error.detail == limit.detail) return &limit;
  }
  const std::string message = absl::AsciiStrToLower(error.message);
  for (const Limit& limit : kLimits) {
    if (absl::StrContains(message, limit.word)) return &limit;
  }
  return nullptr;
}

absl::string_view TextOf(const momento::Error& error) {
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
    case Code::kResourceExhausted: {
      const Limit* limit = LimitOf(error);
      return limit != nullptr ? limit->text : "backend limit exceeded";
    }
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
  if (!error.sent) return false;
  switch (error.code) {
    case Code::kCancelled:
    case Code::kUnknown:
    case Code::kDeadlineExceeded:
    case Code::kAborted:
    case Code::kInternal:
    case Code::kUnavailable:
    case Code::kDataLoss: return true;
    default: return false;  // The service looked at the request and said no.
  }
}

bool IsTooLarge(const momento::Error& error) {
  const Limit* limit = LimitOf(error);
  return limit != nullptr && limit->text.empty();
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
