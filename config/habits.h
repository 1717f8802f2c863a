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
  absl::string_view memory;              // Knob of -m; empty: the letter is not offered.
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
          .memory = "seg.heap_size",
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
          .local_defaults = {},
          .without_file_defaults = {}};
}

}  // namespace config
