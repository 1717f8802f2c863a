// A listening unix socket and the file that stands for it.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/fd.h"
#include "core/net/listen_sockets.h"

namespace core {

// Removes the file of a unix socket when it is no longer needed, unless another process has put its
// own in that place meanwhile, or serves on it still.
class UnixSocketFile {
 public:
  // REQUIRES: `path` was just bound, and its permissions are final. `sockets`, where it came from if
  // it is inherited, outlives it.
  explicit UnixSocketFile(std::string path, const ListenSockets* sockets = nullptr);
  ~UnixSocketFile();
  UnixSocketFile(const UnixSocketFile&) = delete;
  UnixSocketFile& operator=(const UnixSocketFile&) = delete;
  // Another process has the socket now, and the file with it.
  void Leave() { path_.clear(); }

 private:
  std::string path_;  // Empty: not to be removed.
  const ListenSockets* const sockets_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  struct timespec changed_ = {};  // File systems give the number of a removed inode away again.
};

struct UnixListening {
  Fd fd;
  std::unique_ptr<UnixSocketFile> file;
};

// Removes the file of a socket that nobody listens on any more. OK if there is none; UNAVAILABLE if
// somebody listens, or the file is no socket.
absl::Status RemoveStaleUnixSocket(const struct sockaddr_un& address, int type);

// Binds and listens at `path`, which gets the permissions `mode` whatever the umask. What a process
// that died has left there is removed; a socket that somebody listens on, or any other file, is an
// error that names the path.
// `sockets`, if given: where one may be that listens there already; it is used as it is. They outlive
// what is returned.
absl::StatusOr<UnixListening> ListenUnix(const std::string& path, uint32_t mode, int backlog,
                                         ListenSockets* sockets = nullptr,
                                         int type = SOCK_STREAM);

}  // namespace core
