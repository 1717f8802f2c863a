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

TEST(CasToken, IsTheEnvelopesWhereItHasOne) {
  const auto token = [](const std::string& stored) {
    return TokenOf(*Unwrap(EnvelopeForm::kTransparent, stored), stored);
  };
  EXPECT_EQ(token("v"), CasToken("v"));
  const std::string with_flags = std::string(Wrap(EnvelopeForm::kTransparent, 5, "v", 0).view()) + "v";
  EXPECT_EQ(token(with_flags), CasToken(with_flags));
  for (const uint64_t given : {uint64_t{0}, uint64_t{7}, ~uint64_t{0}}) {
    for (const bool taken : {false, true}) {
      const ItemState state{.win_taken = taken, .ranked = true, .token = given};
      EXPECT_EQ(token(std::string(WrapWithState(state, 5).view()) + "v"), given);
    }
  }
}

// Tokens of ours have no order: who has another one has seen the item before it was changed.
TEST(CasToken, OnlyRankedTokensAreNewer) {
  Unwrapped item;
  EXPECT_TRUE(IsOlder(~uint64_t{0}, item));
  item.state = ItemState{.token = 100};
  EXPECT_TRUE(IsOlder(101, item));
  item.state->ranked = true;
  EXPECT_TRUE(IsOlder(99, item));
  EXPECT_FALSE(IsOlder(101, item));
  EXPECT_FALSE(IsOlder(0, item));
}

TEST(CasToken, TellsBytesOfAnyLengthApart) {
  std::set<uint64_t> tokens;
  for (size_t length = 0; length <= 300; ++length) tokens.insert(CasToken(std::string(length, 'h')));
  EXPECT_EQ(tokens.size(), 301u);
  EXPECT_EQ(tokens.count(0), 0u);
}

}  // namespace
}  // namespace proxy::translate
