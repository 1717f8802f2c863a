// The read-through loop, over whatever answers Get, Set, Add and Delete. See offline.h.
#include "tools/trace/offline.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "cache/seg/cache.h"
#include "core/base/status.h"
#include "core/metrics/metrics.h"

namespace trace {
namespace {

template <class Target>
Point Replay(const Recorded& trace, Target& target) {
  Point point;
  const auto start = std::chrono::steady_clock::now();
  int64_t second = trace.requests.empty() ? 0 : trace.requests.front().second;
  for (const Recorded::One& one : trace.requests) {
    for (; second < one.second; ++second) target.Second();
    bool store = one.op == Op::kSet;
    if (one.op == Op::kGet) {
      ++point.gets;
      if (target.Get(one)) continue;
      ++point.misses;
      store = one.value_bytes != kUnknownBytes;
    } else if (one.op == Op::kAdd) {
      store = !target.Has(one);
    } else if (one.op == Op::kDelete) {
      target.Delete(one);
    }
    if (!store) continue;
    ++point.sets;
    if (!target.Set(one)) ++point.sets_refused;
  }
  point.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return point;
}

class EngineTarget {
 public:
  static absl::StatusOr<std::unique_ptr<EngineTarget>> Create(const Recorded& trace,
                                                              const config::Seg& options) {
    auto target = std::unique_ptr<EngineTarget>(new EngineTarget(trace));
    ASSIGN_OR_RETURN(target->cache_, seg::Cache::Create(options, &target->clock_,
                                                        &target->registry_, "replay"));
    return target;
  }

  void Second() {
    clock_.AdvanceMs(1000);
    cache_->Tick();
  }
  bool Get(const Recorded::One& one) {
    return cache_->Get(KeyOf(one), seg::Token::kQuiet).found();
  }
  bool Has(const Recorded::One& one) {
    return cache_->Peek(KeyOf(one), seg::Token::kQuiet).found();
  }
  bool Set(const Recorded::One& one) {
    if (value_.size() < static_cast<size_t>(one.value_bytes)) value_.resize(one.value_bytes, 'v');
    const absl::string_view key = KeyOf(one);
    const seg::StoreResult result =
        cache_->Set(key, absl::string_view(value_).substr(0, one.value_bytes), 0,
                    one.ttl_sec == 0 ? seg::kNever : one.ttl_sec * 1000);
    // As the server does: what could not be replaced is not to be found.
    if (result != seg::StoreResult::kStored) cache_->Delete(key);
    return result == seg::StoreResult::kStored;
  }
  void Delete(const Recorded::One& one) { cache_->Delete(KeyOf(one)); }

  uint64_t used_bytes() const {
    const seg::Cache::Stats stats = cache_->GetStats();
    return stats.heap_bytes + stats.index_bytes;
  }
  uint64_t evicted() const { return cache_->GetStats().evicted_items; }

 private:
  explicit EngineTarget(const Recorded& trace) : trace_(trace) {}
  absl::string_view KeyOf(const Recorded::One& one) {
    MakeKey(trace_.IdOf(one.key), one.key_bytes, &key_);
    return key_;
  }

  const Recorded& trace_;
  core::ManualClock clock_;
  core::Registry registry_;
  std::unique_ptr<seg::Cache> cache_;
  std::string key_;
  std::string value_;
};

class SimulatorTarget {
 public:
  SimulatorTarget(const Recorded& trace, Simulator::Policy policy, uint64_t memory_bytes,
                  uint64_t object_overhead)
      : second_(trace.requests.empty() ? 0 : trace.requests.front().second),
        simulator_(policy, memory_bytes, trace.keys(), object_overhead) {
    simulator_.AdvanceTo(second_);
  }

  void Second() { simulator_.AdvanceTo(++second_); }
  bool Get(const Recorded::One& one) { return simulator_.Get(one.key); }
  bool Has(const Recorded::One& one) { return simulator_.Has(one.key); }
  bool Set(const Recorded::One& one) {
    const bool fits = simulator_.Set(
        one.key, one.key_bytes + static_cast<uint64_t>(one.value_bytes), one.ttl_sec);
    used_most_ = std::max(used_most_, simulator_.used_bytes());
    return fits;
  }
  void Delete(const Recorded::One& one) { simulator_.Delete(one.key); }
  uint64_t used_most() const { return used_most_; }

 private:
  int64_t second_;
  Simulator simulator_;
  uint64_t used_most_ = 0;
};

// Heap sizes are found by trial: the index grows with the heap by rules that are the engine's own.
constexpr int kTrials = 8;
// Chains of the index may overflow during a replay; one that took more than this part too much is
// done again with less heap.
constexpr double kTooMuch = 0.001;

}  // namespace

absl::StatusOr<Point> ReplayEngine(const Recorded& trace, config::Seg options,
                                   uint64_t memory_bytes, uint64_t* heap_hint) {
  const bool is_known = heap_hint != nullptr && *heap_hint != 0;
  options.heap_size = is_known ? *heap_hint : memory_bytes;
  for (int i = 0; i < kTrials && !is_known; ++i) {
    ASSIGN_OR_RETURN(const auto target, EngineTarget::Create(trace, options));
    const double excess =
        static_cast<double>(target->used_bytes()) / static_cast<double>(memory_bytes);
    if (excess <= 1 && excess > 1 - kTooMuch) break;
    options.heap_size = static_cast<uint64_t>(static_cast<double>(options.heap_size) / excess);
  }
  for (int i = 0;; ++i) {
    ASSIGN_OR_RETURN(const auto target, EngineTarget::Create(trace, options));
    Point point = Replay(trace, *target);
    point.used_bytes = target->used_bytes();
    point.evicted = target->evicted();
    point.memory_bytes = memory_bytes;
    point.cache = absl::StrCat("segcache ",
                               config::Seg::kEvictions[static_cast<size_t>(options.eviction)]);
    const auto most = static_cast<uint64_t>(static_cast<double>(memory_bytes) * (1 + kTooMuch));
    if (heap_hint != nullptr) *heap_hint = options.heap_size;
    if (point.used_bytes <= most || i == kTrials) return point;
    options.heap_size -=
        std::min(point.used_bytes - memory_bytes + memory_bytes / 1000, options.heap_size / 2);
  }
}

Point Simulate(const Recorded& trace, Simulator::Policy policy, uint64_t memory_bytes,
               uint64_t object_overhead) {
  SimulatorTarget target(trace, policy, memory_bytes, object_overhead);
  Point point = Replay(trace, target);
  point.cache = std::string(Simulator::kPolicies[static_cast<size_t>(policy)]);
  point.memory_bytes = policy == Simulator::Policy::kInfinite ? 0 : memory_bytes;
  point.used_bytes = target.used_most();
  return point;
}

}  // namespace trace
