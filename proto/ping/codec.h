// The smallest protocol: "PING\r\n" is answered "PONG\r\n". With service and config it is the
// tutorial for adding a protocol: a codec is a Request, a ReplyContext, a Response and four
// functions; core::Server does the rest.
//
// A line may end in "\n" alone. "quit" says goodbye. Any other line gets "ERROR\r\n" and the
// connection stays; a line too long to become a command closes it.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"
#include "core/net/codec.h"
#include "core/net/line_scanner.h"
#include "core/net/out_buffer.h"

namespace proto::ping {

struct Request {};       // There is one thing to ask.
struct ReplyContext {};  // One way to spell the answer.
struct Response {
  enum class Status : uint8_t { kPong, kError };
  Status status = Status::kPong;
};

// One connection's codec; see core/net/codec.h for the contract of the methods. One thread.
class Codec {
 public:
  using Request = ping::Request;
  using ReplyContext = ping::ReplyContext;
  using Response = ping::Response;

  static constexpr absl::string_view kTooManyConnections = "ERROR Too many open connections\r\n";
  static constexpr size_t kLineBytesMax = 64;  // Ten times "PING\r\n": room for slips of the hand.

  core::ParseResult Parse(absl::string_view in, Request* req);
  static ReplyContext ContextOf(const Request&) { return {}; }
  static Response Rejection(const Request&) { return {Response::Status::kError}; }
  static void Compose(const ReplyContext& context, Response&& rsp, core::OutBuffer* out);

  bool CanMove() const { return true; }
  bool AtRest() const { return true; }

 private:
  core::LineScanner line_;
};

static_assert(core::Codec<Codec>);

}  // namespace proto::ping
