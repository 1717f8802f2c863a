// Time as everything here reads it: one interface, real in products and manual in tests.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace core {

class Clock {
 public:
  virtual ~Clock() = default;
  // Nanoseconds of a clock that never goes back; its zero has no meaning. Any thread.
  virtual int64_t MonotonicNs() const = 0;
  // Nanoseconds since the Unix epoch; may jump. Any thread.
  virtual int64_t WallNs() const = 0;

  int64_t MonotonicMs() const { return MonotonicNs() / 1'000'000; }
  int64_t WallSec() const { return WallNs() / 1'000'000'000; }
};

class RealClock final : public Clock {
 public:
  int64_t MonotonicNs() const override {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  }
  int64_t WallNs() const override {
    return std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  }
};

// A clock that moves only when told, for tests. Any thread.
class ManualClock final : public Clock {
 public:
  int64_t MonotonicNs() const override { return ns_.load(std::memory_order_relaxed); }
  int64_t WallNs() const override {
    return kWallEpochNs + ns_.load(std::memory_order_relaxed);
  }
  void AdvanceMs(int64_t ms) { ns_.fetch_add(ms * 1'000'000, std::memory_order_relaxed); }

 private:
  static constexpr int64_t kWallEpochNs = 1'700'000'000'000'000'000;  // Late 2023: any will do.
  std::atomic<int64_t> ns_{1'000'000'000};
};

}  // namespace core
