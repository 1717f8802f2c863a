#include "config/predecessor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/config/fill.h"

namespace config {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

// A file of Momento's own proxy through the whole way, with its warnings.
template <class Product = MomentoProxy>
absl::StatusOr<LoadResult<Product>> Read(const std::string& text) {
  LoadResult<Product> result;
  absl::StatusOr<Node> root = ReadText(text, kFile);
  if (!root.ok()) return root.status();
  absl::Status status = internal::Modernize<Product>(&*root, &result.warnings);
  if (!status.ok()) return status;
  absl::StatusOr<Product> product = internal::Build<Product>(*root);
  if (!product.ok()) return product.status();
  result.config = *std::move(product);
  return result;
}

std::string CacheWith(const std::string& lines) {
  return "[[cache]]\nhost = \"127.0.0.1\"\nport = \"11211\"\ncache_name = \"c\"\n"
         "default_ttl = 3600\n" +
         lines;
}

TEST(Predecessor, OurOwnFilesAreLeftAlone) {
  const auto read = Read("[[cache]]\ncache_name = \"c\"\nport = 11211\ndefault_ttl = 60\n");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->warnings, IsEmpty());
  EXPECT_EQ(read->config.caches[0].envelope, Cache::Envelope::kTransparent);
  EXPECT_EQ(read->config.caches[0].default_ttl, absl::Minutes(1));
}

TEST(Predecessor, AnySignOfItsStyleKeepsItsEnvelope) {
  const std::string ours = "[[cache]]\ncache_name = \"c\"\n";
  for (const std::string& text :
       {"[proxy]\nthreads = 1\n" + ours, "[debug]\n" + ours,
        "[klog]\nqueue_depth = 64\n" + ours, "[klog]\ninterval = 100\n" + ours,
        "[klog]\nsingle_message_size = 1024\n" + ours,
        "[admin]\nport = \"9999\"\n" + ours, ours + "port = \"11211\"\n",
        ours + "connection_count = 2\n", ours + "flags = true\n",
        ours + "protocol = \"memcache\"\n", ours + "memory_cache_bytes = 1\n",
        ours + "memory_cache_ttl_seconds = 1\n", ours + "buffer_size = 1\n",
        ours + "primary_endpoint = \"x\"\n"}) {
    const auto read = Read(text);
    ASSERT_TRUE(read.ok()) << read.status() << "\n" << text;
    EXPECT_EQ(read->config.caches[0].envelope, Cache::Envelope::kFlags4) << text;
    EXPECT_THAT(read->warnings, Contains(HasSubstr("read as a file of Momento's own proxy")))
        << text;
  }
}

TEST(Predecessor, TheMemoryCacheIsTheNearCache) {
  const auto cache = Read(CacheWith("memory_cache_bytes = 1000000\nmemory_cache_ttl_seconds = 7\n"));
  ASSERT_TRUE(cache.ok()) << cache.status();
  EXPECT_EQ(cache->config.caches[0].near_size, 1'000'000u);
  EXPECT_EQ(cache->config.caches[0].near_staleness, absl::Seconds(7));
  EXPECT_EQ(cache->warnings.size(), 1u);  // The style.
  const auto fitted =
      Read(CacheWith("memory_cache_bytes = 1000\nmemory_cache_ttl_seconds = 1000000\n"));
  ASSERT_TRUE(fitted.ok()) << fitted.status();
  EXPECT_EQ(fitted->config.caches[0].near_size, 256 * kKB);
  EXPECT_EQ(fitted->config.caches[0].near_staleness, absl::Hours(24));
  EXPECT_THAT(fitted->warnings,
              Contains(HasSubstr("cache[0].memory_cache_bytes: taken as 262144")));
  EXPECT_THAT(fitted->warnings,
              Contains(HasSubstr("cache[0].memory_cache_ttl_seconds: taken as 86400")));
  const auto off = Read(CacheWith("memory_cache_bytes = 0\n"));
  ASSERT_TRUE(off.ok()) << off.status();
  EXPECT_EQ(off->config.caches[0].near_size, 0u);
  const auto both = Read(CacheWith("memory_cache_bytes = 1000000\nnear_size = \"2MB\"\n"));
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ(both->config.caches[0].near_size, 2 * kMB);
  EXPECT_THAT(both->warnings, Contains(HasSubstr("ignored, near_size is set")));
  EXPECT_FALSE(Read(CacheWith("memory_cache_bytes = -1\n")).ok());
  EXPECT_FALSE(Read(CacheWith("memory_cache_ttl_seconds = 0\n")).ok());
  EXPECT_FALSE(Read(CacheWith("memory_cache_ttl_seconds = \"x\"\n")).ok());
}

