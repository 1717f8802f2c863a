#include "proxy/momento/credentials.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace proxy::momento {
namespace {

constexpr char kEndpoint[] = "cell-4-us-west-2-1.prod.a.momentohq.com";

std::string Jwt(absl::string_view claims) {
  return absl::StrCat(absl::WebSafeBase64Escape("{\"alg\":\"none\"}"), ".",
                      absl::WebSafeBase64Escape(claims), ".c2lnbmF0dXJl");
}
const std::string kInner = Jwt("{\"sub\":\"test\",\"ver\":1}");
const std::string kV2 = Jwt("{\"t\":\"g\",\"jti\":\"some-id\"}");
const std::string kLegacy = Jwt("{\"cp\":\"control.x.com\",\"c\":\"cache.x.com\"}");

std::string V1(absl::string_view endpoint, absl::string_view key) {
  return absl::Base64Escape(
      absl::StrCat("{\"endpoint\":\"", endpoint, "\",\"api_key\":\"", key, "\"}"));
}

absl::StatusOr<Credentials> Resolve(const config::Momento& options,
                                    std::map<std::string, std::string> environment = {}) {
  return ResolveCredentials(options, [&](const char* name) { return environment[name]; });
}

TEST(Credentials, V1CarriesItsEndpointAndSendsTheInnerKey) {
  const auto c = Resolve({}, {{"MOMENTO_API_KEY", V1(kEndpoint, kInner)}});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->authorization, kInner);
  EXPECT_EQ(c->cache_host, absl::StrCat("cache.", kEndpoint));
  EXPECT_EQ(c->control_host, absl::StrCat("control.", kEndpoint));
  EXPECT_EQ(c->cache_port, 443);
  EXPECT_EQ(c->control_port, 443);
  EXPECT_TRUE(c->tls);
}

TEST(Credentials, V1KeepsItsOwnEndpointOverTheEnvironment) {
  const auto c = Resolve({}, {{"MOMENTO_API_KEY", V1(kEndpoint, kInner)},
                              {"MOMENTO_ENDPOINT", "other.com"}});
  ASSERT_TRUE(c.ok());
  EXPECT_EQ(c->cache_host, absl::StrCat("cache.", kEndpoint));
}

TEST(Credentials, V2TakesTheEndpointFromTheEnvironment) {
  const auto c =
      Resolve({}, {{"MOMENTO_API_KEY", kV2}, {"MOMENTO_ENDPOINT", kEndpoint}});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->authorization, kV2);
  EXPECT_EQ(c->cache_host, absl::StrCat("cache.", kEndpoint));
}

TEST(Credentials, ConfigurationWinsOverTheEnvironment) {
  config::Momento options;
  options.api_key = kV2;
  options.endpoint = "mine.com";
  const auto c =
      Resolve(options, {{"MOMENTO_API_KEY", kLegacy}, {"MOMENTO_ENDPOINT", "theirs.com"}});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->authorization, kV2);
  EXPECT_EQ(c->cache_host, "cache.mine.com");
}

TEST(Credentials, LegacyNamesBothHosts) {
  const auto c = Resolve({}, {{"MOMENTO_API_KEY", kLegacy}});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->authorization, kLegacy);
  EXPECT_EQ(c->cache_host, "cache.x.com");
  EXPECT_EQ(c->control_host, "control.x.com");
}

TEST(Credentials, BlanksAroundAPastedKeyAreIgnored) {
  const auto c = Resolve({}, {{"MOMENTO_API_KEY", absl::StrCat(" ", kLegacy, "\n")}});
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->authorization, kLegacy);
}

TEST(Credentials, MissingKeySaysWhatToSet) {
  const absl::Status status = Resolve({}).status();
  EXPECT_FALSE(status.ok());
  for (const char* name : {"MOMENTO_API_KEY", "MOMENTO_ENDPOINT", "momento.api_key",
                           "momento.endpoint", "momento.endpoint_override"}) {
    EXPECT_TRUE(absl::StrContains(status.message(), name)) << name;
  }
}

