// What SIGHUP has come to.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "core/metrics/metrics.h"

namespace core {

struct ReloadMetrics : MetricGroup {
  explicit ReloadMetrics(Registry* registry) : ReloadMetrics(registry, std::make_shared<Times>()) {}

  Counter done{this, "done_total", "Times the configuration was read again and taken over."};
  Counter refused{this, "refuse_total",
                  "Times it was read again and refused, the one in force kept."};
  Counter changed{this, "change_total", "Knobs that such a reading changed."};

  // Sets the gauges. Any thread.
  void Note(bool is_done, int64_t wall_sec, size_t left) {
    (is_done ? done : refused).Add();
    times_->last_sec.store(wall_sec, std::memory_order_relaxed);
    times_->waiting.store(static_cast<int64_t>(left), std::memory_order_relaxed);
  }

 private:
  // The registry reads them for as long as it likes.
  struct Times {
    std::atomic<int64_t> last_sec{0};
    std::atomic<int64_t> waiting{0};
  };
  ReloadMetrics(Registry* registry, std::shared_ptr<Times> times)
      : MetricGroup(registry, "core_reload"),
        times_(std::move(times)),
        last(this, "last_time_seconds", "When the configuration was last read again; 0 is never.",
             [t = times_] {
               return static_cast<double>(t->last_sec.load(std::memory_order_relaxed));
             }),
        waiting(this, "restart_knobs", "Knobs in the file that wait for a restart.", [t = times_] {
          return static_cast<double>(t->waiting.load(std::memory_order_relaxed));
        }) {}

  std::shared_ptr<Times> times_;
  Gauge last;
  Gauge waiting;
};

}  // namespace core
