#include "core/net/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"

namespace core {
namespace {

constexpr int kAcceptsPerTurnMax = 64;   // A connect storm may not starve readers.

using Addresses = std::unique_ptr<struct addrinfo, decltype(&::freeaddrinfo)>;

absl::StatusOr<Addresses> AddressesOf(absl::string_view host, uint16_t port) {
  struct addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  struct addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(std::string(host).c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(absl::StrCat(host, ":", port, ": ", ::gai_strerror(error)));
  }
  return Addresses(found, &::freeaddrinfo);
}

absl::StatusOr<Fd> ListenAt(const struct addrinfo& info, int backlog, ListenSockets* sockets) {
  if (sockets != nullptr) {
    Fd inherited = sockets->Take(info.ai_addr, info.ai_addrlen);
    if (inherited.valid()) return inherited;
  }
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

absl::StatusOr<Fd> Listen(absl::string_view host, uint16_t port, int backlog,
                          ListenSockets* sockets) {
  ASSIGN_OR_RETURN(const Addresses found, AddressesOf(host, port));
  absl::Status last = absl::UnavailableError("no address");
  for (const struct addrinfo* info = found.get(); info != nullptr; info = info->ai_next) {
    absl::StatusOr<Fd> fd = ListenAt(*info, backlog, sockets);
    if (fd.ok()) {
      if (sockets != nullptr) sockets->Note(*fd);
      return fd;
    }
    last = fd.status();
  }
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", host, ":", port, ": ", last.message()));
}

uint16_t BoundPort(const Fd& fd) {
  struct sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  if (::getsockname(fd.get(), reinterpret_cast<struct sockaddr*>(&address), &length) != 0) return 0;
  if (address.ss_family == AF_UNIX) return 0;
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<struct sockaddr_in6*>(&address)->sin6_port);
  }
  return ntohs(reinterpret_cast<struct sockaddr_in*>(&address)->sin_port);
}

absl::StatusOr<Listening> ListenOn(const config::Listener& listen, int backlog,
                                   ListenSockets* sockets) {
  Listening all;
  std::vector<std::string> names;
  if (listen.tcp) {
    all.port = listen.port;
    for (const absl::string_view host : absl::StrSplit(listen.host, ',')) {
      ASSIGN_OR_RETURN(Fd fd, Listen(host, all.port, backlog, sockets));
      all.port = BoundPort(fd);  // If it was 0, the others take the one that was picked.
      all.fds.push_back(std::move(fd));
      names.push_back(absl::StrCat(host, ":", all.port, listen.tls.enabled() ? " (TLS)" : ""));
    }
  }
  if (!listen.unix_socket.empty()) {
    ASSIGN_OR_RETURN(UnixListening one,
                     ListenUnix(listen.unix_socket, *config::ModeOf(listen.unix_mask), backlog,
                                sockets));
    if (sockets != nullptr) sockets->Note(one.fd);
    all.fds.push_back(std::move(one.fd));
    all.unix_file = std::move(one.file);
    names.push_back(absl::StrCat("unix:", listen.unix_socket));
  }
  all.where = absl::StrJoin(names, " and ");
  return all;
}

absl::Status CheckHosts(const config::Listener& listen) {
  if (!listen.tcp) return absl::OkStatus();
  for (const absl::string_view host : absl::StrSplit(listen.host, ',')) {
    RETURN_IF_ERROR(AddressesOf(host, listen.port).status());
  }
  return absl::OkStatus();
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
  if (retry_.armed()) {
    metrics_->accept_paused.Add(-1);
  } else {
    loop_->Remove(fd_.get(), this);
  }
  retry_.Cancel();
  fd_.Close();
}

void Acceptor::Pause() {
  metrics_->accept_pause.Add();
  metrics_->accept_paused.Add(1);
  loop_->Remove(fd_.get(), this);
  loop_->Arm(&retry_, kPauseMs);
}

void Acceptor::Resume() {
  metrics_->accept_paused.Add(-1);
  Watch();
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
