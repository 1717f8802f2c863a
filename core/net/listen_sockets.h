// Listening sockets that outlive a process: those that the one before, or the service manager, left
// to this one, and those that the next one may have.
//
// A connection that waits in such a socket's queue is lost only when the last process closes it, so a
// port that is passed on refuses and resets nobody. (With SO_REUSEPORT each process has a queue of its
// own, and closing it resets who waits there.)
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/base/fd.h"
#include "core/base/mutex.h"

namespace core {

// Any thread.
class ListenSockets {
 public:
  // Whose files those of unix sockets are.
  enum class From : uint8_t { kServiceManager, kPredecessor };

  // Adds what listens in this process from now on, or will.
  void Inherit(std::vector<Fd> sockets, From from = From::kServiceManager);
  // The predecessor serves no more: what came from it is this process's alone.
  void Own() { is_shared_.store(false, std::memory_order_relaxed); }
  // Whether a predecessor serves on the same sockets, and goes on if this process does not.
  bool is_shared() const { return is_shared_.load(std::memory_order_relaxed); }
  // The socket bound to exactly that address, which is inherited no more; invalid if there is none.
  Fd Take(const struct sockaddr* address, socklen_t length, int type = SOCK_STREAM);
  // Closes those that nobody took, and removes the files of a predecessor's, unless it still listens
  // there. Returns how many.
  size_t CloseUntaken();

  // Keeps a duplicate of what listens here, if Keep() was called.
  void Note(const Fd& listening);
  void Keep() {
    MutexLock lock(mu_);
    keeps_ = true;
  }
  // Duplicates of all that was noted.
  std::vector<Fd> ToPassOn() const;
  // The ports are to be free once their acceptors close.
  void Forget();

  // Sockets that systemd passed to this very process ($LISTEN_PID, $LISTEN_FDS; sd_listen_fds(3)).
  // Main thread, before any other is started.
  static std::vector<Fd> FromServiceManager();

 private:
  std::atomic<bool> is_shared_{false};  // Alone: nothing is read by it.
  mutable Mutex mu_;
  bool keeps_ ABSL_GUARDED_BY(mu_) = false;
  struct Inherited {
    Fd fd;
    From from;
  };
  std::vector<Inherited> inherited_ ABSL_GUARDED_BY(mu_);
  std::vector<Fd> noted_ ABSL_GUARDED_BY(mu_);
};

}  // namespace core
