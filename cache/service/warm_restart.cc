// See warm_restart.h.
#include "cache/service/warm_restart.h"

#include <algorithm>

#include "absl/time/time.h"
#include "core/base/clock.h"

namespace cache {

seg::Lodging LodgingFor(const config::MainSeg& options, int workers) {
  return {.memory = options.memory,
          .beside = kProcessBytes + static_cast<uint64_t>(workers) * kWorkerBytes,
          .file = options.restart_file};
}

WarmRestart::WarmRestart(const config::MainSeg& options, seg::Cache* engine,
                         core::Process* process)
    : file_(options.restart_file), engine_(engine), process_(process) {
  if (!enabled()) return;
  const seg::Arrival& arrival = engine_->arrival();
  if (arrival.restored) {
    process_->log()->Info("%s: %d items are back after %s", file_, engine_->GetStats().items,
                          absl::FormatDuration(absl::Milliseconds(arrival.away_ms)));
    note_ = flush_in_ms();
  } else if (!arrival.refusal.empty()) {
    process_->log()->Warning("seg.restart_file: %s is not used, the cache starts empty: %s", file_,
                             arrival.refusal);
  } else {
    process_->log()->Info("%s: begun, the cache starts empty", file_);
  }
}

WarmRestart::~WarmRestart() {
  if (!enabled()) return;
  const core::RealClock clock;
  const int64_t began_ns = clock.MonotonicNs();
  const uint64_t items = engine_->GetStats().items;
  const absl::Status status = engine_->Save(note_, [this] { return process_->ToldAgain(); });
  const absl::Duration took = absl::Nanoseconds(clock.MonotonicNs() - began_ns);
  if (status.ok()) {
    process_->log()->Info("%s: %d items saved in %s", file_, items,
                          absl::FormatDuration(absl::Trunc(took, absl::Milliseconds(1))));
  } else {
    process_->log()->Warning("%s; the next start will be empty", status.message());
  }
}

int64_t WarmRestart::flush_in_ms() const {
  const seg::Arrival& arrival = engine_->arrival();
  if (!arrival.restored || arrival.note < 0) return -1;
  return std::max<int64_t>(arrival.note - arrival.away_ms, 0);
}

core::AdminHooks::TextCommand WarmRestart::SaveCommand() {
  return {"stops this process as SIGTERM does and keeps the cache in seg.restart_file",
          [this](absl::string_view words) -> std::string {
            if (!words.empty()) return "CLIENT_ERROR save takes no words\n";
            if (!enabled()) return "CLIENT_ERROR seg.restart_file names no file to save to\n";
            process_->RequestStop();
            return "OK\n";
          }};
}

}  // namespace cache
