// Who wants to hear which items eviction takes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace seg {

// An item that was alive and lost its place to others. Views die when the call returns.
struct Evicted {
  absl::string_view key;
  size_t value_bytes = 0;
  int64_t ttl_ms = -1;  // What it had left; kNever (-1) of one that would have stayed.
  bool used = false;    // Whether it is known to have been got; never with policies that count no uses.
  int64_t age_ms = 0;   // Since its segment was begun.
};

// Called on whatever thread makes room, while it holds locks of the cache: must not use the cache, nor
// wait for anybody who may. Several threads at once.
class EvictionListener {
 public:
  // Asked for each segment that is evicted, before its items.
  virtual bool listens() const = 0;
  virtual void OnEvict(const Evicted& item) = 0;

 protected:
  ~EvictionListener() = default;
};

}  // namespace seg