TEST(Credentials, V2WithoutEndpointSaysWhatToSet) {
  const absl::Status status = Resolve({}, {{"MOMENTO_API_KEY", kV2}}).status();
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(absl::StrContains(status.message(), "MOMENTO_ENDPOINT"));
  EXPECT_TRUE(absl::StrContains(status.message(), "momento.endpoint"));
}

TEST(Credentials, MalformedKeysAreRefusedAndNeverShown) {
  const std::string keys[] = {
      "not!base64",
      "SECRETSECRET",
      "SECRET.SECRET",
      "SECRET.SECRET.SECRET.SECRET",
      Jwt("SECRET"),
      Jwt("{\"t\":\"SECRET\"}"),
      Jwt("{\"c\":\"SECRET.com\"}"),
      Jwt("{\"c\":1,\"cp\":2}"),
      Jwt("{\"c\":\"a b\",\"cp\":\"SECRET\"}"),
      Jwt("[\"SECRET\"]"),
      absl::Base64Escape("SECRET"),
      absl::Base64Escape("{\"endpoint\":\"SECRET.com\"}"),
      absl::Base64Escape("{\"api_key\":\"SECRET\"}"),
      V1("SECRET.com", ""),
      V1("SECRET.com", "SEC RET"),
      V1("SECRET.com", "SEC\\r\\nRET"),
  };
  for (const std::string& key : keys) {
    const absl::Status status = Resolve({}, {{"MOMENTO_API_KEY", key}}).status();
    EXPECT_FALSE(status.ok()) << key;
    EXPECT_FALSE(absl::StrContains(status.message(), "SECRET")) << status.message();
    EXPECT_FALSE(absl::StrContains(status.message(), key)) << status.message();
  }
}

TEST(Credentials, OverrideNeedsNoKey) {
  config::Momento options;
  options.endpoint_override = "127.0.0.1:8080";
  const auto c = Resolve(options);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->authorization, "");
  EXPECT_EQ(c->cache_host, "127.0.0.1");
  EXPECT_EQ(c->control_host, "127.0.0.1");
  EXPECT_EQ(c->cache_port, 8080);
  EXPECT_EQ(c->control_port, 8080);
  EXPECT_FALSE(c->tls);
}

TEST(Credentials, OverrideSendsWhateverKeyThereIs) {
  config::Momento options;
  options.endpoint_override = "[::1]:8080";
  options.api_key = "any-token";
  EXPECT_EQ(Resolve(options)->authorization, "any-token");
  EXPECT_EQ(Resolve(options)->cache_host, "::1");
  options.api_key = V1(kEndpoint, kInner);
  EXPECT_EQ(Resolve(options)->authorization, kInner);
}

TEST(Credentials, OverrideMayUseTlsAndUnixSockets) {
  config::Momento options;
  options.endpoint_override = "localhost:1";
  options.tls = config::Momento::Tls::kOn;
  EXPECT_TRUE(Resolve(options)->tls);
  options.endpoint_override = "unix-abstract:name";
  EXPECT_EQ(Resolve(options)->cache_host, "unix-abstract:name");
}

TEST(Credentials, BadOverridesAreNamed) {
  for (const char* text : {"host:", "host:0", "host:65536", "host:x", ":1", "::1", "a/b:1"}) {
    config::Momento options;
    options.endpoint_override = text;
    const absl::Status status = Resolve(options).status();
    EXPECT_FALSE(status.ok()) << text;
    EXPECT_TRUE(absl::StrContains(status.message(), "momento.endpoint_override")) << text;
  }
}

