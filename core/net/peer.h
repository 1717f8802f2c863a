// Who is at the other end of a connection.
#pragma once

#include <string>

namespace core {

// The address without the port, as few bytes: 4 of IPv4 (also where it comes mapped into IPv6), the
// first 8 of IPv6, since a host has a /64 to itself. Empty for a unix socket. One system call.
std::string PeerAddress(int fd);

// For the log: "10.0.0.7:40312", "[::1]:40312", or "a client" when that cannot be said.
std::string PeerText(int fd);

}  // namespace core
