// The answers of stock memcached 1.6.18 to "incr key 1" and "decr key N".
#include "proto/memcache/arithmetic.h"

#include <gtest/gtest.h>

namespace proto::memcache {
namespace {

using namespace std::string_literals;

struct Case {
  std::string stored;
  uint64_t delta;
  bool decrement;
  std::optional<uint64_t> reply;
  std::string stored_after;
};

TEST(Arithmetic, AnswersAndStoresWhatMemcachedDoes) {
  const Case cases[] = {
      {"10", 1, false, 11, "11"},
      {"9", 1, false, 10, "10"},
      {"99", 1, false, 100, "100"},
      {" 5", 1, false, 6, "6 "},
      {"5 ", 1, false, 6, "6 "},
      {"5  ", 1, false, 6, "6  "},
      {"5 abc", 1, false, 6, "6    "},
      {"+5", 1, false, 6, "6 "},
      {"-0", 1, false, 1, "1 "},
      {"\t5", 1, false, 6, "6 "},
      {"5\t", 1, false, 6, "6 "},
      {"\n5", 1, false, 6, "6 "},
      {"5\r\n", 1, false, 6, "6  "},
      {"5\0"s, 1, false, 6, "6 "},
      {"0005", 1, false, 6, "6   "},
      {"00000000000000000000000000000005", 1, false, 6, "6" + std::string(31, ' ')},
      {"18446744073709551615", 1, false, 0, "0" + std::string(19, ' ')},
      {"18446744073709551614", 5, false, 3, "3" + std::string(19, ' ')},
      {"-18446744073709551615", 1, false, 2, "2" + std::string(20, ' ')},
      {"10", 1, true, 9, "9 "},
      {"10   ", 1, true, 9, "9    "},
      {"5", 6, true, 0, "0"},
      {"5", 5, true, 0, "0"},
      {"0", 18446744073709551615u, true, 0, "0"},
  };
  for (const Case& c : cases) {
    const std::optional<uint64_t> number = ParseCounter(c.stored);
    ASSERT_TRUE(number.has_value()) << c.stored;
    const uint64_t after = Count(*number, c.delta, c.decrement);
    EXPECT_EQ(after, *c.reply) << c.stored;
    EXPECT_EQ(CounterText(after, c.stored.size()), c.stored_after) << c.stored;
  }
}

TEST(Arithmetic, RefusesWhatMemcachedCallsNonNumeric) {
  for (const std::string& stored :
       {""s, " "s, "abc"s, "5abc"s, "-1"s, "0x5"s, "\0"s, "\0"s + "5", "- 5"s, "+"s, "-"s,
        "18446744073709551616"s, "99999999999999999999999"s, "-18446744073709551616"s,
        "18446744073709551615 -"s, "5.0"s, "1e3"s}) {
    EXPECT_FALSE(ParseCounter(stored).has_value()) << stored;
  }
}

TEST(Arithmetic, LooksAtNoItemThatMemcachedHasInPieces) {
  EXPECT_FALSE(MayBeCounter(1, 0, 0));
  EXPECT_TRUE(MayBeCounter(1, 1, 0));
  // Probed on memcached 1.6.18.
  EXPECT_TRUE(MayBeCounter(1, 524'228, 0));
  EXPECT_FALSE(MayBeCounter(1, 524'229, 0));
  EXPECT_TRUE(MayBeCounter(1, 524'224, 7));
  EXPECT_FALSE(MayBeCounter(1, 524'225, 7));
  EXPECT_TRUE(MayBeCounter(50, 524'179, 0));
  EXPECT_FALSE(MayBeCounter(50, 524'180, 0));
}

}  // namespace
}  // namespace proto::memcache
