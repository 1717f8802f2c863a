// Both admin ports over real sockets: answers, limits, garbage, slow and silent peers, and the end.

#include "core/admin/admin.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/fd.h"
#include "core/log/memory_log.h"

namespace core {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

// A blocking client that gives up after ten seconds.
class Client {
 public:
  explicit Client(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }

  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }

  Client& Send(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return *this;
  }

  void HalfClose() { shutdown(fd_.get(), SHUT_WR); }

  // Everything up to and including `end`, or all there was when the peer closed first.
  std::string ReadUntil(absl::string_view end) {
    while (!absl::StrContains(buffer_, end)) {
      char chunk[4096];
      const ssize_t n = recv(fd_.get(), chunk, sizeof(chunk), 0);
      if (n < 0) ADD_FAILURE() << "no answer: " << buffer_;
      if (n <= 0) return std::exchange(buffer_, "");
      buffer_.append(chunk, static_cast<size_t>(n));
    }
    const size_t size = buffer_.find(std::string(end)) + end.size();
    std::string text = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return text;
  }

  std::string ReadAll() {
    char chunk[4096];
    for (;;) {
      const ssize_t n = recv(fd_.get(), chunk, sizeof(chunk), 0);
      if (n < 0 && errno != ECONNRESET) ADD_FAILURE() << "not closed: " << strerror(errno);
      if (n <= 0) return std::exchange(buffer_, "");
      buffer_.append(chunk, static_cast<size_t>(n));
    }
  }

 private:
  Fd fd_;
  bool connected_ = false;
  std::string buffer_;
};

class AdminTest : public testing::Test {
 protected:
  void SetUp() override {
    config_.port = 0;
    config_.http_port = 0;
  }

  void Start() {
    hooks_.metrics = &registry_;
    hooks_.product = "thing";
    hooks_.version = "1.2.3";
    auto admin = Admin::Start(config_, hooks_, &log_);
    ASSERT_TRUE(admin.ok()) << admin.status();
    admin_ = *std::move(admin);
  }

