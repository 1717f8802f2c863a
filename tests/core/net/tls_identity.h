// Certificates made on the spot, in files, for tests of TLS.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"

namespace core {

// A key and a certificate of it for "localhost", signed by `issuer` or by itself.
class Identity {
 public:
  explicit Identity(const Identity* issuer = nullptr, long valid_s = 3600)
      : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    static int made = 0;
    X509_set_version(certificate_, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate_), ++made);
    X509_gmtime_adj(X509_getm_notBefore(certificate_), -7200);
    X509_gmtime_adj(X509_getm_notAfter(certificate_), valid_s);
    X509_set_pubkey(certificate_, key_);
    const std::string subject = absl::StrCat("test ", made);
    X509_NAME* name = X509_get_subject_name(certificate_);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
    X509_set_issuer_name(certificate_, issuer == nullptr
                                           ? name
                                           : X509_get_subject_name(issuer->certificate_));
    Extend(NID_subject_alt_name, "DNS:localhost");
    if (issuer == nullptr) Extend(NID_basic_constraints, "critical,CA:TRUE");
    X509_sign(certificate_, issuer == nullptr ? key_ : issuer->key_, EVP_sha256());
    const std::string stem = absl::StrCat(testing::TempDir(), "/core_tls_", ::getpid(), "_", made);
    certificate_file = stem + ".crt";
    key_file = stem + ".key";
    Write(certificate_file, [this](std::FILE* out) { PEM_write_X509(out, certificate_); });
    Write(key_file, [this](std::FILE* out) {
      PEM_write_PrivateKey(out, key_, nullptr, nullptr, 0, nullptr, nullptr);
    });
  }
  ~Identity() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
    ::unlink(certificate_file.c_str());
    ::unlink(key_file.c_str());
  }
  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;

  X509* certificate() const { return certificate_; }
  EVP_PKEY* key() const { return key_; }
  std::string certificate_file, key_file;

 private:
  void Extend(int nid, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    X509_add_ext(certificate_, extension, -1);
    X509_EXTENSION_free(extension);
  }
  template <class F>
  static void Write(const std::string& path, F print) {
    std::FILE* out = std::fopen(path.c_str(), "w");
    print(out);
    std::fclose(out);
  }

  EVP_PKEY* key_;
  X509* certificate_;
};

// The contents of `from` in place of those of `to`.
inline void CopyFile(const std::string& from, const std::string& to) {
  std::FILE* in = std::fopen(from.c_str(), "r");
  std::FILE* out = std::fopen(to.c_str(), "w");
  char buffer[65536];
  const size_t n = std::fread(buffer, 1, sizeof(buffer), in);
  std::fwrite(buffer, 1, n, out);
  std::fclose(in);
  std::fclose(out);
}

}  // namespace core
