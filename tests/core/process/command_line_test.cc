#include "core/process/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace core {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

template <class Product>
Invocation<Product> Invoke(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "/usr/bin/program");
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  argv.push_back(nullptr);
  return ParseCommandLine<Product>(static_cast<int>(arguments.size()), argv.data());
}

Invocation<config::Segcache> Segcache(std::vector<std::string> arguments) {
  return Invoke<config::Segcache>(std::move(arguments));
}
Invocation<config::MomentoProxy> Proxy(std::vector<std::string> arguments) {
  return Invoke<config::MomentoProxy>(std::move(arguments));
}

class CommandLine : public testing::Test {
 protected:
  CommandLine() : file_(testing::TempDir() + "/cli_" + std::to_string(::getpid()) + ".toml") {}
  ~CommandLine() override { ::unlink(file_.c_str()); }
  void Write(const std::string& text) { std::ofstream(file_) << text; }

  const std::string file_;
};

// --- where the configuration comes from

TEST_F(CommandLine, SegcacheAloneStandsInForMemcached) {
  const auto run = Segcache({});
  EXPECT_EQ(run.action, Action::kServe);
  EXPECT_EQ(run.config.listen.port, 11211);
  EXPECT_EQ(run.source, "defaults");
  EXPECT_THAT(run.warnings, IsEmpty());
}

TEST_F(CommandLine, SegcacheWithAFileKeepsPelikansPort) {
  Write("[server]\nworkers = 2\n");
  const auto run = Segcache({"--config", file_});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_EQ(run.config.listen.port, 12321);
  EXPECT_EQ(run.config.server.workers, 2u);
  EXPECT_EQ(run.source, file_);
}

TEST_F(CommandLine, FileMayBePositional) {
  Write("[server]\nworkers = 2\n");
  EXPECT_EQ(Segcache({file_}).config.server.workers, 2u);
  EXPECT_EQ(Segcache({"-t", "3", file_, "-v"}).config.server.workers, 3u);
}

TEST_F(CommandLine, SetDoesNotSwallowTheFile) {
  Write("[server]\nbacklog = 7\n");
  const auto run = Segcache({"--set", "server.workers=2", file_});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_EQ(run.config.server.workers, 2u);
  EXPECT_EQ(run.config.server.backlog, 7u);
}

TEST_F(CommandLine, SwitchOverSetOverFileOverDefault) {
  Write("[server]\nworkers = 2\nconnections_max = 22\nbacklog = 222\n");
  const auto run = Segcache({"-t", "4", "--set", "server.workers=3", "--config", file_, "--set",
                             "server.connections_max=33"});
  EXPECT_EQ(run.config.server.workers, 4u);
  EXPECT_EQ(run.config.server.connections_max, 33u);
  EXPECT_EQ(run.config.server.backlog, 222u);
  EXPECT_EQ(run.config.server.output_max, config::Server{}.output_max);
}

TEST_F(CommandLine, ProxyWantsAFileOrLocal) {
  const auto run = Proxy({});
  EXPECT_EQ(run.action, Action::kExit);
  EXPECT_EQ(run.exit_code, 64);
  EXPECT_THAT(run.err, HasSubstr("--config FILE"));
  EXPECT_THAT(run.err, HasSubstr("--local"));
  EXPECT_EQ(Proxy({"-p", "0"}).exit_code, 64);
}

TEST_F(CommandLine, ProxyMayBeConfiguredBySetAlone) {
  const auto run = Proxy({"--set", "cache[0].cache_name=c", "-p", "0"});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_FALSE(run.local);
  ASSERT_EQ(run.config.caches.size(), 1u);
  EXPECT_EQ(run.config.caches[0].cache_name, "c");
  EXPECT_EQ(run.config.caches[0].port, 0);
}

TEST_F(CommandLine, LocalMakesOneCache) {
  const auto run = Proxy({"--local"});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_TRUE(run.local);
  ASSERT_EQ(run.config.caches.size(), 1u);
  EXPECT_EQ(run.config.caches[0].cache_name, "default-cache");
  EXPECT_EQ(run.config.caches[0].port, 11211);
  EXPECT_TRUE(run.config.caches[0].flush_all);
  EXPECT_EQ(run.source, "--local");
}

