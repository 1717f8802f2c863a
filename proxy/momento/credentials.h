// Who we are to Momento and where it is: from a key in one of its three forms, the configuration
// and the environment. Pure; no message made here ever contains a key.
//
//   v1      base64 of {"endpoint": host, "api_key": jwt}; the inner key is what is sent
//   v2      a JWT with claim "t": "g"; the endpoint is given apart
//   legacy  a JWT with claims "c" and "cp": the data and control hosts
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/momento.h"

namespace proxy::momento {

struct Credentials {
  std::string authorization = {};  // The header's value, sent as it is. May be empty with an override.
  std::string cache_host = {};
  uint16_t cache_port = 0;
  std::string control_host = {};
  uint16_t control_port = 0;
  bool tls = true;
};

// The value of an environment variable; empty when unset.
using Environment = absl::FunctionRef<std::string(const char* name)>;

// Configuration wins over the environment, `endpoint_override` over any endpoint. Fails with a
// sentence that says what to set when the real service is meant and something is missing.
absl::StatusOr<Credentials> ResolveCredentials(const config::Momento& options,
                                               Environment environment);

}  // namespace proxy::momento
