// Memory that segments leave empty: it goes back to the kernel and is used elsewhere. What is resident is
// asked of the kernel, page by page.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"
#include "cache/seg/hash_table.h"
#include "cache/seg/item.h"
#include "cache/seg/mapping.h"
#include "cache/seg/metrics.h"
#include "cache/seg/plan.h"
#include "cache/seg/segment_heap.h"

namespace seg {
namespace {

uint64_t ResidentBytes(const char* from, size_t bytes) {
  std::vector<unsigned char> pages(bytes / Pages::kBytes);
  EXPECT_EQ(mincore(const_cast<char*>(from), bytes, pages.data()), 0);
  uint64_t resident = 0;
  for (const unsigned char page : pages) resident += page & 1;
  return resident * Pages::kBytes;
}

// Pages that do something else first, or refuse.
class WatchedPages final : public Pages {
 public:
  explicit WatchedPages(std::unique_ptr<Pages> pages) : pages_(std::move(pages)) {}
  bool Release(size_t from, size_t bytes) override {
    if (before_release) before_release(from, bytes);
    return !refuses && pages_->Release(from, bytes);
  }
  bool come_by_themselves() const override { return !before_provide; }
  bool Provide(size_t from, size_t bytes) override { return before_provide(from, bytes); }

  std::function<void(size_t from, size_t bytes)> before_release;
  std::function<bool(size_t from, size_t bytes)> before_provide;
  std::atomic<bool> refuses = false;

 private:
  const std::unique_ptr<Pages> pages_;
};

// A heap and its index without the engine around them.
class PagesTest : public ::testing::Test {
 protected:
  static constexpr size_t kSegmentBytes = 256 << 10;
  static constexpr uint32_t kSegments = 127;  // The most that have one shard.
  static constexpr uint64_t kHeapBytes = kSegmentBytes * kSegments;

  void Open(config::Seg::Eviction eviction, uint32_t segments = kSegments,
            size_t segment_bytes = kSegmentBytes, bool stocked = false) {
    heap_ = nullptr;
    segments_ = segments;
    segment_bytes_ = segment_bytes;
    const size_t bytes = 2 * segments * segment_bytes;
    auto memory = Mapping::Create(bytes);
    ASSERT_TRUE(memory.ok());
    memory_ = *std::move(memory);
    auto pages = AnonymousPages(memory_.data(), bytes);
    ASSERT_NE(pages, nullptr);
    pages_ = std::make_unique<WatchedPages>(std::move(pages));
    auto table = HashTable::Create(1 << 14, 1 << 20, 1);
    ASSERT_TRUE(table.ok());
    table_ = *std::move(table);
    auto heap = SegmentHeap::Create({.segment_bytes = segment_bytes,
                                     .segments = segments,
                                     .surplus = segments,
                                     .span_max = segments / 4,
                                     .stocked = stocked,
                                     .memory = memory_.data(),
                                     .pages = pages_.get()},
                                    eviction, table_.get(), &metrics_);
    ASSERT_TRUE(heap.ok());
    heap_ = *std::move(heap);
  }
  // Stores a value with which the item takes `bytes`. Returns false without room.
  bool Store(const std::string& key, size_t bytes, int64_t ttl_ms = kNever) {
    const std::string value(bytes - Item::kHeadBytes - key.size(), key.back());
    const int64_t deadline_ms = ttl_ms == kNever ? kDeadlineNever : now_ms_ + ttl_ms;
    const ItemSpec spec{.key = key, .value = value, .deadline_ms = deadline_ms};
    Location at;
    if (!heap_->BeginWrite(Item::BytesFor(spec), Rank::kNew, ttl_ms, deadline_ms, now_ms_, &at)) {
      return false;
    }
    heap_->item(at).Write(spec);
    Location old{kNoSegment, 0};
    {
      const uint64_t hash = table_->Hash(key);
      HashTable::ChainLock lock(*table_, hash);
      if (HashTable::Word* slot = Find(key); slot != nullptr) {
        old = Slot::LocationOf(table_->Replace(slot, at, /*out=*/false));
        heap_->CountOut(old);
      } else {
        EXPECT_TRUE(table_->Insert(hash, at, /*out=*/false));
      }
    }
    if (old.segment != kNoSegment) heap_->ReclaimIfEmpty(old.segment);
    heap_->EndWrite(at.segment);
    return true;
  }
  // REQUIRES: its chain is locked.
  HashTable::Word* Find(const std::string& key) {
    return table_->Find(table_->Hash(key),
                        [&](Location at) { return heap_->item(at).key() == key; });
  }
  bool Delete(const std::string& key) {
    Location at;
    {
      const uint64_t hash = table_->Hash(key);
      HashTable::ChainLock lock(*table_, hash);
      HashTable::Word* slot = Find(key);
      if (slot == nullptr) return false;
      at = Slot::LocationOf(table_->Remove(hash, slot));
      heap_->CountOut(at);
    }
    heap_->ReclaimIfEmpty(at.segment);
    return true;
  }
  // Whether it is there, as it was stored.
  bool Has(const std::string& key) {
    HashTable::ChainLock lock(*table_, table_->Hash(key));
    const HashTable::Word* slot = Find(key);
    if (slot == nullptr) return false;
    const absl::string_view value =
        heap_->item(Slot::LocationOf(slot->load(std::memory_order_relaxed))).value();
    EXPECT_TRUE(value.find_first_not_of(key.back()) == absl::string_view::npos) << key;
    return true;
  }
  uint64_t Resident() const { return ResidentBytes(memory_.data(), memory_.bytes()); }
  uint64_t Asked() const { return uint64_t{segments_} * segment_bytes_; }

