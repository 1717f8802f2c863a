// How long the calls of a cache may take, and how often they are made: deadlines by kind, retries,
// hedged reads. Part of [[cache]].
#pragma once

#include <cstdint>
#include <optional>

#include "config/knob.h"

namespace config {

struct Attempts {
  // Of one kind of call alone; absent: as `deadline`.
  std::optional<absl::Duration> read_deadline;
  std::optional<absl::Duration> write_deadline;
  std::optional<absl::Duration> update_deadline;
  std::optional<absl::Duration> control_deadline;
  // Three attempts and a tenth of extra load at most: Google, "Site Reliability Engineering",
  // chapter 21, "Deciding to Retry".
  uint32_t retry_attempts = 2;
  absl::Duration retry_backoff = absl::Milliseconds(10);
  uint32_t retry_budget_percent = 10;
  bool retry_writes = false;
  uint32_t hedge_percentile = 0;  // Off.
  absl::Duration hedge_after = absl::Milliseconds(1);
  // What hedging after the 95th percentile costs in "The Tail at Scale", Dean and Barroso, CACM 2013.
  uint32_t hedge_budget_percent = 5;

  template <class V>
  void Visit(V& v) {
    v.DurationOr("read_deadline", &read_deadline, "deadline", absl::Milliseconds(1),
                 absl::Minutes(10), Live("the same for calls that read"));
    v.DurationOr("write_deadline", &write_deadline, "deadline", absl::Milliseconds(1),
                 absl::Minutes(10), Live("the same for calls that store, touch or delete come what may"));
    v.DurationOr("update_deadline", &update_deadline, "deadline", absl::Milliseconds(1),
                 absl::Minutes(10),
                 Live("the same for calls that store on a condition, and for all rounds of an incr, decr, "
                 "append or prepend together"));
    v.DurationOr("control_deadline", &control_deadline, "deadline and momento.connect_timeout",
                 absl::Milliseconds(1), absl::Minutes(10), Live("the same for flush_all"));
    v.Int("retry_attempts", &retry_attempts, 0, 10,
          "how often a call that failed as UNAVAILABLE or INTERNAL may be sent again: a read, or one "
          "that never left this process; 0 is never");
    v.Duration("retry_backoff", &retry_backoff, absl::Milliseconds(1), absl::Minutes(1),
               "longest pause before the first such attempt, doubled for each further one; the pause "
               "is random between nothing and that");
    v.Int("retry_budget_percent", &retry_budget_percent, 0, 100,
          "operations spent on such attempts, of a hundred first ones; 0 is none");
    v.Bool("retry_writes", &retry_writes,
           "send unconditional stores, touches and deletes again as well, which may carry them out "
           "twice and so undo what another client wrote in between");
    v.Int("hedge_percentile", &hedge_percentile, 0, 99,
          "ask a second connection when a get has taken longer than this percentile of the gets "
          "before, and take the first answer; 0 is off");
    v.Duration("hedge_after", &hedge_after, absl::Milliseconds(1), absl::Minutes(10),
               "never ask a second connection earlier than this");
    v.Int("hedge_budget_percent", &hedge_budget_percent, 1, 100,
          "operations spent on such second questions, of a hundred first ones");
  }
};

}  // namespace config
