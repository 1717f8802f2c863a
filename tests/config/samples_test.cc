// The samples under config/samples/ are what people copy, so they are held to three things: they
// load, every knob is in them, and what they say is the default.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/config/fill.h"

namespace config {
namespace {

// Tests run in the root of the tree.
std::string Sample(absl::string_view name) {
  return absl::StrCat("config/samples/", name, ".toml");
}

// A list within a list has no default that could stand there: it is shown as a comment.
bool IsShownAsComment(const std::string& text, absl::string_view section, absl::string_view name) {
  const size_t header = text.find(
      absl::StrCat("\n# [[", absl::StrReplaceAll(section, {{"[]", ""}}), "]]\n"));
  return header != std::string::npos &&
         text.find(absl::StrCat("\n# ", name, " = "), header) != std::string::npos;
}

bool HasKnob(const Node& root, const std::string& text, absl::string_view path) {
  const size_t dot = path.rfind('.');
  absl::string_view section = path.substr(0, dot);
  if (absl::StrContains(section, '.')) {
    return IsShownAsComment(text, section, path.substr(dot + 1));
  }
  const bool list = section.substr(section.size() - 2) == "[]";
  const Node* node = root.Find(list ? section.substr(0, section.size() - 2) : section);
  if (node != nullptr && list) node = node->items.empty() ? nullptr : &node->items[0];
  return node != nullptr && node->Find(path.substr(dot + 1)) != nullptr;
}

template <class Product>
class Samples : public testing::Test {};
using Products = testing::Types<MomentoProxy, Segcache, Pingserver, MomentoLocal>;
TYPED_TEST_SUITE(Samples, Products);

TYPED_TEST(Samples, SayTheDefaults) {
  const auto loaded =
      Load<TypeParam>({.file = Sample(TypeParam::kName), .defaults = {}, .overrides = {}});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(loaded->warnings.empty());
  TypeParam defaults;
  if constexpr (std::is_same_v<TypeParam, MomentoProxy>) {
    defaults.caches.emplace_back();
    defaults.caches[0].cache_name = "my-cache";
  }
  EXPECT_EQ(Print(loaded->config), Print(defaults));
}

TYPED_TEST(Samples, ShowEveryKnob) {
  const auto root = ReadFile(Sample(TypeParam::kName));
  ASSERT_TRUE(root.ok()) << root.status();
  std::ifstream in(Sample(TypeParam::kName));
  const std::string text(std::istreambuf_iterator<char>(in), {});
  for (const Knob& knob : Describer::Knobs<TypeParam>()) {
    EXPECT_TRUE(HasKnob(*root, text, knob.path)) << knob.path;
  }
}

TEST(PredecessorSample, LoadsWithItsMeaning) {
  const auto loaded =
      Load<MomentoProxy>({.file = Sample("predecessor"), .defaults = {}, .overrides = {}});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const MomentoProxy& proxy = loaded->config;
  ASSERT_EQ(proxy.caches.size(), 2u);
  EXPECT_EQ(proxy.server.workers, 2u);
  EXPECT_EQ(proxy.caches[0].connections, 8u);
  EXPECT_EQ(proxy.caches[0].envelope, Cache::Envelope::kFlags4);
  EXPECT_EQ(proxy.caches[1].envelope, Cache::Envelope::kRaw);
  EXPECT_EQ(proxy.caches[1].default_ttl, absl::Minutes(1));
  EXPECT_EQ(proxy.log.level, Log::Level::kWarning);
  EXPECT_EQ(proxy.log.queue_lines, 1024u);
  EXPECT_EQ(proxy.log.max_size, 16 * kMB);
  EXPECT_EQ(proxy.klog.sample, 100u);
  EXPECT_EQ(proxy.klog.max_size, 64 * kMB);
  EXPECT_EQ(proxy.klog.interval, absl::Milliseconds(50));
  EXPECT_EQ(proxy.caches[0].near_size, 0u);
  EXPECT_EQ(proxy.caches[1].near_size, kMB);
  EXPECT_EQ(proxy.caches[1].near_staleness, absl::Seconds(5));
  EXPECT_EQ(loaded->warnings.size(), 1u);  // The style.
}

}  // namespace
}  // namespace config
