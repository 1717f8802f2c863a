#include "config/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "tests/config/fill.h"

namespace config {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class FileTest : public testing::Test {
 protected:
  FileTest() : file_(testing::TempDir() + "/config_" + std::to_string(::getpid()) + ".toml") {}
  ~FileTest() override { ::unlink(file_.c_str()); }
  void Write(const std::string& text) { std::ofstream(file_) << text; }

  const std::string file_;
};

TEST_F(FileTest, LoadsOverridesAndDefaults) {
  Write("[server]\nworkers = 3\nbacklog = 7\n");
  const auto loaded = Load<Segcache>(
      {.file = file_,
       .defaults = {{"server.workers", "9", ""}, {"listen.port", "11211", ""}},
       .overrides = {{"server.backlog", "8", "--set"}, {"server.backlog", "9", "-b"}}});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.server.workers, 3u);  // The file over a default.
  EXPECT_EQ(loaded->config.listen.port, 11211);  // A default where the file is silent.
  EXPECT_EQ(loaded->config.server.backlog, 9u);  // The last override over the file.
  EXPECT_EQ(loaded->config.server.output_max, Server{}.output_max);
  EXPECT_TRUE(loaded->warnings.empty());
}

TEST_F(FileTest, DefaultsOfAListYieldToTheFilesList) {
  const std::vector<Override> defaults = {{"cache[0].cache_name", "d", "--local"},
                                          {"cache[0].flush_all", "true", "--local"}};
  const auto bare = Load<MomentoProxy>({.file = "", .defaults = defaults, .overrides = {}});
  ASSERT_TRUE(bare.ok()) << bare.status();
  ASSERT_EQ(bare->config.caches.size(), 1u);
  EXPECT_EQ(bare->config.caches[0].cache_name, "d");
  EXPECT_TRUE(bare->config.caches[0].flush_all);

  Write("[[cache]]\ncache_name = \"mine\"\n");
  const auto filed = Load<MomentoProxy>({.file = file_, .defaults = defaults, .overrides = {}});
  ASSERT_TRUE(filed.ok()) << filed.status();
  ASSERT_EQ(filed->config.caches.size(), 1u);
  EXPECT_EQ(filed->config.caches[0].cache_name, "mine");
  EXPECT_FALSE(filed->config.caches[0].flush_all);
}

TEST_F(FileTest, ErrorsNameTheFileAndTheLine) {
  Write("# one\n[server]\n\nworkers = 999\n");
  const auto loaded = Load<Segcache>({.file = file_, .defaults = {}, .overrides = {}});
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(loaded.status().message(),
            file_ + ":4: server.workers: 999 is out of range, expected 0 to 128");
}

TEST_F(FileTest, MissingIsNotFound) {
  const auto loaded = Load<Segcache>({.file = file_, .defaults = {}, .overrides = {}});
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(loaded.status().message(), file_ + ": No such file or directory");
}

TEST_F(FileTest, DirectoryIsNotAFile) {
  const auto loaded = Load<Segcache>({.file = testing::TempDir(), .defaults = {}, .overrides = {}});
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kNotFound);
}

TEST_F(FileTest, TooLongIsRefused) {
  Write(std::string((1 << 20) + 1, '#'));
  const auto loaded = Load<Segcache>({.file = file_, .defaults = {}, .overrides = {}});
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("longer than 1MB"));
}

TEST_F(FileTest, EmptyIsAllDefaults) {
  Write("");
  const auto loaded = Load<Segcache>({.file = file_, .defaults = {}, .overrides = {}});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(Print(loaded->config), Print(Segcache{}));
  EXPECT_EQ(loaded->config.listen.port, 12321);
}

