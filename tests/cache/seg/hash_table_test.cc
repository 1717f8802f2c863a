// Chains under random changes, against a map; and under a reader that takes no lock.
#include "cache/seg/hash_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <vector>

namespace seg {
namespace {

// An item of these tests: a hash, and a place that is its own.
Location PlaceOf(uint32_t n) { return {n, (n % 100'000) * 8}; }

class HashTableTest : public ::testing::Test {
 protected:
  void Open(uint64_t buckets, uint64_t items_max) {
    auto table = HashTable::Create(buckets, items_max, 7);
    ASSERT_TRUE(table.ok());
    table_ = *std::move(table);
  }
  HashTable::Word* Find(uint64_t hash, Location at) {
    return table_->Find(hash, [at](Location there) { return there == at; });
  }
  // By the way of readers.
  bool Has(uint64_t hash, Location at) {
    return table_->Read(hash, [at](HashTable::Word&, uint64_t word) {
      return Slot::LocationOf(word) == at;
    });
  }
  // The number of slots that a reader meets, whatever their tag: an upper bound for one tag.
  int CountTag(uint64_t hash) {
    int count = 0;
    table_->Read(hash, [&](HashTable::Word&, uint64_t) {
      ++count;
      return false;
    });
    return count;
  }
  std::unique_ptr<HashTable> table_;
};

TEST_F(HashTableTest, AgreesWithAMapUnderRandomChanges) {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937_64 rng(seed);
  for (const uint64_t buckets : {1, 2, 7, 64}) {
    Open(buckets, 2'000);
    struct Held {
      uint64_t hash;
      uint32_t freq;
      bool out;
    };
    std::map<uint32_t, Held> items;  // By number: its place says which.
    uint32_t next = 0;
    for (int step = 0; step < 20'000; ++step) {
      const auto any = [&] {
        auto it = items.lower_bound(static_cast<uint32_t>(rng() % (next + 1)));
        return it == items.end() ? items.begin() : it;
      };
      const unsigned dice = rng() % 8;
      // Grows to hundreds, shrinks to nothing, and again.
      const bool grows = step / 1'000 % 2 == 0;
      if (items.empty() || (dice < 3 && grows) || dice == 0) {
        if (items.size() >= 1'500) continue;
        // Few tags, so that items share them.
        const uint64_t hash = (rng() % 16) << 52 | (rng() >> 12);
        const bool out = rng() % 2 == 0;
        {
          HashTable::ChainLock lock(*table_, hash);
          EXPECT_TRUE(table_->Insert(hash, PlaceOf(next), out));
        }
        items[next++] = {hash, 0, out};
      } else if (dice < 5) {
        const auto it = any();
        HashTable::ChainLock lock(*table_, it->second.hash);
        HashTable::Word* const slot = Find(it->second.hash, PlaceOf(it->first));
        ASSERT_NE(slot, nullptr);
        const uint64_t removed = table_->Remove(it->second.hash, slot);
        EXPECT_EQ(Slot::LocationOf(removed), PlaceOf(it->first));
        EXPECT_EQ(Slot::FreqOf(removed), it->second.freq);
        EXPECT_EQ(Slot::IsOut(removed), it->second.out);
        items.erase(it);
      } else {
        const auto it = any();
        Held held = it->second;
        HashTable::ChainLock lock(*table_, held.hash);
        HashTable::Word* const slot = Find(held.hash, PlaceOf(it->first));
        ASSERT_NE(slot, nullptr);
        if (dice == 5) {  // Written anew: the token is another's, the count stays.
          const bool out = rng() % 2 == 0;
          const uint64_t old = table_->Replace(slot, PlaceOf(next), out);
          EXPECT_EQ(Slot::LocationOf(old), PlaceOf(it->first));
          held.out = out;
        } else if (dice == 6) {  // Copied: the token stays, with the copy's help.
          const auto freq = static_cast<uint32_t>(rng() % (Slot::kFreqMax + 1));
          const bool has_token = rng() % 2 == 0;
          const bool moved = table_->MoveTo(slot, PlaceOf(next), freq, has_token);
          EXPECT_EQ(moved, has_token || !held.out);
          if (!moved) continue;
          held.freq = freq;
        } else {
          held.freq = static_cast<uint32_t>(rng() % (Slot::kFreqMax + 1));
          table_->SetFreq(slot, held.freq);
          it->second = held;
          continue;
        }
        items.erase(it);
        items[next++] = held;
      }
      if (step % 100 != 0) continue;
      std::map<uint64_t, int> tags;
      for (const auto& [number, held] : items) {
        ASSERT_TRUE(Has(held.hash, PlaceOf(number)));
        const uint64_t word = Find(held.hash, PlaceOf(number))->load();
        ASSERT_EQ(Slot::FreqOf(word), held.freq);
        ASSERT_EQ(Slot::IsOut(word), held.out);
      }
    }
    // Nothing is left behind in a chain.
    for (const auto& [number, held] : items) {
      HashTable::ChainLock lock(*table_, held.hash);
      table_->Remove(held.hash, Find(held.hash, PlaceOf(number)));
    }
    for (int i = 0; i < 1'000; ++i) EXPECT_EQ(CountTag(rng()), 0);
  }
}

TEST_F(HashTableTest, OverflowIsSharedByChainsAndNeverMoreThanItemsNeed) {
  Open(2, 700);
  const auto hash_in = [](uint64_t chain, uint64_t n) { return n << 52 | chain << 51; };
  // All in one chain, then all in the other: the second needs no more than the first gave back.
  uint64_t bytes = 0;
  for (int round = 0; round < 6; ++round) {
    const uint64_t chain = round % 2;
    for (uint32_t n = 1; n <= 700; ++n) EXPECT_TRUE(table_->Insert(hash_in(chain, n), PlaceOf(n), false));
    if (round == 0) bytes = table_->bytes();
    EXPECT_EQ(table_->bytes(), bytes);
    EXPECT_EQ(bytes, (2 + 700 / HashTable::kSlotsPerBucket - 1) * HashTable::kBucketBytes);
    for (uint32_t n = 1; n <= 700; ++n) {
      table_->Remove(hash_in(chain, n), Find(hash_in(chain, n), PlaceOf(n)));
    }
  }
}

// What is there all the time is always found, while slots of its chain move and overflow buckets
// change chains; and what was told of it is never forgotten.
TEST_F(HashTableTest, ReaderMeetsWhatIsThereAllTheTime) {
  Open(2, 400);
  const auto hash_in = [](uint64_t chain, uint64_t n) { return n << 52 | chain << 51; };
  constexpr uint32_t kStays = 5;
  for (uint32_t n = 1; n <= 30; ++n) EXPECT_TRUE(table_->Insert(hash_in(0, n), PlaceOf(n), false));
  for (uint32_t n = 31; n < 31 + kStays; ++n) EXPECT_TRUE(table_->Insert(hash_in(0, n), PlaceOf(n), false));
  std::atomic<bool> done{false};
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  const auto churn = [&](uint64_t chain, uint32_t first, uint32_t count) {
    std::mt19937 rng(seed + static_cast<unsigned>(chain));
    std::vector<bool> in(count, chain == 0);
    while (!done.load(std::memory_order_relaxed)) {
      const uint32_t i = static_cast<uint32_t>(rng() % count);
      const uint64_t hash = hash_in(chain, first + i);
      HashTable::ChainLock lock(*table_, hash);
      if (in[i]) {
        table_->Remove(hash, Find(hash, PlaceOf(first + i)));
      } else {
        EXPECT_TRUE(table_->Insert(hash, PlaceOf(first + i), false));
      }
      in[i] = !in[i];
    }
  };
  std::thread same([&] { churn(0, 1, 30); });
  std::thread other([&] { churn(1, 101, 60); });
  std::mt19937 rng(seed + 2);
  std::vector<bool> told(kStays);
  for (int i = 0; i < 200'000; ++i) {
    const auto k = static_cast<uint32_t>(rng() % kStays);
    const uint64_t hash = hash_in(0, 31 + k);
    const bool found = table_->Read(hash, [&](HashTable::Word& slot, uint64_t word) {
      for (;;) {
        if (Slot::LocationOf(word) != PlaceOf(31 + k) || word == 0) return false;
        if (rng() % 8 != 0) return true;
        if (slot.compare_exchange_strong(word, word | Slot::kOut)) break;
      }
      told[k] = true;
      return true;
    });
    EXPECT_TRUE(found) << k;
    if (!found) break;
  }
  done.store(true);
  same.join();
  other.join();
  for (uint32_t k = 0; k < kStays; ++k) {
    EXPECT_EQ(Slot::IsOut(Find(hash_in(0, 31 + k), PlaceOf(31 + k))->load()), told[k]) << k;
  }
}

}  // namespace
}  // namespace seg