TEST(Credentials, TheEndOfAKeyIsItsClaim) {
  const auto expiry = [](const std::string& key) {
    config::Momento options;
    options.api_key = key;
    options.endpoint_override = "h:1";
    return Resolve(options)->expires_at_s;
  };
  const std::string inner = Jwt("{\"exp\":1900000000}");
  EXPECT_EQ(expiry(V1(kEndpoint, inner)), 1900000000);
  EXPECT_EQ(expiry(Jwt("{\"t\":\"g\",\"exp\":1900000000.75}")), 1900000000);
  EXPECT_EQ(expiry(Jwt("{\"c\":\"a\",\"cp\":\"b\",\"exp\":5}")), 5);
  EXPECT_EQ(expiry(kV2), 0);
  EXPECT_EQ(expiry(V1(kEndpoint, "no-jwt")), 0);
  EXPECT_EQ(expiry("any-token"), 0);
  for (const char* odd : {"\"1900000000\"", "-1", "1e300", "null", "true"}) {
    EXPECT_EQ(expiry(Jwt(absl::StrCat("{\"t\":\"g\",\"exp\":", odd, "}"))), 0) << odd;
  }
}

TEST(Credentials, AnExpiredKeyIsToldByItsTime) {
  Credentials c;
  EXPECT_TRUE(CheckExpiry(c, 1900000000).ok());
  c.expires_at_s = 1900000000;
  EXPECT_TRUE(CheckExpiry(c, 1899999999).ok());
  const absl::Status status = CheckExpiry(c, 1900000000);
  EXPECT_TRUE(absl::IsUnauthenticated(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "2030-03-17 17:46 UTC")) << status;
}

TEST(Credentials, AFileWinsOverTheEnvironment) {
  config::Momento options;
  options.api_key_file = "/etc/key";
  const KeySource source = SourceOf(options, [](const char*) { return std::string("env"); });
  EXPECT_EQ(source.file, "/etc/key");
  EXPECT_TRUE(source.key.empty());
  EXPECT_EQ(source.fallback_endpoint, "env");
}

TEST(Credentials, ACacheMayHaveItsOwnKeyAndEndpoint) {
  config::Momento options;
  options.api_key = kLegacy;
  options.endpoint = "common.com";
  config::Cache cache;
  EXPECT_FALSE(HasOwnAccount(cache));
  const auto none = [](const char*) { return std::string(); };
  const auto resolve = [&] {
    const KeySource source = SourceOf(options, cache, "cache[1]", none);
    return ParseCredentials(source, source.key.view());
  };

  cache.api_key = kV2;
  EXPECT_TRUE(HasOwnAccount(cache));
  EXPECT_EQ(resolve()->authorization, kV2);
  EXPECT_EQ(resolve()->cache_host, "cache.common.com") << "a v2 key falls back to [momento]'s";
  cache.api_key = V1("own.com", kInner);
  EXPECT_EQ(resolve()->cache_host, "cache.own.com") << "a v1 key knows its own";
  cache.endpoint = "hand.com";
  EXPECT_EQ(resolve()->control_host, "control.hand.com") << "what is set for it wins";

  cache.api_key = "";
  options.api_key = kV2;
  EXPECT_EQ(resolve()->authorization, kV2) << "an endpoint alone keeps the key of [momento]";
  EXPECT_EQ(resolve()->cache_host, "cache.hand.com");

  cache.endpoint = "";
  cache.api_key_file = "/etc/own";
  EXPECT_EQ(SourceOf(options, cache, "cache[1]", none).file, "/etc/own");
  EXPECT_TRUE(SourceOf(options, cache, "cache[1]", none).key.empty());
  EXPECT_EQ(SourceOf(options, cache, "cache[1]", none).section, "cache[1]");
}

TEST(Credentials, TheRealServiceIsNeverSpokenToInTheClear) {
  config::Momento options;
  options.tls = config::Momento::Tls::kOff;
  EXPECT_FALSE(Resolve(options, {{"MOMENTO_API_KEY", kLegacy}}).ok());
}

}  // namespace
}  // namespace proxy::momento
