#include "tools/load/keys.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace tools::load {
namespace {

KeySpace Space(const char* prefix, uint64_t count, const char* length) {
  return *KeySpace::Create(prefix, count, *Numbers::Parse(length));
}

std::vector<int> Counts(const char* text, uint64_t keys, int picks) {
  KeyOrder order = *KeyOrder::Parse(text, keys);
  Random random(5);
  std::vector<int> counts(keys);
  for (int i = 0; i < picks; ++i) ++counts.at(order.Next(random));
  return counts;
}

std::vector<int> Descending(std::vector<int> counts) {
  std::sort(counts.rbegin(), counts.rend());
  return counts;
}

TEST(Keys, AreSpelledToTheirLength) {
  EXPECT_EQ(Space("key:", 10'000, "20").Spell(42), "key:0000000000000042");
  EXPECT_EQ(Space("k", 10, "2").Spell(9), "k9");
  EXPECT_EQ(Space("", 100, "2").Spell(0), "00");
}

TEST(Keys, OfVariousLengthsAreDistinctAndRepeatable) {
  const KeySpace space = Space("k:", 5000, "6-40");
  std::set<std::string> all;
  std::set<size_t> lengths;
  for (uint64_t i = 0; i < 5000; ++i) {
    const std::string key = space.Spell(i);
    EXPECT_EQ(key, space.Spell(i));
    lengths.insert(key.size());
    all.insert(key);
  }
  EXPECT_EQ(all.size(), 5000u);
  EXPECT_EQ(*lengths.begin(), 6u);
  EXPECT_EQ(*lengths.rbegin(), 40u);
}

TEST(Keys, RefusesLengthsThatDoNotFit) {
  const auto create = [](const char* prefix, uint64_t count, const char* length) {
    return KeySpace::Create(prefix, count, *Numbers::Parse(length)).ok();
  };
  EXPECT_TRUE(create("k", 1000, "4"));
  EXPECT_FALSE(create("k", 1001, "4"));
  EXPECT_FALSE(create("k", 1000, "251"));
  EXPECT_FALSE(create("k", 0, "20"));
  EXPECT_FALSE(create("k", kKeysMax + 1, "20"));
  EXPECT_FALSE(create("a b", 1000, "20"));
  EXPECT_FALSE(create("k", 1000, "10:1,20:1"));
}

TEST(KeyOrder, UniformIsEven) {
  for (const int count : Counts("uniform", 100, 100'000)) EXPECT_NEAR(count, 1000, 200);
}

TEST(KeyOrder, SequentialTakesEachInTurnFromWhereItIsTold) {
  KeyOrder order = *KeyOrder::Parse("sequential", 3);
  Random random(1);
  order.StartAt(2);
  std::vector<uint64_t> seen;
  for (int i = 0; i < 5; ++i) seen.push_back(order.Next(random));
  EXPECT_EQ(seen, (std::vector<uint64_t>{2, 0, 1, 2, 0}));
}

TEST(KeyOrder, HotKeysGetTheirShare) {
  const std::vector<int> counts = Descending(Counts("hot:0.1:0.9", 1000, 200'000));
  int hot = 0;
  for (int i = 0; i < 100; ++i) hot += counts[i];
  EXPECT_NEAR(hot, 180'000, 2'000);
  EXPECT_GT(counts[999], 0);
}

// Frequencies beside the law itself, around and far from the alpha at which its formula changes.
TEST(KeyOrder, ZipfFollowsItsLaw) {
  for (const double alpha : {0.0, 0.5, 0.99, 1.0, 1.2, 2.5}) {
    constexpr int kKeys = 1000;
    constexpr int kPicks = 300'000;
    const std::string text = "zipf:" + std::to_string(alpha);
    const std::vector<int> counts = Descending(Counts(text.c_str(), kKeys, kPicks));
    double sum = 0;
    for (int i = 1; i <= kKeys; ++i) sum += std::pow(i, -alpha);
    for (const int rank : {1, 2, 3, 10}) {
      const double expected = kPicks * std::pow(rank, -alpha) / sum;
      if (alpha == 0) continue;  // Sorted counts of an even law are not even.
      EXPECT_NEAR(counts[rank - 1], expected, 6 * std::sqrt(expected) + 2)
          << "alpha " << alpha << " rank " << rank;
    }
    EXPECT_LE(counts[0], alpha == 0 ? 420 : kPicks);
  }
}

TEST(KeyOrder, StrewsWithoutLosingKeys) {
  for (const uint64_t keys : {1, 2, 97, 1000}) {
    for (const int count : Counts("zipf:0", keys, static_cast<int>(keys) * 100)) {
      EXPECT_GT(count, 0) << keys;
    }
  }
}

TEST(KeyOrder, RefusesWhatItCannotMean) {
  for (const char* text : {"", "zipf", "zipf:", "zipf:-1", "zipf:x", "uniform:1", "hot:0.1",
                           "hot:2:0.5", "hot:0.1:1.5", "sequential:3", "zipf:nan"}) {
    EXPECT_FALSE(KeyOrder::Parse(text, 10).ok()) << text;
  }
}

}  // namespace
}  // namespace tools::load
