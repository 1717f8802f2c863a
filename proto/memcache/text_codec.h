// memcached's classic text protocol: command lines, and after a store's line a block of bytes. Lines of
// meta commands may stand between them; meta.h reads and answers those.
//
// What is a command, which mistakes keep the connection and what each reply says was taken from
// doc/protocol.txt and from probing memcached 1.6.18; integration/transcripts holds the proof.
//
// Life of one connection's input:
//
//   line --+-- no block ------------------------------------> request or rejection
//          +-- store, block fits: wait for all of it -------> request (views into the input)
//          +-- store, block too long: swallow as it comes --> `set`, `ms`: request that removes the
//          |                                                  item; others: rejection
//          +-- ms, line refused: swallow its block ---------> rejection
//
// A line that was scanned is not scanned again while its block arrives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/net/codec.h"
#include "core/net/line_scanner.h"
#include "core/net/out_buffer.h"
#include "proto/memcache/meta.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"

namespace proto::memcache {

struct Limits {
  uint64_t item_bytes_max = 1024 * 1024;  // config::Server::item_size_max, as ItemBytes() counts.
};

// One connection's codec; see core/net/codec.h for the contract of the methods. One thread.
class TextCodec {
 public:
  using Request = memcache::Request;
  using ReplyContext = memcache::ReplyContext;
  using Response = memcache::Response;

  static constexpr absl::string_view kTooManyConnections = "ERROR Too many open connections\r\n";

  // An unfinished line longer than this ends the connection, unless it names keys to get.
  static constexpr size_t kUnfinishedLineBytesMax = 2048;  // memcached 1.6, proto_text.c.
  // A finished line longer than this likewise: memcached reads this much at once.
  static constexpr size_t kLineBytesMax = 16 * 1024;  // READ_BUFFER_SIZE of memcached 1.6.
  // A get may name any number of keys in memcached. 16 MiB is 64,000 keys of the longest kind.
  static constexpr size_t kGetLineBytesMax = 16 * 1024 * 1024;

  TextCodec() = default;
  explicit TextCodec(Limits limits) : limits_(limits) {}

  // With kInvalid and an empty rejection nothing is said: the peer asked for no reply, or memcached
  // hangs up without a word.
  core::ParseResult Parse(absl::string_view in, Request* req);

  static ReplyContext ContextOf(const Request& req) {
    ReplyContext context{.verb = req.verb,
                         .noreply = req.noreply,
                         .want = req.want,
                         .dialect = req.dialect,
                         .opaque = req.opaque};
    if (req.dialect == Dialect::kMeta) [[unlikely]] context.echo = EchoOf(req);
    return context;
  }
  static Response Rejection(const Request& req) {
    return Response::Text(Status::kRaw, std::string(req.rejection));
  }
  static void Compose(const ReplyContext& context, Response&& rsp, core::OutBuffer* out);

  bool CanMove() const { return true; }
  bool AtRest() const { return swallow_bytes_ == 0; }

 private:
  core::ParseResult AwaitLineEnd(absl::string_view in, Request* req);
  core::ParseResult ParseLine(absl::string_view in, size_t line_bytes, Request* req);
  core::ParseResult ParseStore(absl::string_view in, size_t line_bytes, absl::string_view rest,
                               Request* req);
  core::ParseResult ParseMeta(absl::string_view in, size_t line_bytes, absl::string_view rest,
                              Request* req);
  core::ParseResult ParseBlock(absl::string_view in, size_t line_bytes, size_t value_bytes,
                               Request* req);
  core::ParseResult BeginSwallow(absl::string_view in, size_t line_bytes, size_t block_bytes,
                                 Request* req);
  core::ParseResult Swallow(absl::string_view in, size_t already, Request* req);

  Limits limits_;
  core::LineScanner line_;
  size_t need_ = 0;  // While a block arrives: bytes of line and block together.

  // While a block that is dropped arrives.
  size_t swallow_bytes_ = 0;  // Still to come.
  bool swallow_noreply_ = false;
  Verb swallow_verb_ = Verb::kNone;
  std::string swallow_key_;
  absl::string_view swallow_refusal_;  // Of literals; empty: a request is made of it.
};

}  // namespace proto::memcache

static_assert(core::Codec<proto::memcache::TextCodec>);
