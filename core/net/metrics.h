// What the network runtime counts. One group a server.
#pragma once

#include "core/metrics/metrics.h"

namespace core {

struct NetMetrics : MetricGroup {
  NetMetrics(Registry* registry, Labels labels) : MetricGroup(registry, "core_net", labels) {}

  Counter connection_accept{this, "connection_accept_total", "Client connections accepted."};
  Counter connection_reject{this, "connection_reject_total",
                            "Client connections refused because of the connection limit."};
  Counter connection_give{this, "connection_give_total",
                          "Client connections handed to the process that took over."};
  Counter connection_inherit{this, "connection_inherit_total",
                             "Client connections taken over from the process before."};
  Counter connection_forbid{this, "connection_forbid_total",
                            "Client connections refused because their address is not allowed."};
  Counter accept_pause{this, "accept_pause_total",
                       "Times accepting paused because descriptors ran out."};
  Gauge accept_paused{this, "accept_paused",
                      "Listening sockets that do not accept now because descriptors ran out."};
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
  Counter tls_handshake{this, "tls_handshake_total", "TLS handshakes completed."};
  Counter tls_resume{this, "tls_resume_total", "Of these, those that resumed a session."};
  Counter tls_handshake_fail{this, "tls_handshake_fail_total",
                             "TLS handshakes that failed, or took too long."};
  Counter tls_error{this, "tls_error_total",
                    "Connections closed because a peer broke TLS after its handshake."};
  Counter tls_reload{this, "tls_reload_total", "Times another TLS certificate came into use."};
  Counter tls_reload_fail{this, "tls_reload_fail_total",
                          "Times a TLS certificate was refused and the one in use kept."};
  Gauge tls_load_time{this, "tls_certificate_load_time_seconds",
                      "When the TLS certificate was read last, in Unix time; 0 without TLS."};
  Gauge tls_expire_time{this, "tls_certificate_expire_time_seconds",
                        "When the TLS certificate in use expires, in Unix time; 0 without TLS."};
};

}  // namespace core
