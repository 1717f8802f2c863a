// What reaches the file, and what happens when nothing can: full queues, dead pipes, full disks.

#include "core/log/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/fd.h"
#include "core/log/memory_log.h"

namespace core {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class LogTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/core_log_test_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override {
    for (const char* file : {"log", "log.1", "fifo"}) unlink(Path(file).c_str());
    rmdir(dir_.c_str());
  }

  std::string Path(absl::string_view name) const { return absl::StrCat(dir_, "/", name); }

  std::unique_ptr<Log> OpenLog(const std::string& file, uint32_t queue_lines = 4096,
                               config::Log::Level level = config::Log::Level::kInfo) {
    config::Log options;
    options.file = file;
    options.queue_lines = queue_lines;
    options.level = level;
    auto log = Log::Open(options);
    EXPECT_TRUE(log.ok()) << log.status();
    return *std::move(log);
  }

  static std::string Read(const std::string& path) {
    std::ifstream in(path);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  static std::vector<std::string> Lines(const std::string& path) {
    return absl::StrSplit(Read(path), '\n', absl::SkipEmpty());
  }

  std::string dir_;
};

// Puts a descriptor in the place of standard error while it lives.
class StderrReplaced {
 public:
  explicit StderrReplaced(int fd) : saved_(dup(STDERR_FILENO)) {
    if (fd >= 0) {
      dup2(fd, STDERR_FILENO);
    } else {
      close(STDERR_FILENO);
    }
  }
  ~StderrReplaced() { dup2(saved_.get(), STDERR_FILENO); }

 private:
  Fd saved_;
};

TEST_F(LogTest, WritesTimeLevelAndMessageOnALine) {
  auto log = OpenLog(Path("log"));
  log->Info("listening on %s:%d", "127.0.0.1", 11211);
  log->Error("gone");
  log->Flush();
  const auto lines = Lines(Path("log"));
  ASSERT_EQ(lines.size(), 2u);
  const std::string stamp = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z ";
  EXPECT_THAT(lines[0], MatchesRegex(stamp + "info  listening on 127\\.0\\.0\\.1:11211"));
  EXPECT_THAT(lines[1], MatchesRegex(stamp + "error gone"));
}

TEST_F(LogTest, KeepsAMessageOnOneLine) {
  auto log = OpenLog(Path("log"));
  log->Write(LogLevel::kInfo, absl::string_view("a\nb\r\tc\0d\x1b[31m\xc3\xa9", 15));
  log->Flush();
  const auto lines = Lines(Path("log"));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("a\\nb\\r\tc\\x00d\\x1b[31m\xc3\xa9"));
}

TEST_F(LogTest, CutsEndlessLines) {
  auto log = OpenLog(Path("log"));
  log->Write(LogLevel::kInfo, std::string(1 << 20, 'x'));
  log->Flush();
  EXPECT_LT(Read(Path("log")).size(), 10'000u);
}

TEST_F(LogTest, LeavesOutLowerLevels) {
  auto log = OpenLog(Path("log"), 4096, config::Log::Level::kWarning);
  EXPECT_FALSE(log->enabled(LogLevel::kInfo));
  EXPECT_TRUE(log->enabled(LogLevel::kWarning));
  log->Info("quiet");
  log->Write(LogLevel::kDebug, "quiet");
  log->Warning("loud");
  log->Flush();
  ASSERT_EQ(Lines(Path("log")).size(), 1u);
  EXPECT_THAT(Read(Path("log")), HasSubstr("warn  loud"));
}

TEST_F(LogTest, AppendsAndFlushesWhenDestroyed) {
  for (int i = 0; i < 2; ++i) {
    auto log = OpenLog(Path("log"));
    for (int n = 0; n < 100; ++n) log->Info("line %d", n);
  }
  EXPECT_EQ(Lines(Path("log")).size(), 200u);
}

TEST_F(LogTest, KeepsEveryLineOfManyThreadsThatFit) {
  auto log = OpenLog(Path("log"), 65536);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&log, t] {
      for (int n = 0; n < 1000; ++n) log->Info("thread %d line %d", t, n);
    });
  }
  for (std::thread& thread : threads) thread.join();
  log->Flush();
  EXPECT_EQ(log->dropped(), 0u);
  EXPECT_EQ(Lines(Path("log")).size(), 4000u);
}

TEST_F(LogTest, ReopensAfterRotation) {
  auto log = OpenLog(Path("log"));
  log->Info("before");
  log->Flush();
  ASSERT_EQ(rename(Path("log").c_str(), Path("log.1").c_str()), 0);
  log->Info("between");
  log->Flush();
  log->Reopen();
  log->Info("after");
  log->Flush();
  EXPECT_THAT(Read(Path("log.1")), HasSubstr("between"));
  EXPECT_THAT(Read(Path("log")), HasSubstr("after"));
  EXPECT_EQ(Lines(Path("log")).size(), 1u);
}

