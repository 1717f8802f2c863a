// What a hub counts. One group a server.
#pragma once

#include "core/metrics/metrics.h"

namespace core {

struct WatchMetrics : MetricGroup {
  WatchMetrics(Registry* registry, Labels labels) : MetricGroup(registry, "core_watch", labels) {}

  Gauge watcher{this, "watcher", "Connections that watch now."};
  Counter watcher_refuse{this, "watcher_refuse_total",
                         "Watchers turned away because there were too many."};
  Counter line_write{this, "line_write_total", "Lines made because somebody watched."};
  Counter line_drop{this, "line_drop_total",
                    "Lines that could not be made because no worker was at hand."};
  Counter line_send{this, "line_send_total", "Lines given to watchers, each watcher's counted."};
  Counter line_skip{this, "line_skip_total",
                    "Lines a watcher went without because it reads too slowly."};
};

}  // namespace core
