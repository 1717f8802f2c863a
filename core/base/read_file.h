// Reads files that hold secrets: whole, into memory that the caller wipes. Nothing of them is
// buffered on the way.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/fd.h"

namespace core {

// How many bytes were read: all of the file, or as many as `into` has room for. NOT_FOUND,
// PERMISSION_DENIED, INVALID_ARGUMENT for what is no regular file, or UNAVAILABLE; the message
// begins with `what`. Waits for the disk: not for workers. Any thread.
inline absl::StatusOr<size_t> ReadFile(const char* file, absl::string_view what,
                                       absl::Span<char> into) {
  const auto failure = [what](int error) -> absl::Status {
    const std::string message = absl::StrCat(what, ": ", strerror(error));
    if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
    if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
    return absl::UnavailableError(message);
  };
  // Nonblocking: opening a FIFO would wait for its writer.
  const Fd fd(::open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return failure(errno);
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) return failure(errno);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(what, " is no file"));
  size_t size = 0;
  while (size < into.size()) {
    const ssize_t n = ::read(fd.get(), into.data() + size, into.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failure(errno);
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  return size;
}

}  // namespace core
