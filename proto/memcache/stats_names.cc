// The names, in memcached's order. See stats_names.h.
#include "proto/memcache/stats_names.h"

#include <algorithm>
#include <bit>
#include <initializer_list>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace proto::memcache {
namespace {

constexpr uint64_t kMicros = 1'000'000;

std::string RusageText(uint64_t us) { return absl::StrFormat("%d.%06d", us / kMicros, us % kMicros); }
// Rounded down; 0 of 0.
uint64_t LogTwo(uint64_t n) { return n == 0 ? 0 : static_cast<uint64_t>(std::bit_width(n) - 1); }
std::string OnOff(bool on) { return on ? "on" : "off"; }
std::string YesNo(bool yes) { return yes ? "yes" : "no"; }

// Gathers lines; numbers and words alike.
class Lines {
 public:
  Lines& Add(absl::string_view name, uint64_t value) { return Add(name, absl::StrCat(value)); }
  Lines& Add(absl::string_view name, std::string value) {
    lines_.emplace_back(std::string(name), std::move(value));
    return *this;
  }
  // What memcached has and this has not.
  Lines& AddZeros(std::initializer_list<absl::string_view> names) {
    for (const absl::string_view name : names) Add(name, 0);
    return *this;
  }
  StatsLines Take() { return std::move(lines_); }

 private:
  StatsLines lines_;
};

// One counter of StatsCounters, for subtracting them all.
constexpr uint64_t StatsCounters::*kCounters[] = {
    &StatsCounters::cmd_set,           &StatsCounters::cmd_flush,
    &StatsCounters::get_hits,          &StatsCounters::get_misses,
    &StatsCounters::delete_hits,       &StatsCounters::delete_misses,
    &StatsCounters::incr_hits,         &StatsCounters::incr_misses,
    &StatsCounters::decr_hits,         &StatsCounters::decr_misses,
    &StatsCounters::cas_hits,          &StatsCounters::cas_misses,
    &StatsCounters::cas_badval,        &StatsCounters::touch_hits,
    &StatsCounters::touch_misses,      &StatsCounters::store_too_large,
    &StatsCounters::store_no_memory,   &StatsCounters::total_items,
    &StatsCounters::cmd_meta,
    &StatsCounters::evictions,         &StatsCounters::reclaimed,
    &StatsCounters::total_connections, &StatsCounters::rejected_connections,
    &StatsCounters::bytes_read,        &StatsCounters::bytes_written,
    &StatsCounters::accept_pauses,     &StatsCounters::accept_paused_us,
    &StatsCounters::get_expired,       &StatsCounters::get_flushed,
    &StatsCounters::evicted_with_ttl,  &StatsCounters::evicted_unfetched,
    &StatsCounters::evicted_active,    &StatsCounters::expired_unfetched,
    &StatsCounters::auth_cmds,         &StatsCounters::auth_errors,
    &StatsCounters::direct_reclaims,   &StatsCounters::idle_kicks,
    &StatsCounters::log_written,       &StatsCounters::log_dropped,
    &StatsCounters::ssl_sessions,      &StatsCounters::ssl_handshake_errors,
    &StatsCounters::ssl_proto_errors};
static_assert(sizeof(kCounters) / sizeof(kCounters[0]) == sizeof(StatsCounters) / sizeof(uint64_t));

Response StatsOf(StatsLines lines) {
  Response rsp(Status::kStats);
  rsp.stats = std::move(lines);
  return rsp;
}

Response AnswerDetail(absl::string_view word) {
  if (word == "on" || word == "off") return Response(Status::kOk);
  if (word == "dump") return Response::Text(Status::kRaw, "END\r\n");
  return Response::Text(Status::kClientError, "usage: stats detail on|off|dump");
}

// Names no keys: what memcached prints for a class without items.
Response AnswerCacheDump(const std::vector<absl::string_view>& words) {
  if (words.size() < 3) return Response::Text(Status::kClientError, "bad command line");
  uint32_t number = 0;
  for (size_t i = 1; i < 3; ++i) {
    if (!absl::SimpleAtoi(words[i], &number)) {
      return Response::Text(Status::kClientError, "bad command line format");
    }
  }
  return Response(Status::kStats);
}

}  // namespace

