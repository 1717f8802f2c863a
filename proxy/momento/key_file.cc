// See key_file.h.
#include "proxy/momento/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/fd.h"

namespace proxy::momento {
namespace {

// Keys are one or two KiB; the service takes headers of 8 KiB at most.
constexpr size_t kKeyFileBytesMax = 16 * 1024;

absl::Status Failure(int error, absl::string_view what) {
  const std::string message = absl::StrCat(what, ": ", strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::UnavailableError(message);
}

}  // namespace

absl::StatusOr<Secret> ReadKeyFile(const std::string& file, const std::string& knob) {
  const std::string what = absl::StrCat(knob, ": \"", file, "\"");
  // Nonblocking: opening a FIFO would wait for its writer.
  const core::Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return Failure(errno, what);
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) return Failure(errno, what);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(what, " is no file"));
  char bytes[kKeyFileBytesMax + 1];
  size_t size = 0;
  int error = 0;
  while (size < sizeof(bytes)) {
    const ssize_t n = ::read(fd.get(), bytes + size, sizeof(bytes) - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) error = errno;
    if (n <= 0) break;
    size += static_cast<size_t>(n);
  }
  Secret key(absl::StripAsciiWhitespace(absl::string_view(bytes, size)));
  ::explicit_bzero(bytes, size);
  if (error != 0) return Failure(error, what);
  if (size > kKeyFileBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is too long to be an API key"));
  }
  if (key.empty()) return absl::InvalidArgumentError(absl::StrCat(what, " is empty"));
  return key;
}

}  // namespace proxy::momento
