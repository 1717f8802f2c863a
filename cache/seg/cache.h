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

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cache/seg/eviction_listener.h"
#include "cache/seg/marks.h"
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

// Whether a CAS token will be told to somebody. One that is not told need not be kept, and keeping
// it costs eight bytes when the item is moved.
enum class Token : uint8_t { kQuiet, kTold };

// An item as found: a copy-free view, held until this object dies. Drop it soon (before the end of
// the turn or when its bytes are written): a held value keeps its whole segment from being
// reclaimed. May be moved to another thread and die there.
class ItemRef {
 public:
  ItemRef() = default;
  bool found() const { return found_; }
  absl::string_view value() const { return value_.view(); }
  uint32_t flags() const { return flags_; }
  // Changes whenever the item is written; never 0. Unique to one write of one key, unless the writer
  // named it. If the item was found with Token::kQuiet, good for a comparison now and not for telling
  // anybody.
  // REQUIRES: the value was not taken.
  uint64_t cas() const {
    if (kept_cas_ != 0 || sequence_ == nullptr) return kept_cas_;
    return (sequence_->load(std::memory_order_relaxed) << kPlaceBits) | place_;
  }
  // Whether the writer named the token (Update::cas).
  bool cas_is_named() const { return MarkWord::IsNamed(marks_); }
  // Milliseconds left, or kNever.
  int64_t ttl_ms() const { return ttl_ms_; }
  Marks marks() const { return MarkWord::Of(marks_); }
  // Whether the uses of this item are known: it was stored with track_access on. If not, the next two
  // are false and 0.
  bool knows_uses() const { return MarkWord::KnowsUses(marks_); }
  // Whether a Get had found it before this call. A write by Set or kStore begins anew.
  bool was_hit() const { return (marks_ & MarkWord::kHit) != 0; }
  // Seconds, rounded up or down, between the last Get before this call, or the write, and this call.
  uint32_t idle_sec() const { return idle_sec_; }
  // Hands over the value, held.
  core::Bytes TakeValue() { return std::move(value_); }

 private:
  static constexpr int kPlaceBits = 20;
  friend class CacheImpl;
  bool found_ = false;
  core::Bytes value_;
  uint32_t flags_ = 0;
  uint32_t marks_ = 0;  // A MarkWord.
  // The token that the item carries; of one that does not, where it lies, and since when.
  uint64_t kept_cas_ = 0;
  uint64_t place_ = 0;
  const std::atomic<uint64_t>* sequence_ = nullptr;
  int64_t ttl_ms_ = kNever;
  uint32_t idle_sec_ = 0;
  Token token_ = Token::kQuiet;
};

// What an Update callback sees and says.
struct Update {
  enum class Action : uint8_t {
    kKeep,    // Leave the item as it is (or absent).
    kStore,   // Write `value`, `flags`, `ttl_ms`, `marks`, `cas`.
    kDelete,  // Remove it.
    kTouch,   // Keep the bytes and the cas; set `ttl_ms`, and `marks` if given.
    kMark,    // Keep the bytes, the cas and the life; set `marks`.
  };
  Action action = Action::kKeep;
  std::string value;
  uint32_t flags = 0;
  int64_t ttl_ms = kNever;
  // If not given, a store leaves none, and a touch what there were.
  std::optional<Marks> marks;
  // kStore: what is stored goes on with the marks of the item it replaces, its uses among them, but
  // for `marks` if given.
  bool inherits_marks = false;
  // kStore: the token of what is stored, exactly; 0: a new one that no write of the key had. A named
  // one is as unique as whoever names it makes it, and costs twelve bytes.
  uint64_t cas = 0;
  Token token = Token::kTold;  // What becomes of new_cas.
  uint64_t new_cas = 0;        // Out: the token of what was stored.
};

// Where a cache lives, if not in as much memory as it turns out to need until the process ends.
struct Lodging {
  // Bytes for everything: items, index, headers, fingerprints, and `beside`, what the process takes
  // besides the cache. 0: only the items are limited, by options.heap_size.
  uint64_t memory = 0;
  uint64_t beside = 0;
  // A file that the cache's memory is part of, so that Save() can leave it to the next process.
  // Created if it does not exist. Empty: none.
  std::string file;
};

// What became of the file at Create().
struct Arrival {
  bool restored = false;   // The cache begins with what the file held.
  std::string refusal;     // Why it does not, though there was something in the file.
  int64_t away_ms = 0;     // How long after Save() that was, by the wall clock; never less than 0.
  int64_t note = 0;        // As given to Save().
};

