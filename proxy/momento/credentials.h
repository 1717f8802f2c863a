// Who we are to Momento and where it is: from a key in one of its three forms, the configuration
// and the environment. Pure; no message made here ever contains a key.
//
//   v1      base64 of {"endpoint": host, "api_key": jwt}; the inner key is what is sent
//   v2      a JWT with claim "t": "g"; the endpoint is given apart
//   legacy  a JWT with claims "c" and "cp": the data and control hosts
//
// A JWT's claim "exp" says when the key ends. Its signature is the service's to check.
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/momento.h"
#include "proxy/momento/secret.h"

namespace proxy::momento {

struct Credentials {
  Secret authorization = {};  // The header's value, sent as it is. May be empty with an override.
  std::string cache_host = {};
  uint16_t cache_port = 0;
  std::string control_host = {};
  uint16_t control_port = 0;
  bool tls = true;
  int64_t expires_at_s = 0;  // Unix time; 0: the key does not say.

  bool SamePlaces(const Credentials& other) const {
    return cache_host == other.cache_host && cache_port == other.cache_port &&
           control_host == other.control_host && control_port == other.control_port;
  }
};

// The value of an environment variable; empty when unset.
using Environment = absl::FunctionRef<std::string(const char* name)>;

// What an account's credentials are made from, settled at start: configuration wins over the
// environment, `endpoint_override` over any endpoint.
struct KeySource {
  std::string section = {};            // "momento", "cache[1]": whose knobs messages name.
  std::string file = {};               // The key is in here; empty: it is `key`.
  Secret key = {};
  std::string endpoint = {};           // Set by hand: wins over what a v1 key says of itself.
  std::string fallback_endpoint = {};  // For a key that names none.
  std::string endpoint_override = {};
  config::Momento::Tls tls = config::Momento::Tls::kAuto;
};

// The account of [momento].
KeySource SourceOf(const config::Momento& options, Environment environment);
// The account of a cache that has one of its own; `section` is how messages call the cache. What it
// does not set is [momento]'s, but for its key's own endpoint: that wins over [momento]'s.
KeySource SourceOf(const config::Momento& options, const config::Cache& cache,
                   absl::string_view section, Environment environment);
inline bool HasOwnAccount(const config::Cache& cache) {
  return !cache.api_key.empty() || !cache.api_key_file.empty() || !cache.endpoint.empty();
}

// Credentials from the text of a key, blanks around it ignored. Fails with a sentence that says
// what to set when the real service is meant and something is missing.
absl::StatusOr<Credentials> ParseCredentials(const KeySource& source, absl::string_view key);

// The credentials of [momento] whose key is in no file.
absl::StatusOr<Credentials> ResolveCredentials(const config::Momento& options,
                                               Environment environment);

// UNAUTHENTICATED, naming the time, when the key has ended by `now_s` (Unix time).
absl::Status CheckExpiry(const Credentials& credentials, int64_t now_s);
// "2026-11-25 10:30 UTC".
std::string SpellTime(int64_t unix_s);

}  // namespace proxy::momento
