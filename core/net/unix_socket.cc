#include "core/net/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace core {
namespace {

absl::Status Cannot(const std::string& path, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", path, ": ", why));
}

absl::Status Cannot(const std::string& path) { return Cannot(path, std::strerror(errno)); }

Fd NewSocket(int type) {
  return Fd(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

}  // namespace

UnixSocketFile::UnixSocketFile(std::string path, const ListenSockets* sockets)
    : path_(std::move(path)), sockets_(sockets) {
  struct stat there = {};
  if (::lstat(path_.c_str(), &there) != 0) return;
  device_ = there.st_dev;
  inode_ = there.st_ino;
  changed_ = there.st_ctim;
}

UnixSocketFile::~UnixSocketFile() {
  if (sockets_ != nullptr && sockets_->is_shared()) return;
  struct stat there = {};
  if (path_.empty() || ::lstat(path_.c_str(), &there) != 0) return;
  if (there.st_dev == device_ && there.st_ino == inode_ &&
      there.st_ctim.tv_sec == changed_.tv_sec && there.st_ctim.tv_nsec == changed_.tv_nsec) {
    ::unlink(path_.c_str());
  }
}

absl::Status RemoveStaleUnixSocket(const struct sockaddr_un& address, int type) {
  const std::string path(address.sun_path, ::strnlen(address.sun_path, sizeof(address.sun_path)));
  struct stat there = {};
  if (::lstat(path.c_str(), &there) != 0) {
    return errno == ENOENT ? absl::OkStatus() : Cannot(path);
  }
  if (!S_ISSOCK(there.st_mode)) return Cannot(path, "a file that is no socket is there");
  const Fd probe = NewSocket(type);
  if (!probe.valid()) return Cannot(path);
  if (::connect(probe.get(), reinterpret_cast<const struct sockaddr*>(&address),
                sizeof(address)) == 0 ||
      errno != ECONNREFUSED) {
    return Cannot(path, errno == EACCES ? std::strerror(errno) : std::strerror(EADDRINUSE));
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return Cannot(path);
  return absl::OkStatus();
}

absl::StatusOr<UnixListening> ListenUnix(const std::string& path, uint32_t mode, int backlog,
                                         ListenSockets* sockets, int type) {
  struct sockaddr_un address = {};
  if (path.size() >= sizeof(address.sun_path)) return Cannot(path, std::strerror(ENAMETOOLONG));
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  UnixListening listening;
  if (sockets != nullptr) {
    listening.fd = sockets->Take(reinterpret_cast<const struct sockaddr*>(&address),
                                 sizeof(address), type);
    if (listening.fd.valid()) {
      listening.file = std::make_unique<UnixSocketFile>(path, sockets);
      return listening;
    }
  }
  RETURN_IF_ERROR(RemoveStaleUnixSocket(address, type));
  listening.fd = NewSocket(type);
  // Linux gives the file the permissions of the socket, less the umask: nobody whom `mode` excludes
  // gets in before chmod() adds what the umask took.
  if (!listening.fd.valid() || ::fchmod(listening.fd.get(), mode) != 0 ||
      ::bind(listening.fd.get(), reinterpret_cast<const struct sockaddr*>(&address),
             sizeof(address)) != 0) {
    return Cannot(path);
  }
  const bool is_open = ::chmod(path.c_str(), mode) == 0;
  listening.file = std::make_unique<UnixSocketFile>(path);
  if (!is_open || ::listen(listening.fd.get(), backlog) != 0) return Cannot(path);
  return listening;
}

}  // namespace core
