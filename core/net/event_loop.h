// One thread's world: descriptors, timers, work from other threads, and the end of each turn.
//
// A turn polls, dispatches ready descriptors, fires timers, runs posted work, then runs the TurnEnd
// hooks phase by phase. Nothing here blocks but the poll itself. All methods belong to the loop's thread except Post() and Stop().
//
// Descriptors are watched by epoll. A loop that was given a Ring waits there instead, for epoll's own
// descriptor too, so that sockets may have their bytes received and sent by io_uring.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/mutex.h"
#include "core/net/ring.h"
#include "core/net/timer.h"

namespace core {

// Receives readiness of one descriptor. Level-triggered.
class EventHandler {
 public:
  // `events` is a set of EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR. May destroy the handler itself
  // after EventLoop::Remove(), and any other handler likewise.
  virtual void OnEvents(uint32_t events) = 0;

 protected:
  ~EventHandler() = default;
};

// Something to do at the end of every turn.
class TurnEnd {
 public:
  virtual void OnTurnEnd() = 0;

 protected:
  ~TurnEnd() = default;
};

class EventLoop {
 public:
  // `clock` outlives the loop.
  explicit EventLoop(const Clock* clock);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Waits in `ring` from the first turn on. Before that; any thread.
  void UseRing(std::unique_ptr<Ring> ring) { ring_ = std::move(ring); }
  // Null: there is none.
  Ring* ring() { return ring_.get(); }

  // Watches `fd` for `events` (EPOLLIN | EPOLLOUT). The handler outlives the registration.
  void Add(int fd, uint32_t events, EventHandler* handler);
  void Modify(int fd, uint32_t events, EventHandler* handler);
  // After this no event reaches `handler`, not even one already polled this turn.
  void Remove(int fd, EventHandler* handler);

  // Arms `timer` to fire `delay_ms` from now (rounded up to the next millisecond).
  void Arm(Timer* timer, int64_t delay_ms);

  // Registers a hook once; runs in every turn, phase by phase: all kService hooks, then kTransport,
  // then kSession, so that one turn collects requests, sends them, and flushes replies.
  enum class Phase : uint8_t { kService, kTransport, kSession };
  void AddTurnEnd(Phase phase, TurnEnd* hook);
  void RemoveTurnEnd(TurnEnd* hook);

  // There is work left for the turn-end hooks that no descriptor announces. Called before the hooks
  // run it changes nothing, since they are still to come; called by a hook, it makes the next poll
  // return at once.
  void KeepAwake() { awake_ = true; }

  // Runs `work` on the loop's thread in a coming turn. Any thread.
  void Post(absl::AnyInvocable<void()> work);
  // Wakes a sleeping loop. Any thread.
  void Wake();

  // Runs turns until Stop(). The calling thread becomes the loop's thread.
  void Run();
  // One turn, waiting at most `timeout_ms` (-1 = as long as nothing happens). Tests may drive a
  // loop with it; the calling thread is the loop's thread from then on.
  void RunOnce(int64_t timeout_ms);
  // Any thread.
  void Stop();

  // Monotonic milliseconds / nanoseconds as of this turn's poll.
  int64_t now_ms() const { return now_ns_ / 1'000'000; }
  int64_t now_ns() const { return now_ns_; }
  const Clock& clock() const { return *clock_; }
  // Whether the caller is on the loop's thread.
  bool InLoopThread() const {
    return thread_.load(std::memory_order_relaxed) == &this_thread_;
  }

 private:
  struct Watch {
    EventHandler* handler = nullptr;
    uint32_t generation = 0;  // Tells an event of a closed descriptor from one of its reuse.
  };
  void Poll(int64_t timeout_ms);
  void Dispatch(int timeout_ms);
  void BeginTurn();
  void RunPosted();
  void Control(int operation, int fd, uint32_t events);

  const Clock* clock_;
  Fd epoll_;
  Fd wake_;  // An eventfd.
  int64_t now_ns_;
  bool awake_ = false;
  std::atomic<bool> stop_{false};
  std::atomic<bool> woken_{false};  // An eventfd write is under way or unread.
  std::unique_ptr<TimerWheel> timers_;
  std::unique_ptr<Ring> ring_;
  std::vector<Watch> by_fd_;  // Index = descriptor; null handler = not watched.
  std::vector<TurnEnd*> hooks_[3];
  // Its address tells threads apart more cheaply than a system call.
  static inline constinit thread_local char this_thread_ = 0;
  std::atomic<const void*> thread_{nullptr};  // An address only the loop's thread has.

  Mutex mu_;
  std::vector<absl::AnyInvocable<void()>> posted_ ABSL_GUARDED_BY(mu_);
};

}  // namespace core
