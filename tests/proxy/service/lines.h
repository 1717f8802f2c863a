// A log that keeps its lines.
#pragma once

#include <string>
#include <vector>

#include "core/base/mutex.h"
#include "core/log/log.h"

namespace proxy {

class Lines final : public core::Log {
 public:
  void Write(core::LogLevel level, absl::string_view line) override {
    core::MutexLock lock(mu_);
    lines_.emplace_back(line);
  }
  bool enabled(core::LogLevel level) const override { return true; }
  void Flush() override {}
  void Reopen() override {}
  uint64_t dropped() const override { return 0; }
  std::vector<std::string> Take() {
    core::MutexLock lock(mu_);
    return std::exchange(lines_, {});
  }

 private:
  core::Mutex mu_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mu_);
};

}  // namespace proxy
