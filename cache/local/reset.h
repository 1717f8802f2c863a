// Cutting a connection from under gRPC, which has no call for it: the socket is found among this
// process's descriptors by its two ends, and disconnected, so that a TCP peer sees a reset.
#pragma once

#include "absl/strings/string_view.h"

namespace cache::local {

// Resets the accepted connections between our `port` and `peer`, spelled as gRPC spells peers
// ("ipv4:127.0.0.1:40312", "ipv6:%5B::1%5D:40312"). A peer on a Unix socket has no name, so there
// every connection of `unix_path` goes ("/path", or "@name" for an abstract one). Any thread.
// Returns how many were cut.
int ResetConnections(absl::string_view peer, int port, absl::string_view unix_path);

}  // namespace cache::local
