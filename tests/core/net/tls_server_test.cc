// A server that speaks TLS on its port, and one that admits only some.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client.h"
#include "core/log/memory_log.h"
#include "core/net/server.h"
#include "tests/core/net/tls_peer.h"

namespace core {
namespace {

using testing::HasSubstr;

// Lines: "big N" is answered with N bytes, "bad ..." is refused, any other comes back.
struct LineCodec {
  struct Request {
    std::string line;
  };
  struct ReplyContext {};
  struct Response {
    std::string text;
  };
  static constexpr absl::string_view kTooManyConnections = "busy\n";

  ParseResult Parse(absl::string_view in, Request* req) {
    const size_t end = in.find('\n');
    if (end == absl::string_view::npos) return {};
    req->line = std::string(in.substr(0, end));
    if (req->line == "quit") return {ParseStatus::kQuit, end + 1};
    return {absl::StrContains(req->line, '\x16') ? ParseStatus::kInvalid : ParseStatus::kComplete,
            end + 1};
  }
  static ReplyContext ContextOf(const Request&) { return {}; }
  static Response Rejection(const Request&) { return {"error"}; }
  static void Compose(const ReplyContext&, Response&& rsp, OutBuffer* out) {
    out->Append(Bytes(std::move(rsp.text)));
    out->Append("\n");
  }
};

struct LineService {
  struct Connection {};
  Connection Connect() { return {}; }
  void Execute(Connection&, const LineCodec::Request& req, Reply<LineCodec::Response> reply) {
    uint64_t n = 0;
    const absl::string_view line = req.line;
    const bool big = absl::StartsWith(line, "big ") && absl::SimpleAtoi(line.substr(4), &n);
    std::move(reply).Send({big ? std::string(n, 'b') : req.line});
  }
  void EndTurn() {}
};

// TLS over a blocking socket.
class TlsClient {
 public:
  explicit TlsClient(uint16_t port, const TlsPeer::Options& options = {})
      : tcp_(port), peer_(options) {
    for (int i = 0; i < 10 && !peer_.Handshake() && !peer_.failed(); ++i) {
      tcp_.Say(peer_.Take());
      Listen();
    }
    tcp_.Say(peer_.Take());
  }
  bool Say(absl::string_view plain) {
    peer_.Say(plain);
    return tcp_.Say(peer_.Take());
  }
  std::string Hear(size_t n) {
    while (peer_.heard().size() - taken_ < n && Listen()) {
    }
    const std::string heard = peer_.heard().substr(taken_, n);
    taken_ += heard.size();
    return heard;
  }
  void SayGoodbye() {
    peer_.SayGoodbye();
    tcp_.Say(peer_.Take());
  }
  // Everything until the server's goodbye; false without one.
  bool HearsGoodbye() {
    while (!peer_.heard_goodbye() && Listen()) {
    }
    return peer_.heard_goodbye();
  }
  TestClient& tcp() { return tcp_; }
  TlsPeer& peer() { return peer_; }

