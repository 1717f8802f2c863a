// What was written is known again, and everything else is told apart.
#include "tools/load/value.h"

#include <gtest/gtest.h>

#include <string>

namespace tools::load {
namespace {

std::string Written(const Values& values, uint64_t hash, uint32_t salt, size_t size) {
  std::string out(size, '\0');
  EXPECT_EQ(values.Write(hash, salt, size, out.data()), out.data() + size);
  return out;
}

TEST(Value, OfAnySizeIsKnownAgain) {
  const Values values;
  for (const size_t size : {0, 1, 5, 6, 7, 13, 14, 15, 100, 65'535, 65'536, 65'550, 200'000}) {
    const std::string value = Written(values, HashOfKey("a"), 77, size);
    EXPECT_TRUE(values.Check(HashOfKey("a"), value)) << size;
    // A byte or two say nothing about the key.
    EXPECT_EQ(values.Check(HashOfKey("b"), value), size < 3) << size;
  }
}

TEST(Value, EveryChangedByteShows) {
  const Values values;
  const uint64_t hash = HashOfKey("k");
  const std::string good = Written(values, hash, 123'456, 60);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(values.Check(hash, bad)) << i;
    bad[i] = '\r';
    EXPECT_FALSE(values.Check(hash, bad)) << i;
  }
}

TEST(Value, CutAndMixedOnesShow) {
  const Values values;
  const uint64_t hash = HashOfKey("k");
  const std::string one = Written(values, hash, 1, 60);
  const std::string other = Written(values, hash, 2, 60);
  for (size_t i = 1; i < one.size(); ++i) {
    EXPECT_FALSE(values.Check(hash, one.substr(0, i))) << i;
    EXPECT_FALSE(values.Check(hash, one.substr(i))) << i;
  }
  EXPECT_FALSE(values.Check(hash, one.substr(0, 30) + other.substr(30)));
  EXPECT_FALSE(values.Check(hash, one + "x"));
}

TEST(Value, PiecesMayFollowEachOther) {
  const Values values;
  const uint64_t hash = HashOfKey("k");
  const std::string three = Written(values, hash, 1, 14) + Written(values, hash, 2, 70'000) +
                            Written(values, hash, 3, 33);
  EXPECT_TRUE(values.Check(hash, three));
  EXPECT_FALSE(values.Check(hash, three.substr(0, 14) + three.substr(15)));
  EXPECT_FALSE(values.Check(hash, Written(values, hash, 1, 14) +
                                      Written(values, HashOfKey("other"), 2, 20)));
}

}  // namespace
}  // namespace tools::load
