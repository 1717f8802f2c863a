// What all TLS connections of the process share: trusted roots and the rules (TLS 1.2 or later,
// certificate and host verified, HTTP/2 by ALPN).
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

extern "C" {
struct ssl_ctx_st;
struct ssl_st;
}

namespace proxy::momento {

// Immutable once made; any thread may start connections.
class TlsContext {
 public:
  // `ca_file`: PEM roots; empty means the system's. Fails when it cannot be read.
  static absl::StatusOr<std::unique_ptr<TlsContext>> Create(const std::string& ca_file);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // A client session over the connected nonblocking socket `fd`, which it does not own, that
  // accepts only a certificate of `host` (a name or a numeric address). Null when out of memory.
  ssl_st* NewSession(int fd, const std::string& host) const;

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;  // Owned.
};

// Why the handshake with `host` failed, in words an operator can act on; empties the queue.
std::string HandshakeError(ssl_st* ssl, const std::string& host);

// The first of this thread's queued OpenSSL errors as text; empties the queue.
std::string TakeTlsError();

}  // namespace proxy::momento
