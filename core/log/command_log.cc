#include "core/log/command_log.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "core/base/status.h"

namespace core {

absl::StatusOr<std::unique_ptr<CommandLog>> CommandLog::Open(const config::Klog& options,
                                                             const Clock* clock) {
  ASSIGN_OR_RETURN(LogFile file, LogFile::Open({.knob = "klog.file",
                                                .path = options.file,
                                                .max_bytes = options.max_size,
                                                .backup = options.backup}));
  std::unique_ptr<CommandLog> log(new CommandLog(options, std::move(file), clock));
  try {
    log->writer_ = std::thread([raw = log.get()] { raw->Run(); });
  } catch (const std::exception& e) {  // std::thread throws.
    return absl::InternalError(absl::StrCat("klog: cannot start the writer: ", e.what()));
  }
  return log;
}

CommandLog::CommandLog(const config::Klog& options, LogFile file, const Clock* clock)
    : options_(options), clock_(clock), file_(std::move(file)) {}

CommandLog::~CommandLog() {
  {
    MutexLock lock(mu_);
    stop_ = true;
  }
  wake_.NotifyAll();
  if (writer_.joinable()) writer_.join();
}

void CommandLog::Write(absl::string_view line) {
  const int64_t wall_ms = clock_->WallNs() / 1'000'000;
  bool wake = false;
  {
    MutexLock lock(mu_);
    if (lines_ >= options_.queue_lines) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    if (stamp_sec_ != wall_ms / 1000) {
      stamp_sec_ = wall_ms / 1000;
      stamp_ = absl::FormatTime("%Y-%m-%dT%H:%M:%S.", absl::FromUnixSeconds(stamp_sec_),
                                absl::UTCTimeZone());
    }
    absl::StrAppend(&waiting_, stamp_, absl::Dec(wall_ms % 1000, absl::kZeroPad3), "Z ", line,
                    "\n");
    ++accepted_;
    if (++lines_ == options_.queue_lines / 2) wake = hurry_ = true;
  }
  if (wake) wake_.NotifyAll();
}

void CommandLog::Flush() {
  constexpr double kLookAgainSeconds = 0.1;
  MutexLock lock(mu_);
  const uint64_t target = accepted_;
  while (handled_ < target) {
    hurry_ = true;
    wake_.NotifyAll();
    done_.WaitFor(mu_, kLookAgainSeconds);
  }
}

absl::Status CommandLog::Reopen() {
  MutexLock lock(file_mu_);
  return file_.Reopen();
}

void CommandLog::Run() {
  BlockSignals();
  const double interval_seconds = absl::ToDoubleSeconds(options_.interval);
  std::string block;
  for (bool stop = false; !stop;) {
    uint64_t taken;
    {
      MutexLock lock(mu_);
      if (!hurry_ && !stop_) wake_.WaitFor(mu_, interval_seconds);
      hurry_ = false;
      stop = stop_;
      block.clear();
      block.swap(waiting_);
      taken = lines_;
      lines_ = 0;
    }
    WriteOut(block);
    MutexLock lock(mu_);
    handled_ += taken;
    done_.NotifyAll();
  }
}

// Pieces of whole lines: large enough to be few, small enough for the file to turn near its bound.
void CommandLog::WriteOut(absl::string_view block) {
  // PIPE_BUF, so that a piece for a pipe is written whole or not at all.
  constexpr uint64_t kPieceBytesMax = 4096;
  const size_t piece_bytes =
      options_.max_size == 0 ? kPieceBytesMax : std::min(kPieceBytesMax, options_.max_size);
  MutexLock lock(file_mu_);
  while (!block.empty()) {
    size_t end = block.size() <= piece_bytes ? block.size() : block.rfind('\n', piece_bytes - 1) + 1;
    if (end == 0) end = block.find('\n') + 1;  // One line longer than a piece.
    const absl::string_view piece = block.substr(0, end);
    const auto lines = static_cast<uint64_t>(std::count(piece.begin(), piece.end(), '\n'));
    (file_.Write(piece) ? written_ : dropped_).fetch_add(lines, std::memory_order_relaxed);
    block.remove_prefix(end);
  }
}

}  // namespace core
