// [admin]: the operator's two ports. Kept off the data port so that a scrape never waits for it.
#pragma once

#include "config/knob.h"

namespace config {

struct Admin {
  bool enabled = true;
  std::string host = "127.0.0.1";
  uint16_t port = 9999;  // Pelikan's and Momento's proxy's admin port.
  bool http_enabled = true;
  std::string http_host = "127.0.0.1";
  uint16_t http_port = 9998;

  template <class V>
  void Visit(V& v) {
    v.Bool("enabled", &enabled, "serve the text admin port");
    v.Text("host", &host, "address of the text admin port");
    v.Port("port", &port, "text admin port (stats, version, quit); 0 picks a free one");
    v.Bool("http_enabled", &http_enabled, "serve the HTTP admin port");
    v.Text("http_host", &http_host, "address of the HTTP admin port");
    v.Port("http_port", &http_port,
           "HTTP admin port (/metrics, /healthz, /readyz); 0 picks a free one");
  }
};

}  // namespace config
