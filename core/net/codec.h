// The first seam: how requests are spelled. A codec is pure: bytes in, an outcome, bytes out; it
// never sees a socket. One codec object serves one connection, so it may remember that connection's
// dialect or how much of a refused body is still to be swallowed.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "core/net/out_buffer.h"

namespace core {

enum class ParseStatus : uint8_t {
  kComplete,  // *req is filled; execute it.
  kNeedMore,  // Nothing to execute yet; `consumed` bytes may still have been swallowed.
  kInvalid,   // Not executed: the reply is Codec::Rejection(*req), in order with the others.
  kAnswered,  // Likewise, but nothing is wrong with it: the codec knows the answer.
  kQuit,      // The peer says goodbye: earlier replies are flushed, then the connection closes.
};

struct ParseResult {
  ParseStatus status = ParseStatus::kNeedMore;
  size_t consumed = 0;  // Bytes of the input that are done with.
  // With kNeedMore: the least number of bytes, counted after `consumed`, with which another Parse
  // can succeed; 0 = unknown. The session neither parses before nor reads far beyond that many.
  size_t need = 0;
  bool close = false;  // With kInvalid and kAnswered: close once the reply is flushed.
};

// A codec may also have `bool wants_peer() const` and `void SetPeer(std::string)`, which is then
// called with PeerAddress() before any Parse.
//
// A codec may also have `bool CanMove() const`, whether a fresh codec can go on with its connection
// between two requests, and `bool AtRest() const`, whether the byte after those consumed begins a
// request; without them connections do not move to another process.
//
// A codec may also have `static absl::string_view FirstKey(absl::string_view in)`: what the request at
// the beginning of `in`, which may not be all of it, probably names; empty if that takes more than a
// glance. For Service::Foretell().
//
// Request: what was asked, as views into the input; they die when Service::Execute returns.
// ReplyContext: the few bytes of a request that Compose needs (verb, dialect, quiet, opaque); it may be
// long before it does, so nothing in them is a view. Can be moved, and made from nothing. If it owns
// memory it has `void Release()`, called once the reply is composed.
// Response: the answer. Views in it need to live only until Reply::Send returns, if Send is called
// on the session's worker; from any other thread a Response must own its bytes.
template <class C>
concept Codec = requires(C c, absl::string_view in, typename C::Request* req,
                         const typename C::Request& const_req,
                         const typename C::ReplyContext& context,
                         typename C::Response&& rsp, OutBuffer* out) {
  { c.Parse(in, req) } -> std::same_as<ParseResult>;
  { C::ContextOf(const_req) } -> std::same_as<typename C::ReplyContext>;
  { C::Rejection(const_req) } -> std::same_as<typename C::Response>;
  // Appends the whole reply to *out, or nothing if the request wanted none. May move from `rsp`.
  { C::Compose(context, static_cast<typename C::Response&&>(rsp), out) } -> std::same_as<void>;
  // What a connection past the limit is told before it is closed; may be empty.
  { C::kTooManyConnections } -> std::convertible_to<absl::string_view>;
};

}  // namespace core
