// What stands between the services of one cache and Momento: a bound on the calls at the service, a
// queue for those that can still be in time, a refusal for those that cannot, the circuit breaker
// (breaker.h) and the client-side rate limit (rate_limit.h).
//
//   service -> GuardedClient -> the client of the worker
//                  \_ closed, under the bound, no limit: passed on as it is
//                   \_ else: passed on | waits for a call to end, or for its time | is refused
//
// Each worker has its share of `calls_max` and `waiting_max`: its calls travel on its own connections
// and can use no other's, so a common count would buy nothing and cost every call a cache line that all
// workers write. The rate limit and the breaker are of the cache.
//
// A call that finds no room waits if it will be answered in time: the calls before it leave one by
// one, at the rate at which the service answers, which is their number divided by the recent time of
// a call. If not, it is refused at once (SERVER_ERROR busy), not when its time is over. While there is room
// nothing is refused, however slow the service is: nobody would know when it is quick again.
//
// A client must be told of no more than it asked for: a refusal is an ordinary failed result, handed
// over by the Flush() after the call, with sent == false.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/types/span.h"
#include "config/momento.h"
#include "core/log/log.h"
#include "core/net/event_loop.h"
#include "core/net/timer.h"
#include "proxy/momento/client.h"
#include "proxy/service/breaker.h"
#include "proxy/service/metrics.h"
#include "proxy/service/rate_limit.h"

namespace proxy {

// What the guarded clients of one cache share. Outlives them. Any thread.
class Guard {
 public:
  // `registry` outlives it; `log` too, or is null.
  Guard(const config::Cache& cache, int workers, core::Registry* registry, core::Labels labels,
        core::Log* log);

  // Other rates from now on. Then the clients are to be told.
  void Retune(const config::Cache& cache) {
    limit_.Set(cache.operations_per_second, cache.bytes_per_second);
  }
  const OverloadMetrics& metrics() const { return metrics_; }
  const CircuitBreaker& breaker() const { return breaker_; }
  // Calls at the service, and calls that wait here.
  uint64_t calls() const;
  uint64_t waiting() const;

 private:
  friend class GuardedClient;
  // A worker's numbers: it alone writes, others read. Relaxed.
  struct alignas(64) Numbers {
    std::atomic<uint32_t> calls{0};
    std::atomic<uint32_t> waiting{0};
  };

