// TLS against a server with a certificate made here: who is trusted, and who is not.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/mutex.h"
#include "core/log/memory_log.h"
#include "proxy/momento/backend.h"
#include "tests/proxy/momento/fake_server.h"

namespace proxy::momento {
namespace {

// A self-signed certificate for "localhost" that is its own root.
struct Identity {
  // Valid from a minute ago to `valid_s` from now.
  explicit Identity(long valid_s = 3600) {
    key = EVP_EC_gen("P-256");
    certificate = X509_new();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), valid_s);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    for (const auto& [nid, value] : {std::pair{NID_subject_alt_name, "DNS:localhost"},
                                     std::pair{NID_basic_constraints, "critical,CA:TRUE"}}) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
      X509_add_ext(certificate, extension, -1);
      X509_EXTENSION_free(extension);
    }
    X509_sign(certificate, key, EVP_sha256());
    static int made = 0;
    file = absl::StrCat(::testing::TempDir(), "/momento_tls_", ::getpid(), "_", ++made, ".pem");
    std::FILE* out = std::fopen(file.c_str(), "w");
    PEM_write_X509(out, certificate);
    std::fclose(out);
  }
  ~Identity() {
    X509_free(certificate);
    EVP_PKEY_free(key);
    ::unlink(file.c_str());
  }
  EVP_PKEY* key;
  X509* certificate;
  std::string file;
};

int ChooseH2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in,
             unsigned int in_size, void*) {
  static const unsigned char kH2[] = {2, 'h', '2'};
  return SSL_select_next_proto(const_cast<unsigned char**>(out), size, kH2, sizeof(kH2), in,
                               in_size) == OPENSSL_NPN_NEGOTIATED
             ? SSL_TLSEXT_ERR_OK
             : SSL_TLSEXT_ERR_NOACK;
}

