// The end of the log's queue: makes one line of each message and writes it to a descriptor.
//
//   2026-01-31T12:00:00.123Z info  listening on 127.0.0.1:11211
//
// UTC with milliseconds, the level padded to five, then the message with line breaks and control
// characters escaped, so that a line of the file is always one message. A line that the file does
// not take (core/log/log_file.h) is lost and counted.
#pragma once

#include <spdlog/sinks/sink.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/log.h"
#include "core/base/mutex.h"
#include "core/log/log_file.h"

namespace core {

class LineSink final : public spdlog::sinks::sink {
 public:
  // Opens options.file. A closed standard error is no failure: every line is then lost and counted.
  static absl::StatusOr<std::shared_ptr<LineSink>> Open(const config::Log& options);

  // Called at each line; when what it returns has grown, a line says how many were dropped before
  // they came here. Set before the first line.
  void CountDropsOf(absl::AnyInvocable<uint64_t()> dropped);

  // The writer thread.
  void log(const spdlog::details::log_msg& message) override;
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

  // Any thread but a worker. On failure the old file stays in use.
  absl::Status Reopen();
  // Writes to options.file from the next line on, with its bounds. Likewise.
  absl::Status Change(const config::Log& options);
  // Returns when `done` holds; looks again after every line.
  void WaitUntil(absl::FunctionRef<bool()> done);
  uint64_t handled() const { return handled_.load(std::memory_order_acquire); }
  // Lines that reached the sink and could not be written. Any thread.
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  LineSink(LogFile file, bool is_file);
  void ReportDrops(int64_t now_ms) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::AnyInvocable<uint64_t()> dropped_;
  uint64_t reported_ = 0;  // The writer thread's.

  std::atomic<uint64_t> handled_{0};
  std::atomic<uint64_t> lost_{0};

  std::atomic<bool> is_file_;  // Else stderr.
  Mutex mu_;  // Guards what follows; held over a write, which never waits for long.
  LogFile file_ ABSL_GUARDED_BY(mu_);

  Mutex wait_mu_;
  CondVar progress_;
};

}  // namespace core
