// Timers of one event loop: a wheel of one-millisecond slots with intrusive nodes, so arming and
// cancelling cost a few pointer writes and never allocate. Hashed wheel after Varghese & Lauck,
// SOSP'87 (scheme 6). One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace core {

// Something that happens once, later. Embed it, or own it; it must not move while armed.
// Destroying an armed timer cancels it.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer() { Cancel(); }

  // Runs on the loop's thread; may arm, cancel or destroy any timer, this one included.
  virtual void OnTimer() = 0;

  bool armed() const { return prev_ != nullptr; }
  void Cancel();

 private:
  friend class TimerWheel;
  Timer* prev_ = nullptr;
  Timer* next_ = nullptr;
  int64_t deadline_ms_ = 0;
  class TimerWheel* wheel_ = nullptr;
};

class TimerWheel {
 public:
  explicit TimerWheel(int64_t now_ms);
  ~TimerWheel();

  // (Re)arms `timer` to fire at the first Advance() at or after `deadline_ms`.
  void Arm(Timer* timer, int64_t deadline_ms);
  // Fires everything due at `now_ms`. Times never go back.
  void Advance(int64_t now_ms);
  // Milliseconds until the next Advance() could fire something: at most kSlots; -1 = no timers.
  int64_t UntilNextMs(int64_t now_ms) const;
  size_t size() const { return size_; }

 private:
  friend class Timer;
  static constexpr int64_t kSlots = 4096;  // Deadlines up to 4 s away sit in their exact slot.

  struct Head final : Timer {
    void OnTimer() override {}
  };
  static void Link(Timer* head, Timer* timer);
  static void Unlink(Timer* timer);

  std::array<Head, kSlots> slots_;
  std::array<uint64_t, kSlots / 64> used_{};  // A bit a slot that may hold timers.
  int64_t now_ms_;
  size_t size_ = 0;
};

}  // namespace core
