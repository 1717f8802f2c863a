// Certificate, key and authorities, from files to an OpenSSL context, or to what is wrong with them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "config/tls.h"

extern "C" {
struct ssl_ctx_st;
}

namespace core {

struct FreeTlsContext {
  void operator()(ssl_ctx_st* context) const;
};

struct TlsMaterial {
  std::unique_ptr<ssl_ctx_st, FreeTlsContext> context;
  std::string digest;        // Of all files: tells whether anything has changed.
  std::string subject;       // Whose certificate it is, for the log.
  int64_t expires_sec = 0;   // Unix time.
  std::string warning;       // What an operator should know although it works; else empty.
};

// Reads the files that `tls` names, once, and makes of them what server connections start from: TLS
// 1.2 or 1.3, no renegotiation, no early data, resumption by tickets. On failure *knob is the knob
// at fault. Not for workers. REQUIRES: tls.enabled().
absl::Status LoadTls(const config::Tls& tls, TlsMaterial* out, absl::string_view* knob);

}  // namespace core
