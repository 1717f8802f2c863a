#include "tools/load/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace tools::load {
namespace {

absl::StatusOr<CommandLine> Parse(const std::string& flags) {
  std::vector<std::string> words = absl::StrSplit(flags, ' ', absl::SkipEmpty());
  std::vector<const char*> argv = {"load_gen"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  return ParseFlags(static_cast<int>(argv.size()), argv.data());
}

TEST(Options, DefaultsAreAClosedLoopOfGets) {
  const auto line = Parse("");
  ASSERT_TRUE(line.ok()) << line.status();
  const Options& o = line->options;
  EXPECT_FALSE(o.open_loop());
  EXPECT_EQ(o.depth, 1);
  EXPECT_EQ(o.connections, 50);
  EXPECT_EQ(o.mix.commands()[0].verb, Verb::kGet);
  EXPECT_EQ(o.keys.Spell(7), "key:0000000000000007");
}

TEST(Options, OtherDialectsGetAndSet) {
  EXPECT_EQ(Parse("")->options.dialect, Dialect::kText);
  EXPECT_EQ(Parse("--dialect meta --mix get:9,set:1")->options.dialect, Dialect::kMeta);
  EXPECT_EQ(Parse("--dialect binary --mix get*32")->options.dialect, Dialect::kBinary);
  EXPECT_FALSE(Parse("--dialect resp").ok());
  for (const std::string mix : {"incr", "gets", "set-noreply"}) {
    const auto refused = Parse("--dialect meta --mix " + mix);
    EXPECT_TRUE(absl::StrContains(refused.status().message(), mix)) << refused.status();
  }
}

TEST(Options, EveryFlagArrives) {
  const auto line = Parse(
      "--host h -p 1 --pid 5 -t 2 -c 8 -d 32 -r 1000 --arrivals even --duration 2.5 --warmup 1 "
      "--timeout 3 --mix get:9,incr:1 --keys 100 --key-order zipf:0.9 --key-prefix a/ --key-bytes "
      "10 --value-bytes 10-20 --ttl 60 --flags 3 --preload --verify --seed 9 --progress --json");
  ASSERT_TRUE(line.ok()) << line.status();
  const Options& o = line->options;
  EXPECT_EQ(o.host, "h");
  EXPECT_EQ(o.port, 1);
  EXPECT_EQ(o.pid, 5);
  EXPECT_EQ(o.threads, 2);
  EXPECT_EQ(o.connections, 8);
  EXPECT_EQ(o.depth, 32);
  EXPECT_EQ(o.rate, 1000);
  EXPECT_TRUE(o.even_arrivals);
  EXPECT_EQ(o.seconds, 2.5);
  EXPECT_EQ(o.warmup_seconds, 1);
  EXPECT_EQ(o.timeout_seconds, 3);
  EXPECT_EQ(o.mix.commands().size(), 2u);
  EXPECT_EQ(o.keys.Spell(7), "a/00000007");
  EXPECT_EQ(o.counters.Spell(7), "#a/0000007");
  EXPECT_EQ(o.key_order, "zipf:0.9");
  EXPECT_EQ(o.value_bytes.max(), 20);
  EXPECT_EQ(o.ttl.min(), 60);
  EXPECT_EQ(o.flags, 3u);
  EXPECT_TRUE(o.preload && o.verify && o.progress && o.json);
  EXPECT_EQ(o.seed, 9u);
}

TEST(Options, OpenLoopHasRoomUnlessTold) {
  EXPECT_EQ(Parse("-r 10")->options.depth, 1024);
  EXPECT_EQ(Parse("-r 10 -d 4")->options.depth, 4);
}

TEST(Options, HelpIsText) {
  const auto line = Parse("--help");
  ASSERT_TRUE(line.ok());
  EXPECT_TRUE(absl::StrContains(line->help, "--key-order"));
}

TEST(Options, MistakesNameTheFlag) {
  for (const auto& [flags, name] : std::vector<std::pair<std::string, std::string>>{
           {"--mix got", "--mix"},
           {"--keys 0", "--keys"},
           {"--key-bytes 300", "--keys"},
           {"--key-bytes x", "--key-bytes"},
           {"--value-bytes 9-", "--value-bytes"},
           {"--ttl x", "--ttl"},
           {"--key-order zip", "--key-order"},
           {"-t 3 -c 2", "--threads"},
           {"--duration 1 -n 5", "--duration"},
           {"--verify --mix append --value-bytes 4", "--value-bytes"},
           {"--arrivals odd", "--arrivals"},
           {"--rate 0", "--rate"},
           {"-d 0", "--depth"},
           {"--nonsense", "nonsense"}}) {
    const auto line = Parse(flags);
    ASSERT_FALSE(line.ok()) << flags;
    EXPECT_EQ(line.status().code(), absl::StatusCode::kOutOfRange) << flags;
    EXPECT_TRUE(absl::StrContains(line.status().message(), name)) << line.status();
  }
}

}  // namespace
}  // namespace tools::load
