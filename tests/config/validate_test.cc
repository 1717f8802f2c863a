#include "config/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/config/fill.h"

namespace config {
namespace {

using testing::HasSubstr;

std::string OneCache(const std::string& more) { return "[[cache]]\ncache_name = \"a\"\n" + more; }

TEST(Validate, WantsTwoSegments) {
  EXPECT_EQ(Complain<Segcache>("[seg]\nheap_size = \"1MB\"\n"),
            "f.toml:2: seg.heap_size: 1MB is less than two segments (2MB)");
  EXPECT_EQ(Complain<Segcache>("[seg]\nheap_size = \"2MB\"\n"), "OK");
  EXPECT_THAT(Complain<MomentoLocal>("[seg]\nheap_size = \"1MB\"\n"), HasSubstr("two segments"));
  EXPECT_THAT(Complain<MomentoProxy>(OneCache("[seg]\nheap_size = \"1MB\"\n")),
              HasSubstr("two segments"));
}

TEST(Validate, PlacesADefaultThatNoLongerFitsInItsSection) {
  EXPECT_EQ(Complain<Segcache>("\n[seg]\nsegment_size = \"8MB\"\nheap_size = \"8MB\""),
            "f.toml:4: seg.heap_size: 8MB is less than two segments (16MB)");
}

TEST(Validate, WantsACache) {
  EXPECT_EQ(Complain<MomentoProxy>("[server]\n"),
            "f.toml: cache: no [[cache]] is configured; name one, or start with --local");
  EXPECT_EQ(Complain<MomentoProxy>("cache = []\n").substr(0, 9), "f.toml:1:");
}

TEST(Validate, WantsANameForEachCache) {
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("\n[[cache]]\nport = 1\n")),
            "f.toml:4: cache[1].cache_name: required, the name of a Momento cache");
}

TEST(Validate, WantsDefaultTtlWithinMaxTtl) {
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("default_ttl = \"25h\"\n")),
            "f.toml:3: cache[0].default_ttl: 25h is longer than max_ttl (24h)");
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("default_ttl = \"25h\"\nmax_ttl = \"25h\"\n")), "OK");
}

TEST(Validate, RefusesOnePortTwice) {
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("[[cache]]\ncache_name = \"b\"\nport = 11211\n")),
            "f.toml:5: cache[1].port: 127.0.0.1:11211 is already taken by cache[0].port");
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("[[cache]]\ncache_name = \"b\"\nport = 11212\n")),
            "OK");
  EXPECT_EQ(
      Complain<MomentoProxy>(OneCache("[[cache]]\ncache_name = \"b\"\nhost = \"127.0.0.2\"\n")),
      "OK");
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("port = 0\n[[cache]]\ncache_name = \"b\"\nport = 0\n")),
            "OK");
}

TEST(Validate, KnowsThatTheWildcardTakesAll) {
  EXPECT_THAT(
      Complain<MomentoProxy>(OneCache("[[cache]]\ncache_name = \"b\"\nhost = \"0.0.0.0\"\n")),
      HasSubstr("already taken"));
}

TEST(Validate, SeesAdminPortsThatClash) {
  EXPECT_THAT(Complain<Segcache>("[admin]\nhttp_port = 9999\n"),
              HasSubstr("admin.http_port: 127.0.0.1:9999 is already taken by admin.port"));
  EXPECT_THAT(Complain<Segcache>("[listen]\nport = 9998\n"), HasSubstr("already taken"));
  EXPECT_THAT(Complain<Pingserver>("[listen]\nport = 9998\n"), HasSubstr("already taken"));
  EXPECT_THAT(Complain<MomentoLocal>("[local]\nport = 9998\n"), HasSubstr("already taken"));
  EXPECT_EQ(Complain<Segcache>("[listen]\nport = 9998\n[admin]\nhttp_enabled = false\n"), "OK");
  EXPECT_EQ(Complain<Segcache>("[listen]\nport = 9999\n[admin]\nenabled = false\n"), "OK");
}

TEST(Validate, WantsAddressesToListenOn) {
  EXPECT_EQ(Complain<Segcache>("[listen]\nhost = \"\"\n"),
            "f.toml:2: listen.host: expected an address to listen on, got \"\"");
  EXPECT_THAT(Complain<Segcache>("[listen]\nhost = \"a b\"\n"), HasSubstr("got \"a b\""));
}

TEST(Validate, WantsHostAndPortToOverrideTheEndpoint) {
  for (const char* fine : {"localhost:8080", "127.0.0.1:1", "[::1]:65535", "a.b-c:80", ""}) {
    EXPECT_EQ(Complain<MomentoProxy>(
                  OneCache(std::string("[momento]\nendpoint_override = \"") + fine + "\"\n")),
              "OK")
        << fine;
  }
  for (const char* bad : {"localhost", ":80", "a:", "a:0", "a:65536", "a:b", "::1:80", "[]:80",
                          "http://a:80", "a b:80", "[::1]"}) {
    EXPECT_THAT(Complain<MomentoProxy>(
                    OneCache(std::string("[momento]\nendpoint_override = \"") + bad + "\"\n")),
                HasSubstr("f.toml:4: momento.endpoint_override: expected host:port"))
        << bad;
  }
}

TEST(Validate, WantsTheFilesThatAreNamed) {
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("[momento]\nca_file = \"/nonexistent/ca.pem\"\n")),
            "f.toml:4: momento.ca_file: cannot read \"/nonexistent/ca.pem\"");
}

TEST(Validate, KnowsTheFaultsThatCanBeHad) {
  EXPECT_EQ(Complain<MomentoLocal>("[local]\nfault_error = \"resource-exhausted\"\n"), "OK");
  EXPECT_THAT(Complain<MomentoLocal>("[local]\nfault_error = \"RESOURCE_EXHAUSTED\"\n"),
              HasSubstr("f.toml:2: local.fault_error: expected a gRPC status"));
}

TEST(Validate, NamesOverridesToo) {
  EXPECT_EQ(Complain<Segcache>("", {{"seg.heap_size", "1MB", "-m"}}),
            "-m: seg.heap_size: 1MB is less than two segments (2MB)");
}

}  // namespace
}  // namespace config
