// The server's end of TLS over a socket pair, driven step by step on one thread.
#include "core/net/tls_stream.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/log/memory_log.h"
#include "core/net/tls_context.h"
#include "tests/core/net/tls_peer.h"

namespace core {
namespace {

using testing::HasSubstr;
using ClientCertificate = config::Tls::ClientCertificate;

class TlsStreamTest : public testing::Test {
 protected:
  TlsStreamTest() {
    options_.certificate_file = identity_.certificate_file;
    options_.key_file = identity_.key_file;
  }

  void MakeContext() {
    absl::StatusOr<std::unique_ptr<TlsContext>> made = TlsContext::Create(options_, "test", &log_);
    ASSERT_TRUE(made.ok()) << made.status();
    context_ = *std::move(made);
    context_->CountIn(&metrics_);
  }

  // A new connection with both its ends.
  void Connect(TlsPeer::Options peer = {}) {
    if (context_ == nullptr) MakeContext();
    stream_.reset();
    int fds[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    ours_ = Fd(fds[0]);
    theirs_ = Fd(fds[1]);
    stream_ = context_->NewStream(ours_.get(), &worker_);
    peer_ = std::make_unique<TlsPeer>(peer);
    error_ = 0;
    plain_.clear();
    wire_.clear();
  }

  // Bytes to the server, which looks at them. What it made of them is in plain_, error_ and ended.
  void Deliver(absl::string_view bytes) {
    do {
      const ssize_t n = ::send(theirs_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
      Look();
    } while (!bytes.empty() && !stream_->ended());
  }
  void Look() {
    for (;;) {
      const ssize_t n = stream_->Read(room_.get(), kRoom);
      if (n <= 0) {
        error_ = n < 0 ? errno : 0;
        return;
      }
      plain_.append(room_.get(), static_cast<size_t>(n));
      if (stream_->ended()) return;
    }
  }
  // The server sends what it has, all that the peer's socket takes; the peer hears it.
  bool Answer() {
    size_t sent = 0;
    const bool good = stream_->Send(&out_, &sent);
    Hear();
    return good;
  }
  void Hear() {
    char buffer[65536];
    ssize_t n;
    while ((n = ::recv(theirs_.get(), buffer, sizeof(buffer), 0)) > 0) {
      wire_.append(buffer, static_cast<size_t>(n));
      peer_->Give(absl::string_view(buffer, static_cast<size_t>(n)));
    }
  }
  void Exchange() {
    for (int i = 0; i < 4; ++i) {
      peer_->Handshake();
      Deliver(peer_->Take());
      Answer();
    }
  }
  void ConnectFully(TlsPeer::Options peer = {}) {
    Connect(peer);
    Exchange();
  }
  bool Speaks() {
    peer_->Say("ping");
    Deliver(peer_->Take());
    out_.Append("pong");
    const bool good = Answer();
    out_.Clear();
    return good && plain_ == "ping" && peer_->heard() == "pong";
  }

  static constexpr size_t kRoom = TlsStream::kReadRoomMin;
  const Identity identity_;
  config::Tls options_;
  MemoryLog log_;
  Registry registry_;
  NetMetrics metrics_{&registry_, {{"server", "test"}}};
  ManualClock clock_;
  Worker worker_{0, &clock_};
  std::unique_ptr<char[]> room_{new char[kRoom]};
  std::unique_ptr<TlsContext> context_;
  Fd ours_, theirs_;
  std::unique_ptr<TlsStream> stream_;
  std::unique_ptr<TlsPeer> peer_;
  OutBuffer out_{&worker_.chunks};
  std::string plain_, wire_;
  int error_ = 0;
};

TEST_F(TlsStreamTest, SpeaksBothVersions) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ConnectFully({.trusts = &identity_, .version = version});
    EXPECT_TRUE(Speaks()) << version;
  }
  EXPECT_EQ(metrics_.tls_handshake.Value(), 2u);
  EXPECT_EQ(metrics_.tls_handshake_fail.Value(), 0u);
}

TEST_F(TlsStreamTest, RefusesWhatIsOlderThanAllowed) {
  ConnectFully({.version = TLS1_1_VERSION});
  EXPECT_TRUE(stream_->ended());
  EXPECT_TRUE(peer_->failed());
  options_.min_version = config::Tls::MinVersion::k13;
  context_.reset();
  ConnectFully({.version = TLS1_2_VERSION});
  EXPECT_TRUE(stream_->ended());
  EXPECT_EQ(metrics_.tls_handshake_fail.Value(), 2u);
  EXPECT_EQ(metrics_.tls_handshake.Value(), 0u);
  EXPECT_THAT(log_.lines().back().text, HasSubstr("failed: unsupported protocol"));
}

TEST_F(TlsStreamTest, TheHandshakeMayBeSplitAtEveryByte) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    size_t longest = 1;
    for (size_t split = 1; split < longest + 1; ++split) {
      Connect({.version = version});
      for (int flight = 0; flight < 3; ++flight) {
        peer_->Handshake();
        if (flight == 2) peer_->Say("ping");  // A request close behind the handshake.
        const std::string bytes = peer_->Take();
        longest = std::max(longest, bytes.size());
        Deliver(absl::string_view(bytes).substr(0, split));
        EXPECT_EQ(error_, EAGAIN);
        if (split < bytes.size()) Deliver(absl::string_view(bytes).substr(split));
        Answer();
      }
      ASSERT_EQ(plain_, "ping") << version << " split at " << split;
    }
    EXPECT_GT(longest, 150u);
  }
}

