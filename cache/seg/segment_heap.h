// The heap: all segments, the TTL buckets that queue them, and their reclamation.
//
// A write reserves room at the tail of its TTL bucket; a full tail is sealed and a free segment
// becomes the tail. Every few threads share a shard, which has tails of its own, so that writers do
// not meet on a cache line; in a shard, new items and those that proved themselves (Rank) have
// separate tails. When no segment is free, room is made in this order:
//   1. segments whose items are all dead (flushed or expired);
//   2. sparse segments: what lives in them is moved together, into a few segments kept free for that.
//      They keep their place in the order of eviction, so they have tails of their own, too.
//      Items that died before their segment are looked for first, where a segment says it has some
//      (a sweep), so that the dead push out nobody;
//   3. the eviction policy's choice among sealed segments;
//   4. its choice among the open tails.
// A write therefore fails only while every segment is pinned by readers, or with eviction off.
//
// Open tails may take up to a twelfth of the segments. When that many are open, a bucket without a
// tail borrows room in the nearest one that has some, instead of evicting a hardly used segment:
// items carry their own deadlines, so nothing but the time of reclamation depends on the bucket.
//
// Reclaiming takes three steps: claim (kDraining; nobody else will), take every item that the index
// still finds here out of it or copy it to an open segment, and free the segment, once nobody reads
// in it. One that is still read waits in limbo.
//
// An item larger than a segment gets several adjacent ones, if large items are allowed.
//
// What a sealed segment leaves empty at its end is given back to the kernel, in whole pages, and pays
// for further segments: there are more of them than memory (segment_pages.cc). So "no segment is free"
// may also mean that no memory is.
//
// Where the index and the items share their memory, the index is given the last segment in service
// whenever it needs more overflow buckets (segment_retire.cc). It never gives one back.
//
// Lock order: retire_mu_, then Shard::mu, then mu_. A chain lock of the index is taken inside neither. mu_ may be
// taken inside anything but a chain lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cache/seg/eviction/policy.h"
#include "cache/seg/eviction_listener.h"
#include "cache/seg/ghosts.h"
#include "cache/seg/hash_table.h"
#include "cache/seg/mapping.h"
#include "cache/seg/metrics.h"
#include "cache/seg/pins.h"
#include "cache/seg/segment.h"
#include "cache/seg/ttl_buckets.h"
#include "config/seg.h"
#include "core/base/bytes.h"
#include "core/base/mutex.h"

namespace seg {

// How a heap is laid out.
struct HeapPlan {
  size_t segment_bytes = 0;
  uint32_t segments = 0;  // As many as there is memory for.
  uint32_t surplus = 0;   // Further ones; 0: of a sealed segment nothing is given back.
  uint32_t span_max = 1;  // Adjacent segments that one item may take.
  uint64_t ghosts = 0;    // Items remembered after they were evicted.
  bool shares = false;    // Segments may be given to the index.
  bool stocked = false;   // The memory of `segments` is there already, at the first of them.
  // Where all segments and the ghosts lie; outlives the heap. Null: in memory of its own.
  char* memory = nullptr;
  char* ghost_memory = nullptr;
  Pages* pages = nullptr;  // Of `memory`, with `surplus`; outlive the heap, too.

  uint32_t segment_count() const { return segments + surplus; }
};

// What a heap knows of a segment besides its bytes, as it is kept in a file.
struct SegmentRecord {
  uint64_t sequence = 0;
  int64_t death_ms = 0;
  int64_t opened_ms = 0;
  uint64_t gone = 0;
  uint32_t used_bytes = 0;
  uint32_t used_items = 0;
  uint32_t span = 1;
  uint32_t first = 0;
  uint32_t order = 0;  // Of the eviction policy.
  uint32_t backed = 0;
  uint32_t nothing = 0;  // So that all of it is said and summed up.
  uint16_t ttl_bucket = 0;
  uint8_t rank = 0;
  uint8_t state = static_cast<uint8_t>(SegmentState::kFree);
};
static_assert(sizeof(SegmentRecord) == 64);

class SegmentHeap {
 public:
  // `table` and `metrics` outlive the heap. RESOURCE_EXHAUSTED without address space.
  static absl::StatusOr<std::unique_ptr<SegmentHeap>> Create(const HeapPlan& plan,
                                                             config::Seg::Eviction eviction,
                                                             HashTable* table, Metrics* metrics);

