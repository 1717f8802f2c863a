#include "cache/local/reset.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/fd.h"

namespace cache::local {
namespace {

// One end of a socket.
struct End {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&address); }
};

std::vector<int> OpenDescriptors() {
  std::vector<int> fds;
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return fds;
  while (const dirent* entry = ::readdir(folder)) {
    int fd = -1;
    if (absl::SimpleAtoi(entry->d_name, &fd) && fd != ::dirfd(folder)) fds.push_back(fd);
  }
  ::closedir(folder);
  return fds;
}

int PortOf(const End& end) {
  if (end.address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&end.address)->sin_port);
  }
  if (end.address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&end.address)->sin6_port);
  }
  return -1;
}

// As gRPC spells a peer; IPv4 mapped into IPv6 is IPv4.
std::string PeerName(const End& end) {
  char text[INET6_ADDRSTRLEN] = "";
  if (end.address.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&end.address)->sin_addr, text,
                sizeof(text));
    return absl::StrCat("ipv4:", text, ":", PortOf(end));
  }
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(&end.address)->sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) {
    ::inet_ntop(AF_INET, &v6.s6_addr[12], text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", PortOf(end));
  }
  ::inet_ntop(AF_INET6, &v6, text, sizeof(text));
  return absl::StrCat("ipv6:%5B", text, "%5D:", PortOf(end));
}

// "/path" or "@name".
std::string UnixName(const End& end) {
  const auto* un = reinterpret_cast<const sockaddr_un*>(&end.address);
  const size_t bytes = end.length - offsetof(sockaddr_un, sun_path);
  if (end.length <= offsetof(sockaddr_un, sun_path)) return "";
  if (un->sun_path[0] == '\0')
    return absl::StrCat("@", absl::string_view(un->sun_path + 1, bytes - 1));
  return std::string(un->sun_path, ::strnlen(un->sun_path, bytes));
}

bool IsTheirs(int fd, absl::string_view peer, int port, absl::string_view unix_path) {
  End here;
  End there;
  if (::getsockname(fd, here.raw(), &here.length) != 0) return false;
  if (::getpeername(fd, there.raw(), &there.length) != 0) return false;  // Listeners stay.
  if (here.address.ss_family == AF_UNIX) return !unix_path.empty() && UnixName(here) == unix_path;
  return PortOf(here) == port && PortOf(here) >= 0 && PeerName(there) == peer;
}

void Cut(int fd) {
  // Dissolving the association sends RST where a shutdown would end the stream politely. Only TCP
  // knows it; on a Unix socket the shutdown does the work.
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  if (::connect(fd, &nobody, sizeof(nobody)) != 0) ::shutdown(fd, SHUT_RDWR);
}

}  // namespace

int ResetConnections(absl::string_view peer, int port, absl::string_view unix_path) {
  int cut = 0;
  for (int fd : OpenDescriptors()) {
    // Judged and cut through a duplicate: the number may be closed and taken again meanwhile.
    const core::Fd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!own.valid() || !IsTheirs(own.get(), peer, port, unix_path)) continue;
    Cut(own.get());
    ++cut;
  }
  return cut;
}

}  // namespace cache::local
