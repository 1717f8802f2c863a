#include "config/node.h"

#include <gtest/gtest.h>

namespace config {
namespace {

absl::Status Set(Node* root, const std::string& path, const std::string& value) {
  return Apply({path, value, "--set"}, root);
}

TEST(Apply, MakesSectionsOnTheWay) {
  Node root;
  ASSERT_TRUE(Set(&root, "server.workers", "4").ok());
  const Node* server = root.Find("server");
  ASSERT_NE(server, nullptr);
  ASSERT_NE(server->Find("workers"), nullptr);
  EXPECT_EQ(server->Find("workers")->text, "4");
  EXPECT_EQ(server->Find("workers")->place.Text(), "--set");
}

TEST(Apply, LastOneWins) {
  Node root;
  ASSERT_TRUE(Set(&root, "log.level", "info").ok());
  ASSERT_TRUE(Set(&root, "log.level", "debug").ok());
  EXPECT_EQ(root.Find("log")->children.size(), 1u);
  EXPECT_EQ(root.Find("log")->Find("level")->text, "debug");
}

TEST(Apply, TakesEitherSpellingOfAnIndex) {
  Node root;
  ASSERT_TRUE(Set(&root, "cache.0.port", "1").ok());
  ASSERT_TRUE(Set(&root, "cache[1].port", "2").ok());
  ASSERT_TRUE(Set(&root, "cache[0].host", "a").ok());
  const Node* list = root.Find("cache");
  ASSERT_EQ(list->items.size(), 2u);
  EXPECT_EQ(list->items[0].Find("host")->text, "a");
  EXPECT_EQ(list->items[1].Find("port")->text, "2");
}

TEST(Apply, TakesQuotesOff) {
  const std::pair<const char*, const char*> cases[] = {
      {"\"a b\"", "a b"}, {"'a'", "a"}, {" a ", "a"},  {"\"a", "\"a"},
      {"", ""},           {"\"", "\""}, {"a=b", "a=b"}};
  for (const auto& [typed, kept] : cases) {
    Node root;
    ASSERT_TRUE(Set(&root, "s.k", typed).ok());
    EXPECT_EQ(root.Find("s")->Find("k")->text, kept) << typed;
  }
}

TEST(Apply, RefusesPathsThatLeadNowhere) {
  Node root;
  ASSERT_TRUE(Set(&root, "cache.0.port", "1").ok());
  const std::pair<const char*, const char*> cases[] = {
      {"", "expected section.key=value"},
      {"a..b", "expected section.key=value"},
      {"a.", "expected section.key=value"},
      {"cache.2.port", "there is no item 2; the list has 1"},
      {"cache.99999999999999999999.port", "there is no item"},
      {"cache.port", "a list; say cache[0].port"},
      {"cache.0", "expected a key after the index"},
      {"cache", "a section, not a key"},
      {"cache.0.port.x", "not a section"},
  };
  for (const auto& [path, what] : cases) {
    const absl::Status status = Set(&root, path, "1");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_NE(status.message().find(what), absl::string_view::npos) << path << ": " << status;
    EXPECT_EQ(status.message().substr(0, 7), "--set: ") << status;
  }
}

TEST(Says, LooksAtKeysAndAtWholeLists) {
  Node root;
  ASSERT_TRUE(Set(&root, "listen.port", "1").ok());
  EXPECT_TRUE(Says(root, "listen.port"));
  EXPECT_FALSE(Says(root, "listen.host"));
  EXPECT_FALSE(Says(root, "cache[0].cache_name"));
  ASSERT_TRUE(Set(&root, "cache[0].port", "1").ok());
  EXPECT_TRUE(Says(root, "cache[0].cache_name"));
}

}  // namespace
}  // namespace config
