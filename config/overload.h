// What a [[cache]] does when its backend fails, is slow, or is about to refuse: part of that section.
#pragma once

#include "config/knob.h"

namespace config {

struct Overload {
  // 0: what the connections can carry.
  uint32_t calls_max = 0;
  // A second's deadline is lost anyway behind so many.
  uint32_t waiting_max = 10'000;
  // What four clients may have unanswered by core/net/session.h: below a small sidecar's memory.
  uint64_t request_bytes_max = 64 * kMB;

  bool breaker = true;
  // Twenty calls, half of them failed, in ten seconds: what Hystrix trips at. It waits five seconds
  // then; a cache is missed sooner, and what is asked after one second costs little.
  uint32_t breaker_failure_percent = 50;
  uint32_t breaker_calls_min = 20;
  absl::Duration breaker_window = absl::Seconds(10);
  absl::Duration breaker_open = absl::Seconds(1);
  uint32_t breaker_probes = 5;

  uint32_t operations_per_second = 0;  // Off.
  uint64_t bytes_per_second = 0;       // Off.

  template <class V>
  void Visit(V& v) {
    v.Int("calls_max", &calls_max, 0, 1'000'000,
          "calls at the service at once, dealt out to the workers; more wait; 0 means 100 a "
          "connection, which is what one carries");
    v.Int("waiting_max", &waiting_max, 0, 1'000'000,
          "calls that may wait for those, dealt out likewise; one more gets SERVER_ERROR busy");
    v.Size("request_bytes_max", &request_bytes_max, kMB, 1024 * kGB,
           "bytes of values that commands under way may bring together; one more gets SERVER_ERROR "
           "busy");
    v.Bool("breaker", &breaker, "stop asking a service that fails, and try it now and then");
    v.Int("breaker_failure_percent", &breaker_failure_percent, 1, 100,
          "calls that must fail, of a hundred, before the service is no longer asked");
    v.Int("breaker_calls_min", &breaker_calls_min, 1, 1'000'000,
          "calls within breaker_window below which nothing is concluded");
    v.Duration("breaker_window", &breaker_window, absl::Milliseconds(100), absl::Minutes(10),
               "how far back calls are looked at");
    v.Duration("breaker_open", &breaker_open, absl::Milliseconds(10), absl::Hours(1),
               "how long nothing is asked before a try; twice that after each try that fails, to "
               "5s at most unless this is more");
    v.Int("breaker_probes", &breaker_probes, 1, 1000,
          "calls of a try; when all are answered the service is asked as before");
    v.Int("operations_per_second", &operations_per_second, 0, 1'000'000'000,
          Live("operations to spend, as the service counts them; more wait for their time, or get "
          "SERVER_ERROR busy if it comes past the deadline; 0 is no limit"));
    v.Size("bytes_per_second", &bytes_per_second, 0, 1024 * kGB,
           Live("bytes of keys and values to send and receive likewise; 0 is no limit"));
  }
};

}  // namespace config
