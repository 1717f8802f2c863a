// Every number under its own name: each is another one here, so none can be dropped, swapped or told
// twice without being missed.
#include "proto/memcache/stats_names.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"

namespace proto::memcache {
namespace {

using Stats = std::map<std::string, std::string>;

Stats AsMap(const StatsLines& lines) {
  Stats stats(lines.begin(), lines.end());
  EXPECT_EQ(stats.size(), lines.size()) << "a name told twice";
  return stats;
}

StatsNumbers Numbers() {
  StatsNumbers n;
  n.counters = {.cmd_set = 101, .cmd_flush = 102, .get_hits = 103, .get_misses = 104,
                .get_expired = 105, .get_flushed = 106, .delete_hits = 107, .delete_misses = 108,
                .incr_hits = 109, .incr_misses = 110, .decr_hits = 111, .decr_misses = 112,
                .cas_hits = 113, .cas_misses = 114, .cas_badval = 115, .touch_hits = 116,
                .touch_misses = 117, .store_too_large = 118, .store_no_memory = 119,
                .total_items = 120, .cmd_meta = 121, .evictions = 122, .evicted_with_ttl = 123,
                .evicted_unfetched = 124, .evicted_active = 125, .reclaimed = 126,
                .expired_unfetched = 127, .direct_reclaims = 128, .total_connections = 129,
                .rejected_connections = 130, .bytes_read = 131, .bytes_written = 132,
                .accept_pauses = 133, .accept_paused_us = 134, .idle_kicks = 135,
                .watch_written = 136, .watch_dropped = 137, .watch_skipped = 138,
                .watch_sent = 139, .ssl_sessions = 140, .ssl_handshake_errors = 141,
                .ssl_proto_errors = 142, .auth_cmds = 143, .auth_errors = 144};
  n.pid = 201;
  n.uptime_sec = 202;
  n.time_sec = 1'000'203;
  n.rusage_user_us = 204'000'005;
  n.rusage_system_us = 206;
  n.watchers = 207;
  n.max_connections = 208;
  n.curr_connections = 209;
  n.kicks_idle = true;
  n.tls_loaded_sec = 1'000'000;
  n.threads = 210;
  n.read_buf_bytes = 211;
  n.limit_maxbytes = 212;
  n.bytes = 213;
  n.curr_items = 214;
  n.hash_bytes = 215;
  n.hash_slots = 1 << 21;
  n.segments = 216;
  n.segments_free = 16;
  n.segment_bytes = 218;
  n.age_sec = 219;
  n.evicted_age_sec = 220;
  return n;
}

TEST(StatsNames, Plain) {
  const Stats kNumbers = {
      {"pid", "201"}, {"uptime", "202"}, {"time", "1000203"},
      {"version", std::string(kVersionText)}, {"pointer_size", "64"},
      {"rusage_user", "204.000005"}, {"rusage_system", "0.000206"}, {"max_connections", "208"},
      {"curr_connections", "209"}, {"total_connections", "129"}, {"rejected_connections", "130"},
      {"connection_structures", "209"}, {"read_buf_count", "210"}, {"read_buf_bytes", "211"},
      {"cmd_get", "207"}, {"cmd_set", "101"}, {"cmd_flush", "102"}, {"cmd_touch", "233"},
      {"cmd_meta", "121"}, {"get_hits", "103"}, {"get_misses", "104"}, {"get_expired", "105"},
      {"get_flushed", "106"}, {"delete_misses", "108"}, {"delete_hits", "107"},
      {"incr_misses", "110"}, {"incr_hits", "109"}, {"decr_misses", "112"}, {"decr_hits", "111"},
      {"cas_misses", "114"}, {"cas_hits", "113"}, {"cas_badval", "115"}, {"touch_hits", "116"},
      {"touch_misses", "117"}, {"store_too_large", "118"}, {"store_no_memory", "119"},
      {"auth_cmds", "143"}, {"auth_errors", "144"}, {"idle_kicks", "135"}, {"bytes_read", "131"},
      {"bytes_written", "132"}, {"limit_maxbytes", "212"}, {"accepting_conns", "1"},
      {"listen_disabled_num", "133"}, {"time_in_listen_disabled_us", "134"}, {"threads", "210"},
      {"hash_power_level", "21"}, {"hash_bytes", "215"}, {"log_worker_dropped", "137"},
      {"log_worker_written", "136"}, {"log_watcher_skipped", "138"}, {"log_watcher_sent", "139"},
      {"log_watchers", "207"}, {"ssl_new_sessions", "140"}, {"ssl_handshake_errors", "141"},
      {"ssl_proto_errors", "142"}, {"time_since_server_cert_refresh", "203"}, {"bytes", "213"},
      {"curr_items", "214"}, {"total_items", "120"}, {"slab_global_page_pool", "16"},
      {"expired_unfetched", "127"}, {"evicted_unfetched", "124"}, {"evicted_active", "125"},
      {"evictions", "122"}, {"reclaimed", "126"}, {"direct_reclaims", "128"}};
  StatsNumbers n = Numbers();
  Stats stats = AsMap(GeneralStats(n));
  for (const auto& [name, value] : kNumbers) EXPECT_EQ(stats[name], value) << name;
  for (const auto& [name, value] : stats) {  // What is not here.
    if (kNumbers.count(name) == 0) {
      EXPECT_EQ(value, "0") << name;
    }
  }
  n.accepting = n.kicks_idle = false;
  n.tls_loaded_sec = 0;
  stats = AsMap(GeneralStats(n));
  EXPECT_EQ(stats["accepting_conns"], "0");
  for (const char* name : {"idle_kicks", "ssl_new_sessions", "time_since_server_cert_refresh"}) {
    EXPECT_EQ(stats.count(name), 0u) << name;
  }
}

TEST(StatsNames, CountersAreToldSinceAStart) {
  StatsNumbers n = Numbers();
  n.counters = n.counters - StatsCounters();
  EXPECT_EQ(GeneralStats(n), GeneralStats(Numbers()));
  n.counters = n.counters - Numbers().counters;
  StatsNumbers fresh = Numbers();
  fresh.counters = {};
  EXPECT_EQ(GeneralStats(n), GeneralStats(fresh));
  EXPECT_EQ(ItemsStats(n), ItemsStats(fresh));
  EXPECT_EQ(SlabsStats(n), SlabsStats(fresh));
}

TEST(StatsNames, Settings) {
  StatsSettings settings{.maxbytes = 301,
                         .maxconns = 302,
                         .tcpport = 303,
                         .inter = "10.0.0.4",
                         .domain_socket = "/run/socket",
                         .umask = 0770,
                         .verbosity = 2,
                         .evictions = true,
                         .num_threads = 305,
                         .tcp_backlog = 306,
                         .item_size_max = 307,
                         .flush_enabled = true,
                         .idle_timeout = 308,
                         .tls = StatsSettings::Tls{.certificate_file = "cert.pem",
                                                   .key_file = "key.pem",
                                                   .client_ca_file = "ca.pem",
                                                   .verify_mode = 2,
                                                   .min_version = "tlsv1.3"},
                         .auth_enabled = true};
  const Stats kAll = {
      {"maxbytes", "301"}, {"maxconns", "302"}, {"tcpport", "303"}, {"udpport", "0"},
      {"inter", "10.0.0.4"}, {"verbosity", "2"}, {"evictions", "on"},
      {"domain_socket", "/run/socket"}, {"umask", "770"}, {"shutdown_command", "no"},
      {"num_threads", "305"}, {"stat_key_prefix", ":"}, {"detail_enabled", "no"},
      {"cas_enabled", "yes"}, {"tcp_backlog", "306"}, {"binding_protocol", "auto-negotiate"},
      {"auth_enabled_sasl", "yes"}, {"auth_enabled_ascii", "yes"}, {"item_size_max", "307"},
      {"maxconns_fast", "yes"}, {"slab_reassign", "no"}, {"slab_automove", "0"},
      {"lru_crawler", "no"}, {"flush_enabled", "yes"}, {"dump_enabled", "no"},
      {"hash_algorithm", "xxh3"}, {"lru_maintainer_thread", "no"}, {"lru_segmented", "no"},
      {"temp_lru", "no"}, {"idle_timeout", "308"}, {"track_sizes", "no"},
      {"inline_ascii_response", "no"}, {"ssl_enabled", "yes"}, {"ssl_chain_cert", "cert.pem"},
      {"ssl_key", "key.pem"}, {"ssl_verify_mode", "2"}, {"ssl_ca_cert", "ca.pem"},
      {"ssl_min_version", "tlsv1.3"}};
  EXPECT_EQ(AsMap(SettingsStats(settings)), kAll);
  settings.tls->key_file = settings.tls->client_ca_file = "";
  Stats stats = AsMap(SettingsStats(settings));
  EXPECT_EQ(stats["ssl_key"], "NULL");
  EXPECT_EQ(stats["ssl_ca_cert"], "NULL");
  settings.tls.reset();
  settings.domain_socket = "";
  settings.evictions = settings.flush_enabled = settings.auth_enabled = false;
  stats = AsMap(SettingsStats(settings));
  EXPECT_EQ(stats["domain_socket"], "NULL");
  EXPECT_EQ(stats["evictions"], "off");
  for (const char* name :
       {"flush_enabled", "auth_enabled_sasl", "auth_enabled_ascii", "ssl_enabled"}) {
    EXPECT_EQ(stats[name], "no") << name;
  }
  EXPECT_EQ(stats.count("ssl_chain_cert"), 0u);
}

TEST(StatsNames, Items) {
  const Stats kNumbers = {
      {"number", "214"}, {"number_cold", "214"}, {"age", "219"}, {"mem_requested", "213"},
      {"evicted", "122"}, {"evicted_nonzero", "123"}, {"evicted_time", "220"},
      {"outofmemory", "119"}, {"reclaimed", "126"}, {"expired_unfetched", "127"},
      {"evicted_unfetched", "124"}, {"evicted_active", "125"}, {"direct_reclaims", "128"},
      {"hits_to_cold", "103"}};
  StatsNumbers n = Numbers();
  Stats stats = AsMap(ItemsStats(n));
  for (const auto& [name, value] : kNumbers) {
    const std::string full = absl::StrCat("items:1:", name);
    EXPECT_EQ(stats[full], value) << full;
    stats.erase(full);
  }
  for (const auto& [name, value] : stats) EXPECT_EQ(value, "0") << name;
  n.curr_items = 0;
  EXPECT_TRUE(ItemsStats(n).empty());
}

TEST(StatsNames, Slabs) {
  StatsNumbers n = Numbers();
  EXPECT_EQ(AsMap(SlabsStats(n)),
            (Stats{{"1:chunk_size", "218"}, {"1:chunks_per_page", "1"}, {"1:total_pages", "216"},
                   {"1:total_chunks", "216"}, {"1:used_chunks", "200"}, {"1:free_chunks", "16"},
                   {"1:free_chunks_end", "0"}, {"1:mem_requested", "213"}, {"1:get_hits", "103"},
                   {"1:cmd_set", "101"}, {"1:delete_hits", "107"}, {"1:incr_hits", "109"},
                   {"1:decr_hits", "111"}, {"1:cas_hits", "113"}, {"1:cas_badval", "115"},
                   {"1:touch_hits", "116"}, {"active_slabs", "1"}, {"total_malloced", "47088"}}));
  n.segments_free = n.segments;
  EXPECT_EQ(AsMap(SlabsStats(n)), (Stats{{"active_slabs", "0"}, {"total_malloced", "47088"}}));
}

}  // namespace
}  // namespace proto::memcache
