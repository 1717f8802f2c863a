// A clock for what answers requests on event loops: read once a burst instead of once a request.
//
// The time that requests see is never older than the arrival of their bytes: the session calls
// Expire() after it has received, and the first look after that reads the real clock. So a request
// that was sent after some moment (an expiry, a delayed flush that somebody has seen happen) is
// answered as of that moment or later. What the requests of one burst cannot see is the time that
// their own execution takes, which the bytes of a burst bound (Worker::kScratchBytes).
//
// Off the loops' threads it is the real clock.
#pragma once

#include "core/base/clock.h"

namespace core {

// What one thread read last.
struct TurnReading {
  int64_t ns = 0;
  const void* clock = nullptr;  // Whose it is; null = none that is good.
  bool in_turn = false;
};

class TurnClock final : public Clock {
 public:
  // `real` outlives this clock.
  explicit TurnClock(const Clock* real) : real_(*real) {}

  int64_t MonotonicNs() const override {
    TurnReading& last = last_;
    if (last.clock == this) return last.ns;
    const int64_t ns = real_.MonotonicNs();
    if (last.in_turn) last = {ns, this, true};
    return ns;
  }
  int64_t WallNs() const override { return real_.WallNs(); }

  // The next look on this thread reads the real clock.
  static void Expire() { last_.clock = nullptr; }
  // Frame a turn of this thread's loop: outside of one every look reads the real clock.
  static void BeginTurn() { last_ = {0, nullptr, true}; }
  static void EndTurn() { last_ = {}; }

 private:
  static inline constinit thread_local TurnReading last_{};

  const Clock& real_;
};

}  // namespace core
