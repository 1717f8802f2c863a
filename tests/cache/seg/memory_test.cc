// A cache whose memory is limited as a whole: index and items share it.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"
#include "cache/seg/cache.h"

namespace seg {
namespace {

class MemoryTest : public ::testing::Test {
 protected:
  absl::Status TryOpen(uint64_t memory, uint64_t beside = 0) {
    auto cache = Cache::Create(options_, &clock_, &registry_, absl::StrCat("m", ++opened_),
                               {.memory = memory, .beside = beside, .file = ""});
    if (cache.ok()) cache_ = *std::move(cache);
    return cache.status();
  }
  void Open(uint64_t memory) {
    const absl::Status status = TryOpen(memory);
    ASSERT_TRUE(status.ok()) << status;
  }
  uint64_t InUse() const {
    const Cache::Stats stats = cache_->GetStats();
    return stats.heap_bytes + stats.index_bytes;
  }

  config::Seg options_;
  core::ManualClock clock_;
  core::Registry registry_;
  int opened_ = 0;
  std::unique_ptr<Cache> cache_;
};

TEST_F(MemoryTest, IsDividedUpToTheLastPercents) {
  for (const uint64_t memory : {1, 4, 16, 64, 256, 1024, 16384}) {
    Open(memory << 20);
    EXPECT_LE(InUse(), memory << 20);
    EXPECT_GT(InUse(), (memory << 20) * (memory < 4 ? 70 : 92) / 100) << memory;
  }
}

// Several of them go into a segment, also where a thousandth of the heap would hold only one.
TEST_F(MemoryTest, ItemsOfSomeKilobytesFillASmallHeap) {
  for (const uint64_t megabytes : {10, 16, 32}) {
    for (const size_t value_bytes : {3000, 5000, 10'240}) {
      Open(megabytes << 20);
      const std::string value(value_bytes, 'v');
      for (size_t i = 0; i < 2 * (megabytes << 20) / value_bytes; ++i) {
        ASSERT_EQ(cache_->Set(absl::StrCat(i), value, 0, kNever), StoreResult::kStored);
      }
      const Cache::Stats stats = cache_->GetStats();
      EXPECT_GT(stats.item_bytes * 100, stats.heap_bytes * 85) << megabytes << " " << value_bytes;
    }
  }
}

TEST_F(MemoryTest, TooLittleIsAnErrorThatSaysWhatIsEnough) {
  const absl::Status status = TryOpen(5 << 20, 5 << 20);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  const size_t at = message.find("is less than ");
  ASSERT_NE(at, std::string::npos) << message;
  const uint64_t least = std::stoull(message.substr(at + 13)) << 10;
  EXPECT_FALSE(TryOpen(least - 4096, 5 << 20).ok());
  EXPECT_TRUE(TryOpen(least, 5 << 20).ok());
}

TEST_F(MemoryTest, TheIndexGrowsAtTheCostOfTheItems) {
  // Values of a byte: the index needs a third of everything.
  for (const auto eviction :
       {config::Seg::Eviction::kS3Fifo, config::Seg::Eviction::kFifo, config::Seg::Eviction::kMerge,
        config::Seg::Eviction::kRandom, config::Seg::Eviction::kUtil}) {
    options_.eviction = eviction;
    Open(1 << 20);
    const Cache::Stats before = cache_->GetStats();
    for (int i = 0; i < 60'000; ++i) {
      ASSERT_EQ(cache_->Set(absl::StrCat(i), "v", 0, kNever), StoreResult::kStored) << i;
      ASSERT_TRUE(cache_->Peek(absl::StrCat(i)).found());
      if (i > 500) cache_->Get(absl::StrCat(i - static_cast<int>(clock_.MonotonicMs() % 499)));
    }
    const Cache::Stats after = cache_->GetStats();
    EXPECT_LT(after.heap_bytes, before.heap_bytes * 85 / 100);
    EXPECT_EQ(after.heap_bytes + after.index_bytes, before.heap_bytes + before.index_bytes);
    EXPECT_GT(after.items, 15'000u);
    for (int i = 59'000; i < 60'000; ++i) {
      const ItemRef found = cache_->Peek(absl::StrCat(i));
      EXPECT_TRUE(!found.found() || found.value() == "v") << i;
    }
    // Large items still fit, up to their limit.
    for (int i = 0; i < 20; ++i) {
      const std::string value(cache_->item_bytes_max() - 10, 'x');
      ASSERT_EQ(cache_->Set("large", value, 0, kNever), StoreResult::kStored);
      ASSERT_EQ(cache_->Peek("large").value(), value);
    }
    cache_->Flush();
    cache_->Tick();
    EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
  }
}

uint64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// There are more segments than memory, large items lie in all of them, and the index wants the last.
TEST_F(MemoryTest, TheIndexGrowsAlsoWhereSegmentsOutnumberTheMemory) {
  constexpr uint64_t kMemory = 8 << 20;  // Segments of 32 KB.
  using enum config::Seg::Eviction;
#ifdef ABSL_HAVE_THREAD_SANITIZER
  const std::vector<config::Seg::Eviction> evictions = {kS3Fifo};  // Slow, and a thread alone.
#else
  const std::vector<config::Seg::Eviction> evictions = {kS3Fifo, kFifo, kMerge, kRandom};
#endif
  for (const auto eviction : evictions) {  // Not util: it gives up what is small.
    SCOPED_TRACE(config::Seg::kEvictions[static_cast<size_t>(eviction)]);
    options_.eviction = eviction;
    cache_ = nullptr;
    [[maybe_unused]] const uint64_t resident_before = ResidentBytes();
    Open(kMemory);
    const Cache::Stats before = cache_->GetStats();
    const auto store_large = [&] {
      for (int i = 0; i < 700; ++i) {
        const std::string value(i % 3 == 0 ? 34'000 : 18'000, static_cast<char>('a' + i % 26));
        ASSERT_EQ(cache_->Set(absl::StrCat("large", i), value, 0, kNever), StoreResult::kStored);
        ASSERT_EQ(cache_->Peek(absl::StrCat("large", i)).value(), value);
      }
    };
    store_large();
    EXPECT_GT(cache_->GetStats().item_bytes * 100, before.heap_bytes * 85);
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < 120'000; ++i) {
        ASSERT_EQ(cache_->Set(absl::StrCat(i), "v", 0, kNever), StoreResult::kStored) << i;
      }
      const Cache::Stats after = cache_->GetStats();
      EXPECT_LT(after.heap_bytes, before.heap_bytes * 95 / 100);
      EXPECT_EQ(after.heap_bytes + after.index_bytes, before.heap_bytes + before.index_bytes);
      EXPECT_GT(after.items, 60'000u);
      store_large();
      EXPECT_GT(cache_->GetStats().item_bytes * 100, after.heap_bytes * 80);
    }
// Sanitizers keep books of their own.
#if !defined(ABSL_HAVE_THREAD_SANITIZER) && !defined(ABSL_HAVE_ADDRESS_SANITIZER)
    // Values of this test, and what malloc keeps of them.
    EXPECT_LE(ResidentBytes() - resident_before, kMemory + (512 << 10));
#endif
    cache_->Flush();
    cache_->Tick();
    EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
  }
}

// What part of a heap values of 0.6 segments fill, of which there are enough to do so.
class TailsTest : public MemoryTest {
 protected:
  double FilledPart() {
    options_.heap_size = 16 << 20;
    options_.segment_size = 128 << 10;
    EXPECT_TRUE(TryOpen(0).ok());
    for (int i = 0; i < 600; ++i) {
      EXPECT_EQ(cache_->Set(absl::StrCat(i), std::string(80'000, 'v'), 0, kNever),
                StoreResult::kStored);
    }
    const Cache::Stats stats = cache_->GetStats();
    return static_cast<double>(stats.item_bytes) / static_cast<double>(stats.heap_bytes);
  }
};

TEST_F(TailsTest, HugePagesAreNotTakenApart) {
  EXPECT_GT(FilledPart(), 0.9);
  options_.huge_pages = true;
  EXPECT_LT(FilledPart(), 0.62);
}

// A process may be limited to as many addresses as its memory needs.
TEST_F(TailsTest, AHeapDoesWithoutAddressesThatItCannotHave) {
  EXPECT_GT(FilledPart(), 0.9);
  cache_ = nullptr;
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0;
  statm >> pages;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  rlimit limit = before;
  // Room for the heap and its index, not for two heaps.
  limit.rlim_cur = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) + (28 << 20);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  const double part = FilledPart();
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_GT(part, 0.5);
  EXPECT_LT(part, 0.62);
}

TEST_F(MemoryTest, WithoutEvictionTheIndexTakesNothingThatLives) {
  options_.eviction = config::Seg::Eviction::kNone;
  Open(2 << 20);
  std::vector<int> stored;
  for (int i = 0; i < 200'000; ++i) {
    const StoreResult result = cache_->Set(absl::StrCat(i), "v", 0, kNever);
    ASSERT_TRUE(result == StoreResult::kStored || result == StoreResult::kNoMemory);
    if (result == StoreResult::kStored) stored.push_back(i);
  }
  EXPECT_GT(stored.size(), 20'000u);
  EXPECT_LT(stored.size(), 200'000u);
  for (const int i : stored) ASSERT_TRUE(cache_->Peek(absl::StrCat(i)).found()) << i;
}

TEST_F(MemoryTest, TheSmallestOfAllHasRoomInItsIndex) {
  // Eight segments and a single bucket: no write finds a place without overflow.
  options_.segment_size = 4096;
  options_.hash_power = 3;
  Open(256 << 10);
  for (int i = 0; i < 30'000; ++i) {
    ASSERT_EQ(cache_->Set(absl::StrCat(i % 5000), "v", 0, kNever), StoreResult::kStored) << i;
    ASSERT_TRUE(cache_->Peek(absl::StrCat(i % 5000)).found());
  }
}

TEST_F(MemoryTest, ManyThreadsShareIt) {
  Open(3 << 20);
  std::atomic<uint64_t> refused{0};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 rng(static_cast<unsigned>(t));
      for (int i = 0; i < 40'000; ++i) {
        // Small for a while, then larger, then small again.
        const size_t bytes = i / 10'000 % 2 == 0 ? 1 : rng() % 3000;
        const std::string key = absl::StrCat("k", rng() % 100'000);
        const std::string value = absl::StrCat(key, std::string(bytes, 'v'));
        if (cache_->Set(key, value, 0, kNever) != StoreResult::kStored) refused.fetch_add(1);
        const std::string other = absl::StrCat("k", rng() % 100'000);
        const ItemRef found = cache_->Get(other);
        if (found.found() && found.value().substr(0, other.size()) != other) wrong.fetch_add(1);
        if (rng() % 10 == 0) cache_->Delete(other);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(refused, 0u);
  EXPECT_LE(InUse(), uint64_t{3} << 20);
  cache_->Flush();
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().items, 0u);
  EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
}

TEST_F(MemoryTest, ComesAtTheStartIfPrefaulted) {
  options_.heap_size = 64 << 20;
  const uint64_t before = ResidentBytes();
  ASSERT_TRUE(TryOpen(0).ok());
  EXPECT_LT(ResidentBytes() - before, uint64_t{16} << 20);
  options_.prefault = true;
  ASSERT_TRUE(TryOpen(0).ok());
  EXPECT_GT(ResidentBytes() - before, uint64_t{60} << 20);
  EXPECT_LT(ResidentBytes() - before, uint64_t{76} << 20);  // The heap and its index, once.
}

}  // namespace
}  // namespace seg
