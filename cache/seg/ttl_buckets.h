// TTL buckets: 1024 queues of segments, one per band of remaining life.
//
// Items that will die together live together, so expiry frees whole segments and rarely looks at an
// item. Bands widen with the TTL: four tiers of 256 bands, 8, 128, 2048 and 32768 seconds wide
// (Yang et al., NSDI'21, section 4.2). A band only decides with whom an item is stored; when it
// dies is written in the item.
//
//   tier  band      bands used   lives from .. below
//   0     8 s       0..255       0          2048 s
//   1     128 s     16..255      2048       32768 s
//   2     2048 s    16..255      32768      524288 s
//   3     32768 s   16..255      524288     8388608 s (97 days), and in its last band everything
//                                           longer, items that never die included
#pragma once

#include <array>
#include <cstdint>

namespace seg {

inline constexpr int kTtlBands = 256;
inline constexpr std::array<int64_t, 4> kTtlBandSec = {8, 128, 2048, 32768};
inline constexpr int kTtlBuckets = kTtlBands * static_cast<int>(kTtlBandSec.size());
inline constexpr int kTtlBucketLast = kTtlBuckets - 1;

// The bucket for an item that has `ttl_ms` to live; negative = for ever.
constexpr int TtlBucketOf(int64_t ttl_ms) {
  if (ttl_ms < 0) return kTtlBucketLast;
  const int64_t ttl_sec = ttl_ms / 1000;
  for (size_t tier = 0; tier < kTtlBandSec.size(); ++tier) {
    const int64_t band = ttl_sec / kTtlBandSec[tier];
    if (band < kTtlBands) return static_cast<int>(tier) * kTtlBands + static_cast<int>(band);
  }
  return kTtlBucketLast;
}

// The shortest TTL that belongs into `bucket`: no item in a segment of it was stored with less.
constexpr int64_t TtlBucketFloorMs(int bucket) {
  return (bucket % kTtlBands) * kTtlBandSec[static_cast<size_t>(bucket / kTtlBands)] * 1000;
}

static_assert(TtlBucketOf(0) == 0 && TtlBucketOf(-1) == kTtlBucketLast);

}  // namespace seg
