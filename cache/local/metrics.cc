#include "cache/local/metrics.h"

#include <array>
#include <string>
#include <utility>

#include "proto/momento/metering.h"

namespace cache::local {
namespace {

// As metric labels and the gRPC documents spell them.
constexpr std::array<absl::string_view, 17> kCodeNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

size_t IndexOf(absl::StatusCode code) {
  const size_t index = static_cast<size_t>(code);
  return index < kCodeNames.size() ? index : static_cast<size_t>(absl::StatusCode::kUnknown);
}

}  // namespace

Metrics::Metrics(core::Registry* registry, std::shared_ptr<const Directory> directory)
    : MetricGroup(registry, "cache_local"),
      directory_(std::move(directory)),
      caches_(this, "caches", "Caches that exist.",
              [d = directory_] { return static_cast<double>(d->size()); }),
      items_(this, "items", "Items in all caches.",
             [d = directory_] { return static_cast<double>(d->SumStats().items); }),
      item_bytes_(this, "item_bytes", "Bytes of keys, values and headers in all caches.",
                  [d = directory_] { return static_cast<double>(d->SumStats().item_bytes); }),
      heap_bytes_(this, "heap_bytes", "Bytes that the segments of all caches occupy.",
                  [d = directory_] { return static_cast<double>(d->SumStats().heap_bytes); }),
      evicted_(this, "evicted_items", "Items evicted from the caches that exist.",
               [d = directory_] { return static_cast<double>(d->SumStats().evicted_items); }),
      expired_(this, "expired_items", "Items expired in the caches that exist.",
               [d = directory_] { return static_cast<double>(d->SumStats().expired_items); }) {
  for (size_t i = 0; i < kRpcs; ++i) Register(static_cast<Rpc>(i), absl::StatusCode::kOk);
}

core::Counter* Metrics::Register(Rpc rpc, absl::StatusCode code) {
  const size_t index = IndexOf(code);
  std::atomic<core::Counter*>& cell = by_rpc_[static_cast<size_t>(rpc)][index];
  core::MutexLock lock(mu_);
  if (core::Counter* made = cell.load(std::memory_order_relaxed); made != nullptr) return made;
  counters_.push_back(std::make_unique<core::Counter>(
      this, "calls_total", "Calls answered, by name and gRPC status.",
      core::Labels{{"rpc", std::string(NameOf(rpc))}, {"code", std::string(kCodeNames[index])}}));
  cell.store(counters_.back().get(), std::memory_order_release);
  return counters_.back().get();
}

void Metrics::Count(Rpc rpc, absl::StatusCode code) {
  core::Counter* counter =
      by_rpc_[static_cast<size_t>(rpc)][IndexOf(code)].load(std::memory_order_acquire);
  if (counter == nullptr) [[unlikely]]
    counter = Register(rpc, code);
  counter->Add();
}

uint64_t Metrics::Charge(Rpc rpc, uint64_t asked_bytes, uint64_t told_bytes) {
  uint64_t operations = proto::momento::OperationsOf(asked_bytes + told_bytes);
  if (rpc == Rpc::kSetIf || rpc == Rpc::kSetIfNotExists) operations *= proto::momento::kSetIfFactor;
  switch (rpc) {
    case Rpc::kGet:
    case Rpc::kGetBatch:
    case Rpc::kGetWithHash:
    case Rpc::kKeysExist:
    case Rpc::kItemGetTtl:
    case Rpc::kItemGetType: read_operations.Add(operations); break;
    default: write_operations.Add(operations);
  }
  received_bytes.Add(asked_bytes);
  sent_bytes.Add(told_bytes);
  return operations;
}

uint64_t Metrics::Calls(Rpc rpc, absl::StatusCode code) const {
  const core::Counter* counter =
      by_rpc_[static_cast<size_t>(rpc)][IndexOf(code)].load(std::memory_order_acquire);
  return counter == nullptr ? 0 : counter->Value();
}

}  // namespace cache::local
