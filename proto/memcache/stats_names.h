// memcached's statistics: which names there are, in which shape, and what each "stats" word answers.
//
// Both memcache products answer from here, so that a monitor built for memcached reads them alike.
// What monitors rely on: one name and one value a line; numbers where memcached has numbers;
// rusage as seconds, a dot and six digits; the whole of a plain "stats" within 4096 bytes (collectd
// reads into a buffer of that size); cmd_set counting cas attempts too; a version that starts with
// digits, since libmemcached parses it. Names that describe memcached's slabs and LRU are given
// only where monitors refuse to work without them, and then say that there are none.
//
// Pure functions: the numbers are the caller's.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "proto/memcache/response.h"

namespace proto::memcache {

// What "version" answers: the memcached whose behaviour this is, then our own.
inline constexpr absl::string_view kVersionText = "1.6.45-momento-" MP_VERSION;

inline constexpr size_t kStatsBytesMax = 4096;  // See above.

using StatsLines = std::vector<std::pair<std::string, std::string>>;

// Everything that counts up, and that "stats reset" therefore sets back to zero.
struct StatsCounters {
  // Per command, in memcached's sense: cmd_get = get_hits + get_misses (gat counts as touch alone);
  // cmd_set counts every storage command, successful or not.
  uint64_t cmd_set = 0;
  uint64_t cmd_flush = 0;
  uint64_t get_hits = 0;
  uint64_t get_misses = 0;
  uint64_t delete_hits = 0;
  uint64_t delete_misses = 0;
  uint64_t incr_hits = 0;
  uint64_t incr_misses = 0;
  uint64_t decr_hits = 0;
  uint64_t decr_misses = 0;
  uint64_t cas_hits = 0;
  uint64_t cas_misses = 0;
  uint64_t cas_badval = 0;
  uint64_t touch_hits = 0;
  uint64_t touch_misses = 0;
  uint64_t store_too_large = 0;
  uint64_t store_no_memory = 0;
  uint64_t total_items = 0;  // Items stored, ever.
  uint64_t evictions = 0;
  uint64_t reclaimed = 0;  // Items removed after their deadline.
  uint64_t total_connections = 0;
  uint64_t rejected_connections = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t accept_pauses = 0;  // listen_disabled_num.

  // Counts since `start`.
  StatsCounters operator-(const StatsCounters& start) const;
};

struct StatsNumbers {
  StatsCounters counters;
  uint64_t pid = 0;
  uint64_t uptime_sec = 0;
  uint64_t time_sec = 0;  // Unix time.
  uint64_t rusage_user_us = 0;
  uint64_t rusage_system_us = 0;
  uint64_t max_connections = 0;
  uint64_t curr_connections = 0;
  uint64_t threads = 0;
  uint64_t limit_maxbytes = 0;
  uint64_t bytes = 0;  // Taken by live items.
  uint64_t curr_items = 0;
  uint64_t hash_bytes = 0;  // Of the index.
};

// What "stats settings" tells.
struct StatsSettings {
  uint64_t maxbytes = 0;
  uint64_t maxconns = 0;
  uint64_t tcpport = 0;
  std::string inter;  // The address listened on.
  uint64_t verbosity = 0;
  bool evictions = true;
  uint64_t num_threads = 0;
  uint64_t tcp_backlog = 0;
  uint64_t item_size_max = 0;
  bool flush_enabled = true;
  uint64_t idle_timeout = 0;  // Seconds; 0 = none.
};

StatsLines GeneralStats(const StatsNumbers& numbers);
StatsLines SettingsStats(const StatsSettings& settings);
// One class of items holds them all, as the engine has no slabs: number and evictions of class 1, or
// nothing while there is no item, as memcached does.
StatsLines ItemsStats(const StatsNumbers& numbers);
// Likewise for "stats slabs".
StatsLines SlabsStats(const StatsNumbers& numbers);

// Answers "stats `argument`": calls what it needs of the three, and renders.
Response AnswerStats(absl::string_view argument, absl::FunctionRef<StatsNumbers()> numbers,
                     absl::FunctionRef<StatsSettings()> settings, absl::FunctionRef<void()> reset);

}  // namespace proto::memcache
