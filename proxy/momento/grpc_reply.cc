// See grpc_reply.h.
#include "proxy/momento/grpc_reply.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace proxy::momento {
namespace {

constexpr size_t kPrefixBytes = 5;         // Compressed flag and four bytes of length.
constexpr size_t kTextBytesMax = 1024;     // Of grpc-message and err: they go to logs and clients.
constexpr size_t kKeptBytesMax = 64 * 1024;  // A larger buffer is let go with the call.

// gRPC's http-grpc-status-mapping.md: for answers of something that does not speak gRPC.
Code CodeOfHttpStatus(int status) {
  switch (status) {
    case 400: return Code::kInternal;
    case 401: return Code::kUnauthenticated;
    case 403: return Code::kPermissionDenied;
    case 404: return Code::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return Code::kUnavailable;
    default: return Code::kUnknown;
  }
}

uint32_t MessageSize(absl::string_view prefix) {
  uint32_t size = 0;
  for (size_t i = 1; i < kPrefixBytes; ++i) size = size << 8 | static_cast<uint8_t>(prefix[i]);
  return size;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = absl::ascii_tolower(static_cast<unsigned char>(c));
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

std::string PercentDecode(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low >= 0) i += 2;
    out.push_back(low >= 0 ? static_cast<char>(high << 4 | low) : text[i]);
  }
  return out;
}

Error ErrorOfReset(uint32_t h2_error) {
  Error error{.message = absl::StrCat("stream reset, HTTP/2 error ", h2_error)};
  switch (h2_error) {  // RFC 9113, section 7.
    case 0x8: error.code = Code::kCancelled; break;           // CANCEL
    case 0xb: error.code = Code::kResourceExhausted; break;   // ENHANCE_YOUR_CALM
    case 0xc: error.code = Code::kPermissionDenied; break;    // INADEQUATE_SECURITY
    default: error.code = Code::kUnavailable;
  }
  error.sent = h2_error != 0x7;  // REFUSED_STREAM: nothing was done with the request.
  return error;
}

void GrpcReply::Reset() {
  http_status_ = 0;
  grpc_status_ = -1;
  grpc_content_ = false;
  message_.clear();
  detail_.clear();
  if (partial_.capacity() > kKeptBytesMax) partial_ = std::string();
  partial_.clear();
  total_bytes_ = 0;
  broken_ = Error();
}

void GrpcReply::OnHeader(absl::string_view name, absl::string_view value) {
  if (name == ":status") {
    if (!absl::SimpleAtoi(value, &http_status_)) http_status_ = 0;
  } else if (name == "content-type") {
    grpc_content_ = absl::StartsWith(value, "application/grpc");
  } else if (name == "grpc-status") {
    int status;
    const bool known = absl::SimpleAtoi(value, &status) && status >= 0 &&
                       status <= static_cast<int>(Code::kUnauthenticated);
    grpc_status_ = known ? status : -2;
  } else if (name == "grpc-message") {
    message_ = PercentDecode(value.substr(0, kTextBytesMax));
  } else if (name == "err") {
    detail_ = std::string(value.substr(0, kTextBytesMax));
  }
}

bool GrpcReply::Broken(Code code, absl::string_view message) {
  broken_ = Error{.code = code, .message = std::string(message)};
  return false;
}

bool GrpcReply::OnData(absl::string_view bytes,
                       absl::FunctionRef<bool(absl::string_view)> sink) {
  // A body that is not gRPC's (a gateway's page of HTML) is not read; Result() tells by the headers.
  if (!grpc_content_ || http_status_ != 200) return true;
  total_bytes_ += bytes.size();
  if (total_bytes_ > kReplyBytesMax) {
    return Broken(Code::kResourceExhausted, "reply is larger than this client accepts");
  }
  while (!bytes.empty()) {
    if (partial_.empty() && bytes.size() >= kPrefixBytes && bytes[0] == 0) {
      const size_t frame_bytes = kPrefixBytes + MessageSize(bytes);
      if (bytes.size() >= frame_bytes) {  // The usual case: nothing is copied.
        if (!sink(bytes.substr(kPrefixBytes, frame_bytes - kPrefixBytes))) {
          return Broken(Code::kInternal, "reply is not the message expected");
        }
        bytes.remove_prefix(frame_bytes);
        continue;
      }
    }
    // Completes first the prefix, then the message.
    size_t wanted = kPrefixBytes;
    if (partial_.size() >= kPrefixBytes) wanted += MessageSize(partial_);
    const size_t taken = std::min(bytes.size(), wanted - partial_.size());
    partial_.append(bytes.data(), taken);
    bytes.remove_prefix(taken);
    if (partial_.size() < kPrefixBytes) return true;
    if (partial_[0] != 0) return Broken(Code::kInternal, "reply is compressed, unasked");
    const size_t size = MessageSize(partial_);
    if (size > kMessageBytesMax) {
      return Broken(Code::kResourceExhausted,
                    absl::StrCat("message of ", size, " bytes is larger than this client accepts"));
    }
    if (partial_.size() < kPrefixBytes + size) {
      if (partial_.size() == kPrefixBytes) partial_.reserve(kPrefixBytes + size);
      continue;
    }
    if (!sink(absl::string_view(partial_).substr(kPrefixBytes))) {
      return Broken(Code::kInternal, "reply is not the message expected");
    }
    partial_.clear();
  }
  return true;
}

Error GrpcReply::Result() const {
  if (!broken_.ok()) return broken_;
  if (grpc_status_ == 0 && http_status_ == 200 && partial_.empty()) return Error();
  if (grpc_status_ == 0 && http_status_ == 200) {
    return Error{.code = Code::kInternal, .message = "reply ends inside a message"};
  }
  if (grpc_status_ > 0) {
    return Error{.code = static_cast<Code>(grpc_status_), .message = message_, .detail = detail_};
  }
  if (grpc_status_ == -2) {
    return Error{.code = Code::kUnknown, .message = "grpc-status is not a status"};
  }
  if (http_status_ != 200) {
    return Error{.code = CodeOfHttpStatus(http_status_),
                 .message = absl::StrCat("HTTP status ", http_status_, " without a gRPC status")};
  }
  if (!grpc_content_) {
    return Error{.code = Code::kUnknown, .message = "content-type is not application/grpc"};
  }
  return Error{.code = Code::kUnknown, .message = "reply ends without a gRPC status"};
}

}  // namespace proxy::momento
