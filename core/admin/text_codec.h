// The admin port's language: one line, one command, as typed into a terminal.
#pragma once

#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/net/codec.h"
#include "core/net/out_buffer.h"

namespace core {

// A line ends with LF or CRLF. "quit" closes; a line that does not end is refused and closes.
class AdminTextCodec {
 public:
  static constexpr size_t kLineBytesMax = 2048;  // memcached's limit for a command line.
  static constexpr absl::string_view kTooManyConnections = "ERROR too many connections\r\n";

  struct Request {
    absl::string_view line;
  };
  struct ReplyContext {};
  using Response = std::string;

  ParseResult Parse(absl::string_view in, Request* req) {
    const size_t end = in.substr(0, kLineBytesMax).find('\n');
    if (end == absl::string_view::npos) {
      if (in.size() < kLineBytesMax) return {};
      return {.status = ParseStatus::kInvalid, .consumed = in.size(), .close = true};
    }
    req->line = in.substr(0, end);
    if (!req->line.empty() && req->line.back() == '\r') req->line.remove_suffix(1);
    const bool quit = req->line == "quit";
    return {.status = quit ? ParseStatus::kQuit : ParseStatus::kComplete, .consumed = end + 1};
  }
  static ReplyContext ContextOf(const Request&) { return {}; }
  static Response Rejection(const Request&) { return "ERROR line too long\r\n"; }
  static void Compose(const ReplyContext&, Response&& rsp, OutBuffer* out) {
    out->Append(absl::string_view(rsp));
  }
};

}  // namespace core