TEST(Predecessor, FlagsChooseTheEnvelope) {
  EXPECT_EQ(Read(CacheWith(""))->config.caches[0].envelope, Cache::Envelope::kFlags4);
  EXPECT_EQ(Read(CacheWith("flags = true\n"))->config.caches[0].envelope, Cache::Envelope::kFlags4);
  EXPECT_EQ(Read(CacheWith("flags = false\n"))->config.caches[0].envelope, Cache::Envelope::kRaw);
}

TEST(Predecessor, AnEnvelopeThatIsNamedWins) {
  const auto read = Read(CacheWith("flags = false\nenvelope = \"transparent\"\n"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.caches[0].envelope, Cache::Envelope::kTransparent);
  EXPECT_THAT(read->warnings, Contains("f.toml:6: cache[0].flags: ignored, envelope is set"));
}

TEST(Predecessor, CountsAndThreadsKeepTheirMeaning) {
  const auto read = Read("[proxy]\nthreads = 3\n" + CacheWith("connection_count = 7\n"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.server.workers, 3u);
  EXPECT_EQ(read->config.caches[0].connections, 7u);
  EXPECT_EQ(read->config.caches[0].default_ttl, absl::Hours(1));
}

TEST(Predecessor, MistakesAreNamedAsTheFileSpellsThem) {
  EXPECT_EQ(Read("[proxy]\nthreads = 999\n" + CacheWith("")).status().message(),
            "f.toml:2: proxy.threads: 999 is out of range, expected 0 to 128");
  EXPECT_EQ(Read(CacheWith("connection_count = \"x\"\n")).status().message(),
            "f.toml:6: cache[0].connection_count: expected an integer, 1 to 1024, got the string "
            "\"x\"");
  EXPECT_EQ(Read(CacheWith("flags = 1\n")).status().message(),
            "f.toml:6: cache[0].flags: expected true or false");
  EXPECT_THAT(std::string(Read("[proxy]\nthread = 1\n" + CacheWith("")).status().message()),
              HasSubstr("f.toml:1: proxy: unknown section"));
  EXPECT_EQ(Read("[klog]\nsampel = 1\n" + CacheWith("")).status().message(),
            "f.toml:2: klog.sampel: unknown key; did you mean \"sample\"?");
  EXPECT_EQ(Read("[klog]\ninterval = -1\n" + CacheWith("")).status().message(),
            "f.toml:2: klog.interval: expected a duration such as \"200ms\", got -1");
  EXPECT_EQ(Read<Pingserver>("[klog]\nsampel = 1\n").status().message(),
            "f.toml:2: klog.sampel: unknown key");
}

TEST(Predecessor, OurOwnKlogIsNoSign) {
  const auto read = Read(
      "[klog]\nfile = \"k\"\nsample = 1\nbackup = \"b\"\nmax_size = \"1MB\"\n"
      "interval = \"1s\"\nqueue_lines = 16\n[[cache]]\ncache_name = \"c\"\n");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->warnings, IsEmpty());
  EXPECT_EQ(read->config.caches[0].envelope, Cache::Envelope::kTransparent);
  EXPECT_EQ(read->config.klog.max_size, kMB);
}

TEST(Predecessor, KlogKeepsItsMeaning) {
  const std::string klog =
      "[klog]\nfile = \"k\"\nbackup = \"k.1\"\nsample = 10\nmax_size = 4096\ninterval = 250\n"
      "queue_depth = 128\n";
  const auto proxy = Read(klog + CacheWith(""));
  ASSERT_TRUE(proxy.ok()) << proxy.status();
  const auto segcache = Read<Segcache>(klog);
  ASSERT_TRUE(segcache.ok()) << segcache.status();
  EXPECT_THAT(segcache->warnings, IsEmpty());
  EXPECT_EQ(proxy->warnings.size(), 1u);  // That the style was seen.
  for (const Klog& read : {proxy->config.klog, segcache->config.klog}) {
    EXPECT_EQ(read.file, "k");
    EXPECT_EQ(read.backup, "k.1");
    EXPECT_EQ(read.sample, 10u);
    EXPECT_EQ(read.max_size, 4096u);
    EXPECT_EQ(read.interval, absl::Milliseconds(250));
    EXPECT_EQ(read.queue_lines, 128u);
  }
}

TEST(Predecessor, KlogDefaultsAreThoseItHad) {
  const auto read = Read("[klog]\nfile = \"k\"\n" + CacheWith(""));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.klog.sample, 100u);
  EXPECT_EQ(read->config.klog.max_size, kGB);
  EXPECT_TRUE(read->config.klog.enabled());
  EXPECT_FALSE(Read("[klog]\nfile = \"k\"\nsample = 0\n" + CacheWith(""))->config.klog.enabled());
}

