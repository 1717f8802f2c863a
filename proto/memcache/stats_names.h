// memcached's statistics: which names there are, in which shape, and what each "stats" word answers.
//
// Both memcache products answer from here, so that a monitor built for memcached reads them alike.
// What monitors rely on: one name and one value a line; numbers where memcached has numbers;
// rusage as seconds, a dot and six digits; the whole of a plain "stats" within 4096 bytes (collectd
// reads into a buffer of that size); cmd_set counting cas attempts too; a version that starts with
// digits, since libmemcached parses it. Names that describe what is not here (slab moves, an LRU and
// its crawler, watchers) are given as 0; README.md says which, and what each of the others counts.
//
// Pure functions: the numbers are the caller's.
#pragma once

#include <cstdint>
#include <optional>
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
  uint64_t get_expired = 0;  // Lookups of any command that met an item past its deadline.
  uint64_t get_flushed = 0;  // Likewise, one that flush_all has made invisible.
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
  uint64_t cmd_meta = 0;     // me alone; the other meta commands count as what they are like.
  uint64_t evictions = 0;
  uint64_t evicted_with_ttl = 0;   // Of these.
  uint64_t evicted_unfetched = 0;  // Of these, as far as the engine counts uses.
  uint64_t evicted_active = 0;     // Of these: used lately.
  uint64_t reclaimed = 0;          // Items removed after their deadline.
  uint64_t expired_unfetched = 0;  // Of these.
  uint64_t direct_reclaims = 0;    // Times a writer had to evict.
  uint64_t total_connections = 0;
  uint64_t rejected_connections = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t accept_pauses = 0;  // listen_disabled_num.
  uint64_t accept_paused_us = 0;
  uint64_t idle_kicks = 0;  // Told only if there is an idle timeout, as memcached does.
  uint64_t log_written = 0;  // Lines of the command log, and those it lost.
  uint64_t log_dropped = 0;
  uint64_t ssl_sessions = 0;  // Told only where TLS is spoken, as memcached does.
  uint64_t ssl_handshake_errors = 0;
  uint64_t ssl_proto_errors = 0;
  uint64_t auth_cmds = 0;    // Attempts to log in, and those that failed.
  uint64_t auth_errors = 0;

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
  bool accepting = true;
  bool kicks_idle = false;  // There is an idle timeout.
  uint64_t tls_loaded_sec = 0;  // When the certificate was read, in Unix time; 0: no TLS.
  uint64_t threads = 0;
  uint64_t read_buf_bytes = 0;  // Of the buffers that input passes through, one a thread.
  uint64_t limit_maxbytes = 0;
  uint64_t bytes = 0;  // Taken by live items.
  uint64_t curr_items = 0;
  uint64_t hash_bytes = 0;  // Of the index.
  uint64_t hash_slots = 0;
  uint64_t segments = 0;  // 0: there is no engine in this process.
  uint64_t segments_free = 0;
  uint64_t segment_bytes = 0;
  uint64_t age_sec = 0;          // Of the oldest items.
  uint64_t evicted_age_sec = 0;  // Of what was evicted last, then.
};

// What "stats settings" tells.
struct StatsSettings {
  uint64_t maxbytes = 0;
  uint64_t maxconns = 0;
  uint64_t tcpport = 0;
  std::string inter;  // The address listened on.
  std::string domain_socket = {};  // Empty: none.
  uint32_t umask = 0700;      // Its access mask.
  uint64_t verbosity = 0;
  bool evictions = true;
  uint64_t num_threads = 0;
  uint64_t tcp_backlog = 0;
  uint64_t item_size_max = 0;
  bool flush_enabled = true;
  uint64_t idle_timeout = 0;  // Seconds; 0 = none.
  struct Tls {
    std::string certificate_file;
    std::string key_file;
    std::string client_ca_file;
    int verify_mode = 0;  // 0 none, 1 request, 2 require.
    std::string min_version;
  };
  std::optional<Tls> tls = std::nullopt;
  bool auth_enabled = false;
};

StatsLines GeneralStats(const StatsNumbers& numbers);
StatsLines SettingsStats(const StatsSettings& settings);
// One class of items holds them all, as the engine has no slabs; nothing while there is no item, as
// memcached does.
StatsLines ItemsStats(const StatsNumbers& numbers);
// Likewise for "stats slabs": a segment is a page of one chunk, which many items share.
StatsLines SlabsStats(const StatsNumbers& numbers);

// Answers "stats `argument`": calls what it needs of the three, and renders.
Response AnswerStats(absl::string_view argument, absl::FunctionRef<StatsNumbers()> numbers,
                     absl::FunctionRef<StatsSettings()> settings, absl::FunctionRef<void()> reset);

}  // namespace proto::memcache
