// Files in the key style of Momento's own proxy (and of Pelikan's segcache and pingserver), taken
// with the meaning they had.
//
// A momento_proxy file is in that style when it has any of: a [proxy] or [debug] section; one of the
// keys queue_depth, single_message_size, max_keep_files in [klog], or an interval there without a
// unit; a port in quotes in [admin] or [[cache]] (that proxy took no other); one of the keys connection_count, flags, protocol,
// memory_cache_bytes, memory_cache_ttl_seconds, buffer_size, primary_endpoint in a [[cache]]. Then
//
//   [proxy] threads               -> server.workers
//   [[cache]] connection_count    -> connections
//   [[cache]] flags               -> envelope: true (the default) is "flags4", false is "raw"
//   [[cache]] protocol            "memcache"; anything else is refused
//   [[cache]] memory_cache_bytes  -> near_size, 256KB at least
//   [[cache]] memory_cache_ttl_seconds -> near_staleness
//   [debug] log_level, log_file, log_queue_depth -> log.level, log.file, log.queue_lines
//   [debug] log_max_size, log_backup             -> log.max_size (1GB when not given), log.backup
//   [klog] queue_depth            -> queue_lines
//   [klog] interval               milliseconds -> a duration
//   [klog] file, backup, max_size, sample        as they are; so are their defaults
//
// Queue depths are brought into our range.
// and `envelope`, `connections`, ... win where a file has both. That the style was seen is itself a
// warning, because it decides how values are stored. Keys with nothing behind them (sizes of message buffers, a number of old logs to keep, poll sizes) are accepted with a
// warning each.
//
// Files of segcache and pingserver: [server] host, port -> listen; [worker] threads ->
// server.workers; [debug] as above, and for segcache [klog]. pingserver has no command log: its
// [klog] is accepted with a warning for each key.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/node.h"

namespace config {

// Rewrites `root`, a whole file, into our keys. Warnings are complete lines: "file:line: ...".
absl::Status ModernizeProxy(Node* root, std::vector<std::string>* warnings);
absl::Status ModernizeSegcache(Node* root, std::vector<std::string>* warnings);
absl::Status ModernizePingserver(Node* root, std::vector<std::string>* warnings);

}  // namespace config
