// Who may connect: blocks of addresses against addresses.
#include "core/net/allow_list.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace core {
namespace {

// An address of either family as AllowList has them.
std::array<uint8_t, 16> At(const std::string& text) {
  std::array<uint8_t, 16> address = {};
  if (::inet_pton(AF_INET6, text.c_str(), address.data()) == 1) return address;
  std::copy(config::kMappedPrefix.begin(), config::kMappedPrefix.end(), address.begin());
  EXPECT_EQ(::inet_pton(AF_INET, text.c_str(), address.data() + 12), 1) << text;
  return address;
}

bool Admits(const std::vector<std::string>& blocks, const std::string& peer) {
  return AllowList(blocks).Admits(At(peer));
}

TEST(AllowList, OfNoneAdmitsAll) {
  EXPECT_TRUE(AllowList({}).empty());
  EXPECT_TRUE(Admits({}, "1.2.3.4"));
}

TEST(AllowList, ComparesThePrefixAlone) {
  EXPECT_TRUE(Admits({"10.0.0.0/8"}, "10.255.1.2"));
  EXPECT_FALSE(Admits({"10.0.0.0/8"}, "11.0.0.0"));
  EXPECT_TRUE(Admits({"192.168.4.0/22"}, "192.168.7.255"));
  EXPECT_FALSE(Admits({"192.168.4.0/22"}, "192.168.8.0"));
  EXPECT_TRUE(Admits({"192.168.4.4/31"}, "192.168.4.5"));
  EXPECT_FALSE(Admits({"192.168.4.4/31"}, "192.168.4.6"));
  EXPECT_TRUE(Admits({"127.0.0.1"}, "127.0.0.1"));
  EXPECT_FALSE(Admits({"127.0.0.1"}, "127.0.0.2"));
  EXPECT_TRUE(Admits({"0.0.0.0/0"}, "255.255.255.255"));
  EXPECT_TRUE(Admits({"2001:db8::/33"}, "2001:db8:7fff::1"));
  EXPECT_FALSE(Admits({"2001:db8::/33"}, "2001:db8:8000::1"));
  EXPECT_TRUE(Admits({"10.0.0.0/8", "::1"}, "::1"));
  EXPECT_FALSE(Admits({"10.0.0.0/8", "::1"}, "::2"));
}

TEST(AllowList, TakesAMappedAddressForTheOneItStandsFor) {
  EXPECT_TRUE(Admits({"10.0.0.0/8"}, "::ffff:10.1.2.3"));
  EXPECT_TRUE(Admits({"::ffff:10.0.0.0/104"}, "10.1.2.3"));
  EXPECT_FALSE(Admits({"::ffff:10.0.0.0/104"}, "11.1.2.3"));
}

TEST(AllowList, KeepsTheFamiliesApart) {
  EXPECT_TRUE(Admits({"::/0"}, "2001:db8::1"));
  EXPECT_FALSE(Admits({"::/0"}, "10.1.2.3"));
  EXPECT_FALSE(Admits({"0.0.0.0/0"}, "2001:db8::1"));
  EXPECT_FALSE(Admits({"0.0.0.0/0"}, "::1"));
}

TEST(Cidr, WhatIsNoneIsExplained) {
  for (const char* bad : {"", "/8", "10.0.0", "localhost", "10.0.0.0/", "10.0.0.0/33", "::/129",
                          "10.0.0.0/-1", "10.0.0.0/ 8", "10.0.0.0/8/8", " 10.0.0.0/8", "10.0.0.0/08x",
                          "256.0.0.0/8", "*"}) {
    EXPECT_FALSE(config::ParseCidr(bad).ok()) << bad;
  }
  EXPECT_EQ(config::ParseCidr("10.0.0.1/8").status().message(),
            "\"10.0.0.1/8\" has bits set after the prefix; did you mean \"10.0.0.0/8\"?");
  EXPECT_EQ(config::ParseCidr("fd00::1/8").status().message(),
            "\"fd00::1/8\" has bits set after the prefix; did you mean \"fd00::/8\"?");
  EXPECT_EQ(config::ParseCidr("10.0.0.0/40").status().message(),
            "expected 0 to 32 after the slash, got \"10.0.0.0/40\"");
}

}  // namespace
}  // namespace core