TEST_F(TlsStreamTest, BytesMayArriveOneByOne) {
  Connect();
  std::string all;
  for (int i = 0; i < 3; ++i) {
    peer_->Handshake();
    for (const char byte : peer_->Take()) Deliver(absl::string_view(&byte, 1));
    Answer();
  }
  peer_->Say("ping");
  const std::string bytes = peer_->Take();
  for (size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(plain_, "");
    // What has come of a record is known to be there.
    EXPECT_EQ(stream_->holds_input(), i > 0);
    Deliver(absl::string_view(bytes).substr(i, 1));
  }
  EXPECT_EQ(plain_, "ping");
  EXPECT_FALSE(stream_->holds_input());
}

TEST_F(TlsStreamTest, AValueMayComeInRecordsOfOneByte) {
  ConnectFully();
  std::string value(1 << 20, 'v');
  for (size_t i = 0; i < value.size(); ++i) value[i] = static_cast<char>(i * 7 + (i >> 8));
  for (absl::string_view rest = value; !rest.empty();) {
    const absl::string_view piece = rest.substr(0, 64 * 1024);
    peer_->Say(piece, 1);
    Deliver(peer_->Take());
    rest.remove_prefix(piece.size());
  }
  EXPECT_EQ(plain_.size(), value.size());
  EXPECT_TRUE(plain_ == value);
}

TEST_F(TlsStreamTest, AValueOfOneMegabyteComesAndGoes) {
  ConnectFully();
  const std::string value(1 << 20, 'v');
  peer_->Say(value);
  Deliver(peer_->Take());
  EXPECT_TRUE(plain_ == value);
  out_.Append(Bytes(value));
  for (int i = 0; i < 1000 && peer_->heard().size() < value.size(); ++i) ASSERT_TRUE(Answer());
  EXPECT_TRUE(peer_->heard() == value);
  EXPECT_LE(CountRecords(wire_), 70);  // 64 full ones, and the tickets.
}

TEST_F(TlsStreamTest, TheRepliesOfATurnShareRecords) {
  ConnectFully();
  wire_.clear();
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    const std::string value(i % 10 == 0 ? 5000 : 20, static_cast<char>('a' + i % 26));
    out_.Append("VALUE ");
    out_.Append(Bytes(value));  // Those of 5000 are pieces of their own.
    all += "VALUE " + value;
  }
  while (!out_.empty() || stream_->unsent() > 0) ASSERT_TRUE(Answer());
  EXPECT_TRUE(peer_->heard() == all);
  EXPECT_EQ(CountRecords(wire_), static_cast<int>((all.size() + 16383) / 16384));
}

TEST_F(TlsStreamTest, APeerThatDoesNotReadIsOwedNoMoreThanABurst) {
  ConnectFully();
  const std::string value(8 << 20, 'v');
  out_.Append(Bytes(value));
  size_t sent = 0;
  ASSERT_TRUE(stream_->Send(&out_, &sent));
  const size_t left = out_.size();
  EXPECT_GT(left, value.size() / 2);
  EXPECT_LE(stream_->unsent(), 300u * 1024);
  ASSERT_TRUE(stream_->Send(&out_, &sent));  // There is no room: nothing more is encrypted.
  EXPECT_EQ(out_.size(), left);
  while (!out_.empty() || stream_->unsent() > 0) ASSERT_TRUE(Answer());
  EXPECT_TRUE(peer_->heard() == value);
}

