// Copies of items in this process, in front of Momento and shared by all workers of a [[cache]]: a
// get that finds one makes no call. The Segcache engine keeps them.
//
// What is promised. A copy is shown
//   * for at most `near_staleness` after the call that brought it left (`near_negative` for the copy
//     of a miss), whatever others write meanwhile: that is how old an answer may be;
//   * never past the item's own life as far as the copy knows it: that of a store does, and that of a
//     read which found such a copy still kept, unchanged. Get does not tell lives: of other copies, those
//     read again after `near_staleness` (and near_stale) among them, the end of a life is seen as late
//     as any other change from elsewhere;
//   * never once a write of this process was acknowledged that the copy does not have, on whichever
//     worker or connection: read-your-writes for all clients of this process.
// A write that failed without saying whether it was applied counts as somebody else's.
//
// Why the last holds. Forget() follows the mark of the write's beginning, and Keep() looks at the
// marks (write_marks.h) under the engine's lock of the key, together with its store:
//   * looked before the mark was made: Forget() takes the lock later and removes what was stored;
//   * looked after it: a read's moment is no longer the same, nothing is stored.
// So while a write runs there is no copy, and no answer to a read that began before the write's end
// becomes one: a moment with a writer in it is refused. What the write itself stored is kept only
// if it was the only one in its time, since of two the service may have done either last. A flush does
// the same to all keys; the engine refuses a store that looked before the flush.
//
// A copy is laid down as
//   +-----------------------+--------------+-------+
//   | since: 63 | absent: 1 | dies at: 8   | value |      times in ms of the monotonic clock
//   +-----------------------+--------------+-------+
// where `absent` marks the copy of a miss. Of two answers the one whose call left later is kept.
//
// Any thread. A call takes the engine's short locks and waits for nothing else.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/momento.h"
#include "core/base/clock.h"
#include "core/metrics/metrics.h"
#include "proxy/service/write_marks.h"

namespace seg {
class Cache;
}

namespace proxy {

struct NearMetrics : core::MetricGroup {
  // Prefix "proxy_near", with the cache's label.
  // The gauges share `engine` for as long as the registry may read them; null reads 0.
  NearMetrics(core::Registry* registry, core::Labels labels, std::shared_ptr<seg::Cache> engine);

  core::Counter hit{this, "hit_total", "Lookups answered from a copy, without a call."};
  core::Counter negative_hit{this, "negative_hit_total",
                             "Lookups answered from the copy of a miss."};
  core::Counter miss{this, "miss_total", "Lookups that found no fresh copy."};
  core::Counter keep{this, "keep_total", "Copies made of what was read or written."};
  core::Counter raced{this, "raced_total", "Answers not copied because a write overlapped them."};
  core::Counter too_large{this, "too_large_total", "Values not copied for their size."};
  core::Counter stale{this, "stale_total",
                      "Failed lookups answered from a copy past its staleness."};
  core::Gauge items;
  core::Gauge item_bytes;
};

class NearCache {
 public:
  static constexpr int64_t kLifeUnknown = std::numeric_limits<int64_t>::max();

  // What is to become a copy.
  struct Copy {
    absl::string_view key;
    uint64_t key_hash = 0;
    WriteMarks::Moment moment;
    int64_t since_ms = 0;  // When the call left.
    int64_t dies_ms = kLifeUnknown;
    absl::string_view value;
    uint32_t flags = 0;
  };
  enum class Answer : uint8_t { kUnknown, kHit, kMiss };
  struct Look {
    bool counts = true;  // As an access, which keeps the copy from being pushed out.
    bool misses = true;  // The copy of a miss is an answer, too.
  };

  // `cache.near_size` > 0. All pointers outlive the object, and `registry` its metrics.
  static absl::StatusOr<std::unique_ptr<NearCache>> Create(const config::Cache& cache,
                                                           const WriteMarks* marks,
                                                           const core::Clock* clock,
                                                           core::Registry* registry,
                                                           core::Labels labels);

  // A copy that is fresh. *value and *flags are set with kHit.
  Answer Find(absl::string_view key, Look look, std::string* value, uint32_t* flags);
  // A copy of a hit past its staleness by no more than `near_stale`. False: none.
  bool FindStale(absl::string_view key, std::string* value, uint32_t* flags);

  void KeepRead(const Copy& copy);
  void KeepMiss(const Copy& copy);
  // Before the write's mark is taken back.
  void KeepWritten(const Copy& copy);
  // After the write's mark was made.
  void Forget(absl::string_view key);
  void ForgetAll();
  // Gives back the memory of what is over; about once a second, by anybody.
  void Tick();

  // Other bounds from now on, for the copies there are too; near_size and near_stale stay.
  void Retune(const config::Cache& cache);

  // Whether a value of this size would be copied.
  bool Admits(size_t key_bytes, size_t value_bytes) const;
  const NearMetrics& metrics() const { return metrics_; }
  uint64_t items() const;
  uint64_t item_bytes() const;

 private:
  // What stands in front of the value.
  struct Head {
    int64_t since_ms;
    int64_t dies_ms;
    bool absent;
  };
  static constexpr size_t kHeadBytes = 16;
  static Head HeadOf(absl::string_view copy);
  int64_t FreshUntil(const Head& head) const {
    return std::min(head.since_ms + (head.absent ? negative_ms() : staleness_ms()), head.dies_ms);
  }

  NearCache(const config::Cache& cache, const WriteMarks* marks, const core::Clock* clock,
            core::Registry* registry, core::Labels labels, std::shared_ptr<seg::Cache> engine);
  void Keep(const Copy& copy, uint64_t writers, bool absent);

  int64_t staleness_ms() const { return staleness_ms_.load(std::memory_order_relaxed); }
  int64_t negative_ms() const { return negative_ms_.load(std::memory_order_relaxed); }

  // Of no other memory.
  std::atomic<int64_t> staleness_ms_;
  std::atomic<int64_t> negative_ms_;
  const int64_t stale_ms_;
  std::atomic<uint64_t> value_bytes_max_;
  const WriteMarks* const marks_;
  const core::Clock* const clock_;
  const std::shared_ptr<seg::Cache> engine_;
  NearMetrics metrics_;
};

}  // namespace proxy
