#include "config/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/listeners.h"
#include "tests/config/fill.h"

namespace config {
namespace {

using testing::HasSubstr;

std::string OneCache(const std::string& more) { return "[[cache]]\ncache_name = \"a\"\n" + more; }

TEST(Validate, WantsTwoSegments) {
  EXPECT_EQ(Complain<Segcache>("[seg]\nheap_size = \"1MB\"\nsegment_size = \"1MB\"\n"),
            "f.toml:2: seg.heap_size: 1MB is less than two segments (2MB)");
  EXPECT_EQ(Complain<Segcache>("[seg]\nheap_size = \"2MB\"\nsegment_size = \"1MB\"\n"), "OK");
  EXPECT_THAT(Complain<MomentoLocal>("[seg]\nheap_size = \"1MB\"\nsegment_size = \"1MB\"\n"),
              HasSubstr("two segments"));
  EXPECT_THAT(Complain<MomentoProxy>(OneCache("[seg]\nheap_size = \"1MB\"\nsegment_size = \"1MB\"\n")),
              HasSubstr("two segments"));
}

TEST(Validate, WantsTheHeapOrEverythingLimitedNotBoth) {
  EXPECT_EQ(Complain<Segcache>("[seg]\nmemory = \"32MB\"\n"), "OK");
  EXPECT_EQ(Complain<Segcache>("[seg]\nheap_size = \"8MB\"\nmemory = \"32MB\"\n"),
            "f.toml:3: seg.memory: 32MB for everything and seg.heap_size 8MB for items; expected at "
            "most one of them");
  EXPECT_EQ(Complain<Segcache>("[seg]\nheap_size = \"8MB\"\n", {{"seg.memory", "64MB", "-m"}}),
            "-m: seg.memory: 64MB for everything and seg.heap_size 8MB for items; expected at most "
            "one of them");
  EXPECT_THAT(Complain<MomentoLocal>("[seg]\nmemory = \"32MB\"\n"), HasSubstr("unknown key"));
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

TEST(Validate, WantsOneSourceForAKey) {
  EXPECT_EQ(Complain<MomentoProxy>("[momento]\napi_key = \"k\"\napi_key_file = \"/f\"\n" +
                                   OneCache("")),
            "f.toml:3: momento.api_key_file: momento.api_key is set too; a key has one source");
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("api_key = \"k\"\napi_key_file = \"/f\"\n")),
            "f.toml:4: cache[0].api_key_file: cache[0].api_key is set too; a key has one source");
  EXPECT_EQ(Complain<MomentoProxy>("[momento]\napi_key = \"k\"\n" +
                                   OneCache("api_key_file = \"/dev/null\"\n")),
            "OK");
}

TEST(Validate, WantsDefaultTtlWithinMaxTtl) {
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("default_ttl = \"25h\"\n")),
            "f.toml:3: cache[0].default_ttl: 25h is longer than max_ttl (24h)");
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("default_ttl = \"25h\"\nmax_ttl = \"25h\"\n")), "OK");
}

TEST(Validate, WantsANearCacheThatWorks) {
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("near_size = \"1KB\"\n")),
            "f.toml:3: cache[0].near_size: 1KB is less than 256KB; 0 switches the near cache off");
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("near_size = \"256KB\"\n")), "OK");
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("near_size = 0\n")), "OK");
  EXPECT_THAT(Complain<MomentoProxy>(OneCache("near_size = \"1024GB\"\n")),
              HasSubstr("f.toml:3: cache[0].near_size: near caches of 1TB in all are more than"));
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

// Caches "b" and "c" reached by routes of "a" alone. `route` is a third one, from line 15 on.
std::string Routed(const std::string& route, const std::string& of_a = "") {
  return "[[cache]]\ncache_name = \"b\"\ntcp = false\n[[cache]]\ncache_name = \"c\"\ntcp = false\n"
         "[[cache]]\ncache_name = \"a\"" + of_a +
         "\n[[cache.route]]\nprefix = \"b:\"\ncache = \"b\"\n"
         "[[cache.route]]\nprefix = \"c:\"\ncache = \"c\"\n"
         "[[cache.route]]\n" + route;
}

