#include "config/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/products.h"

namespace config {
namespace {

TEST(EditDistance, CountsSingleEdits) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("abc", ""), 3u);
  EXPECT_EQ(EditDistance("port", "port"), 0u);
  EXPECT_EQ(EditDistance("prot", "port"), 1u);  // A swap is one.
  EXPECT_EQ(EditDistance("pot", "port"), 1u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
}

TEST(Nearest, PrefersTheSameSection) {
  EXPECT_EQ(Nearest("prt", {"host", "port"}, {"admin.port"}), "port");
  EXPECT_EQ(Nearest("worker", {"workers", "backlog"}, {}), "workers");
}

TEST(Nearest, FindsTheWordElsewhere) {
  EXPECT_EQ(Nearest("port", {"workers"}, {"admin.host", "listen.port"}), "listen.port");
}

TEST(Nearest, IsSilentWhenNothingIsNear) {
  EXPECT_EQ(Nearest("zzzz", {"workers", "backlog"}, {"admin.port"}), "");
  EXPECT_EQ(Nearest("x", {"y"}, {}), "");
}

TEST(Names, CoverSectionsAndLists) {
  const std::vector<std::string> names = Names::Of<MomentoProxy>();
  EXPECT_THAT(names, testing::Contains("server.workers"));
  EXPECT_THAT(names, testing::Contains("cache[].cache_name"));
  EXPECT_THAT(names, testing::Contains("seg.heap_size"));
}

}  // namespace
}  // namespace config
