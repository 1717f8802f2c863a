// spdlog's queue and thread in front of a sink of our own (core/log/line_sink.h). spdlog's registry
// of named loggers and its default logger are not used: a Log is an object like any other.

#include "core/log/log.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/log/line_sink.h"

namespace core {

namespace {

// A line is a sentence and its values. Longer ones are cut so that the queue's memory has a bound.
constexpr size_t kLineBytesMax = 8192;

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

class QueuedLog final : public Log {
 public:
  QueuedLog(const config::Log& options, spdlog::level::level_enum level,
            std::shared_ptr<LineSink> sink)
      : options_(options),
        level_(level),
        sink_(std::move(sink)),
        pool_(std::make_shared<spdlog::details::thread_pool>(options.queue_lines, 1, BlockSignals)),
        logger_(std::make_shared<spdlog::async_logger>(
            "", sink_, pool_, spdlog::async_overflow_policy::overrun_oldest)) {
    logger_->set_level(level);
    logger_->set_error_handler([](const std::string&) {});  // Else spdlog prints to stderr itself.
    sink_->CountDropsOf([pool = pool_.get()] { return pool->overrun_counter(); });
  }

  // Writes what waits (the sink never waits for long), then ends the thread. The terminating
  // message takes the last place in the queue. The logger goes after the thread, whose last message
  // may still hold it.
  ~QueuedLog() override {
    Flush();
    pool_.reset();
    logger_.reset();
  }

  void Write(LogLevel level, absl::string_view line) override {
    if (!enabled(level)) return;
    line = line.substr(0, kLineBytesMax);
    accepted_.fetch_add(1, std::memory_order_relaxed);
    logger_->log(spdlog::source_loc{}, ToSpdlog(level),
                 spdlog::string_view_t(line.data(), line.size()));
  }

  bool enabled(LogLevel level) const override {
    return ToSpdlog(level) >= level_.load(std::memory_order_relaxed);
  }

  // The queue is first in, first out and drops only its oldest: once as many lines were handled or
  // dropped as had been accepted, those accepted before are among them.
  void Flush() override {
    const uint64_t target = accepted_.load(std::memory_order_relaxed);
    sink_->WaitUntil([&] { return sink_->handled() + pool_->overrun_counter() >= target; });
  }

  void Reopen() override {
    const absl::Status status = sink_->Reopen();
    if (!status.ok()) Write(LogLevel::kError, status.message());
  }

  absl::Status Change(const config::Log& options) override {
    if (options.file != options_.file || options.max_size != options_.max_size ||
        options.backup != options_.backup) {
      RETURN_IF_ERROR(sink_->Change(options));
    }
    options_ = options;
    const auto level = ToSpdlog(static_cast<LogLevel>(options.level));
    level_.store(level, std::memory_order_relaxed);  // Of no other memory.
    logger_->set_level(level);
    return absl::OkStatus();
  }

  uint64_t dropped() const override { return sink_->lost() + pool_->overrun_counter(); }

 private:
  config::Log options_;  // Of whoever calls Change().
  std::atomic<spdlog::level::level_enum> level_;
  std::atomic<uint64_t> accepted_{0};
  // spdlog's ways: the sink is shared with the logger, the pool and the logger with lines in
  // flight.
  std::shared_ptr<LineSink> sink_;
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Log>> Log::Open(const config::Log& options) {
  ASSIGN_OR_RETURN(std::shared_ptr<LineSink> sink, LineSink::Open(options));
  const auto level = ToSpdlog(static_cast<LogLevel>(options.level));
  try {
    return std::make_unique<QueuedLog>(options, level, std::move(sink));
  } catch (const std::exception& e) {  // std::thread and spdlog throw.
    return absl::InternalError(absl::StrCat("log: cannot start the writer: ", e.what()));
  }
}

}  // namespace core
