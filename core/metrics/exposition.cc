// What a registry looks like from outside: Prometheus' text format, and the table for people.

#include <sstream>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/metrics/metrics.h"
#include "prometheus/metric_family.h"
#include "prometheus/text_serializer.h"

namespace core {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricType TypeOf(MetricKind kind) {
  switch (kind) {
    case MetricKind::kCounter:
      return MetricType::Counter;
    case MetricKind::kGauge:
      return MetricType::Gauge;
    case MetricKind::kHistogram:
      return MetricType::Histogram;
  }
  return MetricType::Untyped;
}

absl::string_view NameOf(MetricKind kind) {
  switch (kind) {
    case MetricKind::kCounter:
      return "counter";
    case MetricKind::kGauge:
      return "gauge";
    case MetricKind::kHistogram:
      return "histogram";
  }
  return "untyped";
}

// Ours are counts per bucket in nanoseconds; theirs are cumulative in seconds. The serializer adds
// the +Inf bucket from sample_count.
void FillHistogram(const Registry::Sample& sample, ClientMetric::Histogram* to) {
  to->sample_count = sample.count;
  to->sample_sum = sample.sum;
  uint64_t cumulative = 0;
  for (size_t i = 0; i < kLatencyBoundsNs.size(); ++i) {
    cumulative += sample.bucket_counts[i];
    to->bucket.push_back({cumulative, static_cast<double>(kLatencyBoundsNs[i]) / 1e9});
  }
}

ClientMetric ToClientMetric(const Registry::Sample& sample) {
  ClientMetric metric;
  for (const auto& [name, value] : *sample.labels) metric.label.push_back({name, value});
  switch (sample.kind) {
    case MetricKind::kCounter:
      metric.counter.value = sample.value;
      break;
    case MetricKind::kGauge:
      metric.gauge.value = sample.value;
      break;
    case MetricKind::kHistogram:
      FillHistogram(sample, &metric.histogram);
      break;
  }
  return metric;
}

}  // namespace

std::string Registry::PrometheusText() const {
  std::vector<MetricFamily> families;
  absl::flat_hash_map<std::string, size_t> position;  // A family's samples stand together.
  Visit([&](const Sample& sample) {
    const auto [at, is_new] = position.try_emplace(sample.name, families.size());
    if (is_new) {
      families.push_back({sample.name, std::string(sample.help), TypeOf(sample.kind), {}});
    }
    families[at->second].metric.push_back(ToClientMetric(sample));
  });
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return out.str();
}

std::string Registry::Describe() const {
  std::string text;
  Visit([&](const Sample& sample) {
    absl::StrAppend(&text, sample.name);
    if (!sample.labels->empty()) {
      absl::StrAppend(&text, "{",
                      absl::StrJoin(*sample.labels, ",",
                                    [](std::string* out, const auto& label) {
                                      absl::StrAppend(out, label.first, "=\"", label.second, "\"");
                                    }),
                      "}");
    }
    absl::StrAppend(&text, "  ", NameOf(sample.kind), "  ", sample.help, "\n");
  });
  return text;
}

}  // namespace core
