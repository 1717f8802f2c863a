// Who is at the other end of a connection.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>

namespace core {

// The other end of a connection, remembered: when a connection closes the kernel may have forgotten
// it. 28 bytes.
class Peer {
 public:
  Peer() : address_{} { address_.sin6_family = AF_UNSPEC; }
  // One system call.
  explicit Peer(int fd);

  // "10.0.0.7", "::1", "unix".
  std::string ip() const;
  uint16_t port() const;  // 0 of a unix socket.
  bool is_unix() const { return address_.sin6_family != AF_INET && address_.sin6_family != AF_INET6; }

 private:
  struct sockaddr_in6 address_;  // Or a sockaddr_in, which is shorter.
};

// The address without the port, as few bytes: 4 of IPv4 (also where it comes mapped into IPv6), the
// first 8 of IPv6, since a host has a /64 to itself. Empty for a unix socket. One system call.
std::string PeerAddress(int fd);

// For the log: "10.0.0.7:40312", "[::1]:40312", or "a client" when that cannot be said.
std::string PeerText(int fd);

}  // namespace core
