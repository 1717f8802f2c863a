// Segcache: an in-memory cache of items with deadlines, kept in segments.
//
// A heap is cut into segments; items that will die together are appended to the same segment, so
// expiry and eviction work on whole segments; a hash table of 64-byte buckets finds items. After
// Yang, Yue, Vigfusson: "Segcache: a memory-efficient and scalable in-memory key-value cache for
// small objects", NSDI'21. What differs from the paper: an item carries its own deadline (one
// second fine) so a long-open segment never shortens a life; values are bytes, never retyped; any
// closed segment may be evicted, so a write fails only if the item cannot fit a segment.
//
// Any method may be called from any thread at any time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/seg.h"
#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/metrics/metrics.h"

namespace seg {

inline constexpr size_t kKeyBytesMax = 255;  // The item header keeps the length in one byte.
inline constexpr int64_t kNever = -1;        // A ttl_ms that never runs out.

enum class StoreResult : uint8_t {
  kStored,
  kNotStored,  // The condition said no.
  kTooLarge,   // Cannot fit a segment; nothing changed.
  kNoMemory,   // No segment could be reclaimed; nothing changed. Not expected with eviction on.
};

// An item as found: a copy-free view, pinned until this object dies. Drop it soon (before the end
// of the turn or when its bytes are written): a pin keeps its whole segment from being reclaimed.
class ItemRef {
 public:
  ItemRef() = default;
  bool found() const { return found_; }
  absl::string_view value() const { return value_.view(); }
  uint32_t flags() const { return flags_; }
  // Changes whenever the item is written; never 0. Unique to one write of one key.
  uint64_t cas() const { return cas_; }
  // Milliseconds left, or kNever.
  int64_t ttl_ms() const { return ttl_ms_; }
  // Hands over the pinned value.
  core::Bytes TakeValue() { return std::move(value_); }

 private:
  friend class Cache;
  friend class CacheImpl;
  bool found_ = false;
  core::Bytes value_;
  uint32_t flags_ = 0;
  uint64_t cas_ = 0;
  int64_t ttl_ms_ = kNever;
};

// What an Update callback sees and says.
struct Update {
  enum class Action : uint8_t {
    kKeep,    // Leave the item as it is (or absent).
    kStore,   // Write `value`, `flags`, `ttl_ms`.
    kDelete,  // Remove it.
    kTouch,   // Keep the bytes and the cas; set `ttl_ms`.
  };
  Action action = Action::kKeep;
  std::string value;
  uint32_t flags = 0;
  int64_t ttl_ms = kNever;
  uint64_t new_cas = 0;  // Out: the token of what was stored.
};

class Cache {
 public:
  // `clock` and `registry` outlive the cache, and the cache outlives every ItemRef and value taken
  // from it. `name` labels its metrics (cache_seg_*{cache=name}) and must be new to the registry.
  // INVALID_ARGUMENT for sizes that do not go together, RESOURCE_EXHAUSTED without address space.
  static absl::StatusOr<std::unique_ptr<Cache>> Create(const config::Seg& options,
                                                       const core::Clock* clock,
                                                       core::Registry* registry,
                                                       absl::string_view name);
  virtual ~Cache() = default;

  // Finds the live item for `key`, counting the access. Not found: !found().
  // REQUIRES (here and below): 0 < key.size() <= kKeyBytesMax.
  virtual ItemRef Get(absl::string_view key) = 0;
  // The same without counting the access.
  virtual ItemRef Peek(absl::string_view key) = 0;

  // Writes unconditionally. `ttl_ms` > 0 or kNever. `cas`, if not null, receives the new token.
  virtual StoreResult Set(absl::string_view key, absl::string_view value, uint32_t flags,
                          int64_t ttl_ms, uint64_t* cas = nullptr) = 0;
  // Whether there was a live item.
  virtual bool Delete(absl::string_view key) = 0;

  // Reads, decides and writes as one atomic step with respect to every other method on `key`.
  // `decide` runs under a lock and must not call the cache; it sees the live item (or !found()),
  // fills *update and returns nothing. The answer is kStored for kStore and kTouch and kDelete that
  // took place, kNotStored for kKeep, or why a store failed.
  virtual StoreResult Apply(absl::string_view key,
                            absl::FunctionRef<void(const ItemRef& found, Update* update)> decide,
                            Update* update) = 0;

  // Forgets everything written before this call. Readers are not stopped.
  virtual void Flush() = 0;
  // Reclaims expired segments; called about once a second by some thread of the product.
  virtual void Tick() = 0;

  struct Stats {
    uint64_t items = 0;
    uint64_t item_bytes = 0;   // Keys, values and headers of live items.
    uint64_t heap_bytes = 0;   // What the segments occupy.
    uint64_t index_bytes = 0;  // What the hash table and segment headers occupy.
    uint64_t segments = 0;
    uint64_t segments_free = 0;
    uint64_t evicted_items = 0;
    uint64_t expired_items = 0;
    uint64_t total_items = 0;  // Ever stored.
  };
  virtual Stats GetStats() const = 0;
  // The largest key + value that fits.
  virtual size_t item_bytes_max() const = 0;
};

}  // namespace seg
