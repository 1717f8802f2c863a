// Whether a call that failed is sent again, and when.
//
// Only what may be repeated: calls that the service has certainly not seen, reads, and with
// retry_writes also stores, touches and deletes that ask for no condition. A conditional store is
// never repeated once it may have arrived: its first run may be what makes the second one fail. By
// default no write is: its first run may come late, or another client's write come between the two,
// and then the second run, or the late first one, undoes what was acknowledged since.
//
// Only UNAVAILABLE and INTERNAL: the service did not judge the call. Only while the call's own time
// lasts, after a pause with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS
// Architecture Blog, 2015), and only within the budget and the cache's own rate limit: a limit that
// is used up is no time for more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>

#include "absl/functional/function_ref.h"
#include "config/momento.h"
#include "proxy/momento/call_budget.h"
#include "proxy/momento/client.h"
#include "proxy/momento/metrics.h"

namespace proxy::momento {

class Retries {
 public:
  // `metrics` outlives it. One thread.
  Retries(const config::Cache& cache, Metrics* metrics, uint32_t seed);

  // A call of so many operations is made for the first time.
  void Earn(size_t operations) { budget_.Earn(operations); }

  struct Failed {
    config::Cache::Kind kind;
    size_t operations;
    uint32_t retries;  // Of this call so far.
    int64_t left_ms;   // Until its deadline.
  };
  // Whether the cache's own limit lets the call go after so many ms, which then are its turn.
  using Admit = absl::FunctionRef<bool(int64_t pause_ms)>;
  // How long to wait before the call is sent again, in ms, its price taken; nullopt: it is not.
  // `admit` is asked last, of a call that all else speaks for.
  std::optional<int64_t> PauseBefore(const Failed& call, const Error& error, Admit admit);

 private:
  bool MayRepeat(config::Cache::Kind kind, const Error& error) const;

  const uint32_t attempts_max_;
  const int64_t backoff_ms_;
  const bool writes_;
  CallBudget budget_;
  Metrics* const metrics_;
  std::minstd_rand random_;
};

}  // namespace proxy::momento
