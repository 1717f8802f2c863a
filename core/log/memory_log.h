// Logs that write nowhere: one that forgets, one that remembers for tests.
#pragma once

#include <string>
#include <vector>

#include "core/base/mutex.h"
#include "core/log/log.h"

namespace core {

// Takes every line and forgets it. Any thread.
class NullLog final : public Log {
 public:
  void Write(LogLevel, absl::string_view) override {}
  bool enabled(LogLevel) const override { return false; }
  void Flush() override {}
  void Reopen() override {}
  uint64_t dropped() const override { return 0; }
};

// Keeps every line, for tests to look at. Any thread.
class MemoryLog final : public Log {
 public:
  struct Line {
    LogLevel level;
    std::string text;
  };

  void Write(LogLevel level, absl::string_view line) override {
    MutexLock lock(mu_);
    lines_.push_back({level, std::string(line)});
  }
  bool enabled(LogLevel) const override { return true; }
  void Flush() override {}
  void Reopen() override {
    MutexLock lock(mu_);
    ++reopened_;
  }
  uint64_t dropped() const override { return 0; }

  std::vector<Line> lines() const {
    MutexLock lock(mu_);
    return lines_;
  }
  int reopened() const {
    MutexLock lock(mu_);
    return reopened_;
  }

 private:
  mutable Mutex mu_;
  std::vector<Line> lines_ ABSL_GUARDED_BY(mu_);
  int reopened_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace core
