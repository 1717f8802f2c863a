// What memcached says to each of these is proved by integration/transcripts/admin.mc; here, that no
// word sequence gets anything but one whole line or silence.
#include "proto/memcache/admin_words.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace proto::memcache {
namespace {

TEST(AdminWords, RefusesInMemcachedsWords) {
  EXPECT_EQ(AnswerToAdmin("slabs", " reassign 1 2"), "CLIENT_ERROR slab reassignment disabled\r\n");
  EXPECT_EQ(AnswerToAdmin("slabs", " automove 1"), "CLIENT_ERROR slab reassignment disabled\r\n");
  EXPECT_EQ(AnswerToAdmin("lru_crawler", " metadump all"), "CLIENT_ERROR lru crawler disabled\r\n");
  EXPECT_EQ(AnswerToAdmin("cache_memlimit", " 64"),
            "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n");
  EXPECT_EQ(AnswerToAdmin("lru", " mode flat"), "ERROR\r\n");
  EXPECT_EQ(AnswerToAdmin("shutdown", ""), "ERROR: shutdown not enabled\r\n");
  EXPECT_EQ(AnswerToAdmin("nonesuch", " noreply"), "ERROR\r\n");
}

TEST(AdminWords, AnyWordsGetOneLineOrSilence) {
  const std::vector<std::string> words = {"",        " reassign", " automove", " crawl",
                                          " enable", " disable",  " mode",     " tune",
                                          " 1",      " -1",       " x",        " 99999999999999999999",
                                          " noreply"};
  for (const char* verb : {"slabs", "lru_crawler", "cache_memlimit", "lru", "shutdown", "x", ""}) {
    for (const std::string& a : words) {
      for (const std::string& b : words) {
        for (const std::string& c : words) {
          const std::string rest = absl::StrCat(a, b, c);
          const absl::string_view answer = AnswerToAdmin(verb, rest);
          if (answer.empty()) {
            EXPECT_TRUE(absl::EndsWith(rest, "noreply")) << verb << rest;
          } else {
            EXPECT_EQ(answer.find("\r\n"), answer.size() - 2) << verb << rest;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace proto::memcache