  std::string Http(absl::string_view request) {
    Client client(admin_->http_port());
    client.Send(request);
    return client.ReadAll();
  }
  std::string Get(absl::string_view path) {
    return Http(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: x\r\n\r\n"));
  }
  std::string Text(absl::string_view line) {
    Client client(admin_->port());
    client.Send(absl::StrCat(line, "\r\nquit\r\n"));
    return client.ReadAll();
  }

  Registry registry_;
  MetricGroup group_{&registry_, "t"};
  Counter counter_{&group_, "done_total", "Things done."};
  MemoryLog log_;
  config::Admin config_;
  AdminHooks hooks_;
  std::unique_ptr<Admin> admin_;
};

TEST_F(AdminTest, TextAnswersItsCommands) {
  Start();
  counter_.Add(7);
  EXPECT_EQ(Text("version"), "VERSION 1.2.3\r\n");
  EXPECT_EQ(Text("stats t_"), "STAT t_done_total 7\r\nEND\r\n");
  EXPECT_THAT(Text("stats"), HasSubstr("STAT t_done_total 7\r\n"));
  EXPECT_THAT(Text("help"), HasSubstr("stats [prefix]"));
}

TEST_F(AdminTest, TextStaysOpenAfterAnError) {
  Start();
  Client client(admin_->port());
  client.Send("get a\r\n\nversions\nversion\n");
  EXPECT_EQ(client.ReadUntil("1.2.3\r\n"), "ERROR\r\nERROR\r\nERROR\r\nVERSION 1.2.3\r\n");
  client.Send("quit\n");
  EXPECT_EQ(client.ReadAll(), "");
}

TEST_F(AdminTest, TextAnswersAHalfClosedClient) {
  Start();
  Client client(admin_->port());
  client.Send("version\n");
  client.HalfClose();
  EXPECT_EQ(client.ReadAll(), "VERSION 1.2.3\r\n");
}

TEST_F(AdminTest, TextClosesAnEndlessLine) {
  Start();
  EXPECT_EQ(Client(admin_->port()).Send(std::string(100'000, 'x')).ReadAll().substr(0, 5), "ERROR");
  EXPECT_EQ(Text("version"), "VERSION 1.2.3\r\n");
}

TEST_F(AdminTest, TextServesManyClientsAndRefusesTheRest) {
  Start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 64; ++i) {
    clients.push_back(std::make_unique<Client>(admin_->port()));
    clients.back()->Send("version\n");
    ASSERT_EQ(clients.back()->ReadUntil("\n"), "VERSION 1.2.3\r\n") << i;
  }
  EXPECT_EQ(Client(admin_->port()).ReadAll(), "ERROR too many connections\r\n");
  clients[3]->Send("quit\n");
  EXPECT_EQ(clients[3]->ReadAll(), "");
  clients[4]->Send("version\n");
  EXPECT_EQ(clients[4]->ReadUntil("\n"), "VERSION 1.2.3\r\n");
}

TEST_F(AdminTest, TextRunsTheCommandsOfTheProduct) {
  std::string seen;
  hooks_.commands["faults"] = {"Sets faults.", [&](absl::string_view args) {
                                 seen = std::string(args);
                                 return std::string("one\ntwo\r\nOK");
                               }};
  Start();
  EXPECT_EQ(Text("faults error=10  delay=5"), "one\r\ntwo\r\nOK\r\n");
  EXPECT_EQ(seen, "error=10  delay=5");
  EXPECT_THAT(Text("help"), HasSubstr("faults: Sets faults.\r\n"));
}

TEST_F(AdminTest, HttpServesMetricsThatMove) {
  Start();
  counter_.Add(1);
  const std::string first = Get("/metrics");
  EXPECT_THAT(first, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(first, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(first, HasSubstr("\nt_done_total 1\n"));
  counter_.Add(1);
  EXPECT_THAT(Get("/metrics?x=y"), HasSubstr("\nt_done_total 2\n"));
}

TEST_F(AdminTest, HttpServesItsPages) {
  hooks_.pages["/extra.json"] = {"More.", "application/json", [] { return std::string("{}"); }};
  Start();
  EXPECT_THAT(Get("/healthz"), HasSubstr("\r\n\r\nok\n"));
  EXPECT_THAT(Get("/version"), HasSubstr("\r\n\r\nthing 1.2.3\n"));
  EXPECT_THAT(Get("/"), HasSubstr("/extra.json  More.\n"));
  EXPECT_THAT(Get("/extra.json"), HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_THAT(Get("/extraXjson"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Get("/healthz/"), StartsWith("HTTP/1.1 404"));
}

TEST_F(AdminTest, HttpSaysWhyItIsNotReady) {
  std::atomic<bool> ready{true};
  hooks_.ready = [&] {
    return ready ? absl::OkStatus() : absl::UnavailableError("no connection to the backend");
  };
  Start();
  EXPECT_THAT(Get("/readyz"), StartsWith("HTTP/1.1 200"));
  ready = false;
  EXPECT_THAT(Get("/readyz"), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(Get("/readyz"), HasSubstr("\r\n\r\nno connection to the backend\n"));
  EXPECT_THAT(Get("/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(AdminTest, HttpRefusesWhatOnlyChanges) {
  Start();
  EXPECT_THAT(Http("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"),
              StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Http("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 405"));
}

TEST_F(AdminTest, HttpHeadHasNoBody) {
  Start();
  const std::string answer = Http("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(absl::EndsWith(answer, "\r\n\r\n")) << answer;
}

TEST_F(AdminTest, HttpIgnoresRanges) {
  Start();
  std::string ranges = "bytes=0-1";
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&ranges, ",0-1");
  const std::string answer =
      Http(absl::StrCat("GET /version HTTP/1.1\r\nHost: x\r\nRange: ", ranges, "\r\n\r\n"));
  EXPECT_LT(answer.size(), 2000u);
}

TEST_F(AdminTest, HttpSurvivesGarbage) {
  Start();
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  std::vector<std::string> inputs = {
      "\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
      "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "GET / HTTP/1.1\r\nRange: bytes=99999999999999999999999-1\r\n\r\n",
      "GET /%zz%00%u12 HTTP/1.1\r\n\r\n",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
      "POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=\r\n\r\n--",
      absl::StrCat("GET /", std::string(100'000, 'a'), " HTTP/1.1\r\n\r\n"),
      absl::StrCat("GET / HTTP/1.1\r\nX: ", std::string(100'000, 'a'), "\r\n\r\n"),
      std::string("GET /\0 HTTP/1.1\r\n\r\n", 19),
  };
  for (int i = 0; i < 100; ++i) {
    std::string bytes(random() % 300, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    inputs.push_back(bytes + "\r\n\r\n");
  }
  for (const std::string& input : inputs) {
    Client client(admin_->http_port());
    client.Send(input);
    client.HalfClose();
    const std::string answer = client.ReadAll();
    EXPECT_THAT(answer, AnyOf("", StartsWith("HTTP/1.1 ")));
  }
  EXPECT_THAT(Get("/healthz"), StartsWith("HTTP/1.1 200"));
}

TEST_F(AdminTest, HttpTakesARequestInSmallPieces) {
  Start();
  Client client(admin_->http_port());
  for (const char c : absl::string_view("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")) {
    client.Send(absl::string_view(&c, 1));
  }
  EXPECT_THAT(client.ReadAll(), StartsWith("HTTP/1.1 200"));
}

TEST_F(AdminTest, SilentClientsDelayOthersAtMostByTheExchangeLimit) {
  Start();
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 6; ++i) silent.push_back(std::make_unique<Client>(admin_->http_port()));
  silent[0]->Send("GET /healthz HTTP/1.1\r\nHo");   // Never finished.
  for (auto& client : silent) client->HalfClose();  // End of input: no reason to wait for more.
  EXPECT_THAT(Get("/healthz"), StartsWith("HTTP/1.1 200"));

  std::vector<std::unique_ptr<Client>> stuck;
  for (int i = 0; i < 3; ++i) stuck.push_back(std::make_unique<Client>(admin_->http_port()));
  stuck[0]->Send("GET / HTTP/1.1\r\n");
  EXPECT_THAT(Get("/healthz"), StartsWith("HTTP/1.1 200"));  // Once their five seconds are over.
  EXPECT_EQ(Text("version"), "VERSION 1.2.3\r\n");           // The text port does not notice.
}

TEST_F(AdminTest, SaysWhichPortIsTaken) {
  Start();
  config::Admin second = config_;
  second.port = admin_->port();
  Registry registry;
  AdminHooks hooks;
  hooks.metrics = &registry;
  auto taken = Admin::Start(second, hooks, &log_);
  ASSERT_FALSE(taken.ok());
  EXPECT_THAT(std::string(taken.status().message()), StartsWith("admin.port: "));
  EXPECT_THAT(std::string(taken.status().message()),
              HasSubstr(absl::StrCat("127.0.0.1:", admin_->port(), ": Address already in use")));
}

TEST_F(AdminTest, SaysWhichHttpPortIsTaken) {
  Start();
  config::Admin second = config_;
  second.http_port = admin_->http_port();
  Registry registry;
  AdminHooks hooks;
  hooks.metrics = &registry;
  auto taken = Admin::Start(second, hooks, &log_);
  ASSERT_FALSE(taken.ok());
  EXPECT_THAT(std::string(taken.status().message()),
              testing::ContainsRegex("^admin.http_port: .*Address already in use"));
}

TEST_F(AdminTest, ServesOnlyWhatIsEnabled) {
  config_.enabled = false;
  config_.http_enabled = false;
  Start();
  EXPECT_EQ(admin_->port(), 0);
  EXPECT_EQ(admin_->http_port(), 0);
}

TEST_F(AdminTest, LogsItsPorts) {
  Start();
  std::string text;
  for (const auto& line : log_.lines()) absl::StrAppend(&text, line.text, "\n");
  EXPECT_THAT(text, HasSubstr(absl::StrCat("text on 127.0.0.1:", admin_->port())));
  EXPECT_THAT(text, HasSubstr(absl::StrCat("HTTP on 127.0.0.1:", admin_->http_port())));
}

TEST_F(AdminTest, StopClosesPortsAndConnectionsWithoutWaiting) {
  Start();
  const uint16_t port = admin_->port();
  const uint16_t http_port = admin_->http_port();
  Client text(port);
  text.Send("version\n").ReadUntil("\n");
  Client stuck(http_port);
  stuck.Send("GET / HT");
  const auto before = std::chrono::steady_clock::now();
  admin_->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(4));
  EXPECT_EQ(text.ReadAll(), "");
  EXPECT_EQ(stuck.ReadAll(), "");
  EXPECT_FALSE(Client(port).connected());
  EXPECT_FALSE(Client(http_port).connected());
  admin_->Stop();
  EXPECT_EQ(admin_->port(), 0);
}

TEST_F(AdminTest, ScrapesManyAtOnceWhileCounting) {
  Start();
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        counter_.Add();
        const std::string answer = t % 2 == 0 ? Get("/metrics") : Text("stats");
        EXPECT_THAT(answer, HasSubstr("t_done_total "));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(Text("stats t_done"), StartsWith("STAT t_done_total 120\r\n"));
}

}  // namespace
}  // namespace core
