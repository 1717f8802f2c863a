// Files in the key style of Momento's own proxy (and of Pelikan's segcache and pingserver), taken
// with the meaning they had.
//
// A momento_proxy file is in that style when it has any of: a [proxy], [debug] or [klog] section; a
// port in quotes in [admin] or [[cache]]; one of the keys connection_count, flags, protocol,
// memory_cache_bytes, memory_cache_ttl_seconds, buffer_size, primary_endpoint in a [[cache]]. Then
//
//   [proxy] threads               -> server.workers
//   [[cache]] connection_count    -> connections
//   [[cache]] flags               -> envelope: true (the default) is "flags4", false is "raw"
//   [[cache]] protocol            "memcache"; anything else is refused
//   [debug] log_level, log_file, log_queue_depth -> log.level, log.file, log.queue_lines
//
// and `envelope`, `connections`, ... win where a file has both. That the style was seen is itself a
// warning, because it decides how values are stored. Keys with nothing behind them yet (the command
// log, the in-memory cache, log rotation, poll sizes) are accepted with a warning each.
//
// Files of segcache and pingserver: [server] host, port -> listen; [worker] threads ->
// server.workers; [debug] as above.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/node.h"

namespace config {

// Rewrites `root`, a whole file, into our keys. Warnings are complete lines: "file:line: ...".
absl::Status ModernizeProxy(Node* root, std::vector<std::string>* warnings);
absl::Status ModernizeServer(Node* root, std::vector<std::string>* warnings);

}  // namespace config