class Cache {
 public:
  // `clock` and `registry` outlive the cache, and the cache outlives every ItemRef and value taken
  // from it. `name` labels its metrics (cache_seg_*{cache=name}) and must be new to the registry.
  // INVALID_ARGUMENT for sizes that do not go together, RESOURCE_EXHAUSTED without memory or room
  // for the file; restart_file.h says what else a file may be refused for. A file that is ours but
  // does not hold a whole cache of this layout is no error: the cache begins empty, see arrival().
  static absl::StatusOr<std::unique_ptr<Cache>> Create(const config::Seg& options,
                                                       const core::Clock* clock,
                                                       core::Registry* registry,
                                                       absl::string_view name,
                                                       const Lodging& lodging = {});
  virtual ~Cache() = default;

  // Finds the live item for `key`, counting the access, which is also marked in an item whose uses are
  // known (and may be forgotten if the item is moved at that moment). Not found: !found(). Takes no lock.
  // REQUIRES (here and below): 0 < key.size() <= kKeyBytesMax.
  virtual ItemRef Get(absl::string_view key, Token token = Token::kTold) = 0;
  // The same without counting the access.
  virtual ItemRef Peek(absl::string_view key, Token token = Token::kTold) = 0;
  // Begins to load the place of `key` in the index, ahead of a Get or a write. Returns what
  // PrefetchItem() takes.
  virtual uint64_t Prefetch(absl::string_view key) const = 0;
  // The second step, worth its while once the first has had time: begins to load the item that
  // seems to be the one.
  virtual void PrefetchItem(uint64_t prefetched) const = 0;

  // Writes unconditionally. `ttl_ms` > 0 or kNever. `cas`, if not null, receives the new token.
  virtual StoreResult Set(absl::string_view key, absl::string_view value, uint32_t flags,
                          int64_t ttl_ms, uint64_t* cas = nullptr) = 0;
  // Whether there was a live item.
  virtual bool Delete(absl::string_view key) = 0;

  // Reads, decides and writes as one atomic step with respect to every other method on `key`.
  // `decide` runs under a lock, which a Delete waits for and a Set does not, and must not write to the
  // cache; it sees the live item (or !found()), found with Token::kQuiet, fills *update and returns
  // nothing. It is asked again, with *update as it was given, if a Set came between or the item was
  // evicted or moved: only what it said last counts. The answer is kStored for
  // everything but kKeep that took place, kNotStored for kKeep and if the item to be touched, marked or
  // deleted is gone (it may have been evicted since `decide`), or why a store failed: of an item that
  // has no room for marks, to mark is to store.
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
    uint64_t index_slots = 0;  // Of the hash table, overflow not included.
    uint64_t segments = 0;
    uint64_t segments_free = 0;
    uint64_t segment_bytes = 0;
    int64_t age_ms = 0;          // Of the oldest segment with live items.
    int64_t evicted_age_ms = 0;  // Of the one that lost items to eviction last, at that time.
    // Ever:
    uint64_t found_expired = 0;  // Lookups that would have found an item, were it not for that.
    uint64_t found_flushed = 0;
    uint64_t evicted_items = 0;
    uint64_t evicted_with_ttl = 0;  // Of these.
    uint64_t evicted_used = 0;      // Of these; uses are known with policies that count them.
    uint64_t evicted_unused = 0;
    uint64_t expired_items = 0;
    uint64_t expired_unused = 0;
    uint64_t evicted_segments = 0;
    uint64_t total_items = 0;  // Stored.
  };
  virtual Stats GetStats() const = 0;
  // Calls `see` with the bytes that live items take in their segments, item after item, of every
  // `stride`-th segment. Nobody is stopped meanwhile, so what is written, moved or removed at the same
  // time may be missed or seen twice. 170 ns an item (2 M items of 160 bytes, 2-core AMD EPYC VM).
  virtual void VisitSizes(uint32_t stride, absl::FunctionRef<void(size_t bytes)> see) = 0;
  // More than any token that the cache has chosen so far.
  virtual uint64_t token_end() const = 0;
  // The largest key + value that fits.
  virtual size_t item_bytes_max() const = 0;
  // `listener` hears of evictions from now on, and outlives the last write. Before any thread uses the
  // cache.
  virtual void ListenToEvictions(EvictionListener* listener) = 0;

  virtual const Arrival& arrival() const = 0;
  // Leaves everything in the file of the lodging, for a Create() with the same options: items, their
  // deadlines in wall time, tokens, counts of use; and `note`, which means nothing here. `cancelled`
  // is asked now and then on this thread; CANCELLED if it says yes, and the file is worth nothing.
  // REQUIRES: there is a file; no other method runs, now or later.
  virtual absl::Status Save(int64_t note, absl::FunctionRef<bool()> cancelled) = 0;
};

}  // namespace seg
