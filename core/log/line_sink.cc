// Formatting and writing of log lines, on the writer thread.

#include "core/log/line_sink.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "core/base/status.h"

namespace core {

namespace {

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

absl::StatusOr<LogFile> OpenFile(const config::Log& options) {
  return LogFile::Open({.knob = "log.file",
                        .path = options.file,
                        .max_bytes = options.max_size,
                        .backup = options.backup});
}

}  // namespace

absl::StatusOr<std::shared_ptr<LineSink>> LineSink::Open(const config::Log& options) {
  ASSIGN_OR_RETURN(LogFile file, OpenFile(options));
  return std::shared_ptr<LineSink>(new LineSink(std::move(file), !options.file.empty()));
}

LineSink::LineSink(LogFile file, bool is_file) : is_file_(is_file), file_(std::move(file)) {}

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
    if (!file_.Write(line)) lost_.fetch_add(1, std::memory_order_relaxed);
  }
  handled_.fetch_add(1, std::memory_order_release);  // Pairs with the acquire in handled().
  progress_.NotifyAll();
}

void LineSink::ReportDrops(int64_t now_ms) {
  const uint64_t dropped = (dropped_ ? dropped_() : 0) + lost();
  if (dropped <= reported_) return;
  const std::string line = FormatLine(now_ms, NameOf(spdlog::level::warn),
                                      absl::StrCat("log: ", dropped - reported_, " lines dropped"));
  if (file_.Write(line)) reported_ = dropped;
}

absl::Status LineSink::Reopen() {
  // Nothing to do for stderr, and its reader may keep the writer, and so the lock, waiting.
  if (!is_file_.load(std::memory_order_relaxed)) return absl::OkStatus();
  MutexLock lock(mu_);
  return file_.Reopen();
}

absl::Status LineSink::Change(const config::Log& options) {
  ASSIGN_OR_RETURN(LogFile file, OpenFile(options));
  MutexLock lock(mu_);
  file_ = std::move(file);
  is_file_.store(!options.file.empty(), std::memory_order_relaxed);  // Of no other memory.
  return absl::OkStatus();
}

void LineSink::WaitUntil(absl::FunctionRef<bool()> done) {
  // A drop is no line and wakes nobody, so the wait also ends by time.
  constexpr double kLookAgainSeconds = 0.01;
  MutexLock lock(wait_mu_);
  while (!done()) progress_.WaitFor(wait_mu_, kLookAgainSeconds);
}

}  // namespace core
