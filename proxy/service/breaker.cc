// See breaker.h.
#include "proxy/service/breaker.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "proxy/momento/metrics.h"

namespace proxy {
namespace {

absl::string_view NameOf(momento::Code code) {
  return momento::kCodeNames[static_cast<size_t>(code)];
}

std::string Seconds(int64_t ms) { return absl::StrCat(static_cast<double>(ms) / 1000, "s"); }

}  // namespace

CircuitBreaker::CircuitBreaker(const config::Overload& options, std::string name, int workers,
                               OverloadMetrics* metrics, core::Log* log)
    : enabled_(options.breaker),
      failure_percent_(options.breaker_failure_percent),
      calls_min_(options.breaker_calls_min),
      slice_ms_(std::max<int64_t>(absl::ToInt64Milliseconds(options.breaker_window) / kSlices, 1)),
      open_ms_(absl::ToInt64Milliseconds(options.breaker_open)),
      probes_(options.breaker_probes),
      name_(std::move(name)),
      metrics_(metrics),
      log_(log),
      control_(Control(State::kClosed, 0, 0)),
      windows_(workers) {}

uint64_t CircuitBreaker::TagOf(int64_t slice, uint64_t control) {
  // Any mixing will do that neighbours in time do not share a tag.
  const uint64_t mixed = (static_cast<uint64_t>(slice) + control * 31) * 0x9e3779b97f4a7c15;
  return mixed >> 2 * kCountBits;
}

int64_t CircuitBreaker::OpenMs(uint64_t tries) const {
  const int64_t most = std::max(open_ms_, kOpenMsMax);
  return tries > 10 ? most : std::min(open_ms_ << tries, most);
}

void CircuitBreaker::BeginSlice(Window* own, uint64_t control, int64_t now_ms) {
  const int64_t slice = now_ms / slice_ms_;
  own->control = control;
  own->slice_ends_ms = (slice + 1) * slice_ms_;
  own->index = static_cast<int>(slice % kSlices);
  own->current = TagOf(slice, control) << 2 * kCountBits;
}

// A call has failed: looks whether enough have.
void CircuitBreaker::Conclude(uint64_t control, momento::Code code, int64_t now_ms) {
  uint64_t calls = 0, failures = 0;
  const int64_t last = now_ms / slice_ms_;
  for (int64_t slice = last; slice > last - kSlices && slice >= 0; --slice) {
    const uint64_t tag = TagOf(slice, control);
    for (const Window& one : windows_) {
      const uint64_t counts = one.slices[slice % kSlices].load(std::memory_order_relaxed);
      if (counts >> 2 * kCountBits != tag) continue;
      calls += counts >> kCountBits & kCountMask;
      failures += counts & kCountMask;
    }
  }
  if (calls < calls_min_ || failures * 100 < failure_percent_ * calls) return;
  Open(control, code, calls, failures, now_ms);
}

void CircuitBreaker::Open(uint64_t control, momento::Code code, uint64_t calls, uint64_t failures,
                          int64_t now_ms) {
  const bool was_closed = StateOf(control) == State::kClosed;
  const uint64_t tries = was_closed ? 0 : std::min<uint64_t>(TriesOf(control) + 1, 0xff);
  const uint64_t next = Control(State::kOpen, tries, now_ms);
  // Release: with Admit()'s and the readers' acquire.
  if (!control_.compare_exchange_strong(control, next, std::memory_order_acq_rel)) return;
  constexpr uint64_t kMost = (uint64_t{1} << 28) - 1;
  reason_.store(static_cast<uint64_t>(code) << 56 | std::min(calls, kMost) << 28 |
                    std::min(failures, kMost),
                std::memory_order_relaxed);
  if (was_closed) opened_ms_.store(now_ms, std::memory_order_relaxed);
  metrics_->breaker_to_open.Add();
  if (log_ == nullptr) return;
  log_->Warning("cache %s: circuit open for %s: %s", name_, Seconds(OpenMs(tries)), Reason());
}

bool CircuitBreaker::Admit(int64_t now_ms) {
  for (;;) {
    uint64_t control = control_.load(std::memory_order_acquire);
    switch (StateOf(control)) {
      case State::kClosed: return true;
      case State::kHalfOpen:
        if (TakeProbe(control, now_ms)) return true;
        if (now_ms - SinceOf(control) < kProbeMsMax) return false;
        break;
      case State::kOpen:
        if (now_ms - SinceOf(control) < OpenMs(TriesOf(control))) return false;
        break;
    }
    HalfOpen(control, now_ms);
  }
}

void CircuitBreaker::TryNow(int64_t now_ms) {
  const uint64_t control = control_.load(std::memory_order_acquire);
  if (StateOf(control) == State::kOpen) HalfOpen(control, now_ms);
}

void CircuitBreaker::HalfOpen(uint64_t control, int64_t now_ms) {
  // Never a time at which probes were made before, by which they are told apart.
  int64_t since_ms = std::max(now_ms, SinceOf(control));
  const uint64_t probing = probing_.load(std::memory_order_relaxed);
  if ((probing ^ static_cast<uint64_t>(since_ms) << 32) >> 32 == 0) ++since_ms;
  const uint64_t next = Control(State::kHalfOpen, TriesOf(control), since_ms);
  if (!control_.compare_exchange_strong(control, next, std::memory_order_acq_rel)) return;
  metrics_->breaker_to_half_open.Add();
  if (log_ != nullptr) {
    log_->Info("cache %s: circuit half open: %d calls are tried", name_, probes_);
  }
}

bool CircuitBreaker::TakeProbe(uint64_t control, int64_t now_ms) {
  // A worker whose turn began before: its call would count as one of an earlier state, and the probe
  // be waited for for ever.
  if (now_ms < SinceOf(control)) return false;
  const uint64_t period = static_cast<uint64_t>(SinceOf(control)) << 32;
  uint64_t probing = probing_.load(std::memory_order_relaxed);
  uint64_t next;
  do {
    if ((probing ^ period) >> 32 != 0) {
      next = period | 1 << 16;
    } else if ((probing >> 16 & 0xffff) < probes_) {
      next = probing + (1 << 16);
    } else {
      return false;
    }
    // Relaxed: nothing is published with it.
  } while (!probing_.compare_exchange_weak(probing, next, std::memory_order_relaxed));
  metrics_->breaker_probe.Add();
  return true;
}

void CircuitBreaker::RecordProbe(uint64_t control, bool failed, momento::Code code,
                                 int64_t started_ms, int64_t now_ms) {
  if (StateOf(control) != State::kHalfOpen || started_ms < SinceOf(control)) return;
  const uint64_t period = static_cast<uint64_t>(SinceOf(control)) << 32;
  uint64_t probing = probing_.load(std::memory_order_relaxed);
  if (failed) return Open(control, code, probing >> 16 & 0xffff, 1, now_ms);
  do {
    if ((probing ^ period) >> 32 != 0) return;
  } while (!probing_.compare_exchange_weak(probing, probing + 1, std::memory_order_relaxed));
  if (((probing + 1) & 0xffff) < probes_) return;
  const uint64_t next = Control(State::kClosed, 0, now_ms);
  if (!control_.compare_exchange_strong(control, next, std::memory_order_acq_rel)) return;
  metrics_->breaker_to_closed.Add();
  if (log_ == nullptr) return;
  log_->Info("cache %s: circuit closed after %s: %d calls were answered", name_,
             Seconds(now_ms - opened_ms_.load(std::memory_order_relaxed)), probes_);
}

std::string CircuitBreaker::Reason() const {
  const uint64_t reason = reason_.load(std::memory_order_relaxed);
  if (reason == 0) return "";
  constexpr uint64_t kMask = (uint64_t{1} << 28) - 1;
  return absl::StrCat(reason & kMask, " of ", reason >> 28 & kMask,
                      " calls failed, the last with ",
                      NameOf(static_cast<momento::Code>(reason >> 56)));
}

}  // namespace proxy
