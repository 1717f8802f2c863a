// See tls_material.h.
#include "core/net/tls_material.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "core/base/status.h"

namespace core {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;  // Hundreds of authorities; more is another file.

// Sessions made by one context of this name are good for another of it, as long as they share keys.
constexpr unsigned char kSessionContext[] = "momento-proxy";

template <auto Free>
struct Freeing {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, Freeing<BIO_free>>;
using CertificatePtr = std::unique_ptr<X509, Freeing<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freeing<EVP_PKEY_free>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Freeing<EVP_MD_CTX_free>>;

// The contents of a file that may hold a key: gone from memory with this object.
class Contents {
 public:
  ~Contents() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }
  absl::Status Read(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (file == nullptr) return Cannot(path, std::strerror(errno));
    bytes_.resize(kFileBytesMax + 1);
    const size_t n = std::fread(bytes_.data(), 1, bytes_.size(), file);
    const bool failed = std::ferror(file) != 0;
    const int error = errno;
    std::fclose(file);
    if (failed) return Cannot(path, std::strerror(error));
    if (n > kFileBytesMax) return Cannot(path, "it is longer than 1MB");
    size_ = n;
    return absl::OkStatus();
  }
  absl::string_view view() const { return {bytes_.data(), size_}; }
  BioPtr bio() const { return BioPtr(BIO_new_mem_buf(bytes_.data(), static_cast<int>(size_))); }

 private:
  static absl::Status Cannot(const std::string& path, absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read \"", path, "\": ", why));
  }
  std::string bytes_;
  size_t size_ = 0;
};

// Nobody is at a terminal to be asked; a key that needs a passphrase fails to load.
int NoPassphrase(char*, int, int, void*) { return -1; }

std::string Reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown reason" : reason;
}

absl::Status Bad(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", path, "\" ", what));
}

absl::Status UseChain(const std::string& path, const Contents& contents, SSL_CTX* context) {
  const BioPtr bio = contents.bio();
  const CertificatePtr leaf(PEM_read_bio_X509_AUX(bio.get(), nullptr, NoPassphrase, nullptr));
  if (leaf == nullptr) {
    ERR_clear_error();
    return Bad(path, "holds no certificate in PEM form");
  }
  if (SSL_CTX_use_certificate(context, leaf.get()) != 1) {
    return Bad(path, absl::StrCat("cannot be used as a certificate: ", Reason()));
  }
  for (;;) {
    CertificatePtr next(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
    if (next == nullptr) break;
    if (SSL_CTX_add0_chain_cert(context, next.get()) != 1) {
      return Bad(path, absl::StrCat("has a chain that cannot be used: ", Reason()));
    }
    (void)next.release();  // The context's now.
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!at_end) return Bad(path, absl::StrCat("has a damaged certificate: ", Reason()));
  ERR_clear_error();
  return absl::OkStatus();
}

absl::Status UseKey(const std::string& path, const std::string& certificate_path,
                    const Contents& contents, SSL_CTX* context) {
  const KeyPtr key(
      PEM_read_bio_PrivateKey(contents.bio().get(), nullptr, NoPassphrase, nullptr));
  if (key == nullptr) {
    const bool locked = contents.view().find("ENCRYPTED") != absl::string_view::npos;
    ERR_clear_error();
    return Bad(path, locked ? "holds a key that needs a passphrase; expected a plain one"
                            : "holds no private key in PEM form");
  }
  X509* certificate = SSL_CTX_get0_certificate(context);
  if (X509_check_private_key(certificate, key.get()) != 1) {
    ERR_clear_error();
    return Bad(path, absl::StrCat("is not the key of the certificate in \"", certificate_path,
                                  "\""));
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return Bad(path, absl::StrCat("cannot be used as a key: ", Reason()));
  }
  return absl::OkStatus();
}

absl::Status TrustClients(const std::string& path, const Contents& contents, SSL_CTX* context) {
  const BioPtr bio = contents.bio();
  int trusted = 0;
  for (;; ++trusted) {
    const CertificatePtr one(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
    if (one == nullptr) break;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), one.get()) != 1 ||
        SSL_CTX_add_client_CA(context, one.get()) != 1) {
      return Bad(path, absl::StrCat("cannot be trusted: ", Reason()));
    }
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (trusted > 0 && !at_end) {
    return Bad(path, absl::StrCat("has a damaged certificate: ", Reason()));
  }
  ERR_clear_error();
  return trusted > 0 ? absl::OkStatus() : Bad(path, "holds no certificate in PEM form");
}

