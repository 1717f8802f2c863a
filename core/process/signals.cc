#include "core/process/signals.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "core/base/check.h"
#include "core/base/clock.h"

namespace core {

Signals::Signals() : requests_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE)) {
  sigset_t ours;
  sigemptyset(&ours);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP}) sigaddset(&ours, signal);
  CHECK(pthread_sigmask(SIG_BLOCK, &ours, &blocked_before_) == 0);
  signals_ = Fd(signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
  CHECK(signals_.valid() && requests_.valid());
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  CHECK(sigaction(SIGPIPE, &ignore, &pipe_before_) == 0);
}

Signals::~Signals() {
  sigaction(SIGPIPE, &pipe_before_, nullptr);
  // A signal that came too late must not kill the process when it is unblocked.
  signalfd_siginfo late;
  while (read(signals_.get(), &late, sizeof(late)) > 0) {
  }
  pthread_sigmask(SIG_SETMASK, &blocked_before_, nullptr);
}

SignalEvent Signals::Wait(int timeout_ms) {
  const RealClock clock;
  const int64_t deadline_ms = clock.MonotonicMs() + timeout_ms;
  for (;;) {
    eventfd_t request;
    if (eventfd_read(requests_.get(), &request) == 0) return SignalEvent::kStop;
    signalfd_siginfo info;
    if (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      return info.ssi_signo == SIGHUP ? SignalEvent::kReload : SignalEvent::kStop;
    }
    int left_ms = -1;
    if (timeout_ms >= 0) {
      const int64_t left = deadline_ms - clock.MonotonicMs();
      if (left <= 0) return SignalEvent::kNone;
      left_ms = static_cast<int>(left);
    }
    pollfd fds[2] = {{signals_.get(), POLLIN, 0}, {requests_.get(), POLLIN, 0}};
    CHECK(poll(fds, 2, left_ms) >= 0 || errno == EINTR);
  }
}

void Signals::RequestStop() { eventfd_write(requests_.get(), 1); }

}  // namespace core
