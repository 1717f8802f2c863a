#include "core/net/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace core {
namespace {

constexpr int kAcceptsPerTurnMax = 64;   // A connect storm may not starve readers.
constexpr int64_t kDescriptorRetryMs = 50;

absl::StatusOr<Fd> ListenOn(const struct addrinfo& info, int backlog) {
  Fd fd(::socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int one = 1;
  // No SO_REUSEPORT: a second process on the same port must be told that it is taken.
  if (!fd.valid() ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
      ::bind(fd.get(), info.ai_addr, info.ai_addrlen) != 0 || ::listen(fd.get(), backlog) != 0) {
    return absl::UnavailableError(std::strerror(errno));
  }
  return fd;
}

}  // namespace

absl::StatusOr<Fd> Listen(absl::string_view host, uint16_t port, int backlog) {
  struct addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  struct addrinfo* found = nullptr;
  const std::string where = absl::StrCat(host, ":", port);
  const int error =
      ::getaddrinfo(std::string(host).c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", ::gai_strerror(error)));
  }
  absl::Status last = absl::UnavailableError("no address");
  for (const struct addrinfo* info = found; info != nullptr; info = info->ai_next) {
    absl::StatusOr<Fd> fd = ListenOn(*info, backlog);
    if (fd.ok()) {
      ::freeaddrinfo(found);
      return fd;
    }
    last = fd.status();
  }
  ::freeaddrinfo(found);
  return absl::UnavailableError(absl::StrCat("cannot listen on ", where, ": ", last.message()));
}

uint16_t BoundPort(const Fd& fd) {
  struct sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  if (::getsockname(fd.get(), reinterpret_cast<struct sockaddr*>(&address), &length) != 0) return 0;
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<struct sockaddr_in6*>(&address)->sin6_port);
  }
  return ntohs(reinterpret_cast<struct sockaddr_in*>(&address)->sin_port);
}

Acceptor::Acceptor(EventLoop* loop, Fd listening, NetMetrics* metrics, Take take)
    : loop_(loop),
      fd_(std::move(listening)),
      port_(BoundPort(fd_)),
      metrics_(metrics),
      take_(std::move(take)) {
  Watch();
}

void Acceptor::Watch() { loop_->Add(fd_.get(), EPOLLIN, this); }

void Acceptor::Close() {
  if (!fd_.valid()) return;
  if (!retry_.armed()) loop_->Remove(fd_.get(), this);
  retry_.Cancel();
  fd_.Close();
}

void Acceptor::Pause() {
  metrics_->accept_pause.Add();
  loop_->Remove(fd_.get(), this);
  loop_->Arm(&retry_, kDescriptorRetryMs);
}

void Acceptor::OnEvents(uint32_t) {
  for (int i = 0; i < kAcceptsPerTurnMax; ++i) {
    Fd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) Pause();
      return;  // EAGAIN, or a connection that died in the queue: the next poll tells.
    }
    const int one = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    take_(std::move(fd));
  }
}

}  // namespace core
