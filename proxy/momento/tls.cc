// See tls.h.
#include "proxy/momento/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace proxy::momento {
namespace {

constexpr unsigned char kAlpnH2[] = {2, 'h', '2'};

// A socket BIO whose writes never raise SIGPIPE, which OpenSSL's own would.
int FdOf(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

bool Temporary(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

int Write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::send(FdOf(bio), data, size, MSG_NOSIGNAL);
  if (n < 0 && Temporary(errno)) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int Read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::recv(FdOf(bio), data, size, 0);
  if (n < 0 && Temporary(errno)) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

long Control(BIO* bio, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* MakeSocketMethod() {
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
  BIO_meth_set_write(method, Write);
  BIO_meth_set_read(method, Read);
  BIO_meth_set_ctrl(method, Control);
  return method;
}

BIO* NewSocketBio(int fd) {
  static BIO_METHOD* const method = MakeSocketMethod();  // For the life of the process.
  BIO* bio = BIO_new(method);
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

bool IsNumericAddress(const std::string& host) {
  unsigned char buffer[16];
  return ::inet_pton(AF_INET, host.c_str(), buffer) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), buffer) == 1;
}

// Makes verification insist on `host`, and names it to the server (only names are sent, RFC 6066).
bool ExpectHost(SSL* ssl, const std::string& host) {
  if (IsNumericAddress(host)) {
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1;
  }
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(ssl, host.c_str()) == 1 &&
         SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
}

}  // namespace

std::string TakeTlsError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "connection closed" : reason;
}

namespace {

std::string Untrusted(long verdict, const std::string& host) {
  const std::string certificate = absl::StrCat("TLS: the certificate that came from ", host);
  const std::string reason = absl::StrCat(" (", X509_verify_cert_error_string(verdict), ")");
  switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return absl::StrCat(certificate, " is for another name", reason);
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return absl::StrCat(certificate, " is not valid now", reason);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return absl::StrCat(certificate, " is from an authority that is not trusted", reason,
                          "; momento.ca_file says who is");
    default:
      return absl::StrCat(certificate, " does not verify", reason);
  }
}

}  // namespace

std::string HandshakeError(ssl_st* ssl, const std::string& host) {
  const int reason = ERR_GET_REASON(ERR_peek_error());
  const std::string words = TakeTlsError();
  const long verdict = SSL_get_verify_result(ssl);
  if (verdict != X509_V_OK) return Untrusted(verdict, host);
  switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
      return absl::StrCat("TLS: ", host, " does not answer in TLS (", words, ")");
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return absl::StrCat("TLS: ", host, " offers no TLS 1.2 or later (", words, ")");
    default:
      return absl::StrCat("TLS: handshake with ", host, " failed: ", words);
  }
}

absl::StatusOr<std::unique_ptr<TlsContext>> TlsContext::Create(const std::string& ca_file) {
  ERR_clear_error();
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr) return absl::InternalError(TakeTlsError());
  std::unique_ptr<TlsContext> made(new TlsContext(context));
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  // Writes may take part of the bytes and be repeated from a buffer that has moved.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  const int loaded = ca_file.empty()
                         ? SSL_CTX_set_default_verify_paths(context)
                         : SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr);
  if (loaded != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "momento.ca_file: cannot read trusted roots from \"", ca_file, "\": ", TakeTlsError()));
  }
  // 0 is success in this function alone.
  if (SSL_CTX_set_alpn_protos(context, kAlpnH2, sizeof(kAlpnH2)) != 0) {
    return absl::InternalError(TakeTlsError());
  }
  return made;
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

ssl_st* TlsContext::NewSession(int fd, const std::string& host) const {
  ERR_clear_error();
  SSL* ssl = SSL_new(context_);
  BIO* bio = ssl == nullptr ? nullptr : NewSocketBio(fd);
  if (bio == nullptr || !ExpectHost(ssl, host)) {
    BIO_free(bio);
    SSL_free(ssl);
    return nullptr;
  }
  SSL_set_bio(ssl, bio, bio);
  SSL_set_connect_state(ssl);
  return ssl;
}

}  // namespace proxy::momento
