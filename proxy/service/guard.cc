// See guard.h.
#include "proxy/service/guard.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "core/base/check.h"
#include "proto/momento/metering.h"
#include "proxy/translate/errors.h"

namespace proxy {

using momento::Callback;
using momento::DoneResult;
using momento::Error;
using momento::FoundResult;
using momento::GetResult;
using momento::HashedGetResult;
using momento::Refusal;
using momento::StoreItem;
using momento::StoreResult;
using momento::TtlResult;
using proto::momento::OperationsOf;

namespace {

using Kind = config::Cache::Kind;

std::array<int64_t, config::Cache::kKinds> DeadlinesOf(const config::Cache& cache) {
  std::array<int64_t, config::Cache::kKinds> ns;
  for (size_t i = 0; i < ns.size(); ++i) {
    ns[i] = absl::ToInt64Nanoseconds(cache.DeadlineOf(static_cast<Kind>(i)));
  }
  return ns;
}

Weight WeightOf(uint64_t item_bytes) { return {OperationsOf(item_bytes), item_bytes}; }

Weight WeightOf(const StoreItem& item) {
  return WeightOf(item.key.size() + item.prefix.size() + item.body.size());
}

template <class Items, class Of>
Weight Sum(const Items& items, Of of) {
  Weight sum;
  for (const auto& item : items) {
    const Weight one = of(item);
    sum.operations += one.operations;
    sum.bytes += one.bytes;
  }
  return sum;
}

// A store that outlives the views it was asked with.
struct KeptItem {
  explicit KeptItem(const StoreItem& item)
      : key(item.key), value(item.prefix), ttl_ms(item.ttl_ms) {
    value.append(item.body.data(), item.body.size());
  }
  StoreItem view() const { return {key, absl::string_view(), value, ttl_ms}; }
  std::string key;
  std::string value;
  uint64_t ttl_ms;
};

template <class Result>
void EndWith(const Error& error, Callback<Result>* done) {
  Result result;
  result.error = error;
  (*done)(std::move(result));
}
// A batch says its error once.
template <class One>
void EndWith(const Error& error, Callback<std::vector<One>>* done) {
  std::vector<One> results(1);
  results[0].error = error;
  (*done)(std::move(results));
}

// `make` does the call with what it is given; `done` is told if it is not to be done.
template <class Result, class Make>
auto HeldCall(Callback<Result> done, Make make) {
  return [done = std::move(done), make = std::move(make)](const Error* refused) mutable {
    if (refused != nullptr) return EndWith(*refused, &done);
    make(std::move(done));
  };
}

}  // namespace

Guard::Guard(const config::Cache& cache, int workers, core::Registry* registry,
             core::Labels labels, core::Log* log)
    : numbers_(workers),
      metrics_(registry, std::move(labels), OverloadMetrics::Readings{
                                                [this] { return calls(); },
                                                [this] { return waiting(); },
                                                [this] { return static_cast<double>(breaker_.state()); }}),
      breaker_(cache, cache.cache_name, workers, &metrics_, log),
      limit_(cache.operations_per_second, cache.bytes_per_second) {}

uint64_t Guard::calls() const {
  uint64_t sum = 0;
  for (const Numbers& one : numbers_) sum += one.calls.load(std::memory_order_relaxed);
  return sum;
}

uint64_t Guard::waiting() const {
  uint64_t sum = 0;
  for (const Numbers& one : numbers_) sum += one.waiting.load(std::memory_order_relaxed);
  return sum;
}

GuardedClient::Share GuardedClient::ShareOf(const config::Overload& options, int workers,
                                            int worker, int connections) {
  const auto part = [&](uint32_t all) {
    return all / workers + (static_cast<uint32_t>(worker) < all % workers ? 1 : 0);
  };
  Share share;
  share.calls = options.calls_max == 0 ? connections * kCallsPerConnection
                                       : std::max(part(options.calls_max), 1u);
  share.waiting = part(options.waiting_max);
  return share;
}

GuardedClient::GuardedClient(momento::Client* inner, const config::Cache& cache, Guard* guard,
                             int worker, Share share, core::EventLoop* loop)
    : inner_(inner),
      guard_(guard),
      breaker_(&guard->breaker_),
      worker_(worker),
      share_(share),
      deadlines_ns_(DeadlinesOf(cache)),
      limited_(guard->limit_.limited()),
      loop_(loop),
      pass_below_(limited_ ? 0 : share.calls) {
  inner_->Observe(this);
}

GuardedClient::~GuardedClient() {
  inner_->Observe(nullptr);
  waiting_.clear();
  WaitingChanged();
}

// --- One by one: passed on at once, or decided about.

void GuardedClient::Get(absl::string_view key, Callback<GetResult> done) {
  if (!Passes()) [[unlikely]] {
    const Decision decision = Judge(Kind::kRead, WeightOf(key.size()));
    Meter(key.size(), &done);
    if (decision.verdict != Verdict::kGo) {
      return SetAside(decision, HeldCall(std::move(done), [this, key = std::string(key)](auto d) {
                        inner_->Get(key, std::move(d));
                      }));
    }
  }
  inner_->Get(key, std::move(done));
}

void GuardedClient::GetBatch(absl::Span<const absl::string_view> keys,
                             Callback<std::vector<GetResult>> done) {
  if (!Passes()) [[unlikely]] {
    const Weight weight = Sum(keys, [](absl::string_view key) { return WeightOf(key.size()); });
    const Decision decision = Judge(Kind::kRead, weight);
    Meter(weight.bytes, &done);
    if (decision.verdict != Verdict::kGo) {
      std::vector<std::string> kept(keys.begin(), keys.end());
      return SetAside(decision, HeldCall(std::move(done), [this, kept = std::move(kept)](auto d) {
                        const std::vector<absl::string_view> views(kept.begin(), kept.end());
                        inner_->GetBatch(views, std::move(d));
                      }));
    }
  }
  inner_->GetBatch(keys, std::move(done));
}

void GuardedClient::GetWithHash(absl::string_view key, Callback<HashedGetResult> done) {
  if (!Passes()) [[unlikely]] {
    const Decision decision = Judge(Kind::kRead, WeightOf(key.size()));
    Meter(key.size(), &done);
    if (decision.verdict != Verdict::kGo) {
      return SetAside(decision, HeldCall(std::move(done), [this, key = std::string(key)](auto d) {
                        inner_->GetWithHash(key, std::move(d));
                      }));
    }
  }
  inner_->GetWithHash(key, std::move(done));
}

void GuardedClient::Set(absl::string_view key, absl::string_view prefix, absl::string_view body,
                        uint64_t ttl_ms, Callback<StoreResult> done) {
  if (!Passes()) [[unlikely]] {
    const StoreItem item{key, prefix, body, ttl_ms};
    const Decision decision = Judge(Kind::kWrite, WeightOf(item));
    if (decision.verdict != Verdict::kGo) {
      return SetAside(decision, HeldCall(std::move(done), [this, kept = KeptItem(item)](auto d) {
                        const StoreItem one = kept.view();
                        inner_->Set(one.key, one.prefix, one.body, one.ttl_ms, std::move(d));
                      }));
    }
  }
  inner_->Set(key, prefix, body, ttl_ms, std::move(done));
}

void GuardedClient::SetBatch(absl::Span<const StoreItem> items,
                             Callback<std::vector<StoreResult>> done) {
  if (!Passes()) [[unlikely]] {
    const Decision decision =
        Judge(Kind::kWrite, Sum(items, [](const StoreItem& item) { return WeightOf(item); }));
    if (decision.verdict != Verdict::kGo) {
      std::vector<KeptItem> kept(items.begin(), items.end());
      return SetAside(decision, HeldCall(std::move(done), [this, kept = std::move(kept)](auto d) {
                        std::vector<StoreItem> views;
                        for (const KeptItem& one : kept) views.push_back(one.view());
                        inner_->SetBatch(views, std::move(d));
                      }));
    }
  }
  inner_->SetBatch(items, std::move(done));
}

void GuardedClient::SetIf(absl::string_view key, absl::string_view prefix, absl::string_view body,
                          uint64_t ttl_ms, momento::Condition condition,
                          Callback<StoreResult> done) {
  if (!Passes()) [[unlikely]] {
    const StoreItem item{key, prefix, body, ttl_ms};
    Weight weight = WeightOf(item);
    weight.operations *= proto::momento::kSetIfFactor;
    const Decision decision = Judge(Kind::kUpdate, weight);
    if (decision.verdict != Verdict::kGo) {
      return SetAside(decision,
                      HeldCall(std::move(done), [this, condition, kept = KeptItem(item)](auto d) {
                        const StoreItem one = kept.view();
                        inner_->SetIf(one.key, one.prefix, one.body, one.ttl_ms, condition,
                                      std::move(d));
                      }));
    }
  }
  inner_->SetIf(key, prefix, body, ttl_ms, condition, std::move(done));
}

void GuardedClient::SetIfHash(absl::string_view key, absl::string_view prefix,
                              absl::string_view body, uint64_t ttl_ms,
                              std::optional<absl::string_view> expected_hash,
                              Callback<StoreResult> done) {
  if (!Passes()) [[unlikely]] {
    const StoreItem item{key, prefix, body, ttl_ms};
    const Decision decision = Judge(expected_hash.has_value() ? Kind::kUpdate : Kind::kWrite, WeightOf(item));
    if (decision.verdict != Verdict::kGo) {
      std::optional<std::string> hash;
      if (expected_hash.has_value()) hash.emplace(*expected_hash);
      return SetAside(decision, HeldCall(std::move(done), [this, kept = KeptItem(item),
                                                           hash = std::move(hash)](auto d) {
                        const StoreItem one = kept.view();
                        std::optional<absl::string_view> expected;
                        if (hash.has_value()) expected = *hash;
                        inner_->SetIfHash(one.key, one.prefix, one.body, one.ttl_ms, expected,
                                          std::move(d));
                      }));
    }
  }
  inner_->SetIfHash(key, prefix, body, ttl_ms, expected_hash, std::move(done));
}

void GuardedClient::Delete(absl::string_view key, Callback<DoneResult> done) {
  if (!Passes()) [[unlikely]] {
    const Decision decision = Judge(Kind::kWrite, WeightOf(key.size()));
    if (decision.verdict != Verdict::kGo) {
      return SetAside(decision, HeldCall(std::move(done), [this, key = std::string(key)](auto d) {
                        inner_->Delete(key, std::move(d));
                      }));
    }
  }
  inner_->Delete(key, std::move(done));
}

void GuardedClient::KeyExists(absl::string_view key, Callback<FoundResult> done) {
  if (!Passes()) [[unlikely]] {
    const Decision decision = Judge(Kind::kRead, WeightOf(key.size()));
    if (decision.verdict != Verdict::kGo) {
      return SetAside(decision, HeldCall(std::move(done), [this, key = std::string(key)](auto d) {
                        inner_->KeyExists(key, std::move(d));
                      }));
    }
  }
  inner_->KeyExists(key, std::move(done));
}

void GuardedClient::UpdateTtl(absl::string_view key, uint64_t ttl_ms,
                              Callback<FoundResult> done) {
  if (!Passes()) [[unlikely]] {
    const Decision decision = Judge(Kind::kWrite, WeightOf(key.size()));
    if (decision.verdict != Verdict::kGo) {
      return SetAside(decision,
                      HeldCall(std::move(done), [this, ttl_ms, key = std::string(key)](auto d) {
                        inner_->UpdateTtl(key, ttl_ms, std::move(d));
                      }));
    }
  }
  inner_->UpdateTtl(key, ttl_ms, std::move(done));
}

void GuardedClient::ItemGetTtl(absl::string_view key, Callback<TtlResult> done) {
  if (!Passes()) [[unlikely]] {
    const Decision decision = Judge(Kind::kRead, WeightOf(key.size()));
    if (decision.verdict != Verdict::kGo) {
      return SetAside(decision, HeldCall(std::move(done), [this, key = std::string(key)](auto d) {
                        inner_->ItemGetTtl(key, std::move(d));
                      }));
    }
  }
  inner_->ItemGetTtl(key, std::move(done));
}

// --- Deciding.

GuardedClient::Decision GuardedClient::Refuse(Refusal why, core::Counter* counter) {
  counter->Add();
  return {.verdict = Verdict::kRefuse, .why = why};
}

// Whether a call may be made while the circuit is not closed.
bool GuardedClient::MayProbe() {
  const int64_t now_ms = loop_->now_ms();
  const bool was_reachable = std::exchange(reachable_, inner_->ready_connections() > 0);
  if (reachable_ && !was_reachable) breaker_->TryNow(now_ms);
  return breaker_->Admit(now_ms);
}

GuardedClient::Decision GuardedClient::Judge(Kind kind, const Weight& weight) {
  OverloadMetrics& metrics = guard_->metrics_;
  const int64_t now_ns = loop_->now_ns();
  const int64_t deadline_ns = deadlines_ns_[static_cast<size_t>(kind)];
  const Decision go;
  if (!breaker_->closed()) {
    if (!MayProbe()) {
      return Refuse(Refusal::kCircuitOpen, &metrics.breaker_refused);
    }
    if (limited_) guard_->limit_.Take(weight, now_ns);
    SetCalls(calls_ + 1);  // A probe goes at once: its end decides about all others.
    return go;
  }
  const bool room = calls_ < share_.calls && waiting_.empty();
  int64_t goes_ns = now_ns;
  if (limited_) goes_ns = std::max(now_ns, guard_->limit_.GoesAt(now_ns));
  if (room && goes_ns == now_ns) {
    if (limited_) guard_->limit_.Take(weight, now_ns);
    SetCalls(calls_ + 1);
    return go;
  }
  if (waiting_.size() >= share_.waiting) return Refuse(Refusal::kBusy, &metrics.busy_waiting);
  // Those before it and itself leave one by one; then its own call takes its time.
  const int64_t in_line_ns =
      room ? 0
           : latency_ns_ * static_cast<int64_t>(waiting_.size() + 1) /
                 static_cast<int64_t>(share_.calls);
  if (goes_ns - now_ns + latency_ns_ >= deadline_ns) {
    return Refuse(Refusal::kBusy, &metrics.busy_quota);
  }
  if (in_line_ns + latency_ns_ > deadline_ns) return Refuse(Refusal::kBusy, &metrics.busy_late);
  if (limited_) {
    goes_ns = guard_->limit_.Take(weight, now_ns);
    if (goes_ns > now_ns) metrics.quota_wait.Add();
  }
  return {.verdict = Verdict::kWait, .deadline_ns = deadline_ns, .goes_ns = goes_ns};
}

void GuardedClient::SetAside(const Decision& decision, Held call) {
  if (decision.verdict == Verdict::kRefuse) {
    refused_.push_back({std::move(call), Error{.code = decision.why == Refusal::kBusy
                                                           ? momento::Code::kResourceExhausted
                                                           : momento::Code::kUnavailable,
                                               .refusal = decision.why,
                                               .sent = false}});
    return;
  }
  const int64_t now_ns = loop_->now_ns();
  waiting_.push_back({std::move(call), now_ns, decision.goes_ns, now_ns + decision.deadline_ns});
  WaitingChanged();
  if (waiting_.size() == 1) ArmTimer();
}

template <class Result>
void GuardedClient::Meter(uint64_t asked_bytes, Callback<Result>* done) {
  if (!limited_) return;
  RateLimit* const limit = &guard_->limit_;
  core::EventLoop* const loop = loop_;
  *done = [limit, loop, asked_bytes, done = std::move(*done)](Result result) mutable {
    // The request was taken as at least an operation; what comes on top is the answer's.
    Weight more;
    const auto add = [&more](uint64_t asked, uint64_t told) {
      more.operations += OperationsOf(asked + told) - OperationsOf(asked);
      more.bytes += told;
    };
    if constexpr (std::is_same_v<Result, std::vector<GetResult>>) {
      if (!result.empty()) {
        const uint64_t each = asked_bytes / result.size();
        for (const GetResult& one : result) add(each, one.value.size());
      }
    } else {
      add(asked_bytes, result.value.size());
    }
    limit->Take(more, loop->now_ns());
    done(std::move(result));
  };
}

// --- What is under way, what waits.

void GuardedClient::SetCalls(uint32_t calls) {
  calls_ = calls;
  guard_->numbers_[worker_].calls.store(calls, std::memory_order_relaxed);
}

void GuardedClient::Retune(const config::Cache& cache) {
  deadlines_ns_ = DeadlinesOf(cache);
  limited_ = guard_->limit_.limited();
  WaitingChanged();
  inner_->Retune(cache);
}

void GuardedClient::WaitingChanged() {
  pass_below_ = limited_ || !waiting_.empty() ? 0 : share_.calls;
  guard_->numbers_[worker_].waiting.store(static_cast<uint32_t>(waiting_.size()),
                                          std::memory_order_relaxed);
}

bool GuardedClient::AdmitExtra(const momento::ExtraCall& call) {
  if (!limited_) return true;
  const int64_t now_ns = loop_->now_ns();
  if (guard_->limit_.GoesAt(now_ns) > now_ns + call.pause_ms * 1'000'000) return false;
  guard_->limit_.Take({call.operations, call.bytes}, now_ns);
  return true;
}

void GuardedClient::OnCallEnded(const Error& error, int64_t elapsed_ns, int64_t waited_ms) {
  SetCalls(calls_ - 1);
  latency_ns_ += (elapsed_ns - latency_ns_) / 8;
  const int64_t now_ns = loop_->now_ns();
  // Of a call that waited here the service had only what was left of its time.
  if (waited_ms == 0 || error.code != momento::Code::kDeadlineExceeded) [[likely]] {
    breaker_->Record(worker_, error, (now_ns - elapsed_ns) / 1'000'000, now_ns / 1'000'000);
  }
  if (error.code == momento::Code::kResourceExhausted) [[unlikely]] {
    guard_->metrics_.CountLimit(translate::LimitOf(error));
  }
  // Started by the EndTurn of this turn, or of the next if that one has passed.
  if (!waiting_.empty()) [[unlikely]] loop_->KeepAwake();
}

void GuardedClient::OnTimer() {
  StartWaiting();
  loop_->KeepAwake();
}

void GuardedClient::ArmTimer() {
  if (waiting_.empty()) return Cancel();
  const Waiting& first = waiting_.front();
  const int64_t now_ns = loop_->now_ns();
  const int64_t next_ns = first.goes_ns > now_ns ? std::min(first.goes_ns, first.expires_ns)
                                                 : first.expires_ns;
  loop_->Arm(this, std::max<int64_t>((next_ns - now_ns + 999'999) / 1'000'000, 0));
}

void GuardedClient::StartWaiting() {
  if (waiting_.empty()) return;
  const int64_t now_ns = loop_->now_ns();
  const bool open = !breaker_->closed();
  while (!waiting_.empty()) {
    Waiting& first = waiting_.front();
    const bool turn = first.goes_ns <= now_ns && calls_ < share_.calls;
    // With less time left than a call takes it would only be given up at the service.
    const bool late = first.expires_ns <= now_ns + (turn ? latency_ns_ : 0);
    if (!open && !late && !turn) break;
    Waiting one = std::move(first);
    waiting_.pop_front();
    if (open) {
      guard_->metrics_.breaker_refused.Add();
      SetAside({.verdict = Verdict::kRefuse, .why = Refusal::kCircuitOpen}, std::move(one.call));
    } else if (late) {
      guard_->metrics_.busy_late.Add();
      SetAside({.verdict = Verdict::kRefuse, .why = Refusal::kBusy}, std::move(one.call));
    } else {
      SetCalls(calls_ + 1);
      inner_->NextHasWaited((now_ns - one.since_ns) / 1'000'000);
      one.call(nullptr);
    }
  }
  WaitingChanged();
  ArmTimer();
}

void GuardedClient::Flush() {
  if (!waiting_.empty() || !refused_.empty()) [[unlikely]] Settle();
  inner_->Flush();
}

void GuardedClient::Settle() {
  StartWaiting();
  // A callback may make calls that are refused in turn: they are handed over too.
  while (!refused_.empty()) {
    for (Refused& one : std::exchange(refused_, {})) one.call(&one.error);
  }
}

}  // namespace proxy