TEST_F(CommandLine, LocalKeepsTheFilesCaches) {
  Write("[[cache]]\ncache_name = \"a\"\n[[cache]]\ncache_name = \"b\"\nport = 11212\n");
  const auto run = Proxy({"--local", file_, "-p", "0"});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_TRUE(run.local);
  ASSERT_EQ(run.config.caches.size(), 2u);
  EXPECT_EQ(run.config.caches[0].cache_name, "a");
  EXPECT_EQ(run.config.caches[0].port, 0);
  EXPECT_EQ(run.config.caches[1].port, 11212);
  EXPECT_FALSE(run.config.caches[1].flush_all);
}

TEST_F(CommandLine, LocalHelpsAFileWithoutCaches) {
  Write("[server]\nworkers = 1\n");
  EXPECT_EQ(Proxy({file_}).exit_code, 78);
  EXPECT_EQ(Proxy({"--local", file_}).config.caches.size(), 1u);
}

TEST_F(CommandLine, LocalIsTheProxysAlone) {
  EXPECT_EQ(Segcache({"--local"}).exit_code, 64);
  EXPECT_EQ(Invoke<config::MomentoLocal>({"--local"}).exit_code, 64);
}

// --- memcached's letters

TEST_F(CommandLine, LettersTurnKnobs) {
  const auto run =
      Segcache({"-p", "0", "-l", "0.0.0.0", "-t", "3", "-c", "55", "-m", "128", "-v", "-U", "0"});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_EQ(run.config.listen.port, 0);
  EXPECT_EQ(run.config.listen.host, "0.0.0.0");
  EXPECT_EQ(run.config.server.workers, 3u);
  EXPECT_EQ(run.config.server.connections_max, 55u);
  EXPECT_EQ(run.config.seg.memory, 128 * config::kMB);
  EXPECT_EQ(run.config.log.level, config::Log::Level::kDebug);
}

TEST_F(CommandLine, LettersMayStandTogether) {
  EXPECT_EQ(Segcache({"-p22"}).config.listen.port, 22);
  EXPECT_EQ(Segcache({"-vv"}).config.log.level, config::Log::Level::kTrace);
  EXPECT_EQ(Segcache({"-v", "-v"}).config.log.level, config::Log::Level::kTrace);
}

TEST_F(CommandLine, PingserverAndMomentoLocalHaveThemToo) {
  const auto ping = Invoke<config::Pingserver>({"-p", "1", "-l", "::1", "-t", "2", "-c", "3"});
  EXPECT_EQ(ping.action, Action::kServe) << ping.err;
  EXPECT_EQ(ping.config.listen.port, 1);
  EXPECT_EQ(ping.config.listen.host, "::1");
  EXPECT_EQ(ping.config.server.workers, 2u);

  const auto local = Invoke<config::MomentoLocal>({"-p", "1", "-l", "::1", "-m", "32"});
  EXPECT_EQ(local.action, Action::kServe) << local.err;
  EXPECT_EQ(local.config.local.port, 1);
  EXPECT_EQ(local.config.local.host, "::1");
  EXPECT_EQ(local.config.seg.heap_size, 32 * config::kMB);
}

TEST_F(CommandLine, LettersWithoutAKnobAreNoted) {
  const auto run = Invoke<config::MomentoLocal>({"-t", "4", "-c", "5"});
  EXPECT_EQ(run.action, Action::kServe);
  EXPECT_THAT(run.warnings, Contains(StartsWith("-t: ignored")));
  EXPECT_THAT(run.warnings, Contains(StartsWith("-c: ignored")));
}

// What Debian's memcached.conf and unit make of it, but for -d.
TEST_F(CommandLine, DebiansMemcachedFlagsAreTaken) {
  const auto run = Segcache({"-v", "-m", "64", "-p", "11211", "-u", "memcache", "-l", "127.0.0.1",
                             "-l", "::1", "-P", "/run/m.pid", "-c", "1024"});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_THAT(run.warnings, IsEmpty());
  EXPECT_EQ(run.config.listen.host, "127.0.0.1,::1");
  EXPECT_EQ(run.config.server.user, "memcache");
  EXPECT_EQ(run.config.server.pid_file, "/run/m.pid");
}