  // Room for `bytes` in a segment that is a writer's: it stays until EndWrite(at.segment).
  // Returns false if no segment could be reclaimed.
  // REQUIRES: bytes <= item_bytes_max(); no chain lock of the index is held.
  [[nodiscard]] bool BeginWrite(size_t bytes, Rank rank, int64_t ttl_ms, int64_t deadline_ms,
                                int64_t now_ms, Location* at);
  // The item written at BeginWrite's place is in the index, or never will be.
  void EndWrite(uint32_t segment);

  // Where an item that is about to be written belongs.
  Rank RankFor(uint64_t hash);

  // A reader's hold on the bytes of a segment. Take one, then look again whether the index still
  // says what it said before; if not, the hold is worth nothing and must be let go.
  class Hold {
   public:
    Hold() = default;
    Hold(Hold&& other) noexcept
        : cell_(std::exchange(other.cell_, nullptr)),
          counted_(std::exchange(other.counted_, nullptr)) {}
    Hold& operator=(Hold&& other) noexcept {
      if (this != &other) {
        Drop();
        cell_ = std::exchange(other.cell_, nullptr);
        counted_ = std::exchange(other.counted_, nullptr);
      }
      return *this;
    }
    ~Hold() { Drop(); }

   private:
    friend class SegmentHeap;
    void Drop() {
      if (cell_ != nullptr) {
        Pins::Clear(std::exchange(cell_, nullptr));
      } else if (counted_ != nullptr) {
        Unpin(std::exchange(counted_, nullptr));
      }
    }
    Pins::Cell* cell_ = nullptr;
    Segment* counted_ = nullptr;

   public:
    // Hands the hold over to `view`, for any thread to drop.
    core::Bytes GoWith(absl::string_view view) {
      if (cell_ != nullptr) {
        return core::Bytes::Pinned(view, std::exchange(cell_, nullptr), [](void* cell) {
          Pins::Clear(static_cast<Pins::Cell*>(cell));
        });
      }
      return core::Bytes::Pinned(view, std::exchange(counted_, nullptr), &Unpin);
    }
  };
  Hold HoldOn(uint32_t segment) {
    Hold hold;
    hold.cell_ = pins_.Publish(segment);
    if (hold.cell_ == nullptr) hold.counted_ = Pin(segment);
    return hold;
  }
  // A hold that any thread may let go, by Unpin(). REQUIRES: held already, or as for HoldOn().
  Segment* Pin(uint32_t segment) {
    // seq_cst: before the second look at the index. Pairs with the load in IsRead().
    segments_[segment].pins.fetch_add(1, std::memory_order_seq_cst);
    return &segments_[segment];
  }
  // Any thread. release(owner) for core::Bytes: `segment` is a Segment*.
  static void Unpin(void* segment) {
    static_cast<Segment*>(segment)->pins.fetch_sub(1, std::memory_order_release);
  }

  // An item has left the index, or will never be in it.
  void CountOut(Location at) {
    gone_.Add(at.segment, item(at).bytes());
  }
  // Something in `segment` dies at `deadline_ms`.
  void ExpectDeath(uint32_t segment, int64_t deadline_ms) {
    std::atomic<int64_t>& stale_ms = stale_ms_[segment];
    int64_t before = stale_ms.load(std::memory_order_relaxed);
    while (deadline_ms < before &&
           !stale_ms.compare_exchange_weak(before, deadline_ms, std::memory_order_relaxed)) {
    }
  }
  // To be called after an item left `segment`, with no chain lock held: frees a sealed segment at
  // once when nothing in it is live.
  void ReclaimIfEmpty(uint32_t segment) {
    // seq_cst: see Segment::Move(). The state first: while it is open, its counts are others' to write.
    if (segments_[segment].Is(SegmentState::kSealed) &&
        segments_[segment].live_items() == 0) {
      ReclaimEmpty(segment);
    }
  }

  // Makes everything in segments opened so far invisible; they are reclaimed later.
  void Flush();
  // Reclaims the segments in which everything is flushed or past its deadline.
  void ReclaimDead(int64_t now_ms);

  // Segments with an older sequence are flushed. Grows; 0 until the first flush.
  uint64_t floor() const { return floor_.load(std::memory_order_seq_cst); }

