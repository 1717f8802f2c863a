// What memcached takes for base64. Each case was asked of memcached 1.6.18.
#include "proto/memcache/base64.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/escaping.h"

namespace proto::memcache {
namespace {

std::string Decoded(absl::string_view text) {
  std::string out;
  return DecodeBase64(text, &out) ? "ok:" + out : "refused";
}

TEST(Base64, TakesWhatIsRight) {
  EXPECT_EQ(Decoded("YQ=="), "ok:a");
  EXPECT_EQ(Decoded("YWI="), "ok:ab");
  EXPECT_EQ(Decoded("YWJj"), "ok:abc");
  EXPECT_EQ(Decoded("YWJjYQ=="), "ok:abca");
  EXPECT_EQ(Decoded("+/+/"), "ok:\xfb\xff\xbf");
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  for (size_t n = 1; n <= all.size(); ++n) {
    EXPECT_EQ(Decoded(absl::Base64Escape(all.substr(0, n))), "ok:" + all.substr(0, n));
  }
}

TEST(Base64, RefusesWhatIsNoneAtAll) {
  for (const char* text : {"", "a", "YQ", "YQ=", "Y", "!!!!", "====", "Y===", "A===", "YWJj=",
                           "YWJj====", "Y-_=", "-_-_", "YQ==Y"}) {
    EXPECT_EQ(Decoded(text), "refused") << text;
  }
}

TEST(Base64, IsAsLenientAsMemcached) {
  EXPECT_EQ(Decoded("YQ==!"), "ok:a");
  EXPECT_EQ(Decoded("!Y!Q!=!="), "ok:a");
  EXPECT_EQ(Decoded("\x80YQ=="), "ok:a");
  EXPECT_EQ(Decoded("YQ==YQ=="), "ok:a");
  EXPECT_EQ(Decoded("YWJjYQ==YWJj"), "ok:abca");
  EXPECT_EQ(Decoded("YR=="), "ok:a");
  EXPECT_EQ(Decoded("YQ=A"), std::string("ok:a\0", 5));
  EXPECT_EQ(Decoded("Y=Q="), "ok:`");
  EXPECT_EQ(Decoded("==YQ"), std::string("ok:\0", 4));
}

}  // namespace
}  // namespace proto::memcache
