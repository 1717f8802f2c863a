// Where clients must say who they are: what one connection has said so far.
//
// memcached's two ways, over one file of users. Text: the first command must be a store of any key
// whose value is "user password", and until it was right every line is refused. Binary: SASL with
// mechanism PLAIN (RFC 4616). Both are answered by the codec; services never see a request of a
// connection that is not in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/auth/gate.h"
#include "core/net/codec.h"
#include "core/net/line_scanner.h"
#include "proto/memcache/request.h"

namespace proto::memcache {

// One connection's. One thread.
class Login {
 public:
  enum class Outcome : uint8_t { kWelcome, kRefused, kContinue, kHangUp };

  // `gate` outlives the connection. `peer`: see core::PeerAddress().
  Login(core::AuthGate* gate, std::string peer) : gate_(gate), peer_(std::move(peer)) {}

  bool done() const { return done_; }

  // Text: reads one line, or a line and its block. On success done() from then on.
  core::ParseResult ParseText(absl::string_view in, Request* req);

  // Binary: the packets of SASL. Each begins anew, as in memcached: who asks again is out until it is
  // answered. kContinue: the mechanism waits for what SASL_STEP brings.
  Outcome Start(absl::string_view mechanism, absl::string_view data);
  Outcome Step(absl::string_view data);
  void Forget() { done_ = started_ = false; }

 private:
  core::ParseResult ParseBlock(absl::string_view block, size_t consumed, Request* req);
  Outcome Plain(absl::string_view data);
  Outcome Try(absl::string_view name, absl::string_view password);

  core::AuthGate* const gate_;
  const std::string peer_;
  bool done_ = false;
  bool started_ = false;  // SASL waits for a step.
  core::LineScanner line_;
  size_t need_ = 0;       // While a block arrives: bytes of line and block together.
};

}  // namespace proto::memcache
