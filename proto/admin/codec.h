// What an operator types on the admin port: "stats [words]", "version", "quit". Lines as in
// memcached's text protocol, so that its tools can read the figures. Anything else gets "ERROR\r\n"
// and the connection stays: this port changes nothing and forgets nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/net/codec.h"
#include "core/net/line_scanner.h"
#include "core/net/out_buffer.h"

namespace proto::admin {

enum class Command : uint8_t { kStats, kVersion };

struct Request {
  Command command = Command::kStats;
  absl::string_view argument;  // kStats: the words after it, outer spaces gone; may be empty.
};

struct ReplyContext {};

struct Response {
  enum class Status : uint8_t {
    kStats,    // A STAT line for each of `stats`, in order, then END.
    kVersion,  // VERSION `text`.
    kText,     // `text` as it is, line ends included.
    kError,    // ERROR: no such command, or no such group of stats.
  };
  Status status = Status::kError;
  std::vector<std::pair<std::string, std::string>> stats;
  std::string text;
};

// One connection's codec; see core/net/codec.h for the contract of the methods. One thread.
class Codec {
 public:
  using Request = admin::Request;
  using ReplyContext = admin::ReplyContext;
  using Response = admin::Response;

  static constexpr absl::string_view kTooManyConnections = "ERROR Too many open connections\r\n";
  static constexpr size_t kLineBytesMax = 1024;  // Longer than any command; past it, hang up.

  core::ParseResult Parse(absl::string_view in, Request* req);
  static ReplyContext ContextOf(const Request&) { return {}; }
  static Response Rejection(const Request&) { return {}; }
  static void Compose(const ReplyContext& context, Response&& rsp, core::OutBuffer* out);

 private:
  core::LineScanner line_;
};

static_assert(core::Codec<Codec>);

}  // namespace proto::admin
