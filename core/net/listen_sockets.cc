#include "core/net/listen_sockets.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "core/net/unix_socket.h"

namespace core {
namespace {

constexpr int kFirstPassed = 3;  // SD_LISTEN_FDS_START.

Fd Duplicate(const Fd& fd) { return Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

// Two paths are compared to their end, whatever length each was given.
bool SameAddress(const struct sockaddr_storage& mine, socklen_t mine_length,
                 const struct sockaddr* other, socklen_t other_length) {
  if (mine.ss_family != other->sa_family) return false;
  if (mine.ss_family == AF_UNIX) {
    struct sockaddr_un a = {}, b = {};
    std::memcpy(&a, &mine, std::min<size_t>(mine_length, sizeof(a)));
    std::memcpy(&b, other, std::min<size_t>(other_length, sizeof(b)));
    return ::strncmp(a.sun_path, b.sun_path, sizeof(a.sun_path)) == 0;
  }
  return mine_length == other_length && std::memcmp(&mine, other, mine_length) == 0;
}

bool Listens(const Fd& fd) {
  int is_listening = 0;
  socklen_t length = sizeof(is_listening);
  return ::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &length) == 0 &&
         is_listening != 0;
}

int TypeOf(const Fd& fd) {
  int type = 0;
  socklen_t length = sizeof(type);
  return ::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &length) == 0 ? type : 0;
}

}  // namespace

void ListenSockets::Inherit(std::vector<Fd> sockets, From from) {
  if (from == From::kPredecessor) is_shared_.store(true, std::memory_order_relaxed);
  MutexLock lock(mu_);
  for (Fd& fd : sockets) {
    if (Listens(fd)) inherited_.push_back({std::move(fd), from});
  }
}

Fd ListenSockets::Take(const struct sockaddr* address, socklen_t length, int type) {
  MutexLock lock(mu_);
  for (auto it = inherited_.begin(); it != inherited_.end(); ++it) {
    struct sockaddr_storage bound = {};
    socklen_t bound_length = sizeof(bound);
    if (::getsockname(it->fd.get(), reinterpret_cast<struct sockaddr*>(&bound), &bound_length) != 0 ||
        TypeOf(it->fd) != type || !SameAddress(bound, bound_length, address, length)) {
      continue;
    }
    Fd taken = std::move(it->fd);
    inherited_.erase(it);
    return taken;
  }
  return Fd();
}

size_t ListenSockets::CloseUntaken() {
  std::vector<Inherited> untaken;
  {
    MutexLock lock(mu_);
    untaken.swap(inherited_);
  }
  for (Inherited& one : untaken) {
    struct sockaddr_un address = {};
    socklen_t length = sizeof(address);
    const bool is_file =
        one.from == From::kPredecessor &&
        ::getsockname(one.fd.get(), reinterpret_cast<struct sockaddr*>(&address), &length) == 0 &&
        address.sun_family == AF_UNIX && address.sun_path[0] != '\0';
    const int type = TypeOf(one.fd);
    one.fd.Close();
    // Somebody who listens there again is left alone.
    if (is_file) (void)RemoveStaleUnixSocket(address, type);
  }
  return untaken.size();
}

void ListenSockets::Note(const Fd& listening) {
  MutexLock lock(mu_);
  if (keeps_) noted_.push_back(Duplicate(listening));
}

std::vector<Fd> ListenSockets::ToPassOn() const {
  MutexLock lock(mu_);
  std::vector<Fd> all;
  for (const Fd& fd : noted_) all.push_back(Duplicate(fd));
  return all;
}

void ListenSockets::Forget() {
  MutexLock lock(mu_);
  noted_.clear();
}

std::vector<Fd> ListenSockets::FromServiceManager() {
  const char* pid = ::getenv("LISTEN_PID");
  const char* count = ::getenv("LISTEN_FDS");
  int for_pid = 0, n = 0;
  std::vector<Fd> passed;
  if (pid == nullptr || count == nullptr || !absl::SimpleAtoi(pid, &for_pid) ||
      for_pid != ::getpid() || !absl::SimpleAtoi(count, &n)) {
    return passed;
  }
  for (int fd = kFirstPassed; fd < kFirstPassed + n; ++fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0) continue;
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    passed.emplace_back(fd);
  }
  return passed;
}

}  // namespace core
