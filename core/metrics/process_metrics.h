// What every Prometheus client library says about its own process, under the names that dashboards
// expect, and which build this is.
#pragma once

#include <string>

#include "core/metrics/metrics.h"

namespace core {

// Everything is read from the kernel at scrape. One per registry.
struct ProcessMetrics : MetricGroup {
  // `product` and `version` become labels of build_info.
  ProcessMetrics(Registry* registry, std::string product, std::string version);

  Counter cpu_seconds;
  Gauge resident_memory_bytes;
  Gauge virtual_memory_bytes;
  Gauge open_fds;
  Gauge max_fds;
  Gauge threads;
  Gauge start_time_seconds;

 private:
  MetricGroup build_;

 public:
  Gauge build_info;
};

}  // namespace core
