#include "tools/load/endpoint.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <cstring>

#include "absl/strings/str_cat.h"

namespace tools::load {

absl::StatusOr<Endpoint> Endpoint::Resolve(const Options& options) {
  Endpoint out;
  if (!options.socket.empty()) {
    struct sockaddr_un path = {};
    if (options.socket.size() >= sizeof(path.sun_path)) {
      return absl::InvalidArgumentError(absl::StrCat(options.socket, ": the path is too long"));
    }
    path.sun_family = AF_UNIX;
    std::memcpy(path.sun_path, options.socket.data(), options.socket.size());
    std::memcpy(&out.address_, &path, sizeof(path));
    out.length_ = sizeof(path);
    out.name_ = options.socket;
    return out;
  }
  struct addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  struct addrinfo* found = nullptr;
  const std::string port = absl::StrCat(options.port);
  if (const int error = ::getaddrinfo(options.host.c_str(), port.c_str(), &hints, &found)) {
    return absl::NotFoundError(absl::StrCat(options.host, ": ", ::gai_strerror(error)));
  }
  std::memcpy(&out.address_, found->ai_addr, found->ai_addrlen);
  out.length_ = found->ai_addrlen;
  out.name_ = absl::StrCat(options.host, ":", port);
  ::freeaddrinfo(found);
  return out;
}

absl::StatusOr<core::Fd> Endpoint::Connect() const {
  core::Fd fd(::socket(address_.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return absl::ResourceExhaustedError(absl::StrCat("socket: ", std::strerror(errno)));
  if (::connect(fd.get(), reinterpret_cast<const struct sockaddr*>(&address_), length_) != 0) {
    return absl::UnavailableError(absl::StrCat(name_, ": ", std::strerror(errno)));
  }
  const int one = 1;
  if (address_.ss_family != AF_UNIX) {
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  }
  ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  return fd;
}

}  // namespace tools::load
