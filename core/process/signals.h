// The signals a daemon answers, as values read by the main thread instead of handlers.
//
// The signals are blocked, so that no thread started later is interrupted by them, and read from a
// signalfd. SIGPIPE is ignored: a peer that went away is an error of write(2), nothing more.
#pragma once

#include <signal.h>

#include <cstdint>

#include "core/base/fd.h"

namespace core {

enum class SignalEvent : uint8_t {
  kNone,    // Time is up.
  kStop,    // SIGTERM, SIGINT, SIGUSR1 (memcached's graceful stop), SIGUSR2, or
            // RequestStop().
  kReload,  // SIGHUP.
};

class Signals {
 public:
  // Blocks the signals for the calling thread and those it starts from now on. One a process.
  Signals();
  // Restores what was before.
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Waits for the next event, at most `timeout_ms` (-1 = for ever). Main thread.
  SignalEvent Wait(int timeout_ms);
  // Counts as a SIGTERM. Any thread.
  void RequestStop();

 private:
  Fd signals_;
  Fd requests_;  // An eventfd that counts requests.
  sigset_t blocked_before_;
  struct sigaction pipe_before_;
};

}  // namespace core
