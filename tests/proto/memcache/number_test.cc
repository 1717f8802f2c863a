// Numbers as C's strtol family and memcached's guards around it read them.
#include "proto/memcache/number.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <random>
#include <string>

#include "absl/strings/escaping.h"

namespace proto::memcache {
namespace {

// The same rules over the C library, to compare with.
bool TwinUnsigned(const std::string& token, uint64_t* out) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(token.c_str(), &end, 10);
  if (errno == ERANGE || end == token.c_str()) return false;
  if (*end != '\0' && !std::isspace(static_cast<unsigned char>(*end))) return false;
  if ((value >> 63) != 0 && token.find('-') != std::string::npos) return false;
  *out = value;
  return true;
}

bool TwinSigned(const std::string& token, int32_t* out) {
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(token.c_str(), &end, 10);
  if (errno == ERANGE || end == token.c_str()) return false;
  if (*end != '\0' && !std::isspace(static_cast<unsigned char>(*end))) return false;
  *out = static_cast<int32_t>(value);
  return true;
}

void ExpectTwin(const std::string& token) {
  SCOPED_TRACE(absl::CEscape(token));
  uint64_t u = 0, twin_u = 0;
  EXPECT_EQ(ReadUnsigned(token, &u), TwinUnsigned(token, &twin_u));
  EXPECT_EQ(u, twin_u);
  int32_t s = 0, twin_s = 0;
  EXPECT_EQ(ReadSigned32(token, &s), TwinSigned(token, &twin_s));
  EXPECT_EQ(s, twin_s);
}

TEST(Number, AgreesWithTheCLibraryOnHardCases) {
  for (const char* token : {"",
                            " ",
                            "-",
                            "+",
                            "+-1",
                            "0",
                            "00",
                            "-0",
                            "1",
                            "+1",
                            "-1",
                            "1 ",
                            "1x",
                            "1 x",
                            "1\t-",
                            "x1",
                            "\t1",
                            "\v\f\r\n 1",
                            "999999999999999999",
                            "1000000000000000000",
                            "2147483647",
                            "2147483648",
                            "4294967295",
                            "4294967296",
                            "9223372036854775807",
                            "9223372036854775808",
                            "-9223372036854775808",
                            "-9223372036854775809",
                            "18446744073709551615",
                            "18446744073709551616",
                            "-18446744073709551615",
                            "-18446744073709551616",
                            "18446744073709551615 -",
                            "000000000000000000000000000000018446744073709551615",
                            "99999999999999999999999999",
                            "1.5",
                            "0x10",
                            "1e3",
                            "12345678901234567 "}) {
    ExpectTwin(token);
  }
}

TEST(Number, AgreesWithTheCLibraryOnRandomTokens) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  constexpr char kAlphabet[] = "0123456789012345678901234567890123456789+- \tx";
  for (int round = 0; round < 200000; ++round) {
    std::string token(random() % 24, '0');
    for (char& c : token) c = kAlphabet[random() % (sizeof(kAlphabet) - 1)];
    ExpectTwin(token);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Number, LeavesTheResultAloneWhenThereIsNone) {
  uint64_t u = 7;
  uint32_t u32 = 7;
  int32_t s = 7;
  EXPECT_FALSE(ReadUnsigned("x", &u));
  EXPECT_FALSE(ReadUnsigned32("", &u32));
  EXPECT_FALSE(ReadSigned32("12a", &s));
  EXPECT_EQ(u, 7u);
  EXPECT_EQ(u32, 7u);
  EXPECT_EQ(s, 7);
}

TEST(Number, KeepsTheLowHalf) {
  uint32_t u = 0;
  EXPECT_TRUE(ReadUnsigned32("4294967299", &u));
  EXPECT_EQ(u, 3u);
  int32_t s = 0;
  EXPECT_TRUE(ReadSigned32("2147483648", &s));
  EXPECT_EQ(s, -2147483648);
}

}  // namespace
}  // namespace proto::memcache
