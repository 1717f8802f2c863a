// What the network runtime counts. One group a server.
#pragma once

#include "core/metrics/metrics.h"

namespace core {

struct NetMetrics : MetricGroup {
  NetMetrics(Registry* registry, Labels labels) : MetricGroup(registry, "core_net", labels) {}

  Counter connection_accept{this, "connection_accept_total", "Client connections accepted."};
  Counter connection_reject{this, "connection_reject_total",
                            "Client connections refused because of the connection limit."};
  Counter accept_pause{this, "accept_pause_total",
                       "Times accepting paused because descriptors ran out."};
  Counter connection_idle{this, "connection_idle_close_total",
                          "Client connections closed by the idle timeout."};
  Counter connection_stall{this, "connection_stall_close_total",
                           "Client connections closed because the peer took no reply bytes."};
  Gauge connection_open{this, "connection_open", "Client connections open now."};
  Counter read_bytes{this, "read_bytes_total", "Bytes received from clients."};
  Counter written_bytes{this, "written_bytes_total", "Bytes sent to clients."};
  Counter request{this, "request_total", "Requests parsed, refused ones included."};
  Counter request_invalid{this, "request_invalid_total",
                          "Requests answered with a protocol error."};
  Counter read_pause{this, "read_pause_total",
                     "Times a connection was not read because of its unanswered requests or "
                     "unsent replies."};
  Counter reply_abandon{this, "reply_abandon_total",
                        "Requests a service dropped unanswered: each is a bug."};
};

}  // namespace core
