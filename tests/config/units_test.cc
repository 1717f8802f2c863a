#include "config/units.h"

#include <gtest/gtest.h>

#include <random>

namespace config {
namespace {

TEST(ParseSize, ReadsWhatOperatorsWrite) {
  const std::pair<const char*, uint64_t> cases[] = {
      {"0", 0},
      {"1", 1},
      {"100B", 100},
      {"64MB", 64ull << 20},
      {"64mb", 64ull << 20},
      {"64 MB", 64ull << 20},
      {" 64MB ", 64ull << 20},
      {"64M", 64ull << 20},
      {"64MiB", 64ull << 20},
      {"16KB", 16384},
      {"16k", 16384},
      {"1GB", 1ull << 30},
      {"2TiB", 2ull << 40},
      {"1.5MB", 3ull << 19},
      {"0.25GB", 1ull << 28},
      {"18446744073709551615", ~0ull},
  };
  for (const auto& [text, bytes] : cases) EXPECT_EQ(ParseSize(text), bytes) << text;
}

TEST(ParseSize, RefusesTheRest) {
  for (const char* text :
       {"", " ", "MB", "-1", "+1", "1.3B", "1.5", "1.", ".5MB", "1.0000000001KB", "64XB", "64MBs",
        "1e3", "0x10", "18446744073709551616", "18446744073709551615KB", "17179869184GB",
        "16777215.9999999999TB", "6 4MB"}) {
    EXPECT_EQ(ParseSize(text), std::nullopt) << text;
  }
}

TEST(SpellSize, TakesTheLargestUnitThatDivides) {
  EXPECT_EQ(SpellSize(0), "0B");
  EXPECT_EQ(SpellSize(1023), "1023B");
  EXPECT_EQ(SpellSize(1024), "1KB");
  EXPECT_EQ(SpellSize(1536 << 10), "1536KB");
  EXPECT_EQ(SpellSize(64ull << 20), "64MB");
  EXPECT_EQ(SpellSize(1ull << 40), "1TB");
}

TEST(SpellSize, IsReadBackAsItWas) {
  const uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t bytes = (random() >> (random() % 64)) & ~((1ull << (random() % 40)) - 1);
    EXPECT_EQ(ParseSize(SpellSize(bytes)), bytes) << "seed " << seed;
  }
}

TEST(ParseDuration, ReadsWhatOperatorsWrite) {
  const std::pair<const char*, absl::Duration> cases[] = {
      {"0", absl::ZeroDuration()},        {"0s", absl::ZeroDuration()},
      {"200ms", absl::Milliseconds(200)}, {"1.5s", absl::Milliseconds(1500)},
      {"10m", absl::Minutes(10)},         {"1h", absl::Hours(1)},
      {"1h30m", absl::Minutes(90)},       {"7d", absl::Hours(168)},
      {"0.5d", absl::Hours(12)},          {"3us", absl::Microseconds(3)},
      {"9ns", absl::Nanoseconds(9)},      {" 1s ", absl::Seconds(1)},
      {".5s", absl::Milliseconds(500)},
  };
  for (const auto& [text, duration] : cases) EXPECT_EQ(ParseDuration(text), duration) << text;
}

TEST(ParseDuration, RefusesTheRest) {
  for (const char* text : {"", "5", "1.5", "s", "-1s", "+1s", "inf", "1w", "1 s", "1S", "d", "1sd",
                           "1d2h", "1e400d", "1s,"}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
}

TEST(SpellDuration, TakesTheLargestUnitThatDivides) {
  EXPECT_EQ(SpellDuration(absl::ZeroDuration()), "0s");
  EXPECT_EQ(SpellDuration(absl::Minutes(90)), "90m");
  EXPECT_EQ(SpellDuration(absl::Hours(24)), "24h");
  EXPECT_EQ(SpellDuration(absl::Milliseconds(1500)), "1500ms");
  EXPECT_EQ(SpellDuration(absl::Nanoseconds(1)), "1ns");
}

TEST(SpellDuration, IsReadBackAsItWas) {
  const uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  for (int i = 0; i < 10'000; ++i) {
    const absl::Duration duration = absl::Nanoseconds(static_cast<int64_t>(random() >> 4)) /
                                    static_cast<int64_t>(1 + random() % 1000);
    const absl::Duration whole = absl::Trunc(duration, absl::Nanoseconds(1));
    EXPECT_EQ(ParseDuration(SpellDuration(whole)), whole)
        << SpellDuration(whole) << " seed " << seed;
  }
}

}  // namespace
}  // namespace config