TEST_F(TlsStreamTest, CloseNotifyEndsTheInputAndAnswersStillGo) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ConnectFully({.version = version});
    peer_->Say("last");
    peer_->SayGoodbye();
    Deliver(peer_->Take());
    EXPECT_EQ(plain_, "last");
    EXPECT_TRUE(stream_->ended());
    EXPECT_EQ(stream_->Read(room_.get(), kRoom), 0) << "and says so again";
    out_.Append("answer");
    EXPECT_TRUE(Answer());
    stream_->SayGoodbye();
    Hear();
    EXPECT_EQ(peer_->heard(), "answer");
    EXPECT_TRUE(peer_->heard_goodbye());
  }
  EXPECT_EQ(metrics_.tls_error.Value(), 0u);
}

TEST_F(TlsStreamTest, AnEndWithoutCloseNotifyIsAnEndToo) {
  ConnectFully();
  peer_->Say("last");
  Deliver(peer_->Take());
  ::shutdown(theirs_.get(), SHUT_WR);
  Look();
  EXPECT_EQ(error_, 0);
  EXPECT_TRUE(stream_->ended());
  EXPECT_EQ(plain_, "last");
  out_.Append("answer");
  EXPECT_TRUE(Answer());
  EXPECT_EQ(peer_->heard(), "answer");
  EXPECT_EQ(metrics_.tls_handshake_fail.Value(), 0u);
}

TEST_F(TlsStreamTest, AnEndInTheMiddleOfARecordGivesNothingOfIt) {
  ConnectFully();
  peer_->Say("cut short");
  const std::string bytes = peer_->Take();
  Deliver(absl::string_view(bytes).substr(0, bytes.size() - 1));
  ::shutdown(theirs_.get(), SHUT_WR);
  Look();
  EXPECT_TRUE(stream_->ended());
  EXPECT_EQ(plain_, "");
}

TEST_F(TlsStreamTest, AnEndInTheHandshakeIsAFailureAndOneBeforeItIsNot) {
  Connect();
  ::shutdown(theirs_.get(), SHUT_WR);
  Look();
  EXPECT_TRUE(stream_->ended());
  stream_->SayGoodbye();
  EXPECT_EQ(metrics_.tls_handshake_fail.Value(), 0u) << "a health check";
  Connect();
  peer_->Handshake();
  Deliver(peer_->Take().substr(0, 100));
  ::shutdown(theirs_.get(), SHUT_WR);
  Look();
  EXPECT_TRUE(stream_->ended());
  stream_->SayGoodbye();
  EXPECT_EQ(metrics_.tls_handshake_fail.Value(), 1u);
}

TEST_F(TlsStreamTest, ADamagedRecordBreaksTheConnection) {
  ConnectFully();
  peer_->Say("good");
  peer_->Say("bad");
  std::string bytes = peer_->Take();
  bytes.back() ^= 1;
  Deliver(bytes);
  EXPECT_EQ(plain_, "good");
  EXPECT_TRUE(stream_->ended());
  errno = 0;
  EXPECT_EQ(stream_->Read(room_.get(), kRoom), -1);
  EXPECT_EQ(errno, EPROTO);
  EXPECT_EQ(metrics_.tls_error.Value(), 1u);
  stream_->SayGoodbye();  // An alert.
  Hear();
  EXPECT_TRUE(peer_->failed());
}

TEST_F(TlsStreamTest, PlaintextIsToldApart) {
  for (const char* text : {"get foo\r\nget bar\r\n", "GET / HTTP/1.1\r\n\r\n", "\x80\x0a\0\0\0\0"}) {
    Connect();
    Deliver(std::string(text) + std::string(100, ' '));
    EXPECT_TRUE(stream_->ended()) << text;
    EXPECT_EQ(plain_, "");
  }
  EXPECT_EQ(metrics_.tls_handshake_fail.Value(), 3u);
  ASSERT_EQ(log_.lines().size(), 1u) << "the rest is left out for a while";
  EXPECT_THAT(log_.lines()[0].text, HasSubstr("the client does not speak TLS"));
  clock_.AdvanceMs(LineLimit::kEveryMs);
  worker_.loop.RunOnce(0);
  Connect();
  Deliver("get foo\r\n");
  ASSERT_EQ(log_.lines().size(), 2u);
  EXPECT_THAT(log_.lines()[1].text, HasSubstr("; 2 more since the last such line"));
}