  std::vector<Numbers> numbers_;  // By worker.
  OverloadMetrics metrics_;
  CircuitBreaker breaker_;
  RateLimit limit_;
};

// The client of one worker, guarded.
class GuardedClient final : public momento::Client,
                            private momento::CallObserver,
                            private core::Timer {
 public:
  // What one connection to the service carries at a time.
  static constexpr uint32_t kCallsPerConnection = 100;

  struct Share {
    uint32_t calls = 0;    // >= 1
    uint32_t waiting = 0;
  };
  // The worker's part, so that the parts add up; `connections` is its own.
  static Share ShareOf(const config::Overload& options, int workers, int worker, int connections);

  // All pointers outlive it.
  GuardedClient(momento::Client* inner, const config::Cache& cache, Guard* guard, int worker,
                Share share, core::EventLoop* loop);
  ~GuardedClient();

  void Get(absl::string_view key, momento::Callback<momento::GetResult> done) override;
  void GetBatch(absl::Span<const absl::string_view> keys,
                momento::Callback<std::vector<momento::GetResult>> done) override;
  void GetWithHash(absl::string_view key,
                   momento::Callback<momento::HashedGetResult> done) override;
  void Set(absl::string_view key, absl::string_view prefix, absl::string_view body,
           uint64_t ttl_ms, momento::Callback<momento::StoreResult> done) override;
  void SetBatch(absl::Span<const momento::StoreItem> items,
                momento::Callback<std::vector<momento::StoreResult>> done) override;
  void SetIf(absl::string_view key, absl::string_view prefix, absl::string_view body,
             uint64_t ttl_ms, momento::Condition condition,
             momento::Callback<momento::StoreResult> done) override;
  void SetIfHash(absl::string_view key, absl::string_view prefix, absl::string_view body,
                 uint64_t ttl_ms, std::optional<absl::string_view> expected_hash,
                 momento::Callback<momento::StoreResult> done) override;
  void Delete(absl::string_view key, momento::Callback<momento::DoneResult> done) override;
  void KeyExists(absl::string_view key, momento::Callback<momento::FoundResult> done) override;
  void UpdateTtl(absl::string_view key, uint64_t ttl_ms,
                 momento::Callback<momento::FoundResult> done) override;
  void ItemGetTtl(absl::string_view key, momento::Callback<momento::TtlResult> done) override;
  // The control plane has connections and limits of its own: passed on.
  void FlushCache(momento::Callback<momento::DoneResult> done) override {
    inner_->FlushCache(std::move(done));
  }
  void Ping(momento::Callback<momento::DoneResult> done) override {
    inner_->Ping(std::move(done));
  }

  // After that of the Guard.
  void Retune(const config::Cache& cache) override;
  // Starts what may start, hands over what was refused, then lets the client send.
  void Flush() override;
  int ready_connections() const override { return inner_->ready_connections(); }

 private:
  // Makes the call, or ends it with the error it is given.
  using Held = absl::AnyInvocable<void(const momento::Error* refused)>;
  struct Waiting {
    Held call;
    int64_t since_ns;
    int64_t goes_ns;     // Not before.
    int64_t expires_ns;  // Not after.
  };
  struct Refused {
    Held call;
    momento::Error error;
  };
  enum class Verdict : uint8_t { kGo, kWait, kRefuse };
  // What was decided about the call that is being made.
  struct Decision {
    Verdict verdict = Verdict::kGo;
    int64_t deadline_ns = 0;
    int64_t goes_ns = 0;
    momento::Refusal why = momento::Refusal::kNone;
  };

  // Whether the call can go without being looked at; then it is counted. The plain path.
  bool Passes() {
    if (calls_ >= pass_below_ || !breaker_->closed()) return false;
    SetCalls(calls_ + 1);
    return true;
  }
  // Decides on a call that did not pass; one that is to go is counted.
  Decision Judge(config::Cache::Kind kind, const Weight& weight);
  Decision Refuse(momento::Refusal why, core::Counter* counter);
  void SetAside(const Decision& decision, Held call);
  // Reads weigh more once they are answered.
  template <class Result>
  void Meter(uint64_t asked_bytes, momento::Callback<Result>* done);

  // A retry or a hedge goes if it is its time then; it does not wait in line.
  bool AdmitExtra(const momento::ExtraCall& call) override;
  void OnCallEnded(const momento::Error& error, int64_t elapsed_ns, int64_t waited_ms) override;
  void OnTimer() override;
  bool MayProbe();
  // Starts what may start and hands over what was refused.
  void Settle();
  void StartWaiting();
  void ArmTimer();
  void SetCalls(uint32_t calls);
  void WaitingChanged();

  momento::Client* const inner_;
  Guard* const guard_;
  CircuitBreaker* const breaker_;
  const int worker_;
  const Share share_;
  std::array<int64_t, config::Cache::kKinds> deadlines_ns_;  // By kind of call.
  bool limited_;
  core::EventLoop* const loop_;

  bool reachable_ = true;  // When last a call was asked for while the circuit was not closed.
  uint32_t calls_ = 0;
  // share_.calls; 0 while every call must be looked at: some wait, or there is a rate limit.
  uint32_t pass_below_;
  int64_t latency_ns_ = 0;  // Of a call, moving by an eighth as TCP's (RFC 6298).
  std::deque<Waiting> waiting_;
  std::vector<Refused> refused_;
};

}  // namespace proxy
