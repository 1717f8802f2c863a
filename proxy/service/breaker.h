// The circuit breaker of one cache: while the service fails, calls are answered at once without it,
// and now and then a few are let through to see whether it is back. (M. Nygard, Release It!,
// "Circuit Breaker"; tripping on a share of failures over at least so many calls is Hystrix's.)
//
//   closed --share of failures--> open --its time is over--> half open --all probes answered--> closed
//                                  ^____________a probe fails____________/
//
// A failure is an answer that says the service cannot do its work now (momento::IsVerdict() lists
// them). Everything else is an answer of a service that works: a limit that was reached (asking again
// is for the limit to decide), a missing cache, a rejected key (which the clients shall be told, and
// which mends with the next key, at once).
//
// Shared by the workers of a cache. What every call does touches the worker's own line alone and
// reads one word that changes with the state:
//
//   control word   | since, ms of the monotonic clock: 48 | tries in a row: 8 | state: 8 |
//   a slice        | tag of slice and control word: 16 | calls: 24 | failures: 24 |
//
// The word changes by compare-and-swap, so of many workers that see the same reason one makes the
// change, logs it and counts it. A slice whose tag is not that of its time under the present word
// counts as empty: each closing begins with an empty window. Failures are summed over all workers when
// one fails, which is when it matters.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "config/overload.h"
#include "core/log/log.h"
#include "proxy/momento/client.h"
#include "proxy/service/metrics.h"

namespace proxy {

class CircuitBreaker {
 public:
  enum class State : uint8_t { kClosed, kHalfOpen, kOpen };
  static constexpr std::array<absl::string_view, 3> kStateNames = {"closed", "half_open", "open"};

  // Past this the time to the next try does not double.
  static constexpr int64_t kOpenMsMax = 5000;
  // Longer than any deadline (config/momento.h): probes that did not end by then have been forgotten,
  // and others are let through.
  static constexpr int64_t kProbeMsMax = 11 * 60'000;

  // `metrics` outlives the breaker; `log` too, or is null. `name` is the cache's, for the log.
  CircuitBreaker(const config::Overload& options, std::string name, int workers,
                 OverloadMetrics* metrics, core::Log* log);

  // Whether calls pass without being asked about. Any thread.
  bool closed() const {
    return StateOf(control_.load(std::memory_order_acquire)) == State::kClosed;
  }
  // Whether a call may be made now: always, or as a probe. A probe must be made: its end is waited
  // for. Any thread.
  bool Admit(int64_t now_ms);
  // The service could not be reached and can be again: what is open has waited enough. Any thread.
  void TryNow(int64_t now_ms);
  // A call of `worker` that was made has ended. That worker's thread.
  void Record(int worker, const momento::Error& error, int64_t started_ms, int64_t now_ms) {
    if (!enabled_) return;
    const uint64_t control = control_.load(std::memory_order_acquire);
    const bool failed = !error.ok() && Failure(error);
    if (StateOf(control) != State::kClosed) [[unlikely]] {
      return RecordProbe(control, failed, error.code, started_ms, now_ms);
    }
    if (started_ms < SinceOf(control)) [[unlikely]] return;  // Of an earlier state.
    Window& own = windows_[worker];
    if (now_ms >= own.slice_ends_ms || own.control != control) [[unlikely]] {
      BeginSlice(&own, control, now_ms);
    }
    own.current += failed ? kOneFailure : kOneCall;
    own.slices[own.index].store(own.current, std::memory_order_relaxed);
    if (failed) [[unlikely]] Conclude(control, error.code, now_ms);
  }

  // How it is, for people. Any thread.
  State state() const { return StateOf(control_.load(std::memory_order_acquire)); }
  int64_t SinceMs() const { return SinceOf(control_.load(std::memory_order_acquire)); }
  // Why it was opened last: "14 of 20 calls failed, the last with unavailable"; empty if never.
  std::string Reason() const;

 private:
  static constexpr int kSlices = 10;  // The window moves by tenths, as Hystrix's does.
  // The longest slice is a minute (config/overload.h), in which no worker makes 16 million calls.
  static constexpr int kCountBits = 24;
  static constexpr uint64_t kOneCall = uint64_t{1} << kCountBits;
  static constexpr uint64_t kOneFailure = kOneCall + 1;
  static constexpr uint64_t kCountMask = kOneCall - 1;

  // One worker's calls of late. Its own thread writes, any reads the slices.
  struct alignas(64) Window {
    std::array<std::atomic<uint64_t>, kSlices> slices{};
    uint64_t current = 0;  // What slices[index] holds.
    uint64_t control = 0;
    int64_t slice_ends_ms = 0;
    int index = 0;
  };

  // Not what the proxy refused itself: it says nothing of the service.
  static bool Failure(const momento::Error& error) {
    return error.refusal == momento::Refusal::kNone && !momento::IsVerdict(error.code);
  }
  static State StateOf(uint64_t control) { return static_cast<State>(control & 0xff); }
  static uint64_t TriesOf(uint64_t control) { return control >> 8 & 0xff; }
  static int64_t SinceOf(uint64_t control) { return static_cast<int64_t>(control >> 16); }
  static uint64_t Control(State state, uint64_t tries, int64_t now_ms) {
    return static_cast<uint64_t>(now_ms) << 16 | tries << 8 | static_cast<uint64_t>(state);
  }
  static uint64_t TagOf(int64_t slice, uint64_t control);
  int64_t OpenMs(uint64_t tries) const;

  void BeginSlice(Window* own, uint64_t control, int64_t now_ms);
  void Conclude(uint64_t control, momento::Code code, int64_t now_ms);
  void RecordProbe(uint64_t control, bool failed, momento::Code code, int64_t started_ms,
                   int64_t now_ms);
  bool TakeProbe(uint64_t control, int64_t now_ms);
  // Unless somebody else has changed the state.
  void HalfOpen(uint64_t control, int64_t now_ms);
  void Open(uint64_t control, momento::Code code, uint64_t calls, uint64_t failures,
            int64_t now_ms);

  const bool enabled_;
  const uint64_t failure_percent_;
  const uint64_t calls_min_;
  const int64_t slice_ms_;
  const int64_t open_ms_;
  const uint64_t probes_;
  const std::string name_;
  OverloadMetrics* const metrics_;
  core::Log* const log_;

  std::atomic<uint64_t> control_;
  // | low 32 bits of the control word's since | probes made: 16 | probes answered: 16 |
  std::atomic<uint64_t> probing_{0};
  // | code: 8 | calls: 28 | failures: 28 |; relaxed, told beside the state and not bound to it.
  std::atomic<uint64_t> reason_{0};
  std::atomic<int64_t> opened_ms_{0};  // When it was last closed no more; for the log. Relaxed.
  std::vector<Window> windows_;        // By worker.
};

}  // namespace proxy
