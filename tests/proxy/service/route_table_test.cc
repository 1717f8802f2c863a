// The choice of a cache by key, held against the plain way to make it.
#include "proxy/service/route_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/match.h"

namespace proxy {
namespace {

using testing::ElementsAre;
using testing::Pair;

config::Cache Listener(std::vector<config::Route> routes) {
  config::Cache cache;
  cache.cache_name = "own";
  cache.routes = std::move(routes);
  return cache;
}

// "cache" or "cache-N" where N bytes are stripped; "none".
std::string Chosen(const RouteTable& table, absl::string_view key, absl::string_view name = {}) {
  const RouteTable::Choice choice = table.Choose(key, name);
  if (choice.cache == RouteTable::kNone) return "none";
  const std::string cache = table.caches()[choice.cache];
  return choice.strip == 0 ? cache : cache + "-" + std::to_string(choice.strip);
}

TEST(RouteTable, NumbersTheCachesOwnFirst) {
  const RouteTable table(Listener({{"z:", "b"}, {"a:", "c"}, {"y:", "b"}}));
  EXPECT_THAT(table.caches(), ElementsAre("own", "b", "c"));
  EXPECT_EQ(table.Find("c"), 2u);
  EXPECT_EQ(table.Find("d"), RouteTable::kNone);
}

TEST(RouteTable, TakesTheLongestPrefix) {
  const RouteTable table(Listener(
      {{"u", "b"}, {"user:", "c"}, {"user:vip:", "d"}, {"user:vip:x", "b"}, {"v", "c", true}}));
  EXPECT_EQ(Chosen(table, "t"), "own");
  EXPECT_EQ(Chosen(table, ""), "own");
  EXPECT_EQ(Chosen(table, "u"), "b");
  EXPECT_EQ(Chosen(table, "user"), "b");
  EXPECT_EQ(Chosen(table, "user:"), "c");
  EXPECT_EQ(Chosen(table, "user:1"), "c");
  EXPECT_EQ(Chosen(table, "user:vip"), "c");
  EXPECT_EQ(Chosen(table, "user:vip:"), "d");
  EXPECT_EQ(Chosen(table, "user:vip:w"), "d");
  EXPECT_EQ(Chosen(table, "user:vip:xyz"), "b");
  EXPECT_EQ(Chosen(table, "user:vip:y"), "d");
  EXPECT_EQ(Chosen(table, "user;"), "b");
  EXPECT_EQ(Chosen(table, "w"), "own");
}

TEST(RouteTable, StripsWhatLeavesAKey) {
  const RouteTable table(Listener({{"v", "b"}, {"v:", "c", true}}));
  EXPECT_EQ(Chosen(table, "v:1"), "c-2");
  EXPECT_EQ(Chosen(table, "v:"), "b");
}

TEST(RouteTable, HasNoneWhereTheOwnCacheIsNotForAll) {
  config::Cache cache = Listener({{"a", "own"}, {"b", "b"}});
  cache.no_route = config::Cache::NoRoute::kError;
  const RouteTable table(cache);
  EXPECT_THAT(table.caches(), ElementsAre("own", "b"));
  EXPECT_EQ(Chosen(table, "a1"), "own");
  EXPECT_EQ(Chosen(table, "b1"), "b");
  EXPECT_EQ(Chosen(table, "c1"), "none");
  EXPECT_EQ(table.Stats().back(), (std::pair<std::string, std::string>("no_route", "refused")));
}

TEST(RouteTable, LetsTheClientNameTheCache) {
  const RouteTable table(Listener({{"b:", "b", true}}));
  EXPECT_EQ(Chosen(table, "b:1", "own"), "own");
  EXPECT_EQ(Chosen(table, "x", "b"), "b");
  EXPECT_EQ(Chosen(table, "b:1", "b"), "b");
  EXPECT_EQ(Chosen(table, "b:1", "elsewhere"), "b-2");
}

TEST(RouteTable, TellsWhatItIs) {
  const RouteTable table(Listener({{"c:", "b", true}, {"b:", "c"}}));
  EXPECT_THAT(table.Stats(),
              ElementsAre(Pair("0:prefix", "b:"), Pair("0:cache", "c"), Pair("0:strip", "no"),
                          Pair("1:prefix", "c:"), Pair("1:cache", "b"), Pair("1:strip", "yes"),
                          Pair("no_route", "own")));
}

// Keys and prefixes of few letters and bytes past 127, so that they meet often.
TEST(RouteTable, AgreesWithLookingAtEveryPrefix) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto word = [&random](size_t most) {
    std::string text;
    for (size_t n = random() % (most + 1); n > 0; --n) text += "ab\xc3"[random() % 3];
    return text;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<config::Route> routes;
    for (size_t n = 1 + random() % 12; n > 0; --n) {
      const std::string prefix = "a" + word(5);
      const bool known = std::any_of(routes.begin(), routes.end(), [&](const config::Route& route) {
        return route.prefix == prefix;
      });
      if (!known) routes.push_back({prefix, "c" + std::to_string(random() % 4), random() % 3 == 0});
    }
    const RouteTable table(Listener(routes));
    for (int i = 0; i < 100; ++i) {
      const std::string key = word(8);
      std::string expected = "own";
      size_t longest = 0;
      for (const config::Route& route : routes) {
        if (!absl::StartsWith(key, route.prefix) || route.prefix.size() <= longest ||
            (route.strip && key.size() == route.prefix.size())) {
          continue;
        }
        longest = route.prefix.size();
        expected = route.cache + (route.strip ? "-" + std::to_string(longest) : "");
      }
      ASSERT_EQ(Chosen(table, key), expected) << testing::PrintToString(key);
    }
  }
}

}  // namespace
}  // namespace proxy
