// The client's end of TLS in memory: whoever uses it decides when which bytes travel.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/core/net/tls_identity.h"

namespace core {

class TlsPeer {
 public:
  struct Options {
    const Identity* trusts = nullptr;   // Null: anybody.
    const Identity* shows = nullptr;    // Its own certificate.
    int version = TLS1_3_VERSION;       // This one alone.
    SSL_SESSION* session = nullptr;     // To resume.
  };
  explicit TlsPeer(const Options& options) : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_min_proto_version(context_, options.version);
    SSL_CTX_set_max_proto_version(context_, options.version);
    if (options.version < TLS1_2_VERSION) SSL_CTX_set_security_level(context_, 0);
    if (options.trusts != nullptr) {
      SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context_), options.trusts->certificate());
    }
    if (options.shows != nullptr) {
      SSL_CTX_use_certificate(context_, options.shows->certificate());
      SSL_CTX_use_PrivateKey(context_, options.shows->key());
    }
    ssl_ = SSL_new(context_);
    if (options.session != nullptr) SSL_set_session(ssl_, options.session);
    SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_);
  }
  ~TlsPeer() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    ERR_clear_error();  // The server under test may run on this thread.
  }
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;

  // Goes on with the handshake as far as what was heard allows. Whether it is done.
  bool Handshake() {
    const bool done = SSL_do_handshake(ssl_) == 1;
    failed_ = !done && SSL_get_error(ssl_, -1) != SSL_ERROR_WANT_READ;
    ERR_clear_error();
    return done;
  }
  bool failed() const { return failed_; }
  // Encrypts `plain`; one record for each piece of `step` bytes.
  void Say(absl::string_view plain, size_t step = SIZE_MAX) {
    while (!plain.empty()) {
      const absl::string_view piece = plain.substr(0, step);
      SSL_write(ssl_, piece.data(), static_cast<int>(piece.size()));
      plain.remove_prefix(piece.size());
    }
  }
  void SayGoodbye() { SSL_shutdown(ssl_); }
  // What is to travel to the server.
  std::string Take() {
    std::string bytes(BIO_ctrl_pending(SSL_get_wbio(ssl_)), '\0');
    if (!bytes.empty()) BIO_read(SSL_get_wbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  // What has come from the server; what it says in plain is added to heard().
  void Give(absl::string_view bytes) {
    if (!bytes.empty()) BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
    if (!SSL_is_init_finished(ssl_) && !Handshake()) return;
    char buffer[16384];
    int n;
    while ((n = SSL_read(ssl_, buffer, sizeof(buffer))) > 0) heard_.append(buffer, n);
    failed_ |= SSL_get_error(ssl_, n) == SSL_ERROR_SSL;
    ERR_clear_error();
  }
  const std::string& heard() const { return heard_; }
  bool heard_goodbye() const { return (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0; }
  SSL* ssl() { return ssl_; }

 private:
  SSL_CTX* context_;
  SSL* ssl_;
  bool failed_ = false;
  std::string heard_;
};

// How many records of application data `wire` holds; with TLS 1.3 all look like that.
inline int CountRecords(absl::string_view wire) {
  int n = 0;
  while (wire.size() >= 5) {
    const size_t size = static_cast<uint8_t>(wire[3]) << 8 | static_cast<uint8_t>(wire[4]);
    n += wire[0] == 23;
    wire.remove_prefix(std::min(wire.size(), 5 + size));
  }
  return n;
}

}  // namespace core
