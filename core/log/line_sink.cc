// Formatting and writing of log lines, on the writer thread.

#include "core/log/line_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "core/base/status.h"

namespace core {

namespace {

constexpr int kPatienceMs = 200;  // Shorter than anybody waits for a process to end.
constexpr size_t kWriteBytesMax =
    4096;                           // PIPE_BUF: a pipe polled writable takes this without waiting.
constexpr mode_t kFileMode = 0640;  // Logs name peers; not for everybody.

absl::string_view NameOf(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
      return "trace";
    case spdlog::level::debug:
      return "debug";
    case spdlog::level::info:
      return "info ";
    case spdlog::level::warn:
      return "warn ";
    default:
      return "error";
  }
}

void AppendEscaped(absl::string_view message, std::string* line) {
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      line->append("\\n");
    } else if (c == '\r') {
      line->append("\\r");
    } else if (c == '\t' || (byte >= 0x20 && byte != 0x7f)) {
      line->push_back(c);
    } else {
      absl::StrAppendFormat(line, "\\x%02x", byte);
    }
  }
}

std::string FormatLine(int64_t wall_ms, absl::string_view level, absl::string_view message) {
  std::string line =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ ", absl::FromUnixMillis(wall_ms), absl::UTCTimeZone());
  absl::StrAppend(&line, level, " ");
  AppendEscaped(message, &line);
  line.push_back('\n');
  return line;
}

// Not blocking: a FIFO without a reader must not stop the start, nor a stopped one the writer.
absl::StatusOr<Fd> OpenFile(const std::string& path) {
  Fd fd(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
             kFileMode));
  if (!fd.valid()) {
    return absl::ErrnoToStatus(errno, absl::StrCat("log.file: ", path));
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

absl::StatusOr<std::shared_ptr<LineSink>> LineSink::Open(const std::string& path) {
  Fd fd;
  if (path.empty()) {
    fd = Fd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  } else {
    ASSIGN_OR_RETURN(fd, OpenFile(path));
  }
  return std::shared_ptr<LineSink>(new LineSink(path, std::move(fd)));
}

LineSink::LineSink(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

void LineSink::CountDropsOf(absl::AnyInvocable<uint64_t()> dropped) {
  dropped_ = std::move(dropped);
}

void LineSink::log(const spdlog::details::log_msg& message) {
  const int64_t wall_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(message.time.time_since_epoch())
          .count();
  const std::string line =
      FormatLine(wall_ms, NameOf(message.level),
                 absl::string_view(message.payload.data(), message.payload.size()));
  {
    MutexLock lock(mu_);
    ReportDrops(wall_ms);
    if (!WriteAll(line)) lost_.fetch_add(1, std::memory_order_relaxed);
  }
  handled_.fetch_add(1, std::memory_order_release);  // Pairs with the acquire in handled().
  progress_.NotifyAll();
}

void LineSink::ReportDrops(int64_t now_ms) {
  const uint64_t dropped = (dropped_ ? dropped_() : 0) + lost();
  if (dropped <= reported_) return;
  const std::string line = FormatLine(now_ms, NameOf(spdlog::level::warn),
                                      absl::StrCat("log: ", dropped - reported_, " lines dropped"));
  if (WriteAll(line)) reported_ = dropped;
}

bool LineSink::WaitWritable() {
  pollfd ready{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  const int n = poll(&ready, 1, stuck_ ? 0 : kPatienceMs);
  stuck_ = n <= 0;
  return n > 0;
}

bool LineSink::WriteAll(absl::string_view bytes) {
  if (!fd_.valid()) return false;
  std::string joined;
  if (mid_line_) {
    joined = absl::StrCat("\n", bytes);
    bytes = joined;
  }
  const size_t whole = bytes.size();
  while (!bytes.empty()) {
    if (!WaitWritable()) break;
    const ssize_t n = WriteOnce(fd_.get(), bytes.substr(0, kWriteBytesMax));
    if (n > 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && errno != EINTR) {
      stuck_ = errno == EAGAIN;
      break;
    }
  }
  if (bytes.size() < whole) mid_line_ = !bytes.empty();
  return bytes.empty();
}

absl::Status LineSink::Reopen() {
  if (path_.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(Fd fd, OpenFile(path_));
  MutexLock lock(mu_);
  fd_ = std::move(fd);
  stuck_ = false;
  mid_line_ = false;
  return absl::OkStatus();
}

void LineSink::WaitUntil(absl::FunctionRef<bool()> done) {
  // A drop is no line and wakes nobody, so the wait also ends by time.
  constexpr double kLookAgainSeconds = 0.01;
  MutexLock lock(wait_mu_);
  while (!done()) progress_.WaitFor(wait_mu_, kLookAgainSeconds);
}

}  // namespace core