StatsCounters StatsCounters::operator-(const StatsCounters& start) const {
  StatsCounters since = *this;
  for (uint64_t StatsCounters::*counter : kCounters) since.*counter -= start.*counter;
  return since;
}

StatsLines GeneralStats(const StatsNumbers& numbers) {
  const StatsCounters& c = numbers.counters;
  Lines lines;
  lines.Add("pid", numbers.pid)
      .Add("uptime", numbers.uptime_sec)
      .Add("time", numbers.time_sec)
      .Add("version", std::string(kVersionText))
      .Add("pointer_size", 8 * sizeof(void*))
      .Add("rusage_user", RusageText(numbers.rusage_user_us))
      .Add("rusage_system", RusageText(numbers.rusage_system_us))
      .Add("max_connections", numbers.max_connections)
      .Add("curr_connections", numbers.curr_connections)
      .Add("total_connections", c.total_connections)
      .Add("rejected_connections", c.rejected_connections)
      .Add("connection_structures", numbers.curr_connections)
      .AddZeros({"response_obj_oom", "response_obj_count", "response_obj_bytes"})
      .Add("read_buf_count", numbers.read_buf_bytes == 0 ? 0 : numbers.threads)
      .Add("read_buf_bytes", numbers.read_buf_bytes)
      .AddZeros({"read_buf_bytes_free", "read_buf_oom"})
      .Add("cmd_get", c.get_hits + c.get_misses)
      .Add("cmd_set", c.cmd_set)
      .Add("cmd_flush", c.cmd_flush)
      .Add("cmd_touch", c.touch_hits + c.touch_misses)
      .Add("cmd_meta", c.cmd_meta)
      .Add("get_hits", c.get_hits)
      .Add("get_misses", c.get_misses)
      .Add("get_expired", c.get_expired)
      .Add("get_flushed", c.get_flushed)
      .Add("delete_misses", c.delete_misses)
      .Add("delete_hits", c.delete_hits)
      .Add("incr_misses", c.incr_misses)
      .Add("incr_hits", c.incr_hits)
      .Add("decr_misses", c.decr_misses)
      .Add("decr_hits", c.decr_hits)
      .Add("cas_misses", c.cas_misses)
      .Add("cas_hits", c.cas_hits)
      .Add("cas_badval", c.cas_badval)
      .Add("touch_hits", c.touch_hits)
      .Add("touch_misses", c.touch_misses)
      .Add("store_too_large", c.store_too_large)
      .Add("store_no_memory", c.store_no_memory)
      .Add("auth_cmds", c.auth_cmds)
      .Add("auth_errors", c.auth_errors);
  if (numbers.kicks_idle) lines.Add("idle_kicks", c.idle_kicks);
  lines.Add("bytes_read", c.bytes_read)
      .Add("bytes_written", c.bytes_written)
      .Add("limit_maxbytes", numbers.limit_maxbytes)
      .Add("accepting_conns", numbers.accepting ? 1 : 0)
      .Add("listen_disabled_num", c.accept_pauses)
      .Add("time_in_listen_disabled_us", c.accept_paused_us)
      .Add("threads", numbers.threads)
      .AddZeros({"conn_yields"})
      .Add("hash_power_level", LogTwo(numbers.hash_slots))
      .Add("hash_bytes", numbers.hash_bytes)
      .AddZeros({"hash_is_expanding", "slab_reassign_rescues", "slab_reassign_chunk_rescues",
                 "slab_reassign_evictions_nomem", "slab_reassign_inline_reclaim",
                 "slab_reassign_busy_items", "slab_reassign_busy_deletes", "slab_reassign_running",
                 "slabs_moved", "lru_crawler_running", "lru_crawler_starts",
                 "lru_maintainer_juggles", "malloc_fails"})
      .Add("log_worker_dropped", c.log_dropped)
      .Add("log_worker_written", c.log_written)
      .AddZeros({"log_watcher_skipped", "log_watcher_sent", "log_watchers"});
  if (numbers.tls_loaded_sec != 0) {
    lines.Add("ssl_new_sessions", c.ssl_sessions)
        .Add("ssl_handshake_errors", c.ssl_handshake_errors)
        .Add("ssl_proto_errors", c.ssl_proto_errors)
        .Add("time_since_server_cert_refresh",
             numbers.time_sec - std::min(numbers.time_sec, numbers.tls_loaded_sec));
  }
  lines.AddZeros({"unexpected_napi_ids", "round_robin_fallback"})
      .Add("bytes", numbers.bytes)
      .Add("curr_items", numbers.curr_items)
      .Add("total_items", c.total_items)
      .Add("slab_global_page_pool", numbers.segments_free)
      .Add("expired_unfetched", c.expired_unfetched)
      .Add("evicted_unfetched", c.evicted_unfetched)
      .Add("evicted_active", c.evicted_active)
      .Add("evictions", c.evictions)
      .Add("reclaimed", c.reclaimed)
      .AddZeros({"crawler_reclaimed", "crawler_items_checked", "lrutail_reflocked",
                 "moves_to_cold", "moves_to_warm", "moves_within_lru"})
      .Add("direct_reclaims", c.direct_reclaims)
      .AddZeros({"lru_bumps_dropped"});
  return lines.Take();
}

