// The diagnostic log: what an operator reads when something changed. Never blocks the caller.
//
// Lines go through a bounded queue to one writer thread (spdlog's async logger, overrun-oldest);
// when the queue is full the oldest lines are dropped and counted. Peer errors are metrics, not
// log lines. One Log is made by main and passed in.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "config/log.h"

namespace core {

enum class LogLevel : uint8_t { kTrace, kDebug, kInfo, kWarning, kError };

class Log {
 public:
  // Opens the sink named in `options` (stderr when no file is given).
  static absl::StatusOr<std::unique_ptr<Log>> Open(const config::Log& options);
  virtual ~Log() = default;

  // Any thread; returns without waiting for I/O.
  virtual void Write(LogLevel level, absl::string_view line) = 0;
  virtual bool enabled(LogLevel level) const = 0;
  // Waits until what was written so far reached its sink. Not for workers.
  virtual void Flush() = 0;
  // Closes and opens the file again, after a rotation. Not for workers.
  virtual void Reopen() = 0;
  // Goes on with another level, file, max_size and backup; the queue stays. On failure nothing
  // changes. Not for workers.
  virtual absl::Status Change(const config::Log&) { return absl::OkStatus(); }
  virtual uint64_t dropped() const = 0;

  template <typename... Args>
  void Info(const absl::FormatSpec<Args...>& format, const Args&... args) {
    if (enabled(LogLevel::kInfo)) Write(LogLevel::kInfo, absl::StrFormat(format, args...));
  }
  template <typename... Args>
  void Warning(const absl::FormatSpec<Args...>& format, const Args&... args) {
    if (enabled(LogLevel::kWarning)) Write(LogLevel::kWarning, absl::StrFormat(format, args...));
  }
  template <typename... Args>
  void Error(const absl::FormatSpec<Args...>& format, const Args&... args) {
    if (enabled(LogLevel::kError)) Write(LogLevel::kError, absl::StrFormat(format, args...));
  }
  template <typename... Args>
  void Debug(const absl::FormatSpec<Args...>& format, const Args&... args) {
    if (enabled(LogLevel::kDebug)) Write(LogLevel::kDebug, absl::StrFormat(format, args...));
  }
};

}  // namespace core
