// The names, in memcached's order. See stats_names.h.
#include "proto/memcache/stats_names.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace proto::memcache {
namespace {

constexpr uint64_t kMicros = 1'000'000;

std::string RusageText(uint64_t us) { return absl::StrFormat("%d.%06d", us / kMicros, us % kMicros); }
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
    &StatsCounters::evictions,         &StatsCounters::reclaimed,
    &StatsCounters::total_connections, &StatsCounters::rejected_connections,
    &StatsCounters::bytes_read,        &StatsCounters::bytes_written,
    &StatsCounters::accept_pauses};
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
      .Add("cmd_get", c.get_hits + c.get_misses)
      .Add("cmd_set", c.cmd_set)
      .Add("cmd_flush", c.cmd_flush)
      .Add("cmd_touch", c.touch_hits + c.touch_misses)
      .Add("get_hits", c.get_hits)
      .Add("get_misses", c.get_misses)
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
      // No authentication, no yielding and no crawler here; monitors read the names all the same.
      .Add("auth_cmds", 0)
      .Add("auth_errors", 0)
      .Add("bytes_read", c.bytes_read)
      .Add("bytes_written", c.bytes_written)
      .Add("limit_maxbytes", numbers.limit_maxbytes)
      .Add("accepting_conns", 1)
      .Add("listen_disabled_num", c.accept_pauses)
      .Add("threads", numbers.threads)
      .Add("conn_yields", 0)
      .Add("hash_bytes", numbers.hash_bytes)
      .Add("lru_crawler_starts", 0)
      .Add("bytes", numbers.bytes)
      .Add("curr_items", numbers.curr_items)
      .Add("total_items", c.total_items)
      .Add("evictions", c.evictions)
      .Add("reclaimed", c.reclaimed)
      .Add("crawler_reclaimed", 0)
      .Add("crawler_items_checked", 0)
      .Add("moves_to_cold", 0)
      .Add("moves_to_warm", 0)
      .Add("moves_within_lru", 0)
      .Add("direct_reclaims", 0);
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
      .Add("domain_socket", "NULL")
      .Add("num_threads", settings.num_threads)
      .Add("stat_key_prefix", ":")
      .Add("detail_enabled", "no")
      .Add("cas_enabled", "yes")
      .Add("tcp_backlog", settings.tcp_backlog)
      .Add("binding_protocol", "ascii")
      .Add("auth_enabled_sasl", "no")
      .Add("auth_enabled_ascii", "no")
      .Add("item_size_max", settings.item_size_max)
      .Add("maxconns_fast", "yes")
      // "no" keeps exporters from asking for the settings of a crawler.
      .Add("lru_crawler", "no")
      .Add("flush_enabled", YesNo(settings.flush_enabled))
      .Add("dump_enabled", "no")
      .Add("hash_algorithm", "xxh3")
      .Add("idle_timeout", settings.idle_timeout)
      .Add("track_sizes", "no")
      .Add("ssl_enabled", "no");
  return lines.Take();
}

StatsLines ItemsStats(const StatsNumbers& numbers) {
  if (numbers.curr_items == 0) return {};
  Lines lines;
  lines.Add("items:1:number", numbers.curr_items)
      .Add("items:1:age", 0)
      .Add("items:1:mem_requested", numbers.bytes)
      .Add("items:1:evicted", numbers.counters.evictions)
      .Add("items:1:evicted_nonzero", 0)
      .Add("items:1:evicted_time", 0)
      .Add("items:1:outofmemory", numbers.counters.store_no_memory)
      .Add("items:1:tailrepairs", 0)
      .Add("items:1:reclaimed", numbers.counters.reclaimed)
      .Add("items:1:expired_unfetched", 0)
      .Add("items:1:evicted_unfetched", 0);
  return lines.Take();
}

StatsLines SlabsStats(const StatsNumbers& numbers) {
  Lines lines;
  lines.Add("active_slabs", 0).Add("total_malloced", numbers.limit_maxbytes);
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
