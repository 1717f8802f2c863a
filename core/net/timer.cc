// The wheel: slot = deadline mod kSlots; a slot keeps timers of later rounds too and skips them.
#include "core/net/timer.h"

#include <algorithm>

#include "core/base/check.h"

namespace core {

void Timer::Cancel() {
  if (!armed()) return;
  TimerWheel::Unlink(this);
}

TimerWheel::TimerWheel(int64_t now_ms) : now_ms_(now_ms) {
  for (Head& head : slots_) head.prev_ = head.next_ = &head;
}

TimerWheel::~TimerWheel() {
  for (Head& head : slots_) {
    while (head.next_ != &head) Unlink(head.next_);
  }
}

void TimerWheel::Link(Timer* head, Timer* timer) {
  timer->prev_ = head->prev_;
  timer->next_ = head;
  head->prev_->next_ = timer;
  head->prev_ = timer;
}

void TimerWheel::Unlink(Timer* timer) {
  timer->prev_->next_ = timer->next_;
  timer->next_->prev_ = timer->prev_;
  timer->prev_ = timer->next_ = nullptr;
  if (timer->wheel_ != nullptr) --timer->wheel_->size_;
  timer->wheel_ = nullptr;
}

void TimerWheel::Arm(Timer* timer, int64_t deadline_ms) {
  timer->Cancel();
  // Never into a slot that Advance() has passed: it would wait a whole round.
  timer->deadline_ms_ = std::max(deadline_ms, now_ms_ + 1);
  const int64_t slot = timer->deadline_ms_ % kSlots;
  Link(&slots_[slot], timer);
  used_[slot / 64] |= 1ull << (slot % 64);
  timer->wheel_ = this;
  ++size_;
}

void TimerWheel::Advance(int64_t now_ms) {
  if (now_ms <= now_ms_) return;
  const int64_t first = std::max(now_ms_ + 1, now_ms - kSlots + 1);
  now_ms_ = now_ms;  // From here on Arm() uses slots after this Advance().
  if (size_ == 0) return;
  for (int64_t tick = first; tick <= now_ms; ++tick) {
    const int64_t slot = tick % kSlots;
    const uint64_t bit = 1ull << (slot % 64);
    if ((used_[slot / 64] & bit) == 0) continue;
    used_[slot / 64] &= ~bit;
    Head due;  // The slot's timers, apart, so that whatever OnTimer() arms cannot be met here.
    due.prev_ = due.next_ = &due;
    Head& head = slots_[slot];
    if (head.next_ != &head) {
      due.next_ = head.next_;
      due.prev_ = head.prev_;
      due.next_->prev_ = due.prev_->next_ = &due;
      head.prev_ = head.next_ = &head;
    }
    while (due.next_ != &due) {
      Timer* timer = due.next_;
      if (timer->deadline_ms_ > now_ms) {  // A later round.
        const int64_t deadline_ms = timer->deadline_ms_;
        Arm(timer, deadline_ms);
        continue;
      }
      Unlink(timer);
      timer->OnTimer();
    }
  }
}

int64_t TimerWheel::UntilNextMs(int64_t now_ms) const {
  if (size_ == 0) return -1;
  for (int64_t ahead = 1; ahead <= kSlots;) {
    const int64_t slot = (now_ms_ + ahead) % kSlots;
    const uint64_t word = used_[slot / 64] >> (slot % 64);
    if (word != 0) {
      return std::max<int64_t>(0, now_ms_ + ahead + __builtin_ctzll(word) - now_ms);
    }
    ahead += 64 - slot % 64;
  }
  return kSlots;
}

}  // namespace core
