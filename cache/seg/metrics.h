// What one cache counts: cache_seg_*{cache="name"}.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "core/metrics/metrics.h"

namespace seg {

struct Metrics : core::MetricGroup {
  Metrics(core::Registry* registry, absl::string_view cache)
      : MetricGroup(registry, "cache_seg", {{"cache", std::string(cache)}}) {}

  core::Counter get_hit{this, "get_hit_total", "Counted lookups that found a live item."};
  core::Counter get_miss{this, "get_miss_total", "Counted lookups that found none."};
  core::Counter find_expired{this, "find_expired_total",
                             "Lookups that found none because it was past its deadline."};
  core::Counter find_flushed{this, "find_flushed_total",
                             "Lookups that found none because it was flushed."};
  core::Counter item_store{this, "item_store_total", "Items written, moves not included."};
  core::Counter item_delete{this, "item_delete_total", "Live items removed on request."};
  core::Counter item_evict{this, "item_evict_total", "Live items lost to eviction."};
  core::Counter item_evict_ttl{this, "item_evict_ttl_total",
                               "Of the items lost to eviction, those that had a deadline."};
  core::Counter item_evict_used{
      this, "item_evict_used_total",
      "Of the items lost to eviction, those used lately; 0 with a policy that counts no uses."};
  core::Counter item_evict_unused{this, "item_evict_unused_total",
                                  "Of the items lost to eviction, those never used; likewise."};
  core::Counter item_expire_unused{this, "item_expire_unused_total",
                                   "Of the items that expired, those never used; likewise."};
  core::Counter item_expire{this, "item_expire_total",
                            "Items removed when their segment was reclaimed after their deadline."};
  core::Counter item_move{this, "item_move_total", "Items copied elsewhere for a longer life."};
  core::Counter store_no_memory{this, "store_no_memory_total",
                                "Writes refused because no segment could be reclaimed."};
  core::Counter store_too_large{this, "store_too_large_total",
                                "Writes refused because the item exceeds a segment."};
  core::Counter flush{this, "flush_total", "Times everything was forgotten on request."};
  core::Counter segment_expire{this, "segment_reclaim_total", "Segments reclaimed, by cause.",
                               {{"cause", "expired"}}};
  core::Counter segment_evict{this, "segment_reclaim_total", "Segments reclaimed, by cause.",
                              {{"cause", "evicted"}}};
  core::Counter segment_flush{this, "segment_reclaim_total", "Segments reclaimed, by cause.",
                              {{"cause", "flushed"}}};
  core::Counter segment_empty{this, "segment_reclaim_total", "Segments reclaimed, by cause.",
                              {{"cause", "empty"}}};
  core::Counter segment_sparse{this, "segment_reclaim_total", "Segments reclaimed, by cause.",
                               {{"cause", "sparse"}}};
  core::Counter page_release{this, "page_release_bytes_total",
                             "Memory of unfilled or free segments given back, to be used elsewhere."};
};

}  // namespace seg
