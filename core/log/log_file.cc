#include "core/log/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace core {

namespace {

constexpr int kPatienceMs = 200;  // Shorter than anybody waits for a process to end.
constexpr size_t kWriteBytesMax =
    4096;                           // PIPE_BUF: a pipe polled writable takes this without waiting.
constexpr mode_t kFileMode = 0640;  // Logs name peers and keys; not for everybody.

// Not blocking: a FIFO without a reader must not stop the start, nor a stopped one the writer.
absl::StatusOr<Fd> OpenFile(const LogFile::Options& options) {
  Fd fd(open(options.path.c_str(),
             O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, kFileMode));
  if (!fd.valid()) {
    return absl::ErrnoToStatus(errno, absl::StrCat(options.knob, ": ", options.path));
  }
  return fd;
}

// Standard error is shared with whoever started us, so its mode is left alone. A socket (journald)
// can be told for one write not to wait; for a pipe the poll before and the size suffice.
ssize_t WriteOnce(int fd, absl::string_view bytes) {
  const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0 || errno != ENOTSOCK) return sent;
  return write(fd, bytes.data(), bytes.size());
}

}  // namespace

absl::StatusOr<LogFile> LogFile::Open(Options options) {
  if (options.backup.empty()) options.backup = options.path + ".old";  // Pelikan's default.
  Fd fd;
  if (options.path.empty()) {
    fd = Fd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  } else {
    ASSIGN_OR_RETURN(fd, OpenFile(options));
  }
  return LogFile(std::move(options), std::move(fd));
}

LogFile::LogFile(Options options, Fd fd) : options_(std::move(options)) { Adopt(std::move(fd)); }

void LogFile::Adopt(Fd fd) {
  fd_ = std::move(fd);
  stuck_ = false;
  mid_line_ = false;
  struct stat info {};
  rotates_ = !options_.path.empty() && options_.max_bytes > 0 && fstat(fd_.get(), &info) == 0 &&
             S_ISREG(info.st_mode);
  size_ = rotates_ ? static_cast<uint64_t>(info.st_size) : 0;
  rotate_above_ = options_.max_bytes;
}

absl::Status LogFile::Reopen() {
  if (options_.path.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(Fd fd, OpenFile(options_));
  Adopt(std::move(fd));
  return absl::OkStatus();
}

bool LogFile::IsNamed() const {
  struct stat mine {}, named {};
  return fstat(fd_.get(), &mine) == 0 && stat(options_.path.c_str(), &named) == 0 &&
         mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

void LogFile::Rotate() {
  rotate_above_ = size_ + options_.max_bytes;
  if (IsNamed()) {
    if (rename(options_.path.c_str(), options_.backup.c_str()) != 0) return;
    ++rotations_;
  }
  absl::StatusOr<Fd> fd = OpenFile(options_);
  if (fd.ok()) Adopt(*std::move(fd));
}

bool LogFile::WaitWritable() {
  pollfd ready{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  const int n = poll(&ready, 1, stuck_ ? 0 : kPatienceMs);
  stuck_ = n <= 0;
  return n > 0;
}

bool LogFile::Write(absl::string_view bytes) {
  if (!fd_.valid()) return false;
  if (rotates_ && size_ > 0 && size_ + bytes.size() > rotate_above_) Rotate();
  std::string joined;
  if (mid_line_) {
    joined = absl::StrCat("\n", bytes);
    bytes = joined;
  }
  const size_t whole = bytes.size();
  while (!bytes.empty()) {
    if (!WaitWritable()) break;
    // A regular file takes any length, and takes it whole or is full.
    const ssize_t n =
        WriteOnce(fd_.get(), rotates_ ? bytes : bytes.substr(0, kWriteBytesMax));
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && errno != EINTR) {
      stuck_ = errno == EAGAIN;
      break;
    }
  }
  size_ += whole - bytes.size();
  if (bytes.size() < whole) mid_line_ = !bytes.empty();
  return bytes.empty();
}

void BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace core
