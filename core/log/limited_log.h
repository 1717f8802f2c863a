// Lets one line through now and then, where peers decide how often something happens.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"

namespace core {

// For one kind of line. Any thread.
class LineLimit {
 public:
  static constexpr int64_t kEveryMs = 10'000;  // Six lines a minute do no harm to a log.

  // Whether a line may be written at `now_ms` (monotonic). If so, *more is what to put behind it:
  // how many were left out since the last, or nothing.
  bool Admit(int64_t now_ms, std::string* more) {
    int64_t next = next_ms_.load(std::memory_order_relaxed);
    if (now_ms < next || !next_ms_.compare_exchange_strong(next, now_ms + kEveryMs,
                                                           std::memory_order_relaxed)) {
      left_out_.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    const uint64_t left_out = left_out_.exchange(0, std::memory_order_relaxed);
    *more = left_out == 0 ? "" : absl::StrCat("; ", left_out, " more since the last such line");
    return true;
  }

 private:
  // Each alone; a count that is taken a moment too early or late is told with the next line.
  std::atomic<int64_t> next_ms_{INT64_MIN};
  std::atomic<uint64_t> left_out_{0};
};

}  // namespace core
