// Which knobs memcached's command-line letters turn in each product, and what a product does
// without a file. The letters themselves are read in core/process/command_line.h.
#pragma once

#include <vector>

#include "config/node.h"
#include "config/products.h"

namespace config {

struct Habits {
  absl::string_view name;
  absl::string_view summary;             // For --help.
  absl::string_view listen;              // Section of -l (host) and -p (port).
  absl::string_view workers;             // Knob of -t; empty: no such thing, the letter is noted.
  absl::string_view connections;         // Knob of -c; likewise.
  absl::string_view memory;              // Knob of -m; likewise.
  bool has_unix_socket = true;           // -s and -a, and -l with several addresses; in `listen`.
  // Knobs of -b, -u, -P, -e, -Y, -I, -F, -M, -L, -W; empty: the letter is noted, but -u, -P, -e and -Y are
  // refused.
  absl::string_view backlog = "server.backlog";
  absl::string_view user = "server.user";
  absl::string_view pid_file = "server.pid_file";
  absl::string_view restart_file = "";
  absl::string_view auth_file = "";
  absl::string_view item_size = "";
  absl::string_view flush_all = "";
  absl::string_view eviction = "";
  absl::string_view huge_pages = "";
  absl::string_view watch = "";
  absl::string_view idle_timeout = "server.idle_timeout";  // -o idle_timeout=SECONDS.
  bool has_local = false;                // --local is offered.
  bool needs_source = false;             // Will not start with neither a file nor --local.
  std::vector<Override> local_defaults;  // With --local, where the file is silent.
  std::vector<Override> without_file_defaults;  // With no file.
};

template <class Product>
Habits HabitsOf();

template <>
inline Habits HabitsOf<MomentoProxy>() {
  return {.name = MomentoProxy::kName,
          .summary = "Speaks memcached's protocol to clients and keeps the data in Momento.",
          .listen = "cache[0]",
          .workers = "server.workers",
          .connections = "server.connections_max",
          .memory = "",
          .auth_file = "server.auth_file",
          .item_size = "server.item_size_max",
          .flush_all = "cache[0].flush_all",
          .watch = "server.watch",
          .has_local = true,
          .needs_source = true,
          .local_defaults = {{"cache[0].cache_name", "default-cache", "--local"},
                             {"cache[0].flush_all", "true", "--local"}},
          .without_file_defaults = {}};
}

template <>
inline Habits HabitsOf<Segcache>() {
  return {.name = Segcache::kName,
          .summary = "A memcached-compatible cache on the Segcache engine; data lives in memory.",
          .listen = "listen",
          .workers = "server.workers",
          .connections = "server.connections_max",
          .memory = "seg.memory",
          .restart_file = "seg.restart_file",
          .auth_file = "server.auth_file",
          .item_size = "server.item_size_max",
          .flush_all = "server.flush_all",
          .eviction = "seg.eviction",
          .huge_pages = "seg.huge_pages",
          .watch = "server.watch",
          .local_defaults = {},
          // Typed by hand it stands in for memcached; with a file it stands in for Pelikan's.
          .without_file_defaults = {{"listen.port", "11211", ""}}};
}

template <>
inline Habits HabitsOf<Pingserver>() {
  return {.name = Pingserver::kName,
          .summary = "Answers PING with PONG: the smallest product on this runtime.",
          .listen = "listen",
          .workers = "server.workers",
          .connections = "server.connections_max",
          .memory = "",
          .local_defaults = {},
          .without_file_defaults = {}};
}

template <>
inline Habits HabitsOf<MomentoLocal>() {
  return {.name = MomentoLocal::kName,
          .summary = "A Momento-compatible cache service over gRPC; data lives in memory.",
          .listen = "local",
          .workers = "",
          .connections = "",
          .memory = "seg.heap_size",
          .has_unix_socket = false,
          .backlog = "",
          .user = "",
          .pid_file = "",
          .eviction = "seg.eviction",
          .huge_pages = "seg.huge_pages",
          .idle_timeout = "",
          .local_defaults = {},
          .without_file_defaults = {}};
}

}  // namespace config
