// TLS towards clients: what a listener shows, whom it wants to see, and what it puts up with.
#pragma once

#include <array>
#include <string>

#include "config/knob.h"

namespace config {

struct Tls {
  enum class ClientCertificate : uint8_t { kOff, kOptional, kRequired };
  static constexpr std::array<absl::string_view, 3> kClientCertificates = {"off", "optional",
                                                                           "required"};
  enum class MinVersion : uint8_t { k12, k13 };
  static constexpr std::array<absl::string_view, 2> kMinVersions = {"1.2", "1.3"};

  std::string certificate_file;  // Empty: plaintext.
  std::string key_file;          // Empty: the key stands in certificate_file.
  std::string client_ca_file;
  ClientCertificate client_certificate = ClientCertificate::kOff;
  MinVersion min_version = MinVersion::k12;  // Below it RFC 8996 says "must not".
  // A handshake is two round trips; a peer that needs longer only holds a descriptor.
  absl::Duration handshake_timeout = absl::Seconds(10);

  bool enabled() const { return !certificate_file.empty(); }

  template <class V>
  void Visit(V& v) {
    v.Text("tls_certificate_file", &certificate_file,
           "PEM file of the certificate and its chain, read again on SIGHUP; empty is plaintext");
    v.Text("tls_key_file", &key_file,
           "PEM file of its private key; empty if the key is in tls_certificate_file");
    v.Text("tls_client_ca_file", &client_ca_file,
           "PEM file of the authorities whose client certificates are accepted");
    v.Choice("tls_client_certificate", &client_certificate, kClientCertificates,
             "whether a client shows a certificate: it is not asked, may show a good one, or must");
    v.Choice("tls_min_version", &min_version, kMinVersions, "oldest version of TLS accepted");
    v.Duration("tls_handshake_timeout", &handshake_timeout, absl::Milliseconds(10),
               absl::Minutes(10), "how long a client may take to set TLS up");
  }
};

}  // namespace config
