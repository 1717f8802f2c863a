// What the command log counts.
#pragma once

#include "core/log/command_log.h"
#include "core/metrics/metrics.h"

namespace core {

struct KlogMetrics : MetricGroup {
  // `log` may be null and outlives the registry's last scrape.
  KlogMetrics(Registry* registry, const CommandLog* log)
      : MetricGroup(registry, "core_klog"),
        written(this, "line_total", "Lines written to the command log.",
                [log] { return log == nullptr ? 0.0 : static_cast<double>(log->written()); }),
        dropped(this, "drop_total",
                "Lines of the command log lost: the queue was full or the file took none.",
                [log] { return log == nullptr ? 0.0 : static_cast<double>(log->dropped()); }) {}
  Counter written;
  Counter dropped;
};

}  // namespace core
