// A line of a trace: the public cache-trace layout, or our command log.
//
//   timestamp,key,key size,value size,client,operation,ttl     github.com/twitter/cache-trace
//   2026-11-25T08:51:26.037Z "set key 0 60 5" 5 8              proto/memcache/klog.h
#pragma once

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "tools/trace/request.h"

namespace trace {

// Reads lines of either layout, told apart line by line. Not for two threads at once.
class Parser {
 public:
  // False, and nothing changes, if `line` is not a request. `request->key` is a part of `line`, or
  // of this parser until its next line.
  bool Parse(absl::string_view line, Request* request);

 private:
  bool ParseCsv(absl::string_view line, Request* request);
  bool ParseKlog(absl::string_view line, Request* request);

  // A log says the deadline of what was stored, not of what was found, so it is remembered: a found
  // key that the replay misses was stored before the log began or lived longer there.
  absl::flat_hash_map<std::string, int64_t> ttl_of_;
  std::string unescaped_;
};

}  // namespace trace
