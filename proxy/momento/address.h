// Where a socket connects to: an IPv4, IPv6 or Unix address, and how they are spelled.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace proxy::momento {

struct Address {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sa_family_t family() const { return storage.ss_family; }
  bool operator==(const Address& other) const {
    return size == other.size && std::memcmp(&storage, &other.storage, size) == 0;
  }
};

// The address that `host` spells by itself: "127.0.0.1", "::1", "unix:/path",
// "unix-abstract:name". Nothing for names, which a Resolver looks up. Unix addresses have no port.
std::optional<Address> NumericAddress(const std::string& host, uint16_t port);

struct HostPort {
  std::string host;
  uint16_t port = 0;
};
// Splits "host:port", "[v6]:port" or a Unix address (port 0). Nothing when it is none of them.
std::optional<HostPort> SplitHostPort(absl::string_view text);

}  // namespace proxy::momento