StatsLines SettingsStats(const StatsSettings& settings) {
  Lines lines;
  lines.Add("maxbytes", settings.maxbytes)
      .Add("maxconns", settings.maxconns)
      .Add("tcpport", settings.tcpport)
      .Add("udpport", 0)
      .Add("inter", settings.inter)
      .Add("verbosity", settings.verbosity)
      .Add("evictions", OnOff(settings.evictions))
      .Add("domain_socket", settings.domain_socket.empty() ? "NULL" : settings.domain_socket)
      .Add("umask", absl::StrFormat("%o", settings.umask))
      .Add("shutdown_command", "no")
      .Add("num_threads", settings.num_threads)
      .Add("stat_key_prefix", ":")
      .Add("detail_enabled", "no")
      .Add("cas_enabled", "yes")
      .Add("tcp_backlog", settings.tcp_backlog)
      .Add("binding_protocol", "auto-negotiate")
      .Add("auth_enabled_sasl", YesNo(settings.auth_enabled))
      .Add("auth_enabled_ascii", YesNo(settings.auth_enabled))
      .Add("item_size_max", settings.item_size_max)
      .Add("maxconns_fast", "yes")
      .Add("slab_reassign", "no")
      .Add("slab_automove", 0)
      // "no" keeps exporters from asking for the settings of a crawler.
      .Add("lru_crawler", "no")
      .Add("flush_enabled", YesNo(settings.flush_enabled))
      .Add("dump_enabled", "no")
      .Add("hash_algorithm", "xxh3")
      .Add("lru_maintainer_thread", "no")
      .Add("lru_segmented", "no")
      .Add("temp_lru", "no")
      .Add("idle_timeout", settings.idle_timeout)
      .Add("track_sizes", "no")
      .Add("inline_ascii_response", "no")
      .Add("ssl_enabled", YesNo(settings.tls.has_value()));
  if (settings.tls) {
    const auto or_null = [](const std::string& text) { return text.empty() ? "NULL" : text; };
    lines.Add("ssl_chain_cert", settings.tls->certificate_file)
        .Add("ssl_key", or_null(settings.tls->key_file))
        .Add("ssl_verify_mode", static_cast<uint64_t>(settings.tls->verify_mode))
        .Add("ssl_ca_cert", or_null(settings.tls->client_ca_file))
        .Add("ssl_min_version", settings.tls->min_version);
  }
  return lines.Take();
}

