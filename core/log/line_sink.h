// The end of the log's queue: makes one line of each message and writes it to a descriptor.
//
//   2026-01-31T12:00:00.123Z info  listening on 127.0.0.1:11211
//
// UTC with milliseconds, the level padded to five, then the message with line breaks and control
// characters escaped, so that a line of the file is always one message. A reader that stopped
// reading (a full pipe, a stopped terminal) is waited for once, kPatienceMs; from then on lines
// that cannot be written at once are lost and counted until it reads again.
#pragma once

#include <spdlog/sinks/sink.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/fd.h"
#include "core/base/mutex.h"

namespace core {

class LineSink final : public spdlog::sinks::sink {
 public:
  // Appends to `path`; empty means a duplicate of standard error. A closed standard error is no
  // failure: every line is then lost and counted.
  static absl::StatusOr<std::shared_ptr<LineSink>> Open(const std::string& path);

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
  // Returns when `done` holds; looks again after every line.
  void WaitUntil(absl::FunctionRef<bool()> done);
  uint64_t handled() const { return handled_.load(std::memory_order_acquire); }
  // Lines that reached the sink and could not be written. Any thread.
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  LineSink(std::string path, Fd fd);
  bool WriteAll(absl::string_view bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool WaitWritable() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReportDrops(int64_t now_ms) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string path_;
  absl::AnyInvocable<uint64_t()> dropped_;
  uint64_t reported_ = 0;  // The writer thread's.

  std::atomic<uint64_t> handled_{0};
  std::atomic<uint64_t> lost_{0};

  Mutex mu_;  // Guards what follows; held over a write, which never waits for long.
  Fd fd_ ABSL_GUARDED_BY(mu_);
  bool stuck_ ABSL_GUARDED_BY(mu_) = false;
  bool mid_line_ ABSL_GUARDED_BY(mu_) = false;  // A line was cut; end it before the next.

  Mutex wait_mu_;
  CondVar progress_;
};

}  // namespace core