  // See Cache::VisitSizes().
  void VisitSizes(int64_t now_ms, uint32_t stride, absl::FunctionRef<void(size_t bytes)> see);

  // See Cache::ListenToEvictions().
  void ListenToEvictions(EvictionListener* listener) { listener_ = listener; }

  Segment* segment(uint32_t id) { return &segments_[id]; }
  Item item(Location at) const {
    return Item(memory_ + size_t{at.segment} * segment_bytes_ + at.offset);
  }
  // The CAS token of the item at `at`.
  uint64_t TokenOf(Location at) const {
    const uint64_t kept = item(at).kept_cas();
    return kept != 0 ? kept : TokenFor(segments_[at.segment].sequence, at);
  }
  // Unique to one write: no two openings of a segment share a sequence, and no two writes in one
  // opening share an offset. 2^44 openings of 8 MB are beyond any process.
  static uint64_t TokenFor(const std::atomic<uint64_t>& sequence, Location at) {
    return (sequence.load(std::memory_order_relaxed) << Slot::kPlaceBits) |
           (at.offset / kItemAlign);
  }
  // More than any token given so far.
  uint64_t token_end() {
    core::MutexLock lock(mu_);
    return next_sequence_ << Slot::kPlaceBits;
  }

  // Gives the index a segment or, where that cannot be, frees overflow buckets by evicting one.
  // Returns false if neither can be. REQUIRES: as for BeginWrite().
  bool MakeRoomInIndex(int64_t now_ms);

  // What a heap knows besides its memory and its segments.
  struct State {
    uint64_t floor = 0;
    uint64_t next_sequence = 0;
    uint32_t in_service = 0;
    bool has_evicted = false;
  };
  // Lays the heap down to be read by Resume() another time: into `records`, one a segment.
  // REQUIRES: nobody uses it, now or later.
  State Rest(SegmentRecord* records);
  // Takes up what Rest() said of the segments that lie in this one's memory. Returns why it cannot be.
  // REQUIRES: nobody uses it yet.
  absl::Status Resume(const State& state, const SegmentRecord* records);

  size_t segment_bytes() const { return segment_bytes_; }
  size_t item_bytes_max() const {
    return span_max_ > 1 ? segment_bytes_ * span_max_ - kSpanBegin : segment_bytes_;
  }
  uint32_t freq_max() const { return freq_max_; }
  // What is not items: headers, tails, fingerprints.
  uint64_t overhead_bytes() const;
  struct Usage {
    uint64_t items = 0;
    uint64_t item_bytes = 0;
    uint64_t segments = 0;  // As memory goes; what was given to the index not included.
    uint64_t segments_free = 0;
    // Since when the oldest segment with live items has been filled; kDeadlineNever if there is none.
    int64_t oldest_ms = kDeadlineNever;
    int64_t evicted_age_ms = 0;  // How old the segment was that lost items to eviction last.
  };
  Usage usage();

 private:
  // What may share a tail: items of one rank, and among them new arrivals apart from what is moved out
  // of sparse segments, which keeps its place in the order of eviction.
  static constexpr int kLanes = 2 * kRanks;
  static constexpr size_t LaneOf(Rank rank, bool gathered) {
    return 2 * static_cast<size_t>(rank) + (gathered ? 1 : 0);
  }
  // The open segments of a few threads.
  struct alignas(64) Shard {
    struct Tails {
      std::array<uint32_t, kTtlBuckets> segment;
      std::array<uint64_t, kTtlBuckets / 64> is_open{};
    };
    core::Mutex mu;
    std::array<Tails, kLanes> tails ABSL_GUARDED_BY(mu);
    uint32_t open ABSL_GUARDED_BY(mu) = 0;
  };
  // Both ends of a queue of segments.
  struct Queue {
    uint32_t head = kNoSegment;
    uint32_t tail = kNoSegment;
  };
  // What a search for memory came back with.
  struct Claim {
    enum class Kind : uint8_t { kNothing, kDrain, kSeal, kSweep } kind = Kind::kNothing;
    uint32_t segment = kNoSegment;
    // With kSeal: whose tail it was.
    uint16_t shard = 0;
    size_t lane = 0;
    int bucket = 0;
    uint32_t beside = kNoSegment;  // Of a sparse one: see EvictionPolicy::OpenedBefore().
  };
  // A segment that is sealed now. With `gives_back` it is held, as a writer does, until its tail is.
  struct Sealed {
    uint32_t segment = kNoSegment;
    bool gives_back = false;
  };
  // Why a search came back with nothing, as far as waiting helps.
  struct Held {
    bool briefly = false;    // By a thread that is at work on a segment and needs none itself.
    bool by_reader = false;  // By a reader.
  };
  // What is moved out of a segment before it is emptied: nothing, what the policy spares, or all
  // that lives.
  enum class Mercy : uint8_t { kNone, kUsed, kAll };
  struct Place {
    Rank rank;
    int bucket = 0;
    int64_t deadline_ms = 0;
    int64_t now_ms = 0;
    bool gathered = false;
    uint32_t beside = kNoSegment;  // With `gathered`: the segment that goes after the items' own.

