#include "proxy/translate/cas.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace proxy::translate {
namespace {

TEST(CasToken, IsTheSameInEveryProxyForEver) {
  // XXH3 of the bytes with seed 0: a changed value here would break tokens that clients hold while
  // proxies are upgraded.
  EXPECT_EQ(CasToken(""), 0x2d06800538d394c2u);
  EXPECT_EQ(CasToken("hash"), XXH3_64bits("hash", 4));
}

TEST(CasToken, OfTwoPartsIsThatOfTheWhole) {
  for (const size_t size : {0, 1, 16, 200, 240, 241, 1000, 5000}) {
    const std::string body(size, 'b');
    for (const std::string prefix : {"", "p", "\xf5MP\1....", "a longer prefix"}) {
      EXPECT_EQ(CasToken(prefix, body), CasToken(prefix + body)) << prefix.size() << ' ' << size;
    }
  }
}

TEST(CasToken, TellsBytesOfAnyLengthApart) {
  std::set<uint64_t> tokens;
  for (size_t length = 0; length <= 300; ++length) tokens.insert(CasToken(std::string(length, 'h')));
  EXPECT_EQ(tokens.size(), 301u);
  EXPECT_EQ(tokens.count(0), 0u);
}

}  // namespace
}  // namespace proxy::translate
