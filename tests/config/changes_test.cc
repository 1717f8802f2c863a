// What differs between two configurations, and what of it a running process takes over.
#include "config/changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/loader.h"

namespace config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

template <class Product>
Product Read(const std::string& text) {
  const absl::StatusOr<Node> root = ReadText(text, "f.toml");
  EXPECT_TRUE(root.ok()) << root.status();
  absl::StatusOr<Product> product = internal::Build<Product>(*root);
  EXPECT_TRUE(product.ok()) << product.status();
  return *std::move(product);
}

std::string TextOf(const Change& change) {
  return absl::StrCat(change.live ? "live " : "restart ", change.path, ": ", change.before, " -> ",
                      change.after);
}

// What `before` and `after` differ in, a line each, and in *next what comes of it.
template <class Product>
std::vector<std::string> Compare(const std::string& before, const std::string& after,
                                 Product* next = nullptr) {
  std::vector<Change> changes;
  Product result = Reconciled(Read<Product>(before), Read<Product>(after), &changes);
  std::vector<std::string> lines;
  for (const Change& change : changes) lines.push_back(TextOf(change));
  if (next != nullptr) *next = std::move(result);
  return lines;
}

TEST(Changes, NothingIsNothing) { EXPECT_THAT(Compare<Segcache>("", ""), IsEmpty()); }

TEST(Changes, LiveOnesAreTakenAndOthersLeft) {
  Segcache next;
  EXPECT_THAT(Compare<Segcache>("[server]\nworkers = 2\n",
                                "[server]\nworkers = 3\nidle_timeout = \"5s\"\nflush_all = false\n",
                                &next),
              ElementsAre("restart server.workers: 2 -> 3",
                          "live server.idle_timeout: \"0s\" -> \"5s\"",
                          "live server.flush_all: true -> false"));
  EXPECT_EQ(next.server.workers, 2u);
  EXPECT_EQ(next.server.idle_timeout, absl::Seconds(5));
  EXPECT_FALSE(next.server.flush_all);
}

TEST(Changes, SecretsAreNotShown) {
  EXPECT_THAT(Compare<MomentoProxy>("[momento]\napi_key = \"one\"\n[[cache]]\ncache_name = \"a\"\n",
                                    "[momento]\napi_key = \"two\"\n[[cache]]\ncache_name = \"a\"\n"),
              ElementsAre("restart momento.api_key: \"***\" -> \"***\""));
}

std::string Caches(const std::string& first, const std::string& first_deadline,
                   const std::string& second, const std::string& second_deadline) {
  return absl::StrCat("[[cache]]\nport = 0\ncache_name = \"", first, "\"\ndeadline = \"",
                      first_deadline, "\"\n[[cache]]\nport = 0\ncache_name = \"", second,
                      "\"\ndeadline = \"", second_deadline, "\"\n");
}

TEST(Changes, ListItemsAreKnownByName) {
  MomentoProxy next;
  EXPECT_THAT(Compare<MomentoProxy>(Caches("a", "1s", "b", "2s"), Caches("b", "3s", "a", "1s"),
                                    &next),
              ElementsAre("live cache[b].deadline: \"2s\" -> \"3s\""));
  EXPECT_EQ(next.caches[0].cache_name, "a");
  EXPECT_EQ(next.caches[1].deadline, absl::Seconds(3));
}

TEST(Changes, ListItemsThatComeAndGoWait) {
  MomentoProxy next;
  EXPECT_THAT(Compare<MomentoProxy>(Caches("a", "1s", "b", "2s"), Caches("c", "9s", "a", "1s"),
                                    &next),
              ElementsAre("restart cache[c] (new):  -> ", "restart cache[b] (gone):  -> "));
  EXPECT_EQ(next.caches.size(), 2u);
  EXPECT_EQ(next.caches[1].deadline, absl::Seconds(2));
}

TEST(Changes, AbsentDurationsArePrintedEmpty) {
  EXPECT_THAT(Compare<MomentoProxy>("[[cache]]\ncache_name = \"a\"\n",
                                    "[[cache]]\ncache_name = \"a\"\nread_deadline = \"50ms\"\n"),
              ElementsAre("live cache[a].read_deadline: \"\" -> \"50ms\""));
}

template <class Product>
class LiveKnobs : public testing::Test {};
using Products = testing::Types<MomentoProxy, Segcache, Pingserver, MomentoLocal>;
TYPED_TEST_SUITE(LiveKnobs, Products);

// What names a place, a size or a thread is bound at the start, whoever marks it otherwise.
TYPED_TEST(LiveKnobs, AreNoneThatAreBoundAtTheStart) {
  int live = 0;
  for (const Knob& knob : Describer::Knobs<TypeParam>()) {
    live += knob.live;
    const std::string name = knob.path.substr(knob.path.rfind('.') + 1);
    for (const char* bound : {"port", "host", "tcp", "unix_socket", "workers", "backlog", "user",
                              "pid_file", "cache_name", "heap_size", "near_size", "envelope"}) {
      EXPECT_FALSE(knob.live && name == bound) << knob.path;
    }
  }
  EXPECT_GE(live, 4);
}

}  // namespace
}  // namespace config