TEST_F(TlsStreamTest, RenegotiationIsRefused) {
  ConnectFully({.version = TLS1_2_VERSION});
  ASSERT_TRUE(Speaks());
  SSL_renegotiate(peer_->ssl());
  Exchange();
  EXPECT_FALSE(peer_->Handshake());
  EXPECT_TRUE(peer_->failed()) << "no_renegotiation";
  EXPECT_EQ(metrics_.tls_handshake.Value(), 1u);
}

TEST_F(TlsStreamTest, KeysMayBeChangedUnderWay) {
  ConnectFully();
  for (int i = 0; i < 100; ++i) {
    SSL_key_update(peer_->ssl(), SSL_KEY_UPDATE_REQUESTED);
    peer_->Say("x");
    Deliver(peer_->Take());
  }
  EXPECT_LE(stream_->unsent(), 100u * 64) << "which is unsent output as any, and so is bounded";
  EXPECT_EQ(plain_, std::string(100, 'x'));
  out_.Append("still here");
  ASSERT_TRUE(Answer());
  EXPECT_EQ(peer_->heard(), "still here");
}

TEST_F(TlsStreamTest, AHandshakeHasATimeLimit) {
  options_.handshake_timeout = absl::Milliseconds(100);
  Connect();
  peer_->Handshake();
  Deliver(peer_->Take().substr(0, 50));
  clock_.AdvanceMs(99);
  worker_.loop.RunOnce(0);
  Look();
  EXPECT_EQ(error_, EAGAIN);
  clock_.AdvanceMs(2);
  worker_.loop.RunOnce(0);
  Look();
  EXPECT_TRUE(stream_->ended());
  EXPECT_EQ(metrics_.tls_handshake_fail.Value(), 1u);
  ConnectFully();
  clock_.AdvanceMs(1000);
  worker_.loop.RunOnce(0);
  EXPECT_TRUE(Speaks()) << "of the handshake alone";
}

TEST_F(TlsStreamTest, SessionsAreResumed) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ConnectFully({.version = version});
    ASSERT_TRUE(Speaks());
    SSL_SESSION* session = SSL_get1_session(peer_->ssl());
    peer_->SayGoodbye();  // A session that ends without is not to be resumed, OpenSSL says.
    const uint64_t before = metrics_.tls_resume.Value();
    ConnectFully({.version = version, .session = session});
    EXPECT_TRUE(Speaks());
    EXPECT_EQ(SSL_session_reused(peer_->ssl()), 1) << version;
    EXPECT_EQ(metrics_.tls_resume.Value(), before + 1);
    SSL_SESSION_free(session);
  }
}

TEST_F(TlsStreamTest, ClientCertificatesAreAskedForAsConfigured) {
  const Identity authority, stranger;
  const Identity good(&authority), bad(&stranger);
  options_.client_ca_file = authority.certificate_file;
  struct Case {
    ClientCertificate mode;
    const Identity* shows;
    bool works;
  };
  for (const Case& c : {Case{ClientCertificate::kOptional, nullptr, true},
                        Case{ClientCertificate::kOptional, &good, true},
                        Case{ClientCertificate::kOptional, &bad, false},
                        Case{ClientCertificate::kRequired, nullptr, false},
                        Case{ClientCertificate::kRequired, &good, true},
                        Case{ClientCertificate::kRequired, &bad, false}}) {
    options_.client_certificate = c.mode;
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      context_.reset();
      ConnectFully({.shows = c.shows, .version = version});
      EXPECT_EQ(Speaks(), c.works) << static_cast<int>(c.mode) << " " << version;
      EXPECT_EQ(stream_->ended(), !c.works);
      stream_->SayGoodbye();
      Hear();
      EXPECT_EQ(peer_->failed(), !c.works) << "and is told";
    }
  }
  EXPECT_EQ(metrics_.tls_handshake_fail.Value(), 6u);
  EXPECT_EQ(metrics_.tls_handshake.Value(), 6u);
}

TEST_F(TlsStreamTest, ASessionWithAClientCertificateIsResumedWithIt) {
  const Identity authority;
  const Identity good(&authority);
  options_.client_ca_file = authority.certificate_file;
  options_.client_certificate = ClientCertificate::kRequired;
  ConnectFully({.shows = &good});
  ASSERT_TRUE(Speaks());
  SSL_SESSION* session = SSL_get1_session(peer_->ssl());
  peer_->SayGoodbye();
  ConnectFully({.shows = &good, .session = session});
  EXPECT_TRUE(Speaks());
  EXPECT_EQ(metrics_.tls_resume.Value(), 1u);
  SSL_SESSION_free(session);
}