// Ends TLS in a thread of its own and hands the bytes to a plaintext server behind it.
class TlsFront {
 public:
  TlsFront(const Identity& identity, uint16_t behind, bool alpn, int version = TLS1_3_VERSION)
      : behind_(behind) {
    context_ = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_max_proto_version(context_, version);
    SSL_CTX_set_min_proto_version(context_, TLS1_VERSION);
    SSL_CTX_set_security_level(context_, version < TLS1_2_VERSION ? 0 : 1);
    SSL_CTX_use_certificate(context_, identity.certificate);
    SSL_CTX_use_PrivateKey(context_, identity.key);
    SSL_CTX_set_tlsext_servername_callback(context_, NoteName);
    SSL_CTX_set_tlsext_servername_arg(context_, this);
    if (alpn) SSL_CTX_set_alpn_select_cb(context_, ChooseH2, nullptr);
    listener_ = core::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)) == 0);
    CHECK(::listen(listener_.get(), 8) == 0);
    socklen_t size = sizeof(at);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~TlsFront() {
    stop_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    SSL_CTX_free(context_);
  }
  uint16_t port;

  // What clients called the server (SNI), a handshake each; consecutive doubles once.
  std::vector<std::string> server_names() {
    core::MutexLock lock(mu_);
    return names_;
  }

 private:
  static int NoteName(SSL* ssl, int*, void* self_pointer) {
    auto* self = static_cast<TlsFront*>(self_pointer);
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const std::string text = name == nullptr ? "" : name;
    core::MutexLock lock(self->mu_);
    if (self->names_.empty() || self->names_.back() != text) self->names_.push_back(text);
    return SSL_TLSEXT_ERR_OK;
  }
  void Serve() {
    // OpenSSL's own sockets raise SIGPIPE; only here may that be ignored: the client must not.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    while (!stop_) {
      core::Fd client(::accept(listener_.get(), nullptr, nullptr));
      if (!client.valid()) continue;
      SSL* ssl = SSL_new(context_);
      SSL_set_fd(ssl, client.get());
      if (SSL_accept(ssl) == 1) Relay(ssl, client.get());
      SSL_free(ssl);
    }
  }
  void Relay(SSL* ssl, int client) {
    core::Fd back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_port = htons(behind_);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(back.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)) != 0) return;
    char buffer[16384];
    while (!stop_) {
      pollfd fds[] = {{client, POLLIN, 0}, {back.get(), POLLIN, 0}};
      if (SSL_pending(ssl) == 0) ::poll(fds, 2, 20);
      if (SSL_pending(ssl) > 0 || fds[0].revents != 0) {
        const int n = SSL_read(ssl, buffer, sizeof(buffer));
        if (n <= 0 || ::send(back.get(), buffer, n, MSG_NOSIGNAL) != n) return;
      }
      if (fds[1].revents != 0) {
        const ssize_t n = ::recv(back.get(), buffer, sizeof(buffer), 0);
        if (n <= 0 || SSL_write(ssl, buffer, static_cast<int>(n)) != n) return;
      }
    }
  }

  core::Mutex mu_;
  std::vector<std::string> names_ ABSL_GUARDED_BY(mu_);
  SSL_CTX* context_;
  core::Fd listener_;
  uint16_t behind_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class TlsTest : public ::testing::Test {
 protected:
  GetResult Get(const std::string& target) {
    config::Momento momento;
    momento.endpoint_override = target;
    momento.tls = config::Momento::Tls::kOn;
    momento.ca_file = ca_file_;
    momento.connect_timeout = absl::Seconds(20);
    auto backend = Backend::Create(momento, {}, &clock_, &registries_.emplace_back(), &log_,
                                   [](const char*) { return std::string(); });
    EXPECT_TRUE(backend.ok()) << backend.status();
    config::Cache cache;
    cache.cache_name = "c";
    cache.deadline = absl::Seconds(20);
    std::unique_ptr<Client> client = (*backend)->NewClient(&loop_, cache, 1);
    GetResult result;
    bool done = false;
    client->Get(std::string(20'000, 'k'), [&](GetResult r) {
      result = std::move(r);
      done = true;
    });
    for (int turn = 0; turn < 4000 && !done; ++turn) loop_.RunOnce(5);
    EXPECT_TRUE(done);
    return result;
  }

  core::RealClock clock_;
  core::EventLoop loop_{&clock_};
  core::MemoryLog log_;
  std::deque<core::Registry> registries_;
  Identity identity_;
  std::string ca_file_ = identity_.file;
  std::string value_ = std::string(200'000, 'v');
  FakeServer server_{&loop_, FakeScript{.on_request = [this](FakePeer* peer, int32_t stream,
                                                             const FakeRequest&) {
    std::string message("\x08\x02\x12\xc0\x9a\x0c", 6);  // 200,000 as a varint.
    peer->ReplyGrpc(stream, message + value_);
  }}};
};

TEST_F(TlsTest, TrustedServerAnswers) {
  TlsFront front(identity_, server_.port(), true);
  const GetResult result = Get(absl::StrCat("localhost:", front.port));
  EXPECT_TRUE(result.hit) << result.error.message;
  EXPECT_TRUE(result.value == value_);
  EXPECT_EQ(server_.peers[0]->requests[1].headers[":scheme"], "https");
}

TEST_F(TlsTest, Tls12Answers) {
  TlsFront front(identity_, server_.port(), true, TLS1_2_VERSION);
  EXPECT_TRUE(Get(absl::StrCat("localhost:", front.port)).hit);
}

TEST_F(TlsTest, OlderTlsIsRefused) {
  TlsFront front(identity_, server_.port(), true, TLS1_1_VERSION);
  const GetResult result = Get(absl::StrCat("localhost:", front.port));
  EXPECT_EQ(result.error.code, Code::kUnavailable);
  EXPECT_TRUE(absl::StrContains(result.error.message, "localhost offers no TLS 1.2 or later"))
      << result.error.message;
}

TEST_F(TlsTest, CertificateOfAnotherHostIsRefused) {
  TlsFront front(identity_, server_.port(), true);
  const GetResult result = Get(absl::StrCat("127.0.0.1:", front.port));
  EXPECT_EQ(result.error.code, Code::kUnavailable);
  EXPECT_TRUE(absl::StrContains(result.error.message,
                                "from 127.0.0.1 is for another name (IP address mismatch)"))
      << result.error.message;
  EXPECT_TRUE(server_.peers.empty() || server_.peers[0]->requests.empty());
}

TEST_F(TlsTest, UnknownRootIsRefused) {
  ca_file_ = "";
  TlsFront front(identity_, server_.port(), true);
  const GetResult result = Get(absl::StrCat("localhost:", front.port));
  EXPECT_EQ(result.error.code, Code::kUnavailable);
  EXPECT_TRUE(absl::StrContains(result.error.message, "authority that is not trusted"))
      << result.error.message;
  EXPECT_TRUE(absl::StrContains(result.error.message, "momento.ca_file")) << result.error.message;
}

TEST_F(TlsTest, SystemRootsAreUsedWithoutACaFile) {
  // OpenSSL's own way to say where the system's are (SSL_CTX_set_default_verify_paths(3)).
  ::setenv("SSL_CERT_FILE", identity_.file.c_str(), 1);
  ca_file_ = "";
  TlsFront front(identity_, server_.port(), true);
  EXPECT_TRUE(Get(absl::StrCat("localhost:", front.port)).hit);
  ::unsetenv("SSL_CERT_FILE");
}

TEST_F(TlsTest, ACaFileIsInsteadOfTheSystemRoots) {
  ::setenv("SSL_CERT_FILE", identity_.file.c_str(), 1);
  const Identity other;
  ca_file_ = other.file;
  TlsFront front(identity_, server_.port(), true);
  EXPECT_EQ(Get(absl::StrCat("localhost:", front.port)).error.code, Code::kUnavailable);
  ::unsetenv("SSL_CERT_FILE");
}

TEST_F(TlsTest, ExpiredCertificateIsRefused) {
  const Identity expired(-30);
  ca_file_ = expired.file;
  TlsFront front(expired, server_.port(), true);
  const GetResult result = Get(absl::StrCat("localhost:", front.port));
  EXPECT_EQ(result.error.code, Code::kUnavailable);
  EXPECT_TRUE(absl::StrContains(result.error.message,
                                "is not valid now (certificate has expired)"))
      << result.error.message;
}

TEST_F(TlsTest, ServerWithoutTlsIsTold) {
  const GetResult result = Get(absl::StrCat("localhost:", server_.port()));
  EXPECT_EQ(result.error.code, Code::kUnavailable);
  EXPECT_TRUE(absl::StrContains(result.error.message, "localhost does not answer in TLS"))
      << result.error.message;
}

TEST_F(TlsTest, NamesAreToldToTheServerAndAddressesAreNot) {
  TlsFront front(identity_, server_.port(), true);
  Get(absl::StrCat("localhost:", front.port));
  Get(absl::StrCat("127.0.0.1:", front.port));
  EXPECT_EQ(front.server_names(), (std::vector<std::string>{"localhost", ""}));
}

TEST_F(TlsTest, ServerWithoutHttp2IsRefused) {
  TlsFront front(identity_, server_.port(), false);
  const GetResult result = Get(absl::StrCat("localhost:", front.port));
  EXPECT_EQ(result.error.code, Code::kUnavailable);
  EXPECT_NE(result.error.message.find("ALPN"), std::string::npos) << result.error.message;
}

TEST_F(TlsTest, UnreadableRootsAreNamedAtStart) {
  config::Momento momento;
  momento.endpoint_override = "localhost:1";
  momento.tls = config::Momento::Tls::kOn;
  momento.ca_file = "/does/not/exist.pem";
  auto backend =
      Backend::Create(momento, {}, &clock_, &registries_.emplace_back(), &log_, [](const char*) { return std::string(); });
  ASSERT_FALSE(backend.ok());
  EXPECT_NE(backend.status().message().find("momento.ca_file"), absl::string_view::npos);
}

}  // namespace
}  // namespace proxy::momento