    size_t lane() const { return LaneOf(rank, gathered); }
  };

  SegmentHeap(const HeapPlan& plan, config::Seg::Eviction eviction, HashTable* table,
              Metrics* metrics);

  Shard& MyShard() { return shards_[WriterShard(shard_count_)]; }

  bool Append(Shard& shard, uint32_t tail, size_t bytes, int64_t deadline_ms, Location* at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu);
  // Appends to the tail of another bucket, if too many are open. Sets *sealed to what it sealed, for
  // AfterSeal().
  bool Borrow(Shard& shard, const Place& place, size_t bytes, Location* at, Sealed* sealed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu);
  // Makes the free segment `id` the tail. Returns what was the tail and is sealed now.
  Sealed ReplaceTail(Shard& shard, const Place& place, uint32_t id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu);
  Sealed SealTail(Shard& shard, size_t lane, int bucket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu);
  // To be called with what was sealed, or nothing, and no lock held.
  void AfterSeal(const Sealed& sealed);
  void SealIfTail(const Claim& claim);
  // Returns whether there was one.
  bool SealAllTails();
  void Open(uint32_t id, uint32_t span, const Place& place, uint16_t shard);
  bool BeginLargeWrite(uint32_t span, const Place& place, size_t bytes, Location* at);
  // A place for an item that is moved; takes from the reserve, evicts nothing.
  bool BeginMove(size_t bytes, const Place& place, Location* at);
  bool Reserve(const Place& place, size_t bytes, absl::FunctionRef<uint32_t()> take_segment,
               Location* at);

