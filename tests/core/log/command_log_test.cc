// The command log's file: turning at its bound, reopening, counting what was lost.
#include "core/log/command_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace core {
namespace {

class CommandLogTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/core_klog_test_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    options_.file = dir_ + "/k";
    options_.sample = 1;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::unique_ptr<CommandLog> Open() {
    auto log = CommandLog::Open(options_, &clock_);
    EXPECT_TRUE(log.ok()) << log.status();
    return *std::move(log);
  }
  static std::string Read(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::string dir_;
  config::Klog options_;
  ManualClock clock_;
};

TEST_F(CommandLogTest, PutsTheTimeInFront) {
  auto log = Open();
  log->Write("\"get k\" 0 0");
  log->Flush();
  EXPECT_EQ(Read(options_.file), "2023-11-14T22:13:21.000Z \"get k\" 0 0\n");
  EXPECT_EQ(log->written(), 1u);
}

TEST_F(CommandLogTest, TurnsBetweenLinesAndKeepsOneGeneration) {
  options_.max_size = 60;  // Two lines of 27 bytes.
  {
    auto log = Open();
    for (const char* line : {"a", "b", "c", "d", "e"}) {
      log->Write(line);
      log->Flush();
    }
  }
  const std::string stamp = "2023-11-14T22:13:21.000Z ";
  EXPECT_EQ(Read(options_.file), stamp + "e\n");
  EXPECT_EQ(Read(options_.file + ".old"), absl::StrCat(stamp, "c\n", stamp, "d\n"));
}

TEST_F(CommandLogTest, GrowsOnWhenItCannotBeRenamed) {
  options_.max_size = 30;
  options_.backup = dir_ + "/no/such";
  auto log = Open();
  for (int i = 0; i < 5; ++i) {
    log->Write("x");
    log->Flush();
  }
  EXPECT_EQ(Read(options_.file).size(), 5u * 27);
  EXPECT_EQ(log->dropped(), 0u);
}

TEST_F(CommandLogTest, CountsWhatDoesNotFitTheQueue) {
  options_.queue_lines = 16;
  options_.interval = absl::Seconds(10);
  auto log = Open();
  constexpr uint64_t kLines = 100'000;
  for (uint64_t i = 0; i < kLines; ++i) log->Write("x");
  log->Flush();
  EXPECT_GT(log->dropped(), 0u);
  EXPECT_EQ(log->written() + log->dropped(), kLines);
  EXPECT_EQ(Read(options_.file).size(), log->written() * 27);
}

TEST_F(CommandLogTest, CountsWhatTheDiskDoesNotTake) {
  options_.file = "/dev/full";
  auto log = Open();
  log->Write("x");
  log->Flush();
  EXPECT_EQ(log->dropped(), 1u);
}

TEST_F(CommandLogTest, ReopensAndWritesTheRestAtItsEnd) {
  {
    auto log = Open();
    log->Write("a");
    log->Flush();
    ASSERT_EQ(rename(options_.file.c_str(), (dir_ + "/moved").c_str()), 0);
    ASSERT_TRUE(log->Reopen().ok());
    log->Write("b");
  }
  EXPECT_EQ(Read(dir_ + "/moved").back(), '\n');
  EXPECT_EQ(Read(options_.file), "2023-11-14T22:13:21.000Z b\n");
}

}  // namespace
}  // namespace core