TEST_F(CommandLine, LongNamesAreTakenToo) {
  const auto run = Segcache({"--port=5", "--listen=::1", "--memory-limit=8", "--conn-limit", "9",
                             "--threads=2", "--max-item-size=2m", "--listen-backlog=7",
                             "--disable-evictions", "--disable-flush-all", "--disable-watch",
                             "--verbose"});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_EQ(run.config.listen.port, 5);
  EXPECT_EQ(run.config.seg.memory, 8 * config::kMB);
  EXPECT_EQ(run.config.server.connections_max, 9u);
  EXPECT_EQ(run.config.server.item_size_max, 2 * config::kMB);
  EXPECT_EQ(run.config.server.backlog, 7u);
  EXPECT_EQ(run.config.seg.eviction, config::Seg::Eviction::kNone);
  EXPECT_FALSE(run.config.server.flush_all);
  EXPECT_FALSE(run.config.server.watch);
  EXPECT_FALSE(Proxy({"--local", "-W"}).config.server.watch);
}

TEST_F(CommandLine, AUnixSocketTakesThePlaceOfTcp) {
  const auto run = Segcache({"-s", "/tmp/x", "-a", "0770", "-p", "1"});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_EQ(run.config.listen.unix_socket, "/tmp/x");
  EXPECT_EQ(run.config.listen.unix_mask, "0770");
  EXPECT_FALSE(run.config.listen.tcp);
  EXPECT_EQ(Segcache({"-s", "/tmp/x", "-a", "rwx"}).exit_code, 78);
  EXPECT_EQ(Proxy({"--local", "-s", "/tmp/x"}).config.caches[0].unix_socket, "/tmp/x");
  EXPECT_FALSE(Proxy({"--local", "-s", "/tmp/x"}).config.caches[0].tcp);
  EXPECT_EQ(Invoke<config::Pingserver>({"-s", "/tmp/x"}).config.listen.unix_socket, "/tmp/x");
  EXPECT_EQ(Invoke<config::MomentoLocal>({"-s", "/tmp/x"}).exit_code, 64);
}

TEST_F(CommandLine, MemoryFilesAndLargePagesAreTheEngines) {
  const auto run = Segcache({"-e", "/dev/shm/cache", "-L"});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  EXPECT_EQ(run.config.seg.restart_file, "/dev/shm/cache");
  EXPECT_TRUE(run.config.seg.huge_pages);
  EXPECT_TRUE(Invoke<config::MomentoLocal>({"-L"}).config.seg.huge_pages);
}

TEST_F(CommandLine, ItemSizesAreSpelledAsInMemcached) {
  EXPECT_EQ(Segcache({"-I", "512k"}).config.server.item_size_max, 512 * config::kKB);
  EXPECT_EQ(Segcache({"-I", "5M"}).config.server.item_size_max, 5 * config::kMB);
  EXPECT_EQ(Segcache({"-I", "2048"}).config.server.item_size_max, 2 * config::kKB);
  EXPECT_EQ(Segcache({"-I", "5x"}).exit_code, 78);
}

TEST_F(CommandLine, WhatHasNoPartHereIsNoted) {
  const auto run = Segcache({"-f", "1.25", "-n", "48", "-k", "-r", "-R", "20", "-C", "-D:",
                             "-A", "-X", "-B", "ascii", "-o",
                             "modern,idle_timeout=30,slab_reassign", "-o", "hashpower=20"});
  EXPECT_EQ(run.action, Action::kServe) << run.err;
  for (const char* letter : {"-f", "-n", "-k", "-r", "-R", "-C", "-D", "-A", "-X"}) {
    EXPECT_THAT(run.warnings, Contains(StartsWith(std::string(letter) + ": ignored, ")));
  }
  EXPECT_THAT(run.warnings, Contains("-o: modern,slab_reassign,hashpower=20: ignored, nothing like "
                                     "it here"));
  EXPECT_EQ(run.warnings.size(), 10u);
  EXPECT_EQ(run.config.server.idle_timeout, absl::Seconds(30));
  EXPECT_EQ(run.config.listen.port, 11211);

  const auto ping = Invoke<config::Pingserver>({"-M", "-F", "-L", "-W", "-I", "2m"});
  EXPECT_EQ(ping.action, Action::kServe) << ping.err;
  EXPECT_EQ(ping.warnings.size(), 5u);
  EXPECT_EQ(Invoke<config::Pingserver>({"-e", "/tmp/x"}).exit_code, 64);
}

