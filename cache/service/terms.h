// What memcached's words mean to the engine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "cache/seg/cache.h"
#include "core/base/clock.h"
#include "proto/memcache/request.h"

namespace cache {

// What is left of a request's exptime, in milliseconds; 0 or less: nothing.
inline int64_t UntilMs(int64_t exptime, const core::Clock& clock) {
  // memcached doc/protocol.txt, "Expiration times": 60*60*24*30. Longer ones are Unix times.
  constexpr int64_t kRelativeSecMax = 2'592'000;
  if (exptime <= kRelativeSecMax) return exptime * 1000;
  return exptime * 1000 - clock.WallNs() / 1'000'000;
}

// A time left as clients are told it: -1 is never. A second that has begun counts, so that what was
// given 30 seconds has 30 at once, and an item that is there has one.
inline int32_t WholeSeconds(int64_t ttl_ms) {
  if (ttl_ms == seg::kNever) return -1;
  const int64_t sec = (ttl_ms + 999) / 1000;
  return static_cast<int32_t>(std::clamp<int64_t>(sec, 0, std::numeric_limits<int32_t>::max()));
}

// What becomes of the CAS token of an item that is found or written for this request.
inline seg::Token TokenFor(const proto::memcache::Request& req) {
  return (req.want & proto::memcache::kWantCas) != 0 ? seg::Token::kTold : seg::Token::kQuiet;
}

}  // namespace cache