StatsLines ItemsStats(const StatsNumbers& numbers) {
  if (numbers.curr_items == 0) return {};
  const StatsCounters& c = numbers.counters;
  Lines lines;
  lines.Add("items:1:number", numbers.curr_items)
      .AddZeros({"items:1:number_hot", "items:1:number_warm"})
      .Add("items:1:number_cold", numbers.curr_items)
      .AddZeros({"items:1:age_hot", "items:1:age_warm"})
      .Add("items:1:age", numbers.age_sec)
      .Add("items:1:mem_requested", numbers.bytes)
      .Add("items:1:evicted", c.evictions)
      .Add("items:1:evicted_nonzero", c.evicted_with_ttl)
      .Add("items:1:evicted_time", numbers.evicted_age_sec)
      .Add("items:1:outofmemory", c.store_no_memory)
      .AddZeros({"items:1:tailrepairs"})
      .Add("items:1:reclaimed", c.reclaimed)
      .Add("items:1:expired_unfetched", c.expired_unfetched)
      .Add("items:1:evicted_unfetched", c.evicted_unfetched)
      .Add("items:1:evicted_active", c.evicted_active)
      .AddZeros({"items:1:crawler_reclaimed", "items:1:crawler_items_checked",
                 "items:1:lrutail_reflocked", "items:1:moves_to_cold", "items:1:moves_to_warm",
                 "items:1:moves_within_lru"})
      .Add("items:1:direct_reclaims", c.direct_reclaims)
      .AddZeros({"items:1:hits_to_hot", "items:1:hits_to_warm"})
      .Add("items:1:hits_to_cold", c.get_hits)
      .AddZeros({"items:1:hits_to_temp"});
  return lines.Take();
}

StatsLines SlabsStats(const StatsNumbers& numbers) {
  const StatsCounters& c = numbers.counters;
  const uint64_t used = numbers.segments - numbers.segments_free;
  Lines lines;
  if (used != 0) {
    lines.Add("1:chunk_size", numbers.segment_bytes)
        .Add("1:chunks_per_page", 1)
        .Add("1:total_pages", numbers.segments)
        .Add("1:total_chunks", numbers.segments)
        .Add("1:used_chunks", used)
        .Add("1:free_chunks", numbers.segments_free)
        .AddZeros({"1:free_chunks_end"})
        .Add("1:mem_requested", numbers.bytes)
        .Add("1:get_hits", c.get_hits)
        .Add("1:cmd_set", c.cmd_set)
        .Add("1:delete_hits", c.delete_hits)
        .Add("1:incr_hits", c.incr_hits)
        .Add("1:decr_hits", c.decr_hits)
        .Add("1:cas_hits", c.cas_hits)
        .Add("1:cas_badval", c.cas_badval)
        .Add("1:touch_hits", c.touch_hits);
  }
  lines.Add("active_slabs", used == 0 ? 0 : 1)
      .Add("total_malloced", numbers.segments * numbers.segment_bytes);
  return lines.Take();
}

Response AnswerStats(absl::string_view argument, absl::FunctionRef<StatsNumbers()> numbers,
                     absl::FunctionRef<StatsSettings()> settings,
                     absl::FunctionRef<void()> reset) {
  const std::vector<absl::string_view> words = absl::StrSplit(argument, ' ', absl::SkipEmpty());
  if (words.empty()) return StatsOf(GeneralStats(numbers()));
  const absl::string_view word = words[0];
  if (word == "settings") return StatsOf(SettingsStats(settings()));
  if (word == "items") return StatsOf(ItemsStats(numbers()));
  if (word == "slabs") return StatsOf(SlabsStats(numbers()));
  if (word == "sizes") return StatsOf({{"sizes_status", "disabled"}});
  if (word == "conns") return StatsOf({});
  if (word == "detail") return AnswerDetail(words.size() > 1 ? words[1] : "");
  if (word == "cachedump") return AnswerCacheDump(words);
  if (word == "reset") {
    reset();
    return Response(Status::kReset);
  }
  return Response(Status::kError);
}

}  // namespace proto::memcache
