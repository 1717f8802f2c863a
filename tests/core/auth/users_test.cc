#include "core/auth/users.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace core {
namespace {

std::string ErrorOf(absl::string_view text) {
  return std::string(Users::Parse(text).status().message());
}

TEST(Users, MatchAsAWhole) {
  const auto users = Users::Parse("user:pass\r\n\nother:p:w d\nempty:\nlast:one");
  ASSERT_TRUE(users.ok());
  EXPECT_EQ((*users)->size(), 4u);
  EXPECT_TRUE((*users)->Match("user", "pass"));
  EXPECT_TRUE((*users)->Match("other", "p:w d"));
  EXPECT_TRUE((*users)->Match("empty", ""));
  EXPECT_TRUE((*users)->Match("last", "one"));
  const std::pair<const char*, const char*> wrong[] = {
      {"user", "pasS"}, {"user", "pas"},  {"user", "passs"}, {"user", ""},  {"User", "pass"},
      {"use", "rpass"}, {"other", "p"},   {"user", "one"},   {"", ""},      {"", "pass"},
      {"empty", " "},   {"last", "one\n"}};
  for (const auto& [name, password] : wrong) {
    EXPECT_FALSE((*users)->Match(name, password)) << name << ' ' << password;
  }
  // Padding is no part of a word.
  EXPECT_FALSE((*users)->Match("user", std::string("pass\0", 5)));
  EXPECT_FALSE((*users)->Match(std::string("user\0", 5), "pass"));
}

TEST(Users, WordsOfAnyLength) {
  for (const size_t size : {1u, 254u, 255u}) {
    const std::string name(size, 'n'), password(size, 'p');
    const auto users = Users::Parse(absl::StrCat(name, ":", password));
    ASSERT_TRUE(users.ok());
    EXPECT_TRUE((*users)->Match(name, password));
    EXPECT_FALSE((*users)->Match(name, password + "p"));
    EXPECT_FALSE((*users)->Match(name, password.substr(1)));
  }
  EXPECT_EQ(ErrorOf(absl::StrCat(std::string(256, 'n'), ":p")),
            "line 1: user and password may have 255 bytes each");
  EXPECT_EQ(ErrorOf(absl::StrCat("n:", std::string(256, 'p'))),
            "line 1: user and password may have 255 bytes each");
}

TEST(Users, ErrorsNameTheLineAndNothingOfIt) {
  EXPECT_EQ(ErrorOf("a:b\nSECRET\n"), "line 2: expected user:password");
  EXPECT_EQ(ErrorOf(":SECRET"), "line 1: the user has no name");
  EXPECT_EQ(ErrorOf(""), "there is no user in it");
  EXPECT_EQ(ErrorOf("\n \n"), "there is no user in it");
  std::string many;
  for (size_t i = 0; i <= Users::kUsersMax; ++i) absl::StrAppend(&many, "u", i, ":p\n");
  EXPECT_EQ(ErrorOf(many), "line 1001: 1000 users are the most");
}

TEST(Users, FilesThatCannotBeRead) {
  const absl::Status missing = Users::Read("/no/such/file").status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_TRUE(absl::StrContains(missing.message(), "\"/no/such/file\""));
  EXPECT_TRUE(absl::IsInvalidArgument(Users::Read("/tmp").status()));
}

}  // namespace
}  // namespace core
