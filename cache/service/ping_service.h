// The smallest service: every PING is answered at once, from nothing. What a server with this
// service can do is what the runtime can do.
#pragma once

#include <utility>

#include "core/net/reply.h"
#include "core/net/service.h"
#include "proto/ping/codec.h"

namespace cache {

class PingService {
 public:
  struct Connection {};  // Nothing to remember of a client.

  Connection Connect() { return {}; }
  void Execute(Connection&, const proto::ping::Request&,
               core::Reply<proto::ping::Response> reply) {
    std::move(reply).Send({proto::ping::Response::Status::kPong});
  }
  void EndTurn() {}
};

static_assert(core::Service<PingService, proto::ping::Codec>);

}  // namespace cache
