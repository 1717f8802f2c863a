// The command log: lines about commands, for replay and for looking back. Never blocks a worker.
//
//   workers --Write--> one bounded block of lines --every interval, or half full--> file
//
// A worker appends to memory under a lock that is never held over I/O. What does not fit is dropped
// and counted, and so is what the file does not take; the file itself says nothing about it, so
// that every line of it is a command. A crash loses the lines of one interval.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/klog.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/log/log_file.h"

namespace core {

// Where finished lines go.
class CommandSink {
 public:
  // One line without time and line break. Any thread; returns without waiting for I/O.
  virtual void Write(absl::string_view line) = 0;

 protected:
  ~CommandSink() = default;
};

class CommandLog final : public CommandSink {
 public:
  // Opens the file and starts the writer. REQUIRES: options.enabled(). `clock` outlives the log.
  static absl::StatusOr<std::unique_ptr<CommandLog>> Open(const config::Klog& options,
                                                          const Clock* clock);
  // Writes what waits, then ends the writer. Nobody may write any more.
  ~CommandLog();
  CommandLog(const CommandLog&) = delete;
  CommandLog& operator=(const CommandLog&) = delete;

  // The file gets "2026-01-31T12:00:00.123Z <line>".
  void Write(absl::string_view line) override;
  // Waits until what was written so far was handed to the file. Not for workers.
  void Flush();
  // Closes and opens the file again; on failure the old one stays in use. Not for workers.
  absl::Status Reopen();

  // Any thread.
  uint64_t written() const { return written_.load(std::memory_order_relaxed); }
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  CommandLog(const config::Klog& options, LogFile file, const Clock* clock);
  void Run();
  void WriteOut(absl::string_view block);

  const config::Klog options_;
  const Clock* const clock_;
  std::atomic<uint64_t> written_{0};
  std::atomic<uint64_t> dropped_{0};

  Mutex file_mu_;  // Held over I/O; taken by the writer and Reopen(), never with mu_ held.
  LogFile file_ ABSL_GUARDED_BY(file_mu_);

  Mutex mu_;  // Guards what follows; held for an append or a swap.
  CondVar wake_;
  CondVar done_;
  std::string waiting_ ABSL_GUARDED_BY(mu_);  // Whole lines.
  uint32_t lines_ ABSL_GUARDED_BY(mu_) = 0;   // In waiting_.
  uint64_t accepted_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t handled_ ABSL_GUARDED_BY(mu_) = 0;
  bool hurry_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  // The second that stamp_ spells, so that lines of one second share its formatting.
  int64_t stamp_sec_ ABSL_GUARDED_BY(mu_) = -1;
  std::string stamp_ ABSL_GUARDED_BY(mu_);

  std::thread writer_;
};

}  // namespace core