std::string DigestOf(const Contents (&files)[3]) {
  const DigestPtr digest(EVP_MD_CTX_new());
  EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr);
  for (const Contents& file : files) {
    const uint64_t size = file.view().size();
    EVP_DigestUpdate(digest.get(), &size, sizeof(size));
    EVP_DigestUpdate(digest.get(), file.view().data(), size);
  }
  std::string out(EVP_MAX_MD_SIZE, '\0');
  unsigned length = 0;
  EVP_DigestFinal_ex(digest.get(), reinterpret_cast<unsigned char*>(out.data()), &length);
  out.resize(length);
  return out;
}

int64_t SecondsOf(const ASN1_TIME* time) {
  struct tm parts = {};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? ::timegm(&parts) : 0;
}

std::string SubjectOf(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0,
                     XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(length));
}

void Describe(const config::Tls& tls, TlsMaterial* out) {
  X509* certificate = SSL_CTX_get0_certificate(out->context.get());
  out->subject = SubjectOf(certificate);
  out->expires_sec = SecondsOf(X509_get0_notAfter(certificate));
  const auto spell = [](int64_t sec) {
    return absl::FormatTime(absl::RFC3339_sec, absl::FromUnixSeconds(sec), absl::UTCTimeZone());
  };
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
    out->warning = absl::StrCat("the certificate in \"", tls.certificate_file, "\" expired at ",
                                spell(out->expires_sec), "; clients will refuse it");
  } else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
    out->warning = absl::StrCat("the certificate in \"", tls.certificate_file,
                                "\" is not valid before ",
                                spell(SecondsOf(X509_get0_notBefore(certificate))));
  }
}

void SetRules(const config::Tls& tls, SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, tls.min_version == config::Tls::MinVersion::k13
                                             ? TLS1_3_VERSION
                                             : TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                   SSL_OP_PRIORITIZE_CHACHA);
  // An idle connection holds no record buffers.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  // Tickets carry a session in the client's memory, under keys that live as long as this context.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_session_id_context(context, kSessionContext, sizeof(kSessionContext) - 1);
  switch (tls.client_certificate) {
    case config::Tls::ClientCertificate::kOff:
      SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
      break;
    case config::Tls::ClientCertificate::kOptional:
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
      break;
    case config::Tls::ClientCertificate::kRequired:
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
      break;
  }
}

}  // namespace

void FreeTlsContext::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

absl::Status LoadTls(const config::Tls& tls, TlsMaterial* out, absl::string_view* knob) {
  ERR_clear_error();
  TlsMaterial made;
  made.context.reset(SSL_CTX_new(TLS_server_method()));
  *knob = "tls_certificate_file";
  if (made.context == nullptr) return absl::InternalError(Reason());
  SSL_CTX* context = made.context.get();
  SetRules(tls, context);
  Contents files[3];
  const auto& [certificate, key, authorities] = files;
  RETURN_IF_ERROR(files[0].Read(tls.certificate_file));
  RETURN_IF_ERROR(UseChain(tls.certificate_file, certificate, context));
  if (!tls.key_file.empty()) *knob = "tls_key_file";
  const std::string& key_path = tls.key_file.empty() ? tls.certificate_file : tls.key_file;
  RETURN_IF_ERROR(files[1].Read(key_path));
  RETURN_IF_ERROR(UseKey(key_path, tls.certificate_file, key, context));
  if (!tls.client_ca_file.empty()) {
    *knob = "tls_client_ca_file";
    RETURN_IF_ERROR(files[2].Read(tls.client_ca_file));
    RETURN_IF_ERROR(TrustClients(tls.client_ca_file, authorities, context));
  }
  made.digest = DigestOf(files);
  Describe(tls, &made);
  *out = std::move(made);
  return absl::OkStatus();
}

}  // namespace core
