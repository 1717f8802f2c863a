// Synthetic traces: the same seed makes the same bytes, and the numbers asked for come out.
#include "tools/trace/workload.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tools/trace/parse.h"
#include "tools/zipf.h"

namespace trace {
namespace {

std::string Bytes(Workload workload, uint64_t requests) {
  workload.requests = requests;
  Generator generator(workload);
  std::string bytes;
  while (generator.Next(&bytes)) {
  }
  return bytes;
}

struct Line {
  Request request;
  std::string key;
};
std::vector<Line> Lines(const Workload& workload) {
  Generator generator(workload);
  Parser parser;
  std::vector<Line> lines;
  for (std::string text; generator.Next(&text); text.clear()) {
    text.pop_back();
    Line& line = lines.emplace_back();
    EXPECT_TRUE(parser.Parse(text, &line.request)) << text;
    line.key = std::string(line.request.key);
    line.request.key = {};
  }
  return lines;
}

TEST(ZipfTest, FrequenciesFollowThePowerLaw) {
  for (const double alpha : {0.0, 0.6, 1.0, 1.3}) {
    constexpr uint64_t kKeys = 1000;
    constexpr int kDraws = 200'000;
    double sum = 0;
    for (uint64_t k = 1; k <= kKeys; ++k) sum += std::pow(static_cast<double>(k), -alpha);
    const tools::Zipf zipf(kKeys, alpha);
    std::vector<int> drawn(kKeys + 1);
    uint64_t state = 12345;
    const auto uniform = [&] {
      state = state * 6364136223846793005 + 1442695040888963407;
      return static_cast<double>(state >> 11) * 0x1p-53;
    };
    for (int i = 0; i < kDraws; ++i) {
      const uint64_t k = zipf.Draw(uniform);
      ASSERT_GE(k, 1u);
      ASSERT_LE(k, kKeys);
      ++drawn[k];
    }
    for (const uint64_t k : {1, 2, 3, 10, 100, 1000}) {
      const double expected = kDraws * std::pow(static_cast<double>(k), -alpha) / sum;
      // Five standard deviations of a Poisson count.
      EXPECT_NEAR(drawn[k], expected, 5 * std::sqrt(expected) + 5) << alpha << " " << k;
    }
  }
}

TEST(WorkloadTest, TheSameSeedMakesTheSameBytes) {
  ASSERT_FALSE(Presets().empty());
  for (Workload preset : Presets()) {
    const std::string once = Bytes(preset, 5000);
    EXPECT_EQ(once, Bytes(preset, 5000)) << preset.name;
    ++preset.seed;
    EXPECT_NE(once, Bytes(preset, 5000)) << preset.name;
  }
}

TEST(WorkloadTest, SharesSizesAndTimesComeOutAsAsked) {
  Workload workload = *FindPreset("plain");
  workload.requests = 50'000;
  workload.seconds = 1000;
  workload.tenants[0] = {.keys = 20'000, .zipf_alpha = 0.2, .key_bytes = 40, .value_bytes = 300,
                         .ttls = {{0.25, 60}, {0.75, 3600}}, .set_share = 0.2,
                         .delete_share = 0.1};
  double value_bytes = 0, key_bytes = 0, sets = 0, deletes = 0, minutes = 0;
  int64_t second = 0;
  std::map<std::string, int64_t> size_of;
  for (const Line& line : Lines(workload)) {
    value_bytes += static_cast<double>(line.request.value_bytes);
    key_bytes += line.request.key_bytes;
    sets += line.request.op == Op::kSet;
    deletes += line.request.op == Op::kDelete;
    minutes += line.request.ttl_sec == 60;
    EXPECT_GE(line.request.second, second);
    second = line.request.second;
    const auto [at, is_new] = size_of.try_emplace(line.key, line.request.value_bytes);
    EXPECT_EQ(at->second, line.request.value_bytes) << "a key has one size";
  }
  const auto n = static_cast<double>(workload.requests);
  EXPECT_NEAR(value_bytes / n, 300, 12);
  EXPECT_NEAR(key_bytes / n, 40, 0.5);
  EXPECT_NEAR(sets / n, 0.2, 0.01);
  EXPECT_NEAR(deletes / n, 0.1, 0.01);
  EXPECT_NEAR(minutes / n, 0.25, 0.02);
  EXPECT_EQ(second, 999);
}

TEST(WorkloadTest, RenewedKeysAreOthers) {
  Workload workload = *FindPreset("plain");
  workload.requests = 100'000;
  workload.seconds = 7200;
  workload.tenants[0] = {.keys = 1000, .zipf_alpha = 0};
  const auto keys = [&](double renewed_per_hour) {
    workload.tenants[0].renewed_per_hour = renewed_per_hour;
    std::set<std::string> seen;
    for (const Line& line : Lines(workload)) seen.insert(line.key);
    return static_cast<double>(seen.size());
  };
  EXPECT_EQ(keys(0), 1000);
  // Half of them an hour, for two hours; a few are renewed again before they are asked for.
  EXPECT_NEAR(keys(0.5), 2000, 50);
}

TEST(WorkloadTest, AScanAsksForEveryKeyInTurn) {
  Workload workload = *FindPreset("plain");
  workload.requests = 100;
  workload.tenants[0] = {.keys = 40, .scans = true};
  const std::vector<Line> lines = Lines(workload);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].key, "a" + std::to_string(i % 40));
  }
}

}  // namespace
}  // namespace trace