TEST(Validate, TakesRoutes) {
  EXPECT_EQ(Complain<MomentoProxy>(Routed("prefix = \"b:c:\"\ncache = \"c\"\n")), "OK");
  EXPECT_EQ(Complain<MomentoProxy>(Routed("prefix = \"\xc3\xa4\"\ncache = \"c\"\n")), "OK");
  // A cache with a port of its own may be routed to, both ways at once.
  EXPECT_EQ(Complain<MomentoProxy>(
                "[[cache]]\ncache_name = \"a\"\nroute = [ { prefix = \"b:\", cache = \"b\" } ]\n"
                "[[cache]]\ncache_name = \"b\"\nport = 1\n"
                "route = [ { prefix = \"a:\", cache = \"a\", strip = true } ]\n"),
            "OK");
}

TEST(Validate, RefusesRoutesThatCannotBe) {
  const auto complaint = [](const std::string& prefix, const std::string& cache) {
    return Complain<MomentoProxy>(
        Routed("prefix = \"" + prefix + "\"\ncache = \"" + cache + "\"\n"));
  };
  EXPECT_EQ(complaint("b:", "c"),
            "f.toml:16: cache[2].route[2].prefix: \"b:\" is already that of route[0]");
  EXPECT_EQ(complaint("x:", "bb"),
            "f.toml:17: cache[2].route[2].cache: no [[cache]] has the cache_name \"bb\"");
  EXPECT_THAT(Complain<MomentoProxy>("[[cache]]\ncache_name = \"users\"\n[[cache]]\nport = 1\n"
                                     "cache_name = \"a\"\n[[cache.route]]\nprefix = \"u:\"\n"
                                     "cache = \"user\"\n"),
              HasSubstr("cache[1].route[0].cache: no [[cache]] has the cache_name \"user\"; did you "
                        "mean \"users\"?"));
  EXPECT_THAT(complaint("x:", ""), HasSubstr("no [[cache]] has the cache_name \"\""));
  EXPECT_THAT(complaint("", "b"), HasSubstr("f.toml:16: cache[2].route[2].prefix: empty"));
  EXPECT_THAT(complaint("a b", "b"), HasSubstr("a space or a control character"));
  EXPECT_THAT(complaint("a\\tb", "b"), HasSubstr("\"a\\tb\" has a space or a control character"));
  EXPECT_THAT(complaint("a\\u007f", "b"), HasSubstr("a space or a control character"));
  EXPECT_EQ(complaint(std::string(249, 'p'), "b"), "OK");
  EXPECT_THAT(complaint(std::string(250, 'p'), "b"),
              HasSubstr("cache[2].route[2].prefix: of 250 bytes; expected 249 at most"));
  EXPECT_EQ(complaint("x:", "a"),
            "f.toml:17: cache[2].route[2].cache: \"a\" is this listener's own, which keys without a "
            "route go to anyway");
  EXPECT_THAT(Complain<MomentoProxy>(Routed("cache = \"b\"\n")), HasSubstr("prefix: empty"));
}

TEST(Validate, RefusesRoutesThatMakeTwoKeysOneItem) {
  EXPECT_EQ(Complain<MomentoProxy>(Routed("prefix = \"x:\"\ncache = \"b\"\nstrip = true\n")),
            "f.toml:17: cache[2].route[2].cache: route[0] leads to \"b\" too, and with a prefix "
            "stripped two keys would be one item");
  EXPECT_EQ(Complain<MomentoProxy>(Routed("prefix = \"x:\"\ncache = \"b\"\n")), "OK");
}

TEST(Validate, LetsTheOwnCacheHaveARouteWhereOthersAreRefused) {
  EXPECT_EQ(Complain<MomentoProxy>(
                Routed("prefix = \"x:\"\ncache = \"a\"\n", "\nno_route = \"error\"")),
            "OK");
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("no_route = \"error\"\n")),
            "f.toml:3: cache[0].no_route: error, and there is no route: every key would be refused");
}

TEST(Validate, WantsAListenerForRoutesAndARouteForWhatHasNoListener) {
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("tcp = false\n")),
            "f.toml:3: cache[0].tcp: there is no unix_socket to listen on instead");
  EXPECT_THAT(Complain<MomentoProxy>(
                  "[[cache]]\ncache_name = \"a\"\nroute = [ { prefix = \"b:\", cache = \"b\" } ]\n"
                  "[[cache]]\ncache_name = \"b\"\n"),
              HasSubstr("is already taken by cache[0].port; to be reached by routes alone it takes "
                        "tcp = false"));
  const std::string of_b = "[[cache]]\ncache_name = \"a\"\nroute = [ { prefix = \"b:\", cache = "
                           "\"b\" } ]\n[[cache]]\ncache_name = \"b\"\ntcp = false\n";
  EXPECT_EQ(Complain<MomentoProxy>(of_b), "OK");
  EXPECT_THAT(Complain<MomentoProxy>(of_b + "route = [ { prefix = \"a:\", cache = \"a\" } ]\n"),
              HasSubstr("cache[1].route: tcp is off"));
  EXPECT_THAT(Complain<MomentoProxy>(of_b + "auth_file = \"/dev/null\"\n"),
              HasSubstr("cache[1].auth_file: tcp is off"));
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

