#include "core/auth/peer_limit.h"

#include <gtest/gtest.h>

#include <string>

namespace core {
namespace {

TEST(PeerLimit, TenAtOnceAndOneASecond) {
  PeerLimit limit;
  for (int64_t i = 0; i < PeerLimit::kBurst; ++i) {
    EXPECT_TRUE(limit.Allows("a", 1000)) << i;
    limit.Fail("a", 1000);
  }
  EXPECT_FALSE(limit.Allows("a", 1000));
  EXPECT_FALSE(limit.Allows("a", 1999));
  EXPECT_TRUE(limit.Allows("a", 2000));
  limit.Fail("a", 2000);
  EXPECT_FALSE(limit.Allows("a", 2999));
  EXPECT_TRUE(limit.Allows("b", 2000)) << "another address";
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(limit.Allows("a", 20'000)) << "full again " << i;
    limit.Fail("a", 20'000);
  }
  EXPECT_FALSE(limit.Allows("a", 20'000));
}

TEST(PeerLimit, RemembersNoMoreThanItMay) {
  PeerLimit limit;
  for (size_t i = 0; i < 3 * PeerLimit::kPeersMax; ++i) {
    limit.Fail(std::to_string(i), static_cast<int64_t>(i) / 100);
  }
  EXPECT_EQ(limit.peers(), PeerLimit::kPeersMax);
  // The others share what is left.
  EXPECT_FALSE(limit.Allows("new", 200));
  EXPECT_TRUE(limit.Allows("1", 200));
  // Those that have been good for long make room.
  limit.Fail("new", 100'000'000);
  EXPECT_EQ(limit.peers(), 1u);
}

}  // namespace
}  // namespace core
