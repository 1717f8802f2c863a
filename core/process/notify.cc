#include "core/process/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "core/base/fd.h"

namespace core {

void NotifySupervisor(absl::string_view state) {
  const char* path = getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  const size_t length = path == nullptr ? 0 : strlen(path);
  if (length < 2 || length >= sizeof(address.sun_path)) return;
  if (path[0] != '/' && path[0] != '@') return;  // AF_UNIX only: a path or an abstract name.
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return;
  // An abstract name has no terminator: the length says where it ends.
  const auto address_bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  // Not telling is no reason to fail: the supervisor has its own timeout.
  (void)sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), address_bytes);
}

}  // namespace core