TEST(Predecessor, QueueDepthsAreBroughtIntoRange) {
  const auto read = Read("[klog]\nqueue_depth = 1\n[debug]\nlog_queue_depth = 9999999\n" +
                         CacheWith(""));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.klog.queue_lines, 16u);
  EXPECT_EQ(read->config.log.queue_lines, 1u << 20);
  EXPECT_THAT(read->warnings, Contains("f.toml:2: klog.queue_depth: taken as 16"));
}

TEST(Predecessor, PingserverHasNoCommandLog) {
  const auto read = Read<Pingserver>("[klog]\nfile = \"k\"\nsample = 1\n");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->warnings.size(), 2u);
}

TEST(Predecessor, DebugBecomesLog) {
  const auto read =
      Read("[debug]\nlog_level = \"warn\"\nlog_file = \"x.log\"\nlog_queue_depth = 128\n" +
           CacheWith(""));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.log.level, Log::Level::kWarning);
  EXPECT_EQ(read->config.log.file, "x.log");
  EXPECT_EQ(read->config.log.queue_lines, 128u);
  EXPECT_EQ(read->config.log.max_size, kGB);  // It rotated without being told to.
}

TEST(Predecessor, DebugRotatesAsItDid) {
  const auto read = Read(
      "[debug]\nlog_file = \"x.log\"\nlog_max_size = 4096\nlog_backup = \"x.1\"\n" +
      CacheWith(""));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.log.max_size, 4096u);
  EXPECT_EQ(read->config.log.backup, "x.1");
  EXPECT_EQ(read->warnings.size(), 1u);  // That the style was seen.
  EXPECT_EQ(Read("[debug]\nlog_level = \"info\"\n" + CacheWith(""))->config.log.max_size, 0u);
}

TEST(Predecessor, RespIsRefused) {
  const auto read = Read(CacheWith("protocol = \"resp\"\n"));
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(read.status().message(),
            "f.toml:6: cache[0].protocol: \"resp\" is not supported, expected \"memcache\"");
}

TEST(Predecessor, NothingIsIgnoredInSilence) {
  const auto read = Read(
      "[admin]\nport = \"9999\"\nnevent = 1024\n[debug]\nlog_single_message_size = 1\n"
      "log_max_keep_files = 3\n[klog]\nsingle_message_size = 1\nmax_keep_files = 3\n" +
      CacheWith("memory_cache_bytes = 1\nbuffer_size = 2\n"));
  ASSERT_TRUE(read.ok()) << read.status();
  for (const char* key :
       {":3: admin.nevent", ":5: debug.log_single_message_size", ":6: debug.log_max_keep_files",
        ":8: klog.single_message_size", ":9: klog.max_keep_files", "cache[0].memory_cache_bytes", "cache[0].buffer_size"}) {
    EXPECT_THAT(read->warnings, Contains(HasSubstr(key)));
  }
}

TEST(Predecessor, ALongDefaultTtlLiftsTheMaximum) {
  const auto read = Read("[[cache]]\nport = \"1\"\ncache_name = \"c\"\ndefault_ttl = 604800\n");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.caches[0].default_ttl, absl::Hours(168));
  EXPECT_EQ(read->config.caches[0].max_ttl, absl::Hours(168));
  EXPECT_THAT(read->warnings, Contains(HasSubstr("max_ttl is raised")));
}

TEST(Predecessor, SegcacheFilesOfPelikanAreRead) {
  const auto read = Read<Segcache>(
      "[server]\nhost = \"0.0.0.0\"\nport = \"12321\"\ntimeout = 100\n[worker]\nthreads = 4\n"
      "timeout = 100\nnevent = 1024\n[debug]\nlog_level = \"debug\"\n");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->config.listen.host, "0.0.0.0");
  EXPECT_EQ(read->config.listen.port, 12321);
  EXPECT_EQ(read->config.server.workers, 4u);
  EXPECT_EQ(read->config.log.level, Log::Level::kDebug);
  EXPECT_THAT(read->warnings, Contains(HasSubstr("f.toml:4: server.timeout")));
}

}  // namespace
}  // namespace config
