#include "core/net/peer.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "absl/strings/str_cat.h"

namespace core {

Peer::Peer(int fd) : Peer() {
  struct sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getpeername(fd, reinterpret_cast<struct sockaddr*>(&address), &size) != 0) return;
  std::memcpy(&address_, &address, sizeof address_);
}

std::string Peer::ip() const {
  if (is_unix()) return "unix";
  char text[INET6_ADDRSTRLEN] = "";
  if (address_.sin6_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &address_.sin6_addr, text, sizeof text);
  } else {
    struct sockaddr_in v4;
    std::memcpy(&v4, &address_, sizeof v4);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  }
  return text;
}

// sockaddr_in has the port in the same place.
uint16_t Peer::port() const { return is_unix() ? 0 : ntohs(address_.sin6_port); }

std::string PeerAddress(int fd) {
  struct sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getpeername(fd, reinterpret_cast<struct sockaddr*>(&address), &size) != 0) return "";
  if (address.ss_family == AF_INET) {
    struct sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof v4);
    return std::string(reinterpret_cast<const char*>(&v4.sin_addr), 4);
  }
  if (address.ss_family != AF_INET6) return "";
  struct sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof v6);
  const char* const bytes = reinterpret_cast<const char*>(&v6.sin6_addr);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return std::string(bytes + 12, 4);
  return std::string(bytes, 8);
}

std::string PeerText(int fd) {
  struct sockaddr_storage address = {};
  socklen_t size = sizeof address;
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (::getpeername(fd, reinterpret_cast<struct sockaddr*>(&address), &size) != 0 ||
      address.ss_family == AF_UNIX ||
      ::getnameinfo(reinterpret_cast<struct sockaddr*>(&address), size, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "a client";
  }
  if (address.ss_family == AF_INET) return absl::StrCat(host, ":", port);
  return absl::StrCat("[", host, "]:", port);
}

}  // namespace core