TEST_F(CommandLine, AFileOfUsers) {
  EXPECT_EQ(Segcache({"-Y", "/etc/users"}).config.server.auth_file, "/etc/users");
  EXPECT_EQ(Proxy({"--local", "-Y", "/etc/users"}).config.server.auth_file, "/etc/users");
  EXPECT_EQ(Invoke<config::Pingserver>({"-Y", "/etc/users"}).exit_code, 64);
}

TEST_F(CommandLine, MemoryIsForProductsThatKeepData) {
  const auto proxy = Proxy({"--local", "-m", "64"});
  EXPECT_EQ(proxy.action, Action::kServe) << proxy.err;
  EXPECT_THAT(proxy.warnings, testing::ElementsAre("-m: ignored, nothing like it here"));
  const auto without = Proxy({"--local"});
  EXPECT_EQ(config::Print(proxy.config), config::Print(without.config));
  const auto ping = Invoke<config::Pingserver>({"--memory-limit=64"});
  EXPECT_EQ(ping.action, Action::kServe) << ping.err;
  EXPECT_THAT(ping.warnings, testing::ElementsAre("-m: ignored, nothing like it here"));
  EXPECT_EQ(Proxy({"--local", "-m", "lots"}).exit_code, 64);
}

// --- usage errors

TEST_F(CommandLine, UsageErrorsExitWith64AndAHint) {
  const std::vector<std::vector<std::string>> cases = {{"--frobnicate"}, {"-p"},
                                                       {"-p", "http"},   {"-p", "65536"},
                                                       {"-p", "-1"},     {"-t", "many"},
                                                       {"-c", "-5"},     {"--set", "x"},
                                                       {"--set", "=x"},  {"--set"},
                                                       {"a", "b"},       {"a", "--config", "b"},
                                                       {"--config", ""}, {""},
                                                       {"-U", "11211"},  {"-d"},
                                                       {"-B", "binary"},
                                                       {"-S"},           {"-Z"},
                                                       {"-m", "0"},      {"-m", "lots"},
                                                       {"-e"},           {"-p", "1", "-p", "2"}};
  for (const auto& arguments : cases) {
    const auto run = Segcache(arguments);
    const std::string shown = testing::PrintToString(arguments);
    EXPECT_EQ(run.action, Action::kExit) << shown;
    EXPECT_EQ(run.exit_code, 64) << shown << run.err;
    EXPECT_THAT(run.err, StartsWith("segcache: ")) << shown;
    EXPECT_THAT(run.err, HasSubstr("\nTry 'segcache --help'.\n")) << shown;
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 2) << run.err;
    EXPECT_EQ(run.out, "") << shown;
  }
}

TEST_F(CommandLine, RefusalsSayWhy) {
  EXPECT_THAT(Segcache({"-U", "11211"}).err, HasSubstr("UDP is not supported"));
  EXPECT_THAT(Segcache({"-d"}).err, HasSubstr("stays in the foreground"));
  EXPECT_THAT(Segcache({"-B", "binary"}).err, HasSubstr("binary protocol"));
  EXPECT_THAT(Segcache({"-S"}).err, HasSubstr("-Y FILE"));
  EXPECT_THAT(Invoke<config::MomentoLocal>({"-l", "a,b"}).err, HasSubstr("expected one address"));
}

