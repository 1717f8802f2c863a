// The second seam: what requests mean.
//
// A service object belongs to one worker and runs on its thread alone, so it needs no locks for
// what it owns; engines and pools shared between workers are passed into it.
#pragma once

#include <concepts>
#include <cstdint>
#include <utility>

#include "core/net/codec.h"
#include "core/net/reply.h"

namespace core {

// Why a connection was closed: its peer left or said goodbye; it broke the protocol or the socket
// failed; it was silent, or took nothing, for too long; this process goes.
enum class CloseReason : uint8_t { kNormal, kError, kSilence, kShutdown };

// Connection: what the service remembers of one client connection; created with Connect() when the
// session opens, destroyed when it closes (replies may still be under way: keep shared state alive
// with a shared_ptr inside it).
//
// A service may also have `bool Foresee(const Request&)`: the request is going to be executed in a
// moment, after a few others, unless its connection dies before: time to begin loading what it will
// look at. False: nothing more is to be parsed before it is executed, for its answer may be so long
// that the limits are to be looked at again.
//
// And, if the codec can guess it (see there), `void Foretell(absl::string_view key)`: one of the next
// requests, of any connection, probably names `key`. Some of these calls come before the first of those
// requests is parsed.
//
// And `void Opened(Connection&, int fd)`, called once after Connect() with the session's socket, and
// `void Closed(Connection&, CloseReason)`, called once before the socket closes or goes to another
// process.
template <class S, class C>
concept Service = requires(S s, typename S::Connection& connection, const typename C::Request& req,
                           Reply<typename C::Response> reply) {
  { s.Connect() } -> std::same_as<typename S::Connection>;
  // Answers exactly once through `reply`, now or later. Views in `req` die when this returns.
  { s.Execute(connection, req, std::move(reply)) } -> std::same_as<void>;
  // Called once a turn after every readable session was parsed and before replies are flushed:
  // the place to send what was collected in the turn.
  { s.EndTurn() } -> std::same_as<void>;
};

}  // namespace core
