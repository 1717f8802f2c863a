// The lines of the command log, and the service that writes them.
//
//   "get some:key" 4 12            a line a key: code, bytes of the value; 0 0 is a miss
//   "gets K" 4 12                  likewise
//   "gat K ttl" 4 12               likewise, and gats
//   "set K flags ttl vlen" 5 8     code, bytes of the reply with its line end; 0 if noreply
//   "add ..." "replace ..." "append ..." "prepend ..."   likewise
//   "cas K flags ttl vlen token" 6 8
//   "delete K" 7 9
//   "incr K delta" 5 4             and decr
//   "touch K ttl" 4 9
//   "mg K" 4 12                    mg, ms, md and ma are like get, set, delete and incr: with T "mg K ttl",
//   "ms K flags ttl vlen" 5 4      with C "ms K flags ttl vlen token"; of the other flags nothing is said
//
// core::CommandLog puts the time in front. ttl and flags are as the client wrote them; a set whose
// value was too large has "-" for what was not kept of it: "set K - - -" 11 41. In keys a space, a
// quote, a backslash and bytes that do not print are escaped (\x20 \" \\ \xff), so that every line
// has its words where they belong. A get that failed has the code of the failure and the bytes of
// the reply on the line of each key. What is no command on a key, and what was refused before it
// was one, is not logged. Codes and shapes are Pelikan's and Momento's own proxy's, which log no
// touch, gat or delta.
//
// Sampling counts the commands that can be logged: exactly every Nth of a worker is, get of many
// keys being one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/log/command_log.h"
#include "core/net/reply.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"

namespace proto::memcache {

enum class KlogCode : uint8_t {
  kMiss = 0,
  kHit = 4,
  kStored = 5,
  kExists = 6,
  kDeleted = 7,
  kNotFound = 8,
  kNotStored = 9,
  kClientError = 10,
  kServerError = 11,
  kTimeout = 12,
};

// A SERVER_ERROR whose text begins so is a timeout.
inline constexpr absl::string_view kTimeoutText = "backend timeout";

// The code of an answer. Of a get that found anything: kHit, else kMiss.
KlogCode KlogCodeOf(const Response& rsp);

// Appends `key` as the lines have it.
void AppendKlogKey(absl::string_view key, std::string* out);

// Whether a request makes a line.
constexpr bool IsLogged(Op op) {
  return op == Op::kGet || op == Op::kStore || op == Op::kDelete || op == Op::kArithmetic ||
         op == Op::kTouch;
}

// Passes on what `reply` is sent and writes the line or lines of `req` to `sink` before it. The
// result may be sent on any thread; `sink` outlives it. A reply that is dropped makes no line.
core::Reply<Response> LogReply(const Request& req, core::CommandSink* sink,
                               core::Reply<Response> reply);

// A service that logs every `sample`th command of the service within. One worker's.
template <class S>
class WithKlog {
 public:
  using Connection = typename S::Connection;

  // `sink` outlives every reply; null: nothing is logged. `arguments` make the service within.
  template <class... Arguments>
  WithKlog(core::CommandSink* sink, uint32_t sample, Arguments&&... arguments)
      : sink_(sink), sample_(sample), service_(std::forward<Arguments>(arguments)...) {}

  Connection Connect() { return service_.Connect(); }
  void Execute(Connection& connection, const Request& req, core::Reply<Response>&& reply) {
    if (sink_ != nullptr && sample_ != 0 && IsLogged(req.op) && ++count_ >= sample_) [[unlikely]] {
      count_ = 0;
      return service_.Execute(connection, req, LogReply(req, sink_, std::move(reply)));
    }
    service_.Execute(connection, req, std::move(reply));
  }
  bool Foresee(const Request& req)
    requires requires(S s) { s.Foresee(req); }
  {
    return service_.Foresee(req);
  }
  void Foretell(absl::string_view key)
    requires requires(S s) { s.Foretell(key); }
  {
    service_.Foretell(key);
  }
  void EndTurn() { service_.EndTurn(); }

  S& within() { return service_; }
  // 0: none from now on.
  void set_sample(uint32_t sample) { sample_ = sample; }

 private:
  core::CommandSink* const sink_;
  uint32_t sample_;
  uint32_t count_ = 0;
  S service_;
};

}  // namespace proto::memcache