TEST(ReadText, NamesTheLineOfASyntaxError) {
  const std::pair<const char*, const char*> cases[] = {
      {"[server]\nworkers 4\n", "f.toml:2: not TOML: missing key-value separator `=`"},
      {"\n\nx = \n", "f.toml:3: not TOML: missing value"},
      {"x = 64MB\n", "f.toml:1: not TOML: invalid line format: expected newline, but got 'M'"},
      {"[s]\nx = 1\nx = 2\n", "f.toml:3: not TOML: value (\"x\") already exists"},
      {"[s]\nx=1\n[s]\ny=2\n", "f.toml:3: not TOML: table (\"s\") already exists"},
      {"[server\n", "f.toml:1: not TOML: "},
      {"a = \"abc\n", "f.toml:1: not TOML: "},
      {"a = [1,\n2\n", "f.toml:"},
      {"\x01\x02", "f.toml:1: not TOML: "},
  };
  for (const auto& [text, complaint] : cases) {
    const auto root = ReadText(text, kFile);
    EXPECT_EQ(root.status().code(), absl::StatusCode::kInvalidArgument) << text;
    const std::string message(root.status().message());
    EXPECT_THAT(message, StartsWith(complaint));
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(ReadText, SurvivesAnyPrefixOfAFile) {
  const std::string text = Print(MomentoProxy{}) + "[[cache]]\ncache_name = 'x'\nport = 0x10\n";
  for (size_t cut = 0; cut < text.size(); ++cut) {
    const auto root = ReadText(text.substr(0, cut), kFile);
    if (root.ok()) continue;
    EXPECT_EQ(root.status().code(), absl::StatusCode::kInvalidArgument) << cut;
  }
}

TEST(Fill, ReportsTheFirstMistakeOfTheFile) {
  EXPECT_THAT(Complain<Segcache>("[seg]\nheap_size = 1\n[server]\nworkers = true\n[x]\n"),
              StartsWith("f.toml:2: seg.heap_size: "));
  EXPECT_THAT(Complain<Segcache>("[x]\n[seg]\nheap_size = 1\n"), StartsWith("f.toml:1: x: "));
}

TEST(Fill, RefusesUnknownSections) {
  EXPECT_EQ(Complain<Segcache>("[sever]\nworkers = 1\n"),
            "f.toml:1: sever: unknown section; did you mean \"server\"?");
  EXPECT_EQ(Complain<Segcache>("[momento]\n"),
            "f.toml:1: momento: unknown section, expected one of server, listen, admin, log, klog, "
            "seg");
}

TEST(Fill, PointsAtTheSectionAKeyBelongsTo) {
  EXPECT_EQ(Complain<Segcache>("heap_size = 3\n"),
            "f.toml:1: heap_size: unknown key; did you mean \"seg.heap_size\"?");
  EXPECT_EQ(Complain<Segcache>("[seg]\nworkers = 3\n"),
            "f.toml:2: seg.workers: unknown key; did you mean \"server.workers\"?");
}

TEST(Fill, RefusesAKeyWhereASectionBelongs) {
  EXPECT_EQ(Complain<Segcache>("server = 3\n"),
            "f.toml:1: server: expected a section [server], got an integer");
  EXPECT_THAT(Complain<Segcache>("[[server]]\nworkers = 1\n"),
              HasSubstr("expected a section [server], got a list"));
  EXPECT_THAT(Complain<Segcache>("[server.workers]\nx = 1\n"),
              HasSubstr("server.workers: expected an integer, 0 to 128, got a section"));
}

TEST(Fill, RefusesOneTableWhereAListBelongs) {
  EXPECT_EQ(Complain<MomentoProxy>("[cache]\nport = 1\n"),
            "f.toml:1: cache: expected a list of sections, each headed [[cache]], got a section");
  EXPECT_THAT(Complain<MomentoProxy>("cache = [1, 2]\n"), HasSubstr("expected a section"));
  EXPECT_EQ(Complain<MomentoProxy>("", {{"cache.port", "1", "--set"}}),
            "--set: cache: a list, expected cache[0].key=value");
}

TEST(Fill, NamesTheOverrideThatIsWrong) {
  EXPECT_EQ(Complain<Segcache>("[server]\nworkers = 1\n", {{"server.workers", "many", "--set"}}),
            "--set: server.workers: expected an integer, 0 to 128, got \"many\"");
  EXPECT_EQ(Complain<Segcache>("", {{"seg.evict", "fifo", "--set"}}),
            "--set: seg.evict: unknown key, expected one of memory, heap_size, segment_size, "
            "hash_power, eviction, huge_pages, prefault, track_access, restart_file");
  EXPECT_EQ(Complain<Segcache>("", {{"seg.eviction", "fifi", "--set"}}),
            "--set: seg.eviction: \"fifi\" is not known, expected one of none, random, "
            "fifo, cte, util, merge, s3fifo; did you mean \"fifo\"?");
}

TEST(Fill, TellsTheLineOfTheRightListItem) {
  EXPECT_EQ(Complain<MomentoProxy>("[[cache]]\ncache_name = \"a\"\n\n[[cache]]\nprot = 1\n"),
            "f.toml:5: cache[1].prot: unknown key; did you mean \"port\"?");
}

TEST(Print, HidesSecrets) {
  MomentoProxy proxy;
  proxy.momento.api_key = "s3cret";
  proxy.local.token = "t0ken";
  const std::string printed = Print(proxy);
  EXPECT_EQ(printed.find("s3cret"), std::string::npos);
  EXPECT_EQ(printed.find("t0ken"), std::string::npos);
  EXPECT_THAT(printed, HasSubstr("api_key = \"***\""));
}

TEST(Complaints, NeverRepeatASecret) {
  for (const char* value : {"[\"s3cret\"]", "{a = \"s3cret\"}"}) {
    const std::string line =
        Complain<MomentoProxy>(std::string("[momento]\napi_key = ") + value + "\n");
    EXPECT_THAT(line, HasSubstr("momento.api_key"));
    EXPECT_EQ(line.find("s3cret"), std::string::npos) << line;
  }
}

TEST(Print, EscapesText) {
  Segcache segcache;
  segcache.log.file = "a\"b\\c\n\t\x01\x7f";
  const auto again = Fill<Segcache>(Print(segcache));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->log.file, segcache.log.file);
}

}  // namespace
}  // namespace config
