// Where the gRPC port is, in the three spellings that need it: the operator's, the library's and
// the client's.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cache::local {

struct Address {
  std::string listen;  // For gRPC: "127.0.0.1:8080", "[::1]:0", "unix:/path", "unix-abstract:x".
  std::string dial;    // For clients, without a port for TCP: "127.0.0.1", "[::1]"; else `listen`.
  std::string unix_path;  // "/path" or "@name"; empty for TCP.

  bool is_unix() const { return !unix_path.empty(); }
  // What a client connects to, once `port` is known.
  std::string Target(int port) const;
};

// Reads `host` ("127.0.0.1", "::1", "localhost", "0.0.0.0", "unix:/path", "unix-abstract:name") and
// checks that it can be listened on now. The error names the address and says why not.
absl::StatusOr<Address> ResolveListenAddress(absl::string_view host, int port);

}  // namespace cache::local
