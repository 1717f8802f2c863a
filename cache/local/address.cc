#include "cache/local/address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/fd.h"
#include "core/base/status.h"

namespace cache::local {
namespace {

absl::Status Refused(absl::string_view address, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat("local: cannot listen on ", address, ": ", why));
}

// gRPC would only log why it cannot bind, so the address is tried here first.
absl::Status TryBind(const std::string& host, int port, absl::string_view address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
      error != 0) {
    return Refused(address, ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, &::freeaddrinfo);
  const core::Fd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0) {
    return Refused(address, std::strerror(errno));
  }
  return absl::OkStatus();
}

absl::StatusOr<Address> UnixAddress(absl::string_view host) {
  Address address{.listen = std::string(host), .dial = std::string(host), .unix_path = ""};
  absl::string_view name = host;
  if (absl::ConsumePrefix(&name, "unix-abstract:")) {
    address.unix_path = absl::StrCat("@", name);
  } else {
    absl::ConsumePrefix(&name, "unix:");
    address.unix_path = std::string(name);
  }
  if (name.empty() || address.unix_path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Refused(host, "the socket's name is empty or too long");
  }
  return address;
}

}  // namespace

std::string Address::Target(int port) const {
  return is_unix() ? dial : absl::StrCat(dial, ":", port);
}

absl::StatusOr<Address> ResolveListenAddress(absl::string_view host, int port) {
  if (absl::StartsWith(host, "unix:") || absl::StartsWith(host, "unix-abstract:")) {
    return UnixAddress(host);
  }
  const bool is_v6 = absl::StrContains(host, ':');
  Address address;
  address.dial = is_v6 ? absl::StrCat("[", host, "]") : std::string(host);
  address.listen = absl::StrCat(address.dial, ":", port);
  if (host == "0.0.0.0") address.dial = "127.0.0.1";  // A wildcard cannot be dialled everywhere.
  if (host == "::") address.dial = "[::1]";
  RETURN_IF_ERROR(TryBind(std::string(host), port, address.listen));
  return address;
}

}  // namespace cache::local
