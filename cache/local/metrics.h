// What momento_local counts: calls by name and status, faults it injected, and what its caches
// hold.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "cache/local/directory.h"
#include "cache/local/rpc.h"
#include "core/base/mutex.h"
#include "core/metrics/metrics.h"

namespace cache::local {

// Any thread. One per registry.
class Metrics : public core::MetricGroup {
 public:
  // `directory` is shared with the server: gauges are read for as long as the registry lives, which
  // may be longer than the server does.
  Metrics(core::Registry* registry, std::shared_ptr<const Directory> directory);

  // One call answered.
  void Count(Rpc rpc, absl::StatusCode code);
  // Calls of `rpc` that were answered with `code`.
  uint64_t Calls(Rpc rpc, absl::StatusCode code) const;

  // Counts what the service would count of one item that was asked for and answered, in bytes of key
  // and value (see proto/momento/metering.h); returns the operations.
  uint64_t Charge(Rpc rpc, uint64_t asked_bytes, uint64_t told_bytes);

  core::Counter read_operations{this, "operation_total", "Operations, as the service counts them.",
                                {{"kind", "read"}}};
  core::Counter write_operations{this, "operation_total", "Operations, as the service counts them.",
                                 {{"kind", "write"}}};
  core::Counter received_bytes{this, "received_item_bytes_total",
                               "Bytes of keys and values in the requests of those."};
  core::Counter sent_bytes{this, "sent_item_bytes_total", "Bytes of values in their answers."};
  core::Counter fault_errors{this, "fault_total", "Faults injected, by kind.", {{"kind", "error"}}};
  core::Counter fault_delays{this, "fault_total", "Faults injected, by kind.", {{"kind", "delay"}}};
  core::Counter fault_resets{this, "fault_total", "Faults injected, by kind.", {{"kind", "reset"}}};

 private:
  static constexpr size_t kCodes = 17;  // gRPC's statuses, 0 to 16.
  core::Counter* Register(Rpc rpc, absl::StatusCode code);

  const std::shared_ptr<const Directory> directory_;
  core::Gauge caches_;
  core::Gauge items_;
  core::Gauge item_bytes_;
  core::Gauge heap_bytes_;
  core::Gauge evicted_;
  core::Gauge expired_;

  // Registered when first seen, but for OK: 19 x 17 lines of zeros would drown the others. The
  // release store in Register pairs with the acquire in Count and Calls.
  std::array<std::array<std::atomic<core::Counter*>, kCodes>, kRpcs> by_rpc_{};
  core::Mutex mu_;
  std::vector<std::unique_ptr<core::Counter>> counters_ ABSL_GUARDED_BY(mu_);
};

}  // namespace cache::local