  int64_t now_ms_ = 1'000;
  core::Registry registry_;
  Metrics metrics_{&registry_, "test"};
  uint32_t segments_ = 0;
  size_t segment_bytes_ = 0;
  Mapping memory_;
  std::unique_ptr<WatchedPages> pages_;
  std::unique_ptr<HashTable> table_;
  std::unique_ptr<SegmentHeap> heap_;
};

TEST_F(PagesTest, ItemsOfAnySizeFillTheHeapAndNotMore) {
  using enum config::Seg::Eviction;
#ifdef ABSL_HAVE_THREAD_SANITIZER
  const std::vector<double> parts = {0.6, 1.1};  // Slow, and a thread alone.
#else
  const std::vector<double> parts = {0.3, 0.45, 0.51, 0.55, 0.6,  0.75, 0.9,
                                     1.0, 1.02, 1.1,  1.3,  1.9,  3.4};
#endif
  for (const auto eviction : {kS3Fifo, kFifo, kNone, kMerge, kUtil}) {
    for (const double part : parts) {
      SCOPED_TRACE(absl::StrCat("policy ", static_cast<int>(eviction), ", ", part, " segments"));
      Open(eviction);
      // Not a little more than a number of pages.
      const auto pages = static_cast<size_t>(part * kSegmentBytes) / Pages::kBytes;
      const size_t bytes = pages * Pages::kBytes - 104;
      const auto fit = static_cast<int>(kHeapBytes / bytes);
      int refused = 0;
      uint64_t released = 0;
      for (int i = 0; i < 4 * fit; ++i) {
        if (i == 2 * fit) released = metrics_.page_release.Value();
        refused += Store(absl::StrCat("key", i), bytes) ? 0 : 1;
        if (i % 16 == 0) {
          ASSERT_LE(Resident(), kHeapBytes);
        }
      }
      EXPECT_LE(Resident(), kHeapBytes);
      if (eviction != kNone) {
        EXPECT_EQ(refused, 0);
      }
      // One open segment, the two that are kept for moves, less than one that is not enough for an item.
      const double live = static_cast<double>(heap_->usage().item_bytes);
      EXPECT_GE(live / kHeapBytes, 0.95);
      // What is freed has the pages that the next one needs.
      EXPECT_EQ(metrics_.page_release.Value(), released);
    }
  }
}

TEST_F(PagesTest, SizesThatComeAndGoStayWithinTheHeap) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 rng(seed);
  using enum config::Seg::Eviction;
  for (const auto eviction : {kS3Fifo, kFifo, kNone, kMerge, kRandom, kCte}) {
    Open(eviction, 64, 32 << 10);
    const double most[] = {0.01, 1.0, 3.0, 0.6, 8.0};
    for (int i = 0; i < 6'000; ++i) {
      const double part = most[i / 300 % std::size(most)];
      const std::string key = absl::StrCat("key", rng() % 400);
      const size_t bytes =
          32 + static_cast<size_t>(part * static_cast<double>(rng() % segment_bytes_));
      const int64_t ttl_ms = rng() % 3 == 0 ? int64_t{kNever} : 1 + static_cast<int64_t>(rng() % 100'000);
      if (eviction != kNone) {
        ASSERT_TRUE(Store(key, bytes, ttl_ms)) << i;
      } else {
        Store(key, bytes, ttl_ms);
      }
      Has(absl::StrCat("key", rng() % 400));
      if (rng() % 4 == 0) Delete(absl::StrCat("key", rng() % 400));
      if (rng() % 1'000 == 0) heap_->Flush();
      if (i % 10 == 0) {
        ASSERT_LE(Resident(), Asked()) << i;
      }
    }
    EXPECT_GT(metrics_.page_release.Value(), 0u);
    heap_->Flush();
    heap_->ReclaimDead(1'000);
    const SegmentHeap::Usage usage = heap_->usage();
    EXPECT_EQ(usage.segments_free, usage.segments);
    EXPECT_EQ(usage.segments, segments_);
    EXPECT_LE(Resident(), Asked());
  }
}

TEST_F(PagesTest, ThreadsThatWriteAllSizesStayWithinTheHeap) {
  Open(config::Seg::Eviction::kS3Fifo, 128, 32 << 10);
  std::atomic<int> refused = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 rng(t);
        for (int i = 0; i < 1'500; ++i) {
          const double part = i / 100 % 2 == 0 ? 1.0 : 2.5;
          const std::string key = absl::StrCat("key", rng() % 300);
          refused += Store(key, 32 + static_cast<size_t>(part * static_cast<double>(rng() % segment_bytes_)))
                         ? 0
                         : 1;
          Has(absl::StrCat("key", rng() % 300));
          if (rng() % 4 == 0) Delete(absl::StrCat("key", rng() % 300));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(Resident(), Asked());
  }
  EXPECT_EQ(refused, 0);
  heap_->Flush();
  heap_->ReclaimDead(1'000);
  EXPECT_EQ(heap_->usage().segments_free, segments_);
}

// Between the sealing of a segment and the return of its tail others find it sealed, and even empty. It
// must not be opened again meanwhile: what they would write there would be lost.
TEST_F(PagesTest, ASegmentWhoseTailIsOnItsWayIsNotOpenedAgain) {
  Open(config::Seg::Eviction::kFifo, 16, 32 << 10);
  // All of it touched once, so that there is something to give back.
  for (uint32_t i = 0; i < 2 * segments_; ++i) ASSERT_TRUE(Store("x", 31 << 10));
  ASSERT_TRUE(Delete("x"));
  int releases = 0;
  bool is_inside = false;
  pages_->before_release = [&](size_t from, size_t) {
    if (is_inside) return;
    is_inside = true;
    ++releases;
    const auto id = static_cast<uint32_t>(from / segment_bytes_);
    EXPECT_TRUE(heap_->segment(id)->Is(SegmentState::kSealed));
    EXPECT_EQ(from % segment_bytes_, 20u << 10);
    std::thread([&] {
      EXPECT_TRUE(Delete("first"));
      EXPECT_EQ(heap_->segment(id)->live_items(), 0u);
      EXPECT_TRUE(heap_->segment(id)->Is(SegmentState::kSealed));
      // So many that every other segment is used again, each to its end.
      for (int i = 0; i < 64; ++i) EXPECT_TRUE(Store(absl::StrCat("other", i), 31 << 10));
      EXPECT_TRUE(heap_->segment(id)->Is(SegmentState::kSealed));
    }).join();
    is_inside = false;
  };
  ASSERT_TRUE(Store("first", 20 << 10));
  ASSERT_TRUE(Store("second", 20 << 10));  // Does not fit beside it.
  pages_->before_release = nullptr;
  EXPECT_EQ(releases, 1);
  int left = Has("second") ? 1 : 0;
  for (int i = 0; i < 64; ++i) left += Has(absl::StrCat("other", i)) ? 1 : 0;
  EXPECT_GE(left, 12);
  // And was not lost: everything can be free again.
  heap_->Flush();
  heap_->ReclaimDead(1'000);
  EXPECT_EQ(heap_->usage().segments_free, segments_);
  EXPECT_LE(Resident(), Asked());
}

// Of memory that is there from the start, what is behind a segment that was never in use may be given back
// for one that is. A large item, for which the others at the end are as good, must not get it meanwhile.
TEST_F(PagesTest, ASegmentThatWasNeverInUseIsNotTakenWhileItsPagesAre) {
  Open(config::Seg::Eviction::kFifo, 16, 32 << 10, /*stocked=*/true);
  ASSERT_TRUE(Store("first", 20 << 10));
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(Store(absl::StrCat("other", i), 31 << 10));
  // It has lost its tail, and will need it again: somebody else has it by then.
  ASSERT_TRUE(Delete("first"));
  int provides = 0;
  pages_->before_provide = [&](size_t, size_t) { return ++provides != 1; };
  int releases = 0;
  pages_->before_release = [&](size_t from, size_t) {
    if (++releases != 1) return;
    EXPECT_EQ(from, 15 * segment_bytes_);
    std::thread([&] { EXPECT_TRUE(Store("large", 80 << 10)); }).join();
    EXPECT_TRUE(heap_->segment(15)->Is(SegmentState::kFree));
  };
  ASSERT_TRUE(Store("new", 31 << 10));
  EXPECT_GE(releases, 1);
  EXPECT_TRUE(Has("large"));
  EXPECT_TRUE(Has("new"));
  heap_->Flush();
  heap_->ReclaimDead(now_ms_);
  EXPECT_EQ(heap_->usage().segments_free, segments_);
}

TEST_F(PagesTest, AKernelThatTakesNothingBackCostsRoomAndNothingElse) {
  Open(config::Seg::Eviction::kFifo, 64, 32 << 10);
  for (uint32_t i = 0; i < 2 * segments_; ++i) ASSERT_TRUE(Store(absl::StrCat("full", i), 31 << 10));
  pages_->refuses = true;
  for (int i = 0; i < 300; ++i) {
    const std::string key = absl::StrCat("key", i);
    // It may be out of memory, but says so.
    if (Store(key, i % 2 == 0 ? 20 << 10 : 50 << 10)) {
      EXPECT_TRUE(Has(key));
    }
    ASSERT_LE(Resident(), Asked());
  }
  pages_->refuses = false;
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(Store(absl::StrCat("key", i), i % 2 == 0 ? 20 << 10 : 50 << 10));
    ASSERT_LE(Resident(), Asked());
  }
  heap_->Flush();
  heap_->ReclaimDead(1'000);
  EXPECT_EQ(heap_->usage().segments_free, segments_);
}

// As of a file in a file system that others use, too.
class FullPlaceTest : public PagesTest {
 protected:
  // Pages come as long as `left_` says so.
  void OpenIn(config::Seg::Eviction eviction) {
    Open(eviction, 64, 32 << 10);
    left_ = Asked();
    provided_.assign(memory_.bytes() / Pages::kBytes, false);
    pages_->before_provide = [this](size_t from, size_t bytes) {
      if (bytes > left_) return false;
      left_ -= bytes;
      Mark(from, bytes, true);
      return true;
    };
    pages_->before_release = [this](size_t from, size_t bytes) {
      left_ += bytes;
      Mark(from, bytes, false);
    };
  }
  void Mark(size_t from, size_t bytes, bool as) {
    std::fill_n(provided_.begin() + static_cast<ptrdiff_t>(from / Pages::kBytes),
                bytes / Pages::kBytes, as);
  }
  bool NoPageCameByItself() const {
    std::vector<unsigned char> resident(provided_.size());
    EXPECT_EQ(mincore(memory_.data(), memory_.bytes(), resident.data()), 0);
    for (size_t i = 0; i < resident.size(); ++i) {
      if ((resident[i] & 1) != 0 && !provided_[i]) return false;
    }
    return true;
  }
  // Stores items of all sizes; returns how many were refused.
  int StoreSome(int from, int to) {
    int refused = 0;
    for (int i = from; i < to && !HasFatalFailure(); ++i) {
      const std::string key = absl::StrCat("key", i);
      if (Store(key, 100 + static_cast<size_t>(i) * 7919 % (70 << 10))) {
        EXPECT_TRUE(Has(key));
      } else {
        ++refused;
      }
      EXPECT_TRUE(NoPageCameByItself()) << i;
      EXPECT_LE(std::count(provided_.begin(), provided_.end(), true) * Pages::kBytes, Asked());
    }
    return refused;
  }

  size_t left_ = 0;
  std::vector<bool> provided_;
};

TEST_F(FullPlaceTest, AHeapDoesWithWhatItHasAndTakesWhatItGets) {
  using enum config::Seg::Eviction;
  for (const auto eviction : {kFifo, kS3Fifo, kMerge}) {
    OpenIn(eviction);
    for (int round = 0; round < 4; ++round) {
      const int from = round * 600;
      EXPECT_EQ(StoreSome(from, from + 300), 0);
      const uint64_t before = heap_->usage().item_bytes;
      const size_t taken = std::exchange(left_, 0);  // By others, and what is given back later is ours.
      EXPECT_EQ(StoreSome(from + 300, from + 500), 0);
      EXPECT_LE(heap_->usage().item_bytes, before);
      left_ += taken;
      now_ms_ += 1'000;
      EXPECT_EQ(StoreSome(from + 500, from + 600), 0);
    }
    EXPECT_GT(heap_->usage().item_bytes * 100, Asked() * 80);
    heap_->Flush();
    now_ms_ += 1'000;
    heap_->ReclaimDead(now_ms_);
    EXPECT_EQ(StoreSome(0, 1), 0);
    heap_->Flush();
    heap_->ReclaimDead(now_ms_);
    EXPECT_EQ(heap_->usage().segments_free, segments_);
  }
}

TEST_F(FullPlaceTest, WhatCannotBeHadAgainIsNotWrittenTo) {
  OpenIn(config::Seg::Eviction::kFifo);
  EXPECT_EQ(StoreSome(0, 300), 0);
  const auto provide = pages_->before_provide;
  pages_->before_provide = [](size_t, size_t) { return false; };  // Somebody is always faster.
  EXPECT_GT(StoreSome(300, 500), 0);
  pages_->before_provide = provide;
  now_ms_ += 1'000;
  EXPECT_LE(StoreSome(500, 501), 1);
  now_ms_ += 1'000;
  EXPECT_EQ(StoreSome(501, 800), 0);
}

}  // namespace
}  // namespace seg