TEST(Validate, KnowsEveryAddressOfAList) {
  EXPECT_EQ(Complain<Segcache>("[listen]\nhost = \"127.0.0.1,::1\"\n"), "OK");
  EXPECT_EQ(Complain<Segcache>("[listen]\nhost = \"127.0.0.1,\"\n"),
            "f.toml:2: listen.host: expected an address to listen on, got \"\"");
  EXPECT_EQ(Complain<Segcache>("[listen]\nhost = \"::1,127.0.0.1\"\nport = 9999\n"),
            "f.toml: admin.port: 127.0.0.1:9999 is already taken by listen.port");
  EXPECT_THAT(Complain<Segcache>("[listen]\nhost = \"::1,::1\"\n"), HasSubstr("already taken"));
}

TEST(Validate, WantsSomewhereToListen) {
  EXPECT_EQ(Complain<Segcache>("[listen]\ntcp = false\n"),
            "f.toml:2: listen.tcp: there is no unix_socket to listen on instead");
  EXPECT_EQ(Complain<Pingserver>("[listen]\ntcp = false\nunix_socket = \"s\"\n"), "OK");
  // What is not listened on takes no port.
  EXPECT_EQ(Complain<Segcache>(
                "[listen]\ntcp = false\nunix_socket = \"s\"\nport = 9999\nhost = \"\"\n"),
            "OK");
}

TEST(Validate, WantsUnixSocketsThatCanBe) {
  const std::string longest(107, 'x');
  EXPECT_EQ(Complain<Segcache>("[listen]\nunix_socket = \"" + longest + "\"\n"), "OK");
  EXPECT_THAT(Complain<Segcache>("[listen]\nunix_socket = \"" + longest + "y\"\n"),
              HasSubstr("longer than the 107 bytes"));
  EXPECT_EQ(Complain<MomentoProxy>(
                OneCache("unix_socket = \"s\"\n[[cache]]\ncache_name = \"b\"\nport = 0\n"
                         "unix_socket = \"s\"\n")),
            "f.toml:7: cache[1].unix_socket: \"s\" is already taken");
  for (const char* fine : {"0", "700", "0770", "777"}) {
    EXPECT_EQ(Complain<Segcache>(std::string("[listen]\nunix_mask = \"") + fine + "\"\n"), "OK");
  }
  for (const char* bad : {"", "8", "rwx", "1777", "07777", "-1"}) {
    EXPECT_THAT(Complain<Segcache>(std::string("[listen]\nunix_mask = \"") + bad + "\"\n"),
                HasSubstr("f.toml:2: listen.unix_mask: expected permissions in octal"))
        << bad;
  }
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
            "f.toml:4: momento.ca_file: cannot read \"/nonexistent/ca.pem\": No such file or "
            "directory");
  EXPECT_EQ(Complain<MomentoProxy>(OneCache("api_key_file = \"/nonexistent/key\"\n")),
            "f.toml:3: cache[0].api_key_file: cannot read \"/nonexistent/key\": No such file or "
            "directory");
}

TEST(Validate, WantsEachCacheOnce) {
  EXPECT_THAT(Complain<MomentoProxy>("[[cache]]\ncache_name = \"a\"\nport = 0\n"
                                     "[[cache]]\nport = 0\ncache_name = \"a\"\n"),
              HasSubstr("f.toml:6: cache[1].cache_name: \"a\" is already that of cache[0]"));
}

TEST(Validate, KnowsTheFaultsThatCanBeHad) {
  EXPECT_EQ(Complain<MomentoLocal>("[local]\nfault_error = \"resource-exhausted\"\n"), "OK");
  EXPECT_THAT(Complain<MomentoLocal>("[local]\nfault_error = \"RESOURCE_EXHAUSTED\"\n"),
              HasSubstr("f.toml:2: local.fault_error: expected a gRPC status"));
}

