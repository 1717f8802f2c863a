// epoll, level-triggered; an eventfd wakes the loop from other threads. See event_loop.h.
#include "core/net/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/check.h"
#include "core/net/turn_clock.h"

namespace core {
namespace {

constexpr int kEventsPerPollMax = 256;

}  // namespace

EventLoop::EventLoop(const Clock* clock)
    : clock_(clock),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      now_ns_(clock->MonotonicNs()),
      timers_(std::make_unique<TimerWheel>(now_ms())) {
  CHECK(epoll_.valid() && wake_.valid());
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<uint32_t>(wake_.get());
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) == 0);
}

EventLoop::~EventLoop() = default;

void EventLoop::Control(int operation, int fd, uint32_t events) {
  struct epoll_event event = {};
  event.events = events;
  event.data.u64 = static_cast<uint64_t>(by_fd_[fd].generation) << 32 | static_cast<uint32_t>(fd);
  CHECK(::epoll_ctl(epoll_.get(), operation, fd, &event) == 0);
}

void EventLoop::Add(int fd, uint32_t events, EventHandler* handler) {
  if (static_cast<size_t>(fd) >= by_fd_.size()) by_fd_.resize(fd + 64);
  DCHECK(by_fd_[fd].handler == nullptr);
  by_fd_[fd].handler = handler;
  Control(EPOLL_CTL_ADD, fd, events);
}

void EventLoop::Modify(int fd, uint32_t events, EventHandler* handler) {
  DCHECK(by_fd_[fd].handler == handler);
  Control(EPOLL_CTL_MOD, fd, events);
}

void EventLoop::Remove(int fd, EventHandler* handler) {
  DCHECK(by_fd_[fd].handler == handler);
  Control(EPOLL_CTL_DEL, fd, 0);
  by_fd_[fd].handler = nullptr;
  ++by_fd_[fd].generation;
}

void EventLoop::Arm(Timer* timer, int64_t delay_ms) {
  // now_ns_ may lie almost a millisecond past now_ms(): round up so that no timer fires early.
  timers_->Arm(timer, (now_ns_ + 999'999) / 1'000'000 + delay_ms);
}

void EventLoop::AddTurnEnd(Phase phase, TurnEnd* hook) {
  hooks_[static_cast<int>(phase)].push_back(hook);
}

void EventLoop::RemoveTurnEnd(TurnEnd* hook) {
  for (auto& phase : hooks_) phase.erase(std::remove(phase.begin(), phase.end(), hook), phase.end());
}

void EventLoop::Post(absl::AnyInvocable<void()> work) {
  {
    MutexLock lock(mu_);
    posted_.push_back(std::move(work));
  }
  Wake();
}

void EventLoop::Wake() {
  // Pairs with the exchange in RunOnce(): whoever turns it to true writes, once per sleep.
  if (woken_.exchange(true, std::memory_order_acq_rel)) return;
  const uint64_t one = 1;
  while (::write(wake_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
}

void EventLoop::Run() {
  while (!stop_.load(std::memory_order_acquire)) RunOnce(-1);
  if (ring_ != nullptr && ring_->enabled()) ring_->Leave();
}

void EventLoop::Stop() {
  stop_.store(true, std::memory_order_release);  // Pairs with the acquire in Run().
  Wake();
}

void EventLoop::RunPosted() {
  std::vector<absl::AnyInvocable<void()>> work;
  {
    MutexLock lock(mu_);
    if (posted_.empty()) return;
    work.swap(posted_);
  }
  for (auto& one : work) one();
}

void EventLoop::RunOnce(int64_t timeout_ms) {
  thread_.store(&this_thread_, std::memory_order_relaxed);
  const int64_t timer_ms = timers_->UntilNextMs(now_ms());
  if (timer_ms >= 0 && (timeout_ms < 0 || timer_ms < timeout_ms)) timeout_ms = timer_ms;
  if (std::exchange(awake_, false)) timeout_ms = 0;
  Poll(timeout_ms);
  TurnClock::Expire();
  timers_->Advance(now_ms());
  RunPosted();
  awake_ = false;  // The hooks see whatever has been left for them so far.
  for (auto& phase : hooks_) {
    for (size_t i = 0; i < phase.size(); ++i) phase[i]->OnTurnEnd();
  }
  TurnClock::EndTurn();
}

void EventLoop::BeginTurn() {
  now_ns_ = clock_->MonotonicNs();
  TurnClock::BeginTurn();
}

// Waits, then tells whom it concerns.
void EventLoop::Poll(int64_t timeout_ms) {
  if (ring_ == nullptr) return Dispatch(static_cast<int>(timeout_ms));
  if (!ring_->enabled()) [[unlikely]] ring_->Enable(epoll_.get());
  ring_->Wait(timeout_ms);
  BeginTurn();
  ring_->Dispatch([this] { Dispatch(0); });
}

// The same for what epoll watches.
void EventLoop::Dispatch(int timeout_ms) {
  struct epoll_event events[kEventsPerPollMax];
  const int n = ::epoll_wait(epoll_.get(), events, kEventsPerPollMax, timeout_ms);
  CHECK(n >= 0 || errno == EINTR);
  if (ring_ == nullptr) BeginTurn();
  for (int i = 0; i < n; ++i) {
    const int fd = static_cast<int>(events[i].data.u64 & 0xffffffff);
    if (fd == wake_.get()) {
      uint64_t count;
      [[maybe_unused]] const ssize_t got = ::read(fd, &count, sizeof(count));
      // Before the queues are looked at: a Post() after this look writes again.
      woken_.store(false, std::memory_order_release);
      continue;
    }
    const Watch& watch = by_fd_[fd];
    if (watch.handler == nullptr || watch.generation != events[i].data.u64 >> 32) continue;
    watch.handler->OnEvents(events[i].events);
  }
}

}  // namespace core
