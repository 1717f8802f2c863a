// Replays the fuzzer's seeds, so that they run without clang; and lets random mixtures of them try
// the same property.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/proto/memcache/fragmentation.h"

namespace proto::memcache {
namespace {

constexpr char kFolder[] = "tests/proto/memcache/seeds";  // ctest runs in the source root.

constexpr char kBinaryFolder[] = "tests/proto/memcache/seeds_binary";

std::vector<std::string> Seeds(const char* folder = kFolder) {
  std::vector<std::string> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return seeds;
}

TEST(Seeds, CoverEveryVerb) {
  std::set<std::string> seen;
  for (const std::string& seed : Seeds()) {
    for (const std::string& outcome : OutcomesInSteps(seed, seed.size())) {
      seen.insert(outcome.substr(0, outcome.find_first_of("( ")));
    }
  }
  for (int verb = 1; verb < kVerbs; ++verb) {
    const std::string name(VerbName(static_cast<Verb>(verb)));
    EXPECT_TRUE(seen.count(name) > 0) << name << " has no seed in " << kFolder;
  }
}

TEST(Seeds, AreReadAlikeHoweverTheyAreCut) {
  for (const std::string& seed : Seeds()) CheckFragmentation(seed);
}

TEST(Seeds, OfPacketsAreReadAlikeHoweverTheyAreCut) {
  const std::vector<std::string> seeds = Seeds(kBinaryFolder);
  ASSERT_FALSE(seeds.empty());
  for (const std::string& seed : seeds) CheckFragmentation(seed);
}

TEST(Seeds, OfPacketsAreReadAlikeWhenMixedAndBroken) {
  const std::vector<std::string> seeds = Seeds(kBinaryFolder);
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  std::fprintf(stderr, "random seed %u\n", seed);
  for (int round = 0; round < 300; ++round) {
    std::string wire;
    while (wire.size() < 200) wire += seeds[random() % seeds.size()];
    for (int flips = random() % 4; flips > 0; --flips) {
      wire[1 + random() % (wire.size() - 1)] = "\x80\0\1\4\x08k\xff"[random() % 7];
    }
    CheckFragmentation(wire);
  }
}

TEST(Seeds, AreReadAlikeWhenMixedAndBroken) {
  const std::vector<std::string> seeds = Seeds();
  ASSERT_FALSE(seeds.empty());
  const uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  std::fprintf(stderr, "random seed %u\n", seed);
  for (int round = 0; round < 300; ++round) {
    std::string wire;
    while (wire.size() < 200) wire += seeds[random() % seeds.size()];
    wire.resize(std::min<size_t>(wire.size(), 600));
    for (int flips = random() % 4; flips > 0; --flips) {
      wire[random() % wire.size()] = " \r\n\0009-x"[random() % 7];
    }
    CheckFragmentation(wire);
  }
}

}  // namespace
}  // namespace proto::memcache