TEST(Validate, NamesOverridesToo) {
  EXPECT_EQ(Complain<Segcache>("[seg]\nsegment_size = \"1MB\"\n", {{"seg.heap_size", "1MB", "-m"}}),
            "-m: seg.heap_size: 1MB is less than two segments (2MB)");
}

TEST(Validate, WantsBlocksOfAddressesInAllow) {
  EXPECT_EQ(Complain<Segcache>("[listen]\nallow = [\"10.0.0.0/8\", \"::1/128\"]\n"), "OK");
  EXPECT_EQ(Complain<Segcache>("[listen]\nallow = [\"10.0.0.0/8\", \"10.0.0.1/24\"]\n"),
            "f.toml:2: listen.allow: \"10.0.0.1/24\" has bits set after the prefix; did you mean "
            "\"10.0.0.0/24\"?");
  EXPECT_THAT(Complain<MomentoProxy>(OneCache("allow = [\"localhost\"]\n")),
              HasSubstr("f.toml:3: cache[0].allow: expected addresses such as"));
  EXPECT_EQ(Complain<Segcache>("", {{"listen.allow", "10.0.0.0/8,::1", "--set"}}), "OK");
  EXPECT_THAT(Complain<Segcache>("", {{"listen.allow", "10.0.0.0/8,::x", "--set"}}),
              HasSubstr("--set: listen.allow: expected addresses"));
  EXPECT_THAT(Complain<Segcache>("[listen]\ntcp = false\nunix_socket = \"/s\"\nallow = \"::1\"\n"),
              HasSubstr("f.toml:4: listen.allow: addresses are of TCP, and tcp is off"));
}

TEST(Validate, WantsKnobsOfTlsThatGoTogether) {
  const std::string certificate = "[listen]\ntls_certificate_file = \"/c\"\n";
  EXPECT_EQ(Complain<Segcache>(certificate + "tls_key_file = \"/k\"\n"), "OK");
  EXPECT_THAT(Complain<Pingserver>("[listen]\ntls_key_file = \"/k\"\n"),
              HasSubstr("f.toml:2: listen.tls_key_file: there is no tls_certificate_file here"));
  EXPECT_THAT(Complain<Segcache>(certificate + "tls_client_certificate = \"required\"\n"),
              HasSubstr("f.toml:3: listen.tls_client_certificate: required, and no"));
  EXPECT_THAT(Complain<Segcache>(certificate + "tls_client_ca_file = \"/a\"\n"),
              HasSubstr("f.toml:3: listen.tls_client_ca_file: no client is asked"));
  EXPECT_THAT(Complain<Segcache>(certificate + "tcp = false\nunix_socket = \"/s\"\n"),
              HasSubstr("f.toml:2: listen.tls_certificate_file: TLS is spoken over TCP"));
  EXPECT_THAT(Complain<MomentoProxy>("[server]\ntls_key_file = \"/k\"\n" + OneCache("")),
              HasSubstr("f.toml:2: server.tls_key_file: there is no"));
}

TEST(Listeners, HaveTheTlsOfTheServerUnlessTheirOwnOrNone) {
  const auto cache = [](const std::string& name, const std::string& more) {
    return "[[cache]]\ncache_name = \"" + name + "\"\n" + more;
  };
  const auto proxy = Fill<MomentoProxy>(
      "[server]\ntls_certificate_file = \"/s\"\n" + cache("a", "port = 1\n") +
      cache("b", "port = 2\nserver_tls = false\n") +
      cache("c", "port = 3\ntls_certificate_file = \"/c\"\n") +
      cache("d", "tcp = false\nunix_socket = \"/u\"\n"));
  ASSERT_TRUE(proxy.ok()) << proxy.status();
  const std::vector<PlacedListener> listeners = ListenersOf(*proxy);
  ASSERT_EQ(listeners.size(), 4u);
  EXPECT_EQ(listeners[0].listener.tls.certificate_file, "/s");
  EXPECT_EQ(listeners[0].tls_path, "server");
  EXPECT_EQ(listeners[1].listener.tls.certificate_file, "");
  EXPECT_EQ(listeners[2].listener.tls.certificate_file, "/c");
  EXPECT_EQ(listeners[2].tls_path, "cache[2]");
  EXPECT_EQ(listeners[3].listener.tls.certificate_file, "");
}

}  // namespace
}  // namespace config
