// See credentials.h.
#include "proxy/momento/credentials.h"

#include <nlohmann/json.hpp>

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "core/base/status.h"
#include "proxy/momento/address.h"

namespace proxy::momento {
namespace {

constexpr uint16_t kServicePort = 443;
constexpr uint16_t kPlainPort = 80;
constexpr double kExpiryMax = 253402300800;  // The year 10000: more is a mistake of units.
constexpr absl::string_view kPlainTlsOff =
    "momento.tls: \"off\" would send the API key in the clear; it needs momento.endpoint_override";

constexpr absl::string_view kNoKey =
    "no Momento API key: set the environment variables MOMENTO_API_KEY and MOMENTO_ENDPOINT, or "
    "momento.api_key (or momento.api_key_file) and momento.endpoint; or set "
    "momento.endpoint_override to a local server";
constexpr absl::string_view kNoEndpoint =
    "this Momento API key (v2) does not name its endpoint: set the environment variable "
    "MOMENTO_ENDPOINT or momento.endpoint, for example to "
    "cell-4-us-west-2-1.prod.a.momentohq.com";
constexpr absl::string_view kMalformed =
    "the Momento API key is malformed: expected the base64 text of a v1 key or a JWT of three "
    "parts (v2, legacy); was it cut or quoted when it was copied?";
constexpr absl::string_view kUnknownJwt =
    "the Momento API key is a JWT of an unknown kind: neither a v2 key (claim t = g) nor a legacy "
    "key (claims c and cp); copy it again from the Momento console";

using Json = nlohmann::json;

// The member's text; empty when it is absent or no text.
std::string Text(const Json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// When the key ends; 0 when it does not say. A NumericDate may have a fraction (RFC 7519).
int64_t ExpiryOf(const Json& claims) {
  const auto it = claims.find("exp");
  if (it == claims.end() || !it->is_number()) return 0;
  const double seconds = it->get<double>();
  return seconds > 0 && seconds < kExpiryMax ? static_cast<int64_t>(seconds) : 0;
}

// Discarded (is_object() is false) when `text` is no JSON object.
Json ParseObject(absl::string_view text) {
  return Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

// What a key says of itself.
struct Key {
  Secret authorization = {};
  std::string endpoint = {};      // v1.
  std::string cache_host = {};    // Legacy.
  std::string control_host = {};  // Legacy.
  int64_t expires_at_s = 0;
};

absl::Status Malformed() { return absl::InvalidArgumentError(kMalformed); }

// A header's value: visible ASCII, so that a pasted key can never break a request in two.
bool FitsHeader(absl::string_view text) {
  for (char c : text) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

bool FitsHost(absl::string_view host) {
  return !host.empty() && host.find('/') == absl::string_view::npos && FitsHeader(host);
}

// The claims of a JWT; discarded when `text` is none.
Json ClaimsOf(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '.');
  std::string claims;
  if (parts.size() != 3 || !absl::WebSafeBase64Unescape(parts[1], &claims)) return Json();
  return ParseObject(claims);
}

absl::StatusOr<Key> ParseJwt(absl::string_view text) {
  const Json claims = ClaimsOf(text);
  if (!claims.is_object()) return Malformed();
  Key key{.authorization = Secret(text), .expires_at_s = ExpiryOf(claims)};
  if (Text(claims, "t") == "g") return key;
  key.cache_host = Text(claims, "c");
  key.control_host = Text(claims, "cp");
  if (!FitsHost(key.cache_host) || !FitsHost(key.control_host)) {
    return absl::InvalidArgumentError(kUnknownJwt);
  }
  return key;
}

// A v1 key, or nothing when `text` is not one; base64 in either alphabet, padded or not.
absl::StatusOr<Key> ParseV1(absl::string_view text) {
  std::string inner;
  if (!absl::Base64Unescape(text, &inner) && !absl::WebSafeBase64Unescape(text, &inner)) {
    return Malformed();
  }
  const Json object = ParseObject(inner);
  if (!object.is_object()) return Malformed();
  Key key{.authorization = Secret(Text(object, "api_key")), .endpoint = Text(object, "endpoint")};
  if (key.authorization.empty() || !FitsHost(key.endpoint)) return Malformed();
  // Of the inner key no more is asked than to be one: local servers make up their own.
  if (const Json claims = ClaimsOf(key.authorization.view()); claims.is_object()) {
    key.expires_at_s = ExpiryOf(claims);
  }
  return key;
}

absl::StatusOr<Key> ParseKey(absl::string_view text) {
  ASSIGN_OR_RETURN(Key key, absl::StrContains(text, '.') ? ParseJwt(text) : ParseV1(text));
  if (!FitsHeader(key.authorization.view())) return Malformed();
  return key;
}

// `configured`, or else the environment's value; without the blanks of a pasted line.
std::string Setting(const std::string& configured, const char* variable, Environment environment) {
  const std::string value = configured.empty() ? environment(variable) : configured;
  return std::string(absl::StripAsciiWhitespace(value));
}

// `text` is a host, or host:port.
absl::Status SetHosts(absl::string_view cache, absl::string_view control,
                      Credentials* credentials) {
  const auto split = [](absl::string_view text) {
    return SplitHostPort(text).value_or(HostPort{std::string(text), kServicePort});
  };
  HostPort data = split(cache);
  HostPort plane = split(control);
  if (!FitsHost(data.host) || !FitsHost(plane.host)) {
    return absl::InvalidArgumentError("momento.endpoint: not a host name");
  }
  credentials->cache_host = std::move(data.host);
  credentials->cache_port = data.port;
  credentials->control_host = std::move(plane.host);
  credentials->control_port = plane.port;
  return absl::OkStatus();
}

// A local server: any key will do, or none.
absl::StatusOr<Credentials> Overridden(const KeySource& source, absl::string_view key) {
  Credentials credentials;
  if (!key.empty()) {
    // A token that is no Momento key is sent as it is: local servers compare it, no more.
    absl::StatusOr<Key> parsed = ParseKey(key);
    credentials.authorization = parsed.ok() ? parsed->authorization : Secret(key);
    if (parsed.ok()) credentials.expires_at_s = parsed->expires_at_s;
    if (!FitsHeader(credentials.authorization.view())) return Malformed();
  }
  credentials.tls = source.tls == config::Momento::Tls::kOn;
  const std::string& text = source.endpoint_override;
  std::optional<HostPort> place = SplitHostPort(text);
  if (!place && FitsHost(text) && !absl::StrContains(text, ':')) {
    place = HostPort{text, credentials.tls ? kServicePort : kPlainPort};
  }
  const bool unix_socket = place && place->port == 0;
  if (!place || (!unix_socket && !FitsHost(place->host))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "momento.endpoint_override: \"", text, "\" is not host:port, for example 127.0.0.1:8080"));
  }
  credentials.cache_host = credentials.control_host = place->host;
  credentials.cache_port = credentials.control_port = place->port;
  return credentials;
}

}  // namespace

KeySource SourceOf(const config::Momento& options, Environment environment) {
  KeySource source{.section = "momento",
                   .file = options.api_key_file,
                   .endpoint = std::string(absl::StripAsciiWhitespace(options.endpoint)),
                   .fallback_endpoint = Setting("", "MOMENTO_ENDPOINT", environment),
                   .endpoint_override = options.endpoint_override,
                   .tls = options.tls};
  if (source.file.empty()) {
    source.key = Secret(Setting(options.api_key, "MOMENTO_API_KEY", environment));
  }
  return source;
}

KeySource SourceOf(const config::Momento& options, const config::Cache& cache,
                   absl::string_view section, Environment environment) {
  KeySource source = SourceOf(options, environment);
  if (!cache.api_key.empty() || !cache.api_key_file.empty()) {
    source.section = std::string(section);
    source.file = cache.api_key_file;
    source.key = Secret(absl::StripAsciiWhitespace(cache.api_key));
    if (!source.endpoint.empty()) source.fallback_endpoint = std::exchange(source.endpoint, "");
  }
  if (!cache.endpoint.empty()) {
    source.endpoint = std::string(absl::StripAsciiWhitespace(cache.endpoint));
  }
  return source;
}

absl::StatusOr<Credentials> ParseCredentials(const KeySource& source, absl::string_view key_text) {
  key_text = absl::StripAsciiWhitespace(key_text);
  if (!source.endpoint_override.empty()) return Overridden(source, key_text);
  if (key_text.empty()) return absl::InvalidArgumentError(kNoKey);
  ASSIGN_OR_RETURN(Key key, ParseKey(key_text));
  if (source.tls == config::Momento::Tls::kOff) return absl::InvalidArgumentError(kPlainTlsOff);
  Credentials credentials{.authorization = std::move(key.authorization),
                          .expires_at_s = key.expires_at_s};
  if (!key.cache_host.empty()) {
    RETURN_IF_ERROR(SetHosts(key.cache_host, key.control_host, &credentials));
    return credentials;
  }
  // The endpoint that was set by hand, else the key's own.
  std::string endpoint = source.endpoint;
  if (endpoint.empty()) endpoint = key.endpoint;
  if (endpoint.empty()) endpoint = source.fallback_endpoint;
  if (endpoint.empty()) return absl::InvalidArgumentError(kNoEndpoint);
  RETURN_IF_ERROR(SetHosts(absl::StrCat("cache.", endpoint), absl::StrCat("control.", endpoint),
                           &credentials));
  return credentials;
}

absl::StatusOr<Credentials> ResolveCredentials(const config::Momento& options,
                                               Environment environment) {
  const KeySource source = SourceOf(options, environment);
  return ParseCredentials(source, source.key.view());
}

absl::Status CheckExpiry(const Credentials& credentials, int64_t now_s) {
  if (credentials.expires_at_s == 0 || credentials.expires_at_s > now_s) return absl::OkStatus();
  return absl::UnauthenticatedError(absl::StrCat("the Momento API key expired on ",
                                                 SpellTime(credentials.expires_at_s),
                                                 "; put a new one in its place"));
}

std::string SpellTime(int64_t unix_s) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", absl::FromUnixSeconds(unix_s),
                          absl::UTCTimeZone());
}

}  // namespace proxy::momento
