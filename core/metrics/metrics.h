// Counters, gauges and histograms: counted per thread without shared cache lines, summed at scrape.
//
// A metric is declared as a member of a MetricGroup with its sentence; the group registers it under
// "room_name" with fixed labels. Workers claim a shard at start (ClaimShard); a worker's count is a
// plain add to its own line. Threads without a shard share shard 0 with atomic adds. Values are
// read with relaxed loads: a scrape is a sum of recent values, not a snapshot. A thread that ends
// gives its shard, counts included, to the next thread that claims one: nothing is lost.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "core/base/mutex.h"

namespace core {

using Labels = std::vector<std::pair<std::string, std::string>>;

inline constexpr int kShardsMax = 129;  // 128 workers and the shared shard 0.
inline constexpr int kCellsMax = 8192;  // x 8 bytes = 64 KiB a shard, allocated when claimed.

enum class MetricKind : uint8_t { kCounter, kGauge, kHistogram };

// Histogram bucket upper bounds in nanoseconds for latencies: 1-2-5 steps from 10 us to 10 s.
inline constexpr std::array<int64_t, 19> kLatencyBoundsNs = {
    10'000,        20'000,        50'000,        100'000,       200'000,
    500'000,       1'000'000,     2'000'000,     5'000'000,     10'000'000,
    20'000'000,    50'000'000,    100'000'000,   200'000'000,   500'000'000,
    1'000'000'000, 2'000'000'000, 5'000'000'000, 10'000'000'000};

// One thread's cells. Written by its owner only, except shard 0.
struct alignas(64) MetricShard {
  std::atomic<uint64_t> cells[kCellsMax];
};

class MetricGroup;

// Which shard this thread adds to, for the registry it used last. Plain data without a destructor,
// so that reading it costs one load and is safe at any point of a thread's end.
struct MetricShardCache {
  uint64_t registry_id = 0;  // 0 = none; ids of registries start at 1 and are never used again.
  MetricShard* shard = nullptr;
  bool thread_ended = false;  // The list of claims is gone: everything goes to shard 0.
};
inline constinit thread_local MetricShardCache tls_metric_shard{};

class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Gives the calling thread a shard of its own (until it ends). Workers call it once at start; a
  // second call changes nothing. With all shards taken the thread goes on with the shared one.
  void ClaimShard();

  // One line of what is registered and what it reads now.
  struct Sample {
    std::string name;  // Full name, with _total / _seconds / _bytes as registered.
    absl::string_view help;
    MetricKind kind;
    const Labels* labels;
    double value = 0;  // Counter, gauge.
    std::vector<uint64_t>
        bucket_counts;  // Histogram: per bound, plus one for +Inf; not cumulative.
    double sum = 0;     // Histogram: seconds.
    uint64_t count = 0;
  };
  // Calls `visit` for every metric in order of registration. Any thread; cheap, no worker is
  // stopped.
  void Visit(absl::FunctionRef<void(const Sample&)> visit) const;
  // Prometheus text exposition of everything (through prometheus-cpp's TextSerializer).
  std::string PrometheusText() const;
  // Name, type, labels and sentence of every metric, for --describe-metrics.
  std::string Describe() const;

 private:
  friend class MetricGroup;
  friend class Counter;
  friend class Gauge;
  friend class Histogram;
  struct Entry;
  struct Index;
  class Shards;
  struct Claims;
  // Reserves `cells` consecutive cells and registers a metric on them. Returns the first cell.
  // The same name with the same labels, or with another sentence or kind, is a bug.
  int Register(const MetricGroup& group, absl::string_view name, absl::string_view help,
               MetricKind kind, Labels more, int cells, absl::AnyInvocable<double() const> read);
  Sample Read(const Entry& entry) const;
  uint64_t Sum(int cell) const;
  void AddTo(int cell, uint64_t n) {
    if (tls_metric_shard.registry_id != id_) [[unlikely]]
      return AddSlow(cell, n);
    // One writer: a load and a store do what a locked add would, without the lock.
    std::atomic<uint64_t>& own = tls_metric_shard.shard->cells[cell];
    own.store(own.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  // For a thread without a shard, or one that used another registry last.
  void AddSlow(int cell, uint64_t n);

  const uint64_t id_;  // Tells registries apart in the thread-local shard cache.
  // Owned by the registry and by every thread that claimed from it: a thread may end after the
  // registry, and the registry after the thread.
  const std::shared_ptr<Shards> shards_;

  mutable Mutex mu_;  // Guards everything below.
  std::unique_ptr<Index> index_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Entry>> entries_ ABSL_GUARDED_BY(mu_);  // Only ever grows.
  int cells_used_ ABSL_GUARDED_BY(mu_) = 0;
};

// Metrics of one instance of something, under one prefix and one set of labels. Derive from it and
// declare Counter/Gauge/Histogram members initialised with {this, "name_total", "Sentence."}.
// The registry outlives the group; metrics stay registered for the registry's life.
class MetricGroup {
 public:
  MetricGroup(Registry* registry, absl::string_view prefix, Labels labels = {})
      : registry_(registry), prefix_(prefix), labels_(std::move(labels)) {}

 private:
  friend class Registry;
  friend class Counter;
  friend class Gauge;
  friend class Histogram;
  Registry* registry_;
  std::string prefix_;
  Labels labels_;
};

class Counter {
 public:
  // `help` is a literal. `more` adds labels to the group's.
  Counter(MetricGroup* group, absl::string_view name, absl::string_view help, Labels more = {});
  // A counter that somebody else keeps (the kernel): read by a function at scrape, from the
  // scraping thread. Add() and Value() are bugs on it. What the function uses outlives the last
  // scrape.
  Counter(MetricGroup* group, absl::string_view name, absl::string_view help,
          absl::AnyInvocable<double() const> read, Labels more = {});
  void Add(uint64_t n = 1) { registry_->AddTo(cell_, n); }
  uint64_t Value() const { return registry_->Sum(cell_); }

 private:
  Registry* registry_;
  int cell_;
};

class Gauge {
 public:
  Gauge(MetricGroup* group, absl::string_view name, absl::string_view help, Labels more = {});
  // A gauge that is read by a function at scrape, from the scraping thread. Add() and Value() are
  // bugs on it. What the function uses outlives the last scrape.
  Gauge(MetricGroup* group, absl::string_view name, absl::string_view help,
        absl::AnyInvocable<double() const> read, Labels more = {});
  void Add(int64_t n) { registry_->AddTo(cell_, static_cast<uint64_t>(n)); }
  int64_t Value() const { return static_cast<int64_t>(registry_->Sum(cell_)); }

 private:
  Registry* registry_;
  int cell_;
};

// Latency in seconds with the buckets of kLatencyBoundsNs.
class Histogram {
 public:
  Histogram(MetricGroup* group, absl::string_view name, absl::string_view help, Labels more = {});
  void RecordNs(int64_t ns);

 private:
  Registry* registry_;
  int cell_;  // Buckets, then the sum of nanoseconds.
};

}  // namespace core
