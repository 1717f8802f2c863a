// A replay against a running server, in memcached's text protocol.
//
// Requests of one key are answered one after another, so a miss is counted once however deep the
// pipeline: a request waits while the one before it on its key, or the fill of it, is unanswered.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tools/histogram.h"
#include "tools/trace/reader.h"

namespace trace {

struct LiveOptions {
  std::string host = "127.0.0.1";
  int port = 11211;
  int connections = 8;
  int depth = 32;
  double time_scale = 0;      // 0 = as fast as possible.
  int pid = 0;                // 0 = as the server says in stats.
  uint64_t requests_max = 0;  // 0 = all.
};

struct LiveReport {
  uint64_t requests = 0;  // Of the trace; fills come on top.
  uint64_t gets = 0;
  uint64_t misses = 0;
  uint64_t sets = 0;  // Fills included.
  uint64_t sets_refused = 0;
  uint64_t skipped = 0;        // Operations that are not replayed.
  uint64_t lines_skipped = 0;  // Lines that are no requests.
  double seconds = 0;
  double late_seconds = 0;  // With a time scale: by how much the replay fell behind at most.
  tools::Latencies latency;  // From sending to the whole reply, fills included.
  // Of the server, if its process is known.
  bool has_server = false;
  double server_cpu_seconds = 0;
  uint64_t server_rss_bytes = 0;       // At the end.
  uint64_t server_anonymous_bytes = 0;  // The part of it that is no file's.

  std::string Text() const;
  std::string Csv(absl::string_view trace) const;
};

// UNAVAILABLE if the server cannot be reached, goes away or says what it should not; the errors of
// `reader`.
absl::StatusOr<LiveReport> ReplayLive(Reader* reader, const LiveOptions& options);

}  // namespace trace
