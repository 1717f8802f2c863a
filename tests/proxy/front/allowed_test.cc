#include "proxy/front/allowed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/log/memory_log.h"

namespace proxy {
namespace {

using testing::ElementsAre;

class AllowedTest : public testing::Test {
 protected:
  AllowedTest() {
    config_.caches.resize(2);
    config_.caches[0].cache_name = "users";
    config_.caches[1].cache_name = "pages";
    for (config::Cache& cache : config_.caches) {
      cache.default_ttl = absl::Hours(2);
      cache.max_ttl = absl::Hours(24);
    }
    config_.server.item_size_max = 1 << 20;
  }
  std::vector<Allowed> Of(const std::vector<momento::CheckedCache>& checked) {
    return AllowedOf(config_, checked, &log_);
  }
  std::vector<std::string> Warnings() const {
    std::vector<std::string> texts;
    for (const auto& line : log_.lines()) {
      if (line.level == core::LogLevel::kWarning) texts.push_back(line.text);
    }
    return texts;
  }

  config::MomentoProxy config_;
  core::MemoryLog log_;
};

TEST_F(AllowedTest, WhatNobodyWasAskedAboutIsAsConfigured) {
  const std::vector<Allowed> allowed = Of({});
  ASSERT_EQ(allowed.size(), 2u);
  EXPECT_EQ(allowed[0].cache.cache_name, "users");
  EXPECT_EQ(allowed[1].cache.cache_name, "pages");
  EXPECT_EQ(allowed[1].cache.max_ttl, absl::Hours(24));
  EXPECT_EQ(allowed[1].limits.item_size_max, 1u << 20);
  EXPECT_TRUE(log_.lines().empty());
}

TEST_F(AllowedTest, WishesPastTheServicesLimitsAreCutForThatCacheAlone) {
  const std::vector<Allowed> allowed =
      Of({{1, {.name = "pages", .item_bytes_max = 2048, .ttl_seconds_max = 3600}}});
  EXPECT_EQ(allowed[0].cache.max_ttl, absl::Hours(24));
  EXPECT_EQ(allowed[0].limits.item_size_max, 1u << 20);
  EXPECT_EQ(allowed[1].cache.max_ttl, absl::Hours(1));
  EXPECT_EQ(allowed[1].cache.default_ttl, absl::Hours(1));
  EXPECT_EQ(allowed[1].limits.item_size_max, 2048u);
  EXPECT_THAT(Warnings(),
              ElementsAre("cache pages: item_size_max is 1MB, the service allows 2KB: that is used",
                          "cache pages: max_ttl is 24h, the service allows 1h: that is used"));
}

TEST_F(AllowedTest, NarrowerWishesStay) {
  const std::vector<Allowed> allowed =
      Of({{0, {.name = "users", .item_bytes_max = 5 << 20, .ttl_seconds_max = 86400}}});
  EXPECT_EQ(allowed[0].cache.max_ttl, absl::Hours(24));
  EXPECT_EQ(allowed[0].cache.default_ttl, absl::Hours(2));
  EXPECT_EQ(allowed[0].limits.item_size_max, 1u << 20);
  EXPECT_TRUE(Warnings().empty());
}

TEST_F(AllowedTest, AServiceThatSaysNothingAllowsAnything) {
  const std::vector<Allowed> allowed = Of({{0, {.name = "users"}}});
  EXPECT_EQ(allowed[0].cache.max_ttl, absl::Hours(24));
  EXPECT_EQ(allowed[0].limits.item_size_max, 1u << 20);
  ASSERT_EQ(log_.lines().size(), 1u);
  EXPECT_EQ(log_.lines()[0].text,
            "cache users: Momento allows a TTL of any length and items of any size");
}

}  // namespace
}  // namespace proxy
