// What the calls of one cache count for the service's bill, in its own units: see
// proto/momento/metering.h. Prices are not ours to know.
//
// Counted are calls that the service answered. One that failed after it left may have been counted
// there or not: it is in doubt, and counted as that. Any thread.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "core/metrics/metrics.h"
#include "proto/momento/metering.h"

namespace proxy::momento {

struct Meter : core::MetricGroup {
  // Prefix "proxy_meter", with the cache's label.
  Meter(core::Registry* registry, core::Labels labels)
      : core::MetricGroup(registry, "proxy_meter", std::move(labels)) {}

  enum class Kind : uint8_t { kRead, kConsistentRead, kWrite, kConditionalWrite };

  // One call answered: what it asked for and was told, in bytes of key and value, item by item.
  // `told` is as long as `asked` or empty.
  void Count(Kind kind, absl::Span<const uint64_t> asked, absl::Span<const uint64_t> told) {
    uint64_t operations = 0, bytes_asked = 0, bytes_told = 0;
    for (size_t i = 0; i < asked.size(); ++i) {
      const uint64_t answer = told.empty() ? 0 : told[i];
      operations += proto::momento::OperationsOf(asked[i] + answer);
      bytes_asked += asked[i];
      bytes_told += answer;
    }
    if (kind == Kind::kConditionalWrite) operations *= proto::momento::kSetIfFactor;
    (kind == Kind::kRead             ? read
     : kind == Kind::kConsistentRead ? consistent_read
                                     : write)
        .Add(operations);
    sent_bytes.Add(bytes_asked);
    received_bytes.Add(bytes_told);
  }
  // One call that failed after it left.
  void Doubt(Kind kind, absl::Span<const uint64_t> asked) {
    uint64_t operations = 0;
    for (uint64_t one : asked) operations += proto::momento::OperationsOf(one);
    if (kind == Kind::kConditionalWrite) operations *= proto::momento::kSetIfFactor;
    doubtful.Add(operations);
  }

  core::Counter read{this, "operation_total", "Operations of calls answered, as the service counts.",
                     {{"kind", "read"}}};
  core::Counter consistent_read{this, "operation_total",
                                "Operations of calls answered, as the service counts.",
                                {{"kind", "consistent_read"}}};
  core::Counter write{this, "operation_total",
                      "Operations of calls answered, as the service counts.", {{"kind", "write"}}};
  core::Counter doubtful{this, "doubtful_operation_total",
                         "Operations of failed calls that may have reached the service."};
  core::Counter sent_bytes{this, "sent_item_bytes_total",
                           "Bytes of keys and values in the requests of calls answered."};
  core::Counter received_bytes{this, "received_item_bytes_total",
                               "Bytes of values in the answers."};
};

}  // namespace proxy::momento
