#include "tools/load/mix.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace tools::load {
namespace {

TEST(Mix, ReadsNamesKeysNoreplyAndWeights) {
  const auto mix = Mix::Parse("get:85,get*32:5,set,delete-noreply:0.5");
  ASSERT_TRUE(mix.ok()) << mix.status();
  ASSERT_EQ(mix->commands().size(), 4u);
  EXPECT_EQ(mix->commands()[1].keys, 32u);
  EXPECT_EQ(mix->commands()[2].weight, 1);
  EXPECT_TRUE(mix->commands()[3].noreply);
  EXPECT_EQ(mix->commands()[1].name(), "get*32");
  EXPECT_EQ(mix->commands()[3].name(), "delete-noreply");
  EXPECT_EQ(mix->keys_max(), 32u);
  EXPECT_TRUE(mix->Has(IsStore));
  EXPECT_FALSE(mix->Has(IsArithmetic));
}

TEST(Mix, KnowsEveryVerbByName) {
  for (const absl::string_view name : kVerbNames) {
    const auto mix = Mix::Parse(name);
    ASSERT_TRUE(mix.ok()) << name;
    EXPECT_EQ(mix->commands()[0].name(), name);
  }
}

TEST(Mix, PicksByWeight) {
  const Mix mix = *Mix::Parse("add:0,get:90,set:10,touch:0");
  Random random(2);
  std::map<int, int> seen;
  for (int i = 0; i < 100'000; ++i) ++seen[mix.Pick(random)];
  EXPECT_EQ(seen.size(), 2u);
  EXPECT_NEAR(seen[2], 10'000, 500);
}

TEST(Mix, RefusesWhatItCannotMean) {
  for (const char* text : {"", "got", "get:x", "get:-1", "get:0", "get:1:2", "set*2", "get*0",
                           "get*1001", "get-noreply", "cas-noreply", "ping-noreply", "get,,set", "get:nan"}) {
    EXPECT_FALSE(Mix::Parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace tools::load