TEST_F(LogTest, KeepsTheOldFileWhenTheNewOneCannotBeOpened) {
  auto log = OpenLog(Path("log"));
  log->Info("before");
  log->Flush();
  ASSERT_EQ(rename(Path("log").c_str(), Path("log.1").c_str()), 0);
  ASSERT_EQ(mkdir(Path("log").c_str(), 0700), 0);
  log->Reopen();
  log->Info("after");
  log->Flush();
  rmdir(Path("log").c_str());
  EXPECT_THAT(Read(Path("log.1")), HasSubstr("log.file: "));
  EXPECT_THAT(Read(Path("log.1")), HasSubstr("after"));
}

TEST_F(LogTest, SaysWhichFileCannotBeOpened) {
  config::Log options;
  options.file = Path("no/such/log");
  const auto log = Log::Open(options);
  ASSERT_FALSE(log.ok());
  EXPECT_EQ(log.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(log.status().message()), HasSubstr("log.file: " + options.file));
}

// Sum of what the "lines dropped" lines in `text` say.
uint64_t DropsReported(absl::string_view text) {
  uint64_t sum = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumeSuffix(&line, " lines dropped")) continue;
    uint64_t dropped = 0;
    EXPECT_TRUE(absl::SimpleAtoi(line.substr(line.rfind(' ') + 1), &dropped)) << line;
    sum += dropped;
  }
  return sum;
}

TEST_F(LogTest, DropsAndCountsWhenNobodyReads) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  fcntl(ends[1], F_SETPIPE_SZ, 16384);
  constexpr uint64_t kLines = 5000;
  std::unique_ptr<Log> log;
  {
    StderrReplaced replaced(ends[1]);
    log = OpenLog("", 16);
  }
  const std::string line(200, 'x');
  for (uint64_t i = 0; i < kLines; ++i)
    log->Write(LogLevel::kInfo, line);  // Returns: no one reads.
  log->Flush();
  EXPECT_GT(log->dropped(), kLines - 100);  // 16 KiB of pipe hold fewer than 80 such lines.
  EXPECT_LT(log->dropped(), kLines);

  // The reader comes back: lines flow again, and what was read says what is missing.
  char buffer[65536];
  ssize_t n = read(read_end.get(), buffer, sizeof(buffer));
  ASSERT_GT(n, 0);
  std::string text(buffer, static_cast<size_t>(n));
  const uint64_t dropped = log->dropped();
  log->Info("again");
  log->Flush();
  n = read(read_end.get(), buffer, sizeof(buffer));
  ASSERT_GT(n, 0);
  text.append(buffer, static_cast<size_t>(n));
  EXPECT_EQ(DropsReported(text), dropped);
  EXPECT_TRUE(absl::EndsWith(text, "info  again\n")) << text;
}

TEST_F(LogTest, SurvivesAReaderThatDied) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  std::unique_ptr<Log> log;
  {
    StderrReplaced replaced(ends[1]);
    log = OpenLog("");
  }
  read_end.Close();
  log->Info("into the void");  // Would raise SIGPIPE.
  log->Flush();
  EXPECT_EQ(log->dropped(), 1u);
}

TEST_F(LogTest, SurvivesAClosedStandardError) {
  std::unique_ptr<Log> log;
  {
    StderrReplaced closed(-1);
    log = OpenLog("");
  }
  log->Info("nowhere");
  log->Flush();
  EXPECT_EQ(log->dropped(), 1u);
}

TEST_F(LogTest, SurvivesAFullDisk) {
  auto log = OpenLog("/dev/full");
  for (int i = 0; i < 10; ++i) log->Info("no room");
  log->Flush();
  EXPECT_EQ(log->dropped(), 10u);
}

TEST_F(LogTest, RefusesAFifoWithoutAReaderInsteadOfWaiting) {
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  config::Log options;
  options.file = Path("fifo");
  EXPECT_FALSE(Log::Open(options).ok());
}

TEST(MemoryLog, RemembersLines) {
  MemoryLog log;
  log.Warning("%d of %d", 1, 2);
  ASSERT_EQ(log.lines().size(), 1u);
  EXPECT_EQ(log.lines()[0].text, "1 of 2");
  EXPECT_EQ(log.lines()[0].level, LogLevel::kWarning);
}

TEST(NullLog, FormatsNothing) {
  NullLog log;
  log.Error("%s", "lost");
  EXPECT_FALSE(log.enabled(LogLevel::kError));
  EXPECT_EQ(log.dropped(), 0u);
}

}  // namespace
}  // namespace core