TEST_F(TlsStreamTest, ReloadTakesTheNewPairForNewConnections) {
  ConnectFully({.trusts = &identity_});
  ASSERT_TRUE(Speaks());
  SSL_SESSION* session = SSL_get1_session(peer_->ssl());
  std::unique_ptr<TlsStream> old_stream = std::move(stream_);
  std::unique_ptr<TlsPeer> old_peer = std::move(peer_);
  Fd old_ours = std::move(ours_), old_theirs = std::move(theirs_);

  EXPECT_TRUE(context_->Reload().ok());
  EXPECT_EQ(metrics_.tls_reload.Value(), 0u) << "nothing has changed";
  const Identity next;
  CopyFile(next.certificate_file, identity_.certificate_file);
  EXPECT_FALSE(context_->Reload().ok()) << "the key is still the old one";
  EXPECT_EQ(metrics_.tls_reload_fail.Value(), 1u);
  EXPECT_THAT(log_.lines().back().text, HasSubstr("is not the key of the certificate"));
  ConnectFully({.trusts = &identity_});
  EXPECT_TRUE(Speaks()) << "with the pair of before";

  CopyFile(next.key_file, identity_.key_file);
  EXPECT_TRUE(context_->Reload().ok());
  EXPECT_EQ(metrics_.tls_reload.Value(), 1u);
  EXPECT_THAT(log_.lines().back().text, HasSubstr("new TLS certificate: CN = test"));
  ConnectFully({.trusts = &next});
  EXPECT_TRUE(Speaks());
  ConnectFully({.trusts = &identity_});
  EXPECT_FALSE(Speaks());
  ConnectFully({.trusts = &next, .session = session});
  EXPECT_TRUE(Speaks());
  EXPECT_EQ(metrics_.tls_resume.Value(), 0u) << "a session of before is not resumed";
  SSL_SESSION_free(session);

  stream_ = std::move(old_stream);
  peer_ = std::move(old_peer);
  ours_ = std::move(old_ours);
  theirs_ = std::move(old_theirs);
  plain_.clear();
  peer_->Say("ping");
  Deliver(peer_->Take());
  EXPECT_EQ(plain_, "ping") << "what was open goes on";
}

TEST_F(TlsStreamTest, WhatCannotWorkIsNamed) {
  const auto complaint = [&] {
    const auto made = TlsContext::Create(options_, "test", nullptr);
    return made.ok() ? "OK" : std::string(made.status().message());
  };
  EXPECT_EQ(complaint(), "OK");
  const Identity other;
  options_.key_file = other.key_file;
  EXPECT_EQ(complaint(), absl::StrCat("tls_key_file: \"", other.key_file,
                                      "\" is not the key of the certificate in \"",
                                      identity_.certificate_file, "\""));
  options_.key_file = "/nonexistent/key";
  EXPECT_THAT(complaint(), HasSubstr("tls_key_file: cannot read \"/nonexistent/key\": No such file"));
  options_.key_file = identity_.certificate_file;
  EXPECT_THAT(complaint(), HasSubstr("holds no private key in PEM form"));
  options_.key_file = "";
  EXPECT_THAT(complaint(), HasSubstr("tls_certificate_file: "));
  options_.key_file = identity_.key_file;
  options_.certificate_file = identity_.key_file;
  EXPECT_THAT(complaint(), HasSubstr("holds no certificate in PEM form"));
  options_.certificate_file = "/tmp";
  EXPECT_THAT(complaint(), HasSubstr("tls_certificate_file: cannot read \"/tmp\": Is a directory"));
  options_.certificate_file = identity_.certificate_file;
  options_.client_ca_file = identity_.key_file;
  EXPECT_THAT(complaint(), HasSubstr("tls_client_ca_file: "));
}

TEST_F(TlsStreamTest, AnExpiredCertificateIsAWarning) {
  const Identity old(nullptr, -60);
  config::Tls tls;
  tls.certificate_file = old.certificate_file;
  tls.key_file = old.key_file;
  TlsMaterial material;
  absl::string_view knob;
  ASSERT_TRUE(LoadTls(tls, &material, &knob).ok());
  EXPECT_THAT(material.warning, HasSubstr("expired at 20"));
  ASSERT_TRUE(LoadTls(options_, &material, &knob).ok());
  EXPECT_EQ(material.warning, "");
}

}  // namespace
}  // namespace core