 private:
  // Waits for some bytes. False at the end.
  bool Listen() {
    if (tcp_.Silent(5000)) return false;
    char buffer[65536];
    const ssize_t n = ::recv(tcp_.fd(), buffer, sizeof(buffer), 0);
    if (n <= 0) return false;
    peer_.Give(absl::string_view(buffer, static_cast<size_t>(n)));
    return !peer_.failed();
  }
  TestClient tcp_;
  TlsPeer peer_;
  size_t taken_ = 0;
};

class TlsServerTest : public testing::Test {
 protected:
  TlsServerTest() {
    listen_.tls.certificate_file = identity_.certificate_file;
    listen_.tls.key_file = identity_.key_file;
  }
  void Start(config::Server limits = {}, int workers = 2) {
    connections_ = std::make_unique<ConnectionLimit>(limits.connections_max);
    pool_ = std::make_unique<WorkerPool>(workers, &clock_, &registry_);
    // TLS is epoll's, here watched by a ring where there is one.
    ASSERT_TRUE(pool_->ChooseIo(config::Server::Io::kAuto, nullptr).ok());
    auto server = Server<LineCodec, LineService>::Create(
        limits, listen_, "test", pool_.get(), &registry_, connections_.get(), LineCodec(),
        [](Worker&) { return std::make_unique<LineService>(); }, &log_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    pool_->Start();
  }
  void TearDown() override {
    if (pool_ != nullptr) pool_->Stop();
    server_.reset();
  }
  bool Eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 5000 && !condition(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return condition();
  }
  uint16_t port() const { return server_->port(); }

  const Identity identity_;
  RealClock clock_;
  Registry registry_;
  MemoryLog log_;
  config::Listener listen_;
  std::unique_ptr<ConnectionLimit> connections_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<Server<LineCodec, LineService>> server_;
};

TEST_F(TlsServerTest, AnswersManyConnectionsOnAllWorkers) {
  Start();
  std::vector<std::unique_ptr<TlsClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<TlsClient>(
        port(), TlsPeer::Options{.version = i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION}));
  }
  for (int round = 0; round < 20; ++round) {
    for (auto& client : clients) client->Say(absl::StrCat("echo ", round, "\n"));
    for (auto& client : clients) {
      const std::string expected = absl::StrCat("echo ", round, "\n");
      EXPECT_EQ(client->Hear(expected.size()), expected);
    }
  }
  EXPECT_EQ(server_->metrics().tls_handshake.Value(), 8u);
  EXPECT_EQ(server_->metrics().request.Value(), 160u);
}

TEST_F(TlsServerTest, SaysGoodbyeAfterTheLastAnswer) {
  Start();
  TlsClient half(port());
  half.Say("one\ntwo\nunfinished");
  half.SayGoodbye();
  EXPECT_EQ(half.Hear(8), "one\ntwo\n");
  EXPECT_TRUE(half.HearsGoodbye());
  TlsClient quits(port());
  quits.Say("one\nquit\n");
  EXPECT_EQ(quits.Hear(4), "one\n");
  EXPECT_TRUE(quits.HearsGoodbye());
  TlsClient drained(port());
  drained.Say("one\n");
  EXPECT_EQ(drained.Hear(4), "one\n");
  server_->BeginDrain();
  EXPECT_TRUE(drained.HearsGoodbye());
  EXPECT_TRUE(Eventually([&] { return server_->live() == 0; }));
}

TEST_F(TlsServerTest, ADrainWaitsForTheRestOfARecord) {
  Start();
  TlsClient client(port());
  client.Say("warm\n");
  EXPECT_EQ(client.Hear(5), "warm\n");
  client.peer().Say("last\n");
  const std::string record = client.peer().Take();
  client.tcp().Say(absl::string_view(record).substr(0, 9));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server_->BeginDrain();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  client.tcp().Say(absl::string_view(record).substr(9));
  EXPECT_EQ(client.Hear(5), "last\n");
  EXPECT_TRUE(client.HearsGoodbye());
}

TEST_F(TlsServerTest, ASlowReaderGetsEveryByteAndTheServerOwesABoundedNumber) {
  config::Server limits;
  limits.output_max = 2 << 20;
  Start(limits);
  TlsClient client(port());
  constexpr int kRequests = 40;
  constexpr size_t kBytes = 1 << 20;
  for (int i = 0; i < kRequests; ++i) client.Say(absl::StrCat("big ", kBytes, "\n"));
  ASSERT_TRUE(Eventually([&] { return server_->metrics().read_pause.Value() > 0; }));
  EXPECT_LT(server_->metrics().request.Value(), uint64_t{kRequests});
  EXPECT_EQ(client.Hear(kRequests * (kBytes + 1)).size(), kRequests * (kBytes + 1));
  EXPECT_EQ(server_->metrics().written_bytes.Value(), kRequests * (kBytes + 1));
}

TEST_F(TlsServerTest, ALongRequestInRecordsOfOneByte) {
  Start();
  TlsClient client(port());
  const std::string line = std::string(100'000, 'x') + "\n";
  client.peer().Say(line, 1);
  const std::string wire = client.peer().Take();
  std::thread writer([&] { client.tcp().Say(wire); });
  writer.join();
  EXPECT_TRUE(client.Hear(line.size()) == line);
}

TEST_F(TlsServerTest, PlaintextOnItsPortIsClosedAndCounted) {
  Start();
  TestClient client(port());
  client.Say("echo hi\n");
  EXPECT_THAT(client.HearAll(), testing::Not(HasSubstr("echo")));
  EXPECT_TRUE(Eventually([&] { return server_->live() == 0; }));
  EXPECT_EQ(server_->metrics().tls_handshake_fail.Value(), 1u);
  EXPECT_EQ(server_->metrics().request.Value(), 0u);
}

TEST_F(TlsServerTest, AHelloOnAPlaintextPortIsAnOrdinaryMistake) {
  listen_.tls = {};
  Start();
  TestClient client(port());
  TlsPeer peer({});
  peer.Handshake();
  client.Say(peer.Take());
  client.Say("\n");
  client.Say("echo hi\n");
  std::string heard;
  while (!absl::EndsWith(heard, "echo hi\n")) {
    const std::string more = client.Hear(1);
    ASSERT_FALSE(more.empty()) << heard;
    heard += more;
  }
  EXPECT_THAT(heard, testing::StartsWith("error\n"));
}

TEST_F(TlsServerTest, AHandshakeThatTakesTooLongIsClosed) {
  listen_.tls.handshake_timeout = absl::Milliseconds(50);
  Start();
  TestClient silent(port());
  EXPECT_TRUE(silent.HearsEnd());
  EXPECT_TRUE(Eventually([&] { return server_->live() == 0; }));
  EXPECT_EQ(server_->metrics().tls_handshake_fail.Value(), 1u);
}

TEST_F(TlsServerTest, AReset) {
  Start();
  for (int i = 0; i < 50; ++i) {
    TlsPeer peer({});
    TestClient client(port());
    peer.Handshake();
    const std::string hello = peer.Take();
    client.Say(absl::string_view(hello).substr(0, static_cast<size_t>(i) * 5));
    const struct linger reset = {1, 0};
    ::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  }
  TlsClient good(port());
  good.Say("still here\n");
  EXPECT_EQ(good.Hear(11), "still here\n");
  EXPECT_TRUE(Eventually([&] { return server_->live() == 1; }));
}

TEST_F(TlsServerTest, PastTheLimitOnConnectionsThereIsNoText) {
  config::Server limits;
  limits.connections_max = 1;
  Start(limits);
  TlsClient first(port());
  first.Say("one\n");
  EXPECT_EQ(first.Hear(4), "one\n");
  TestClient second(port());
  EXPECT_EQ(second.HearAll(), "");
  EXPECT_EQ(server_->metrics().connection_reject.Value(), 1u);
}

TEST_F(TlsServerTest, AUnixSocketBesideItIsPlain) {
  listen_.unix_socket = absl::StrCat("/tmp/mp_tls_server_test_", ::getpid());
  listen_.allow = {"10.0.0.0/8"};
  Start();
  EXPECT_EQ(server_->where(),
            absl::StrCat("127.0.0.1:", port(), " (TLS) and unix:", listen_.unix_socket));
  TestClient local(listen_.unix_socket);
  local.Say("hello\n");
  EXPECT_EQ(local.Hear(6), "hello\n");
}

TEST_F(TlsServerTest, OnlyThoseAllowedGetIn) {
  listen_.tls = {};
  listen_.allow = {"10.0.0.0/8", "::1/128"};
  Start();
  TestClient client(port());
  client.Say("hello\n");
  EXPECT_EQ(client.HearAll(), "");
  TestClient again(port());
  EXPECT_EQ(again.HearAll(), "");
  EXPECT_EQ(server_->metrics().connection_forbid.Value(), 2u);
  EXPECT_EQ(server_->metrics().connection_accept.Value(), 0u);
  EXPECT_EQ(connections_->open(), 0u);
  ASSERT_EQ(log_.lines().size(), 1u);
  EXPECT_THAT(log_.lines()[0].text, HasSubstr("test: 127.0.0.1:"));
  EXPECT_THAT(log_.lines()[0].text, HasSubstr(" refused, its address is not in allow"));
}

TEST_F(TlsServerTest, TheLoopbackIsAllowedWhereItIsNamed) {
  listen_.tls = {};
  listen_.host = "::";
  listen_.allow = {"127.0.0.0/8"};  // The peer comes as ::ffff:127.0.0.1.
  Start();
  TestClient client(port());
  client.Say("hello\n");
  EXPECT_EQ(client.Hear(6), "hello\n");
}

}  // namespace
}  // namespace core
