// What a process does when told to read its configuration again: on SIGHUP.
//
//   same file, same switches --Load--> refused: the loader's line in the log, nothing changes
//                                  \-> compared with what is in force --live--> apply(next)
//                                                                    \-other--> "needs a restart"
//
//   core::Reload<config::Segcache> reload(start, &process, [&](const config::Segcache& c) {...});
//   process.ServeUntilSignal({..., .on_reload = [&] { reload.Run(); }});
//
// Which knobs are live is said by their rows (config/knob.h).
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "config/changes.h"
#include "config/loader.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/process/command_line.h"
#include "core/process/process.h"

namespace core {

// Logs a line for each live change and one for all others; how many those are.
size_t LogChanges(const std::vector<config::Change>& changes, Log* log);

// Main thread.
template <class Product>
class Reload {
 public:
  // Takes over what is live in `next`: by Post to workers, by atomics, not by locks on their way.
  using Apply = std::function<void(const Product& next)>;

  // `process` outlives it. An empty `apply` is for products that have nothing of their own to do.
  Reload(const Invocation<Product>& start, Process* process, Apply apply)
      : from_(start.from), running_(start.config), process_(*process), apply_(std::move(apply)) {}

  // Never fails: what cannot be used is logged and counted.
  void Run() {
    const RealClock clock;
    const int64_t now_sec = clock.WallNs() / 1'000'000'000;
    std::vector<config::Change> changes;
    const absl::Status status = Take(&changes);
    if (!status.ok()) {
      process_.log()->Error("configuration refused, the one in force is kept: %s",
                            status.message());
      process_.reloads().Note(false, now_sec, 0);
      return;
    }
    const size_t waiting = LogChanges(changes, process_.log());
    process_.reloads().changed.Add(changes.size() - waiting);
    process_.reloads().Note(true, now_sec, waiting);
  }

  const Product& running() const { return running_; }

 private:
  absl::Status Take(std::vector<config::Change>* changes) {
    ASSIGN_OR_RETURN(config::LoadResult<Product> loaded, config::Load<Product>(from_));
    for (const std::string& line : loaded.warnings) process_.log()->Warning("%s", line);
    Product next = config::Reconciled(running_, std::move(loaded.config), changes);
    // As ProcessOptions has them.
    absl::Duration drain_delay = absl::ZeroDuration(), drain_timeout = absl::Seconds(10);
    if constexpr (requires { next.server; }) {
      drain_delay = next.server.drain_delay;
      drain_timeout = next.server.drain_timeout;
    }
    RETURN_IF_ERROR(process_.Change(next.log, drain_delay, drain_timeout));
    running_ = std::move(next);
    if (apply_) apply_(running_);
    return absl::OkStatus();
  }

  const config::Source from_;
  Product running_;
  Process& process_;
  const Apply apply_;
};

}  // namespace core
