// How often each address may fail: a bucket of kBurst, filled again one a second.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace core {

// One thread at a time.
class PeerLimit {
 public:
  static constexpr int64_t kBurst = 10;
  static constexpr int64_t kRefillMs = 1000;
  // Addresses remembered; x some 60 bytes. Those past it share one bucket.
  static constexpr size_t kPeersMax = 4096;

  // Whether `peer` may try now.
  bool Allows(absl::string_view peer, int64_t now_ms);
  // It tried, and failed.
  void Fail(absl::string_view peer, int64_t now_ms);

  size_t peers() const { return full_at_ms_.size(); }

 private:
  // A bucket is the time at which it will be full again.
  static bool Empty(int64_t full_at_ms, int64_t now_ms) {
    return full_at_ms - now_ms > (kBurst - 1) * kRefillMs;
  }
  int64_t* BucketOf(absl::string_view peer, int64_t now_ms);

  absl::flat_hash_map<std::string, int64_t> full_at_ms_;
  int64_t others_full_at_ms_ = 0;
};

}  // namespace core