  // A segment for the caller to open or GiveBack(); kNoSegment if there is none to be had.
  uint32_t TakeSegment(int64_t now_ms);
  uint32_t TakeReserved();
  void GiveBack(uint32_t id);
  // Reclaims until `enough`, which is asked with mu_ held, says that it may stop; at last, when
  // nothing more can be reclaimed, with `all` = true: it may use up the reserve. Returns what it said.
  bool MakeRoom(int64_t now_ms, absl::FunctionRef<bool(bool all)> enough);
  Claim FindDead(int64_t now_ms, Held* held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Claim FindEvictable(SegmentState state, Held* held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The segment `swept`, if it is empty enough to be worth the moving, or else the emptiest of the
  // next ones that are.
  Claim FindSparse(uint32_t swept, Held* held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of the next segments, the one in which items may have died longest ago; pins it.
  Claim FindStale(int64_t now_ms, Held* held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MayGo(const Segment& segment, Held* held) const;
  // kSeal for an open segment; a sealed one is moved to kDraining and is the caller's to Drain().
  Claim ClaimFor(uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The cheapest `span` adjacent segments near the hand that may go; kNoSegment if there are none.
  uint32_t FindWindow(uint32_t span, Held* held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What it costs to empty segments first .. first + span - 1; less than 0: impossible.
  int64_t WindowCost(uint32_t first, uint32_t span, Held* held) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes the free ones out of the free, and claims the others into *claimed. They are charged with
  // what an item that fills `last_bytes` of the last takes.
  void TakeWindow(uint32_t first, uint32_t span, uint32_t last_bytes,
                  std::vector<uint32_t>* claimed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether all of them are free now. If not, gives back those that are.
  bool HasWindow(uint32_t first, uint32_t span);
  void JoinWindow(uint32_t first, uint32_t span, uint32_t last_bytes);
  // What the window's segments are charged with, and how much more that is than now.
  uint32_t WindowCharge(uint32_t id, bool is_last, uint32_t last_bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t WindowPrice(uint32_t first, uint32_t span, uint32_t last_bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // --- Memory (segment_pages.cc) ---
  // What is not in use, and what of it is behind no segment.
  int64_t FreeBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return static_cast<int64_t>(paid_) * static_cast<int64_t>(segment_bytes_) - charged_bytes_ -
           withheld_bytes_;
  }
  int64_t UnbackedBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return FreeBytes() - free_backed_bytes_;
  }
  // How many segments may be opened.
  uint64_t FreeSegments() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return std::min<uint64_t>(free_count_, static_cast<uint64_t>(FreeBytes()) / segment_bytes_);
  }
  void Charge(uint32_t id, uint32_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whole pages for `used_bytes` of a segment.
  uint32_t PagesFor(uint32_t used_bytes) const;
  // `used_bytes` of the segment is all that will ever be written in this life. Charges it with what it
  // has; returns whether some of that is worth giving back.
  bool Settle(uint32_t id, uint32_t used_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Gives back what lies behind `used_bytes`. REQUIRES: Settle() said so; it stays what it is meanwhile.
  void ReleaseTail(uint32_t id, uint32_t used_bytes);
  // To be called when free segments were taken, before they are written to: sees to it that they have
  // the memory that they are charged with, if need be by taking it from other free ones. Returns false,
  // and gives them back, if it cannot be had. It may be had when more has been reclaimed.
  bool PayForTaken(uint32_t first, uint32_t span = 1);
  // What is free and behind no segment cannot be had, for a while.
  void Withhold();
  void LookWhatIsWithheld(int64_t now_ms) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool ProvidePages(uint32_t id);
  // Gives back what is behind the segment that was free for longest. False if there is none.
  bool ReleaseFree();

  // Gives the last segment in service to the index. Returns false if it cannot be had now.
  bool RetireLast(int64_t now_ms);
  // Retires the last segment, which was taken. Returns false without memory for it.
  bool Retire(uint32_t last);
  // Takes it if it is free, else claims it, or what must go to have memory for it.
  Claim ClaimLast(int64_t now_ms, bool* taken, Mercy* mercy, Held* held)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes what is dead, or else the eviction policy's choice.
  Claim FindVictim(int64_t now_ms, Held* held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Empties a claimed segment and frees it, at once or when its readers have left.
  // `beside`: as a Claim of a sparse one has it.
  void Drain(uint32_t id, int64_t now_ms, Mercy mercy, uint32_t beside = kNoSegment);
  // Gives up draining a segment.
  void PutBack(uint32_t id, uint32_t beside);
  // Takes what is past its deadline out of the index, and unpins the segment.
  void Sweep(uint32_t id, int64_t now_ms);
  void Free(uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  double LeastScore(uint32_t id, int64_t now_ms, Mercy mercy);
  // What the index says of the item at `at`; nothing if it does not find it there.
  std::optional<uint64_t> WordAt(Location at, uint64_t hash);
  enum class Taken : uint8_t {
    kYes,
    kWasGone,
    kTouched,  // It is not dead any more, and stays.
  };
  // Takes an item out of the index; with `if_dead_ms`, only if it is dead at that time. *uses: how
  // often it was used.
  Taken TakeOut(Location at, uint64_t hash, std::optional<int64_t> if_dead_ms, uint32_t* uses);
  bool Spare(uint32_t id, Location at, uint64_t hash, uint32_t freq);
  // Copies an item to where it belongs now, with its token if that was told. `place` says all but the
  // bucket and the deadline. Returns false if there is no room for it; true if it was moved, or has
  // left its segment by itself.
  bool MoveItem(Location at, uint64_t hash, uint32_t freq, bool token_is_out, uint64_t floor_then,
                Place place);
  bool IsRead(uint32_t id) const {
    return segments_[id].pins.load(std::memory_order_seq_cst) != 0 || pins_.Published(id);
  }
  void ReclaimEmpty(uint32_t segment);
  void Reap() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountReclaim(const Segment& segment, int64_t now_ms, Mercy mercy);
  // How far segment `id` is filled with written items; 0 if it is not in use, or being written to
  // for long. REQUIRES: it is held.
  uint32_t WrittenBytes(uint32_t id);

  // Out of use, into the list.
  void PushFree(uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Both for the caller to open, after PayForTaken(), or to give back.
  void TakeFree(uint32_t id, uint32_t charge) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  uint32_t PopFree() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The list alone.
  void ListFree(uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UnlistFree(uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Queue& FreeQueueOf(uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return segments_[id].backed != 0 ? free_ : bare_;
  }
  // Into the queue of its TTL bucket, which is in the order of opening.
  void Enqueue(uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Dequeue(uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void InsertAfter(Queue& queue, uint32_t before, uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Remove(Queue& queue, uint32_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // How often a write looks again when only readers stand in its way. A value is normally read for a
  // few microseconds; a yield is about one. Past this they are long readers and the write fails.
  static constexpr int kPinnedTries = 200;
  // How often a write reclaims again because somebody else has the memory that it gave back before.
  static constexpr int kPayTries = 8;
  // How often a large write seals all tails, which may have been opened for what was moved meanwhile.
  static constexpr int kSealTries = 8;
  static constexpr int64_t kNotYet = -1;

  // Scores of items: what was never used does not stay.
  static constexpr double kAllStays = -1;
  static constexpr double kLeastScore = 1e-9;
  static constexpr double kNothingStays = 1e300;

  Mapping own_memory_;
  char* const memory_;
  std::unique_ptr<Pages> own_pages_;
  Pages* const pages_;
  const size_t segment_bytes_;
  const uint32_t segment_count_;
  const uint32_t surplus_;
  const uint32_t span_max_;
  const int shard_count_;
  const uint32_t open_tails_max_;  // Of a shard.
  HashTable* const table_;
  Metrics* const metrics_;
  GoneCounts gone_;
  const std::unique_ptr<Segment[]> segments_;
  const std::unique_ptr<Shard[]> shards_;
  // By segment: from when on so much in it is past its deadline that a sweep is worth it; the earliest
  // deadline inside until the first sweep. A hint, apart from the segments to be searched quickly.
  const std::unique_ptr<std::atomic<int64_t>[]> stale_ms_;
  std::atomic<uint64_t> floor_{0};
  Pins pins_;

  const std::unique_ptr<EvictionPolicy> policy_;  // Its order is guarded by mu_.
  const uint32_t freq_max_;
  const bool evicts_;
  const uint32_t reserve_;  // Segments kept free for items that move.
  const uint32_t in_service_least_;
  Ghosts ghosts_;
  EvictionListener* listener_ = nullptr;  // Null: nobody.
  std::atomic<bool> has_evicted_{false};  // Until then every item has the same prospects.

  core::Mutex retire_mu_;   // Held while a segment is given to the index: they go in order.
  mutable core::Mutex mu_;  // Guards everything below, and the states of segments.
  uint32_t in_service_ ABSL_GUARDED_BY(mu_);  // Segments from here on are the index's.
  uint32_t woken_ ABSL_GUARDED_BY(mu_) = 0;   // Segments from here on were never in use.
  Queue free_ ABSL_GUARDED_BY(mu_);           // With some memory behind them.
  Queue bare_ ABSL_GUARDED_BY(mu_);           // Free, and without.
  uint32_t free_count_ ABSL_GUARDED_BY(mu_) = 0;  // Of both.
  // Memory, in segments, and how it is spent: charged to segments in use, or behind free ones.
  uint32_t paid_ ABSL_GUARDED_BY(mu_);
  int64_t charged_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t free_backed_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t withheld_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // Or not to be had: see Withhold().
  int64_t withheld_until_ms_ ABSL_GUARDED_BY(mu_) = kNotYet;
  std::vector<uint32_t> limbo_ ABSL_GUARDED_BY(mu_);  // Emptied, but still read.
  std::array<Queue, kTtlBuckets> queues_ ABSL_GUARDED_BY(mu_);
  // A bit a bucket whose queue is not empty.
  std::array<uint64_t, kTtlBuckets / 64> queued_ ABSL_GUARDED_BY(mu_){};
  uint64_t next_sequence_ ABSL_GUARDED_BY(mu_) = 1;
  int64_t evicted_age_ms_ ABSL_GUARDED_BY(mu_) = 0;
  int in_transit_ ABSL_GUARDED_BY(mu_) = 0;  // Segments some thread is draining or about to open.
  uint32_t sparse_hand_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t stale_hand_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t window_hand_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace seg