TEST_F(CommandLine, ConfigurationErrorsAreOneLine) {
  Write("[server]\nworkerz = 2\n");
  const auto run = Segcache({file_});
  EXPECT_EQ(run.action, Action::kExit);
  EXPECT_EQ(run.exit_code, 78);
  EXPECT_EQ(run.err,
            "segcache: " + file_ + ":2: server.workerz: unknown key; did you mean \"workers\"?\n");
}

TEST_F(CommandLine, MissingFileExitsWith66) {
  const auto run = Segcache({"--config", file_});
  EXPECT_EQ(run.exit_code, 66);
  EXPECT_EQ(run.err, "segcache: " + file_ + ": No such file or directory\n");
}

TEST_F(CommandLine, ErrorsNameTheSwitch) {
  EXPECT_EQ(Segcache({"-t", "1000"}).err,
            "segcache: -t: server.workers: 1000 is out of range, expected 0 to 128\n");
  EXPECT_EQ(Segcache({"--set", "seg.segment_size=1MB", "--set", "seg.heap_size=1MB"}).err,
            "segcache: --set: seg.heap_size: 1MB is less than two segments (2MB)\n");
  EXPECT_EQ(Segcache({"--set", "seg.segment_size=1MB", "--set", "seg.heap_size=1MB"}).exit_code, 78);
}

// --- what to do

TEST_F(CommandLine, CheckSaysOk) {
  Write("[server]\nworkers = 2\n");
  const auto run = Segcache({"--check", file_});
  EXPECT_EQ(run.action, Action::kExit);
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, file_ + ": OK\n");
}

TEST_F(CommandLine, CheckShowsWarningsAndErrors) {
  Write("[klog]\nmax_keep_files = 1\n[[cache]]\ncache_name = \"a\"\n");
  const auto warned = Proxy({"--check", file_});
  EXPECT_EQ(warned.exit_code, 0);
  EXPECT_THAT(warned.err, HasSubstr("klog.max_keep_files: ignored"));
  Write("[klog]\nsampel = 1\n");
  EXPECT_EQ(Proxy({"--check", file_}).exit_code, 78);
}

TEST_F(CommandLine, PrintConfigLoadsAgain) {
  const auto printed = Proxy({"--local", "-p", "0", "--print-config"});
  EXPECT_EQ(printed.exit_code, 0);
  Write(printed.out);
  const auto again = Proxy({file_, "--print-config"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.out, printed.out);
}

TEST_F(CommandLine, PrintConfigHidesTheKey) {
  const auto run = Proxy({"--local", "--set", "momento.api_key=s3cret", "--print-config"});
  EXPECT_THAT(run.out, Not(HasSubstr("s3cret")));
  EXPECT_EQ(Proxy({"--local", "--set", "momento.api_key=s3cret"}).config.momento.api_key, "s3cret");
}

TEST_F(CommandLine, DescribeConfigNeedsNoFile) {
  const auto run = Proxy({"--describe-config"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("cache[].cache_name"));
}

TEST_F(CommandLine, DescribeMetricsIsForMain) {
  const auto run = Proxy({"--describe-metrics"});
  EXPECT_EQ(run.action, Action::kDescribeMetrics) << run.err;
  EXPECT_EQ(run.config.caches.size(), 1u);
  EXPECT_FALSE(run.local);
  EXPECT_EQ(Segcache({"--describe-metrics"}).action, Action::kDescribeMetrics);
}

TEST_F(CommandLine, VersionAndHelp) {
  EXPECT_EQ(Segcache({"--version"}).out, std::string("segcache ") + MP_VERSION + "\n");
  const auto help = Proxy({"--help"});
  EXPECT_EQ(help.action, Action::kExit);
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("data stays in this process"));
  for (const char* option : {"--config", "--set", "--check", "--print-config", "--describe-config",
                             "--describe-metrics", "--version", "-p,", "-l,", "-t,", "-c,", "-v"}) {
    EXPECT_THAT(help.out, HasSubstr(option));
  }
  EXPECT_THAT(Segcache({"--help"}).out, HasSubstr("--memory-limit MEGABYTES"));
  EXPECT_THAT(help.out, testing::ContainsRegex(
                            "--memory-limit MEGABYTES[^\n]*\n +accepted, has no effect here\n"));
}

}  // namespace
}  // namespace core
