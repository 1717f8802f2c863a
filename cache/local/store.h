// One Momento cache: the service's meaning of each call on scalars, over one Segcache heap.
//
// A Momento key may be as long as an item, the engine's at most 255 bytes. So a key of up to 254
// bytes is the engine's key as it is; a longer one lies under a name of exactly 255 bytes, which no
// short key can have, and in front of its value in full:
//
//   engine key    [ first 239 bytes of the key ][ XXH3-128 of the key: 16 ]
//   engine value  [ key length: 4 ][ key ][ value ]
//
// A reader compares the whole key. Two long keys with one name (never, unless built to) push each
// other out, as eviction may; neither is ever answered with the other's value.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cache/seg/cache.h"
#include "config/seg.h"
#include "core/base/clock.h"
#include "core/metrics/metrics.h"

namespace cache::local {

// The hash that conditional writes compare: 16 opaque bytes, a function of the value alone. Writing
// the same bytes again gives the same hash, as with the service.
std::string HashOf(absl::string_view value);

// When a write takes place: one row of the service's table of conditions.
struct Condition {
  enum class Against : uint8_t { kNothing, kValue, kHash };
  bool if_absent = false;
  bool if_equal = false;
  bool if_different = false;
  Against against = Against::kNothing;  // What `operand` is compared with.
  absl::string_view operand = {};

  bool Holds(std::optional<absl::string_view> found) const;
};

class Store {
 public:
  // Bytes that a long key costs beyond the item's own, and the engine's header of an item.
  static constexpr size_t kOverheadBytesMax = 1024;

  // An item as found; keep it short, it pins a segment.
  struct Found {
    seg::ItemRef item;
    std::optional<absl::string_view> value;  // Into `item`. Empty: a miss.
  };
  enum class IncrementResult : uint8_t { kDone, kNotANumber, kOverflow, kTooLarge, kNoMemory };
  enum class TtlRule : uint8_t { kOverwrite, kIncrease, kDecrease };
  enum class TtlResult : uint8_t { kSet, kNotSet, kMissing };

  // `clock` outlives the store. Any method may be called from any thread.
  static absl::StatusOr<std::unique_ptr<Store>> Create(const config::Seg& options,
                                                       const core::Clock* clock,
                                                       absl::string_view name);

  // REQUIRES everywhere: a key that is not empty, ttl_ms > 0.
  Found Get(absl::string_view key);
  // The same without counting as a use.
  Found Peek(absl::string_view key);
  seg::StoreResult Set(absl::string_view key, absl::string_view value, int64_t ttl_ms);
  // Atomic, as are the calls below. kNotStored: the condition does not hold; nothing changed.
  seg::StoreResult SetIf(absl::string_view key, absl::string_view value, int64_t ttl_ms,
                         const Condition& condition);
  // Adds to the decimal text of a signed 64-bit number; an absent item counts as 0. The life
  // becomes `ttl_ms` in either case. On kDone *value is the sum.
  IncrementResult Increment(absl::string_view key, int64_t amount, int64_t ttl_ms, int64_t* value);
  TtlResult UpdateTtl(absl::string_view key, int64_t ttl_ms, TtlRule rule);
  void Delete(absl::string_view key);

  void Flush() { cache_->Flush(); }
  void Tick() { cache_->Tick(); }
  seg::Cache::Stats GetStats() const { return cache_->GetStats(); }
  size_t item_bytes_max() const { return cache_->item_bytes_max(); }

 private:
  using Decide = absl::FunctionRef<void(std::optional<absl::string_view> value, int64_t ttl_ms,
                                        seg::Update* update)>;
  Store() = default;
  seg::StoreResult Apply(absl::string_view key, Decide decide);

  // The engine's metrics stay for a registry's life, and caches come and go at a client's word: so
  // each has a registry of its own, and the sums are shown by Metrics (metrics.h).
  core::Registry registry_;
  std::unique_ptr<seg::Cache> cache_;
};

}  // namespace cache::local
