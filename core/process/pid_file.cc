#include "core/process/pid_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/base/fd.h"

namespace core {

absl::StatusOr<std::unique_ptr<PidFile>> PidFile::Write(const std::string& path) {
  // Under another name first: who reads the file sees all of the number or none.
  const std::string fresh = absl::StrCat(path, ".", ::getpid());
  const std::string text = absl::StrCat(::getpid(), "\n");
  const Fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  const auto written = fd.valid() ? ::write(fd.get(), text.data(), text.size()) : -1;
  if (written != static_cast<ssize_t>(text.size()) ||
      std::rename(fresh.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(fresh.c_str());
    return absl::FailedPreconditionError(
        absl::StrCat("server.pid_file: cannot write ", path, ": ", std::strerror(error)));
  }
  return std::unique_ptr<PidFile>(new PidFile(path));
}

PidFile::~PidFile() {
  // Who took over has put its own there.
  std::ifstream in(path_);
  int pid = 0;
  if (in >> pid && pid == ::getpid()) ::unlink(path_.c_str());
}

}  // namespace core
