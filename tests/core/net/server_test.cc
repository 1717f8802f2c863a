// The runtime with a protocol of its own: lines "echo X", "later X" (answered from another thread,
// out of order), "hold" until "release", "hush" that is told nothing at "unhush", "big N", "take N" with as many bytes behind it, "drop" (a service bug), "bad", "die", "quit"; "open" is
// answered in parts, what others say in "part X" and "last X".
#include "core/net/server.h"

#include <dirent.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client.h"
#include "gtest/gtest.h"

namespace core {
namespace {

struct LineCodec {
  struct Request {
    std::string line;
  };
  struct ReplyContext {
    uint8_t unused = 0;
  };
  struct Response {
    std::string text;
    Bytes pinned = Bytes();  // Before the text.
    bool silent = false;     // Nothing of it is told.
  };
  static constexpr absl::string_view kTooManyConnections = "busy\n";

  ParseResult Parse(absl::string_view in, Request* req) {
    const size_t end = in.find('\n');
    if (end == absl::string_view::npos) return {};
    req->line = std::string(in.substr(0, end));
    size_t n = 0;
    if (absl::StartsWith(req->line, "take ") && absl::SimpleAtoi(req->line.substr(5), &n)) {
      if (in.size() < end + 1 + n) return {ParseStatus::kNeedMore, 0, end + 1 + n};
      req->line += absl::StrCat(" ", std::hash<std::string>()(std::string(in.substr(end + 1, n))));
      return {ParseStatus::kComplete, end + 1 + n};
    }
    if (req->line == "quit") return {ParseStatus::kQuit, end + 1};
    if (req->line == "bad") return {ParseStatus::kInvalid, end + 1};
    if (req->line == "die") return {ParseStatus::kInvalid, end + 1, 0, true};
    return {ParseStatus::kComplete, end + 1};
  }
  static absl::string_view FirstKey(absl::string_view in) {
    return absl::StartsWith(in, "wish ") ? in.substr(5, in.find('\n') - 5) : absl::string_view();
  }
  bool CanMove() const { return true; }
  bool AtRest() const { return true; }  // What is left over always begins a request.
  static ReplyContext ContextOf(const Request&) { return {}; }
  static Response Rejection(const Request& req) { return {"no " + req.line}; }
  static void Compose(const ReplyContext&, Response&& rsp, OutBuffer* out) {
    if (rsp.silent) return;
    out->Append(std::move(rsp.pinned));
    out->Append(Bytes(std::move(rsp.text)));
    out->Append("\n");
  }
};

// Answers from a thread of its own, in an order of its own.
class Elsewhere {
 public:
  Elsewhere() : thread_([this] { Run(); }) {}
  ~Elsewhere() { Stop(); }
  // Answers no more. Whom it might be waking must still be there.
  void Stop() {
    if (stop_.exchange(true)) return;
    thread_.join();
    MutexLock lock(mu_);
    waiting_.clear();
  }
  void Add(std::string text, Reply<LineCodec::Response> reply) {
    MutexLock lock(mu_);
    waiting_.emplace_back(std::move(text), std::move(reply));
  }

 private:
  void Run() {
    std::mt19937 rng(1);
    while (!stop_.load()) {
      std::vector<std::pair<std::string, Reply<LineCodec::Response>>> batch;
      {
        MutexLock lock(mu_);
        batch.swap(waiting_);
      }
      std::shuffle(batch.begin(), batch.end(), rng);
      for (auto& [text, reply] : batch) std::move(reply).Send({text});
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  Mutex mu_;
  std::vector<std::pair<std::string, Reply<LineCodec::Response>>> waiting_ ABSL_GUARDED_BY(mu_);
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

struct LineService {
  struct Connection {};
  explicit LineService(Elsewhere* thread) : elsewhere(thread) {}
  Connection Connect() { return {}; }
  void Execute(Connection&, const LineCodec::Request& req, Reply<LineCodec::Response> reply) {
    const absl::string_view line = req.line;
    uint64_t n = 0;
    executed.fetch_add(1);
    if (absl::StartsWith(line, "later ")) return elsewhere->Add(req.line, std::move(reply));
    if (line == "drop") return;
    if (line == "open") {
      reply.SendPart({"opened"});
      return open.push_back(std::move(reply));
    }
    if (absl::StartsWith(line, "part ")) {
      for (auto& one : open) {
        one.SendPart({req.line});
        unsent.store(static_cast<int64_t>(one.unsent().value_or(-1)));
      }
    }
    if (absl::StartsWith(line, "last ")) {
      for (auto& one : open) std::move(one).Send({req.line});
      open.clear();
    }
    if (absl::StartsWith(line, "hold")) return held.push_back(std::move(reply));
    if (line == "hush") return hushed.push_back(std::move(reply));
    if (line == "unhush") {
      for (auto& one : std::exchange(hushed, {})) std::move(one).Send({"", {}, true});
    }
    if (line == "release") {
      for (auto& one : held) std::move(one).Send({"held"});
      held.clear();
    }
    if (absl::StartsWith(line, "pin ") && absl::SimpleAtoi(line.substr(4), &n)) {
      pinned.assign(n, 'p');
      pins.fetch_add(1);
      const auto release = [](void* count) { static_cast<std::atomic<int>*>(count)->fetch_sub(1); };
      std::move(reply).Send({"", Bytes::Pinned(pinned, &pins, release).Briefly()});
      pins_after_answer.store(pins.load());
      pinned.assign(n, 'x');  // Nobody looks at it any more.
      return;
    }
    if (absl::StartsWith(line, "big ") && absl::SimpleAtoi(line.substr(4), &n)) {
      return std::move(reply).Send({std::string(n, 'b')});
    }
    std::move(reply).Send({req.line});
  }
  bool Foresee(const LineCodec::Request& req) { return !absl::StartsWith(req.line, "big "); }
  void Foretell(absl::string_view key) {
    MutexLock lock(foretold_mu);
    foretold.emplace_back(key);
  }
  static std::vector<std::string> Foretold() {
    MutexLock lock(foretold_mu);
    return std::exchange(foretold, {});
  }
  static inline Mutex foretold_mu;
  static inline std::vector<std::string> foretold ABSL_GUARDED_BY(foretold_mu);
  void Opened(Connection&, int fd) { opened.fetch_add(fd >= 0); }
  void Closed(Connection&, CloseReason reason) { closed[static_cast<int>(reason)].fetch_add(1); }
  void EndTurn() {}
  Elsewhere* elsewhere;
  std::vector<Reply<LineCodec::Response>> held, open, hushed;
  static inline std::atomic<int64_t> unsent{0};
  static inline std::atomic<int> opened{0}, closed[4], executed{0};
  std::string pinned;
  static inline std::atomic<int> pins{0}, pins_after_answer{-1};
};

// Over epoll and over io_uring.
class ServerTest : public testing::TestWithParam<config::Server::Io> {
 protected:
  void SetUp() override {
    if (GetParam() == config::Server::Io::kEpoll) return;
    Registry registry;
    RingMetrics metrics(&registry);
    const auto ring = Ring::Create({}, &metrics);
    if (!ring.ok()) GTEST_SKIP() << ring.status();
  }
  void Start(config::Server limits = {}, int workers = 2) {
    LineService::opened.store(0);
    LineService::executed.store(0);
    for (auto& count : LineService::closed) count.store(0);
    limits_ = limits;
    connections_ = std::make_unique<ConnectionLimit>(limits.connections_max);
    pool_ = std::make_unique<WorkerPool>(workers, &clock_, &registry_);
    ASSERT_TRUE(pool_->ChooseIo(GetParam(), nullptr, ring_).ok());
    auto server = Server<LineCodec, LineService>::Create(
        limits, listen_, "test", pool_.get(), &registry_,
        connections_.get(), LineCodec(),
        [this](Worker&) { return std::make_unique<LineService>(&elsewhere_); });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    pool_->Start();
  }
  void TearDown() override {
    if (pool_ != nullptr) pool_->Stop();
    elsewhere_.Stop();
    server_.reset();
  }
  bool Eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 5000 && !condition(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return condition();
  }
  uint16_t port() const { return server_->port(); }
  double StarvedTimes() const {
    double times = -1;
    registry_.Visit([&times](const Registry::Sample& sample) {
      if (sample.name == "core_net_io_uring_starve_total") times = sample.value;
    });
    return times;
  }
  // What the process has used of CPUs.
  static int64_t CpuMs() {
    struct timespec used = {};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1'000'000;
  }

  RealClock clock_;
  Registry registry_;
  config::Server limits_;
  config::Listener listen_;
  Ring::Options ring_;
  Elsewhere elsewhere_;
  std::unique_ptr<ConnectionLimit> connections_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<Server<LineCodec, LineService>> server_;
};

TEST_P(ServerTest, AnswersOneRequest) {
  Start();
  TestClient client(port());
  client.Say("echo hi\n");
  EXPECT_EQ(client.Hear(8), "echo hi\n");
}

TEST_P(ServerTest, AnswersOverAUnixSocketToo) {
  listen_.unix_socket = absl::StrCat("/tmp/mp_server_test_", ::getpid());
  Start();
  TestClient tcp(port());
  TestClient local(listen_.unix_socket);
  tcp.Say("echo tcp\n");
  local.Say("echo unix\n");
  EXPECT_EQ(local.Hear(10), "echo unix\n");
  EXPECT_EQ(tcp.Hear(9), "echo tcp\n");
  EXPECT_EQ(server_->live(), 2);
  server_->BeginDrain();
  EXPECT_TRUE(local.HearsEnd());
  EXPECT_TRUE(Eventually([&] { return ::access(listen_.unix_socket.c_str(), F_OK) != 0; }));
}

// What a client says and then leaves at once is done all the same; the kernel tells of both together.
TEST_P(ServerTest, WhatAUnixPeerSaidBeforeItLeftIsDone) {
  listen_.unix_socket = absl::StrCat("/tmp/mp_server_test_", ::getpid());
  Start({}, 1);
  TestClient holder(port());
  for (int i = 0; i < 100; ++i) {
    TestClient brief(listen_.unix_socket);
    brief.Say("hold\n");
  }
  EXPECT_TRUE(Eventually([] { return LineService::executed.load() == 100; }));
  holder.Say("release\n");
  EXPECT_EQ(holder.Hear(8), "release\n");
  EXPECT_TRUE(Eventually([&] { return server_->live() == 1; }));
}

// More than may be unanswered at a time: the rest is read when there is room, without spinning.
TEST_P(ServerTest, AUnixPeerThatLeftIsReadToTheEndWhenThereIsRoom) {
  listen_.unix_socket = absl::StrCat("/tmp/mp_server_test_", ::getpid());
  config::Server limits;
  limits.in_flight_max = 10;
  Start(limits, 1);
  {
    TestClient brief(listen_.unix_socket);
    std::string asked;
    for (int i = 0; i < 30; ++i) asked += "hush\n";
    brief.Say(asked);
  }
  TestClient other(port());
  for (int round = 1; round <= 3; ++round) {
    // Ten of it, and what the other one said before.
    EXPECT_TRUE(Eventually([&] { return LineService::executed.load() == 11 * round - 1; })) << round;
    const int64_t before_ms = CpuMs();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_LT(CpuMs() - before_ms, 150) << round;
    other.Say("unhush\n");
    EXPECT_EQ(other.Hear(7), "unhush\n");
  }
  EXPECT_TRUE(Eventually([&] { return server_->live() == 1; }));
}

TEST_P(ServerTest, RepliesKeepTheOrderOfRequestsWhateverTheOrderOfAnswers) {
  Start();
  TestClient client(port());
  std::string asked;
  std::mt19937 rng(3);
  for (int i = 0; i < 5000; ++i) {
    absl::StrAppend(&asked, rng() % 2 ? "later " : "echo ", i, "\n");
    if (rng() % 100 == 0) asked += "big 20000\n";
  }
  std::string expected;
  for (size_t at = 0; at < asked.size();) {
    const size_t end = asked.find('\n', at);
    const std::string line = asked.substr(at, end - at);
    expected += (absl::StartsWith(line, "big") ? std::string(20000, 'b') : line) + "\n";
    at = end + 1;
  }
  std::thread writer([&] { client.Say(asked); });
  EXPECT_EQ(client.Hear(expected.size()), expected);
  writer.join();
}

TEST_P(ServerTest, InputMayArriveByteByByte) {
  Start();
  TestClient client(port());
  for (const char c : std::string("echo slow\nlater x\n")) client.Say(absl::string_view(&c, 1));
  EXPECT_EQ(client.Hear(18), "echo slow\nlater x\n");
}

// Long requests between short ones, and halves of them: each way to read hands over to the other at
// every place.
TEST_P(ServerTest, RequestsOfEverySizeAreTakenWhole) {
  Start();
  std::mt19937 rng(7);
  const auto several = [&rng](uint16_t to) {
    std::string asked, expected;
    for (int i = 0; i < 60; ++i) {
      const size_t n = rng() % 10 == 0 ? rng() % 600'000 : rng() % 30'000;
      std::string body(n, '\0');
      for (char& c : body) c = static_cast<char>(rng());
      absl::StrAppend(&asked, "take ", n, "\n", body, "later ", i, "\n");
      absl::StrAppend(&expected, "take ", n, " ", std::hash<std::string>()(body), "\nlater ", i,
                      "\n");
    }
    return std::pair(asked, expected);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this, i, talk = several(port())] {
      TestClient client(port());
      std::thread reader([&] { EXPECT_EQ(client.Hear(talk.second.size()), talk.second); });
      std::mt19937 pieces(i);
      for (absl::string_view rest = talk.first; !rest.empty();) {
        const size_t n = std::min<size_t>(rest.size(), 1 + pieces() % (i == 0 ? 3'000'000 : 90'000));
        client.Say(rest.substr(0, n));
        rest.remove_prefix(n);
        if (pieces() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
      }
      reader.join();
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(server_->metrics().request.Value(), 4 * 120u);
}

// After a long one the next is expected to be long, too, and it may not be.
TEST_P(ServerTest, LongRequestsOneAfterAnother) {
  Start();
  TestClient client(port());
  std::mt19937 rng(11);
  for (int i = 0; i < 300; ++i) {
    std::string asked, expected;
    for (int n = 1 + static_cast<int>(rng() % 3); n > 0; --n) {
      const std::string body(rng() % 3 == 0 ? rng() % 3'000 : rng() % 200'000, static_cast<char>(i));
      absl::StrAppend(&asked, "take ", body.size(), "\n", body);
      absl::StrAppend(&expected, "take ", body.size(), " ", std::hash<std::string>()(body), "\n");
    }
    const size_t first = rng() % 4 == 0 ? rng() % asked.size() : asked.size();
    std::thread writer([&] {
      client.Say(absl::string_view(asked).substr(0, first));
      if (first == asked.size()) return;
      std::this_thread::sleep_for(std::chrono::microseconds(rng() % 500));
      client.Say(absl::string_view(asked).substr(first));
    });
    EXPECT_EQ(client.Hear(expected.size()), expected);
    writer.join();
  }
}

// Of requests that arrived together, the ring tells the keys before it has the first executed; of a
// request that began before, none.
TEST_P(ServerTest, KeysOfOtherConnectionsAreForetold) {
  Start({}, 1);
  std::vector<TestClient> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back(port());
  LineService::Foretold();
  std::vector<std::string> foretold;
  const auto talk = [&](int round) {
    clients[0].Say("take 9\n");
    for (size_t i = 1; i < clients.size(); ++i) clients[i].Say("echo x\n");
    for (size_t i = 1; i < clients.size(); ++i) ASSERT_EQ(clients[i].Hear(7), "echo x\n");
    clients[0].Say("wish bad\n");  // Not a request, but what "take" takes.
    std::string expected = absl::StrCat("take 9 ", std::hash<std::string>()("wish bad\n"), "\n");
    for (size_t i = 1; i < clients.size(); ++i) {
      clients[i].Say(absl::StrCat("wish ", round, "\nwish never\n"));
    }
    ASSERT_EQ(clients[0].Hear(expected.size()), expected);
    for (size_t i = 1; i < clients.size(); ++i) {
      expected = absl::StrCat("wish ", round, "\nwish never\n");
      ASSERT_EQ(clients[i].Hear(expected.size()), expected);
    }
    for (const std::string& key : LineService::Foretold()) {
      ASSERT_EQ(key, absl::StrCat(round));
      foretold.push_back(key);
    }
  };
  const bool ring = GetParam() == config::Server::Io::kIoUring;
  for (int round = 0; round < 5 || (ring && foretold.empty() && round < 5'000); ++round) {
    talk(round);
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(!foretold.empty(), ring);
}

// Many that talk at once, and fewer buffers than that: they wait, and lose nothing.
TEST_P(ServerTest, AllAreServedWhenTheRingsBuffersRunOut) {
  ring_ = {.buffers = 2, .buffer_bytes = 64};
  Start({}, 1);
  std::vector<TestClient> clients;
  for (int i = 0; i < 50; ++i) clients.emplace_back(port());
  for (int round = 0; round < 20; ++round) {
    std::string asked;
    for (int i = 0; i < 20; ++i) absl::StrAppend(&asked, i % 2 ? "later " : "echo ", round, "\n");
    for (auto& client : clients) client.Say(asked);
    for (auto& client : clients) ASSERT_EQ(client.Hear(asked.size()), asked);
  }
  EXPECT_EQ(StarvedTimes() > 0, GetParam() == config::Server::Io::kIoUring);
}

// A peer that reads nothing and is then cut off: what the kernel was still to send stays where it is
// until it has let go of it, while others use the memory that came free.
TEST_P(ServerTest, WhatIsBeingSentOutlivesItsConnection) {
  config::Server limits;
  limits.stall_timeout = absl::Milliseconds(10);
  Start(limits, 1);
  for (int round = 0; round < 2; ++round) {
    std::vector<std::unique_ptr<TestClient>> deaf;
    for (int i = 0; i < 5; ++i) {
      deaf.push_back(std::make_unique<TestClient>(port()));
      deaf.back()->Say("echo x\nbig 20000000\necho y\n");
    }
    const uint64_t stalled = 5 * (static_cast<uint64_t>(round) + 1);
    while (server_->metrics().connection_stall.Value() < stalled) {
      TestClient other(port());
      other.Say("big 3000\n");
      ASSERT_EQ(other.Hear(3001), std::string(3000, 'b') + "\n");
    }
    for (auto& one : deaf) {
      const std::string heard = one->HearAll();
      EXPECT_LT(heard.size(), 20'000'000u);
      EXPECT_EQ(heard.find_first_not_of('b', 7), std::string::npos);
    }
  }
  EXPECT_TRUE(Eventually([&] { return server_->live() == 0; }));
}

// To another process: what was read of the next request goes along, what was not stays in the socket.
TEST_P(ServerTest, AConnectionThatIsGivenAwayLosesNoByte) {
  Start();
  Registry registry;
  WorkerPool heirs(2, &clock_, &registry);
  ASSERT_TRUE(heirs.ChooseIo(GetParam(), nullptr).ok());
  ConnectionLimit connections(100);
  const auto heir = Server<LineCodec, LineService>::Create(
      limits_, listen_, "heir", &heirs, &registry, &connections, LineCodec(),
      [this](Worker&) { return std::make_unique<LineService>(&elsewhere_); });
  ASSERT_TRUE(heir.ok());
  const ScopedRun run(&heirs);
  std::atomic<bool> moved{false};
  std::atomic<uint64_t> rounds{0};
  std::vector<std::thread> talkers;
  for (int i = 0; i < 8; ++i) {
    talkers.emplace_back([&, port = port()] {
      TestClient client(port);
      std::string asked;
      for (int n = 0; n < 300; ++n) absl::StrAppend(&asked, n % 5 ? "echo " : "later ", n, "\n");
      for (bool last = false; !std::exchange(last, moved.load());) {
        std::thread writer([&] {
          for (size_t at = 0; at < asked.size(); at += 101) {
            client.Say(absl::string_view(asked).substr(at, 101));
            if (at % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
          }
        });
        EXPECT_EQ(client.Hear(asked.size()), asked);
        writer.join();
        rounds.fetch_add(1);
      }
    });
  }
  EXPECT_TRUE(Eventually([&] { return server_->live() == 8 && rounds.load() > 8; }));
  server_->BeginDrain([&heir](Fd fd, std::string unread) {
    (*heir)->Inherit(std::move(fd), std::move(unread));
  });
  EXPECT_TRUE(Eventually([&] { return server_->live() == 0; }));
  moved.store(true);
  for (auto& one : talkers) one.join();
  EXPECT_EQ(server_->metrics().connection_give.Value(), 8u);
  EXPECT_EQ(server_->metrics().request.Value() + (*heir)->metrics().request.Value(),
            rounds.load() * 300);
}

TEST_P(ServerTest, AnInvalidRequestIsAnsweredInOrderAndTheConnectionStays) {
  Start();
  TestClient client(port());
  client.Say("later 1\nbad\necho 2\n");
  EXPECT_EQ(client.Hear(22), "later 1\nno bad\necho 2\n");
}

TEST_P(ServerTest, AFatalRequestIsAnsweredAndTheConnectionCloses) {
  Start();
  TestClient client(port());
  client.Say("later 1\ndie\necho never\n");
  EXPECT_EQ(client.HearAll(), "later 1\nno die\n");
}

TEST_P(ServerTest, QuitFlushesWhatWasAskedBefore) {
  Start();
  TestClient client(port());
  client.Say("later 1\nlater 2\nquit\necho never\n");
  EXPECT_EQ(client.HearAll(), "later 1\nlater 2\n");
}

TEST_P(ServerTest, AHalfClosedPeerStillHearsItsAnswers) {
  Start();
  TestClient client(port());
  client.Say("later 1\necho 2\necho unfinished");
  client.HalfClose();
  EXPECT_EQ(client.HearAll(), "later 1\necho 2\n");
}

TEST_P(ServerTest, NoPeerKeepsWhatIsPinnedBriefly) {
  config::Server limits;
  limits.output_max = 64 << 20;
  Start(limits);
  TestClient client(port());
  constexpr size_t kLong = 16 << 20;  // More than sockets take from a peer that does not read.
  for (const size_t n : {size_t{100}, size_t{100'000}, kLong}) {
    LineService::pins_after_answer.store(-1);
    client.Say(absl::StrCat("echo before\npin ", n, "\necho after\n"));
    EXPECT_TRUE(Eventually([] { return LineService::pins_after_answer.load() == 0; })) << n;
    EXPECT_EQ(client.Hear(n + 24), "echo before\n" + std::string(n, 'p') + "\necho after\n");
    // Behind a request that is not answered yet.
    LineService::pins_after_answer.store(-1);
    client.Say(absl::StrCat("hold\npin ", n, "\n"));
    EXPECT_TRUE(Eventually([] { return LineService::pins_after_answer.load() == 0; })) << n;
    client.Say("release\n");
    EXPECT_EQ(client.Hear(n + 14), "held\n" + std::string(n, 'p') + "\nrelease\n");
  }
}

TEST_P(ServerTest, APeerThatDoesNotReadIsNoLongerRead) {
  config::Server limits;
  limits.output_max = 64 * 1024;
  Start(limits);
  TestClient client(port());
  constexpr int kRequests = 2000;
  std::string asked;
  for (int i = 0; i < kRequests; ++i) asked += "big 30000\n";
  std::thread writer([&] { client.Say(asked); });
  ASSERT_TRUE(Eventually([&] { return server_->metrics().read_pause.Value() > 0; }));
  EXPECT_LT(server_->metrics().request.Value(), static_cast<uint64_t>(kRequests));
  EXPECT_EQ(client.Hear(kRequests * 30001u).size(), kRequests * 30001u);
  writer.join();
  EXPECT_EQ(server_->metrics().request.Value(), static_cast<uint64_t>(kRequests));
}

TEST_P(ServerTest, UnansweredRequestsAreBounded) {
  config::Server limits;
  limits.in_flight_max = 8;
  Start(limits);
  TestClient client(port());
  std::string asked, expected;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&asked, "later ", i, "\n");
  client.Say(asked);
  EXPECT_EQ(client.Hear(asked.size()), asked);
  EXPECT_GT(server_->metrics().read_pause.Value(), 0u);
}

TEST_P(ServerTest, BytesOfUnansweredRequestsAreBounded) {
  Start({}, 1);
  TestClient client(port());
  const std::string request = "hold" + std::string(1 << 20, 'x') + "\n";
  constexpr int kRequests = 100;
  std::thread writer([&] {
    for (int i = 0; i < kRequests; ++i) client.Say(request);
  });
  ASSERT_TRUE(Eventually([&] { return server_->metrics().read_pause.Value() > 0; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(server_->metrics().request.Value(), 17u);
  TestClient other(port());
  std::string heard;
  for (int i = 0; i < 5000 && heard.size() < 5 * kRequests; ++i) {  // Room is used again.
    other.Say("release\n");
    ASSERT_EQ(other.Hear(8), "release\n");
    if (!client.Silent(1)) heard += client.Hear(5);
  }
  EXPECT_EQ(heard.size(), 5u * kRequests);
  writer.join();
}

TEST_P(ServerTest, PastTheLimitAConnectionIsToldAndClosed) {
  config::Server limits;
  limits.connections_max = 2;
  Start(limits);
  TestClient a(port()), b(port());
  a.Say("echo a\n");
  b.Say("echo b\n");
  EXPECT_EQ(a.Hear(7) + b.Hear(7), "echo a\necho b\n");
  TestClient c(port());
  EXPECT_EQ(c.HearAll(), "busy\n");
  EXPECT_EQ(server_->metrics().connection_reject.Value(), 1u);
  { const TestClient gone = std::move(a); }
  ASSERT_TRUE(Eventually([&] { return connections_->open() == 1; }));
  TestClient d(port());
  d.Say("echo d\n");
  EXPECT_EQ(d.Hear(7), "echo d\n");
}

TEST_P(ServerTest, AnIdleConnectionIsClosed) {
  config::Server limits;
  limits.idle_timeout = absl::Milliseconds(10);
  Start(limits);
  TestClient client(port());
  EXPECT_TRUE(client.HearsEnd());
  EXPECT_EQ(server_->metrics().connection_idle.Value(), 1u);
}

TEST_P(ServerTest, APeerThatTakesNoReplyIsClosedInTheEnd) {
  config::Server limits;
  limits.stall_timeout = absl::Milliseconds(10);
  Start(limits);
  TestClient deaf(port()), idle(port()), waiting(port());
  waiting.Say("hold\n");
  deaf.Say("big 30000000\n");  // More than the kernel buffers.
  ASSERT_TRUE(Eventually([&] { return server_->metrics().connection_stall.Value() == 1; }));
  EXPECT_TRUE(Eventually([&] { return server_->live() == 2; }));
  EXPECT_LT(deaf.HearAll().size(), 30'000'001u);
  idle.Say("echo a\n");
  EXPECT_EQ(idle.Hear(7), "echo a\n");
}

// --- Answers in parts ---

TEST_P(ServerTest, PartsComeAfterEarlierRepliesAndWhatThePeerSaysThenIsDropped) {
  Start({}, 1);
  TestClient watcher(port()), other(port());
  watcher.Say("echo 1\nhold\nopen\necho never\n");
  EXPECT_EQ(watcher.Hear(7), "echo 1\n");
  watcher.Say("echo neither\nquit\n");
  other.Say("part a\npart b\n");  // Wait behind the one that is held.
  EXPECT_EQ(other.Hear(14), "part a\npart b\n");
  EXPECT_TRUE(watcher.Silent(20));
  other.Say("release\n");
  EXPECT_EQ(watcher.Hear(26), "held\nopened\npart a\npart b\n");
  other.Say("part c\n");
  EXPECT_EQ(watcher.Hear(7), "part c\n");
  other.Say("last d\n");
  EXPECT_EQ(watcher.HearAll(), "last d\n");
  EXPECT_EQ(server_->metrics().request.Value(), 8u);
}

TEST_P(ServerTest, AnAnswerInPartsEndsWhenItsPeerLeaves) {
  Start({}, 1);
  TestClient other(port());
  for (const bool half : {true, false}) {
    auto watcher = std::make_unique<TestClient>(port());
    watcher->Say("hold\nopen\n");
    ASSERT_TRUE(Eventually([&] { return server_->live() == 2; }));
    if (half) {  // It hears what it asked for before.
      watcher->HalfClose();
      EXPECT_TRUE(watcher->Silent(20));
      other.Say("release\n");
      EXPECT_EQ(watcher->HearAll(), "held\nopened\n");
    } else {
      other.Say("release\n");
      EXPECT_EQ(watcher->Hear(12), "held\nopened\n");
    }
    other.Hear(8);
    watcher.reset();
    EXPECT_TRUE(Eventually([&] { return server_->live() == 1; }));
    other.Say("part x\n");  // To nobody.
    EXPECT_EQ(other.Hear(7), "part x\n");
    EXPECT_EQ(LineService::unsent.load(), -1);
  }
  EXPECT_EQ(server_->metrics().reply_abandon.Value(), 0u);
}

TEST_P(ServerTest, ADrainWaitsForNoAnswerInParts) {
  Start({}, 1);
  TestClient watcher(port()), other(port()), beginning(port());
  watcher.Say("open\n");
  EXPECT_EQ(watcher.Hear(7), "opened\n");
  beginning.Say("ope");
  other.Say("part x\n");
  EXPECT_EQ(other.Hear(7), "part x\n");
  ASSERT_TRUE(Eventually([&] { return server_->metrics().read_bytes.Value() >= 15; }));
  server_->BeginDrain();
  EXPECT_EQ(watcher.HearAll(), "part x\n");
  beginning.Say("n\n");  // A request that had begun.
  EXPECT_EQ(beginning.HearAll(), "opened\n");
  EXPECT_TRUE(Eventually([&] { return server_->live() == 0; }));
}

TEST_P(ServerTest, TheIdleTimeoutIsNotForAnswersInPartsButTheStallTimeoutIs) {
  config::Server limits;
  limits.idle_timeout = absl::Milliseconds(10);
  limits.stall_timeout = absl::Milliseconds(10);
  Start(limits, 1);
  TestClient watcher(port()), idle(port());
  watcher.Say("open\n");
  EXPECT_EQ(watcher.Hear(7), "opened\n");
  EXPECT_TRUE(idle.HearsEnd());
  EXPECT_TRUE(watcher.Silent(50));
  const std::string part = "part " + std::string(60'000, 'x') + "\n";
  // Until the kernel takes no more of what it does not read.
  for (int i = 0; i < 2000 && server_->metrics().connection_stall.Value() == 0; ++i) {
    TestClient other(port());
    other.Say(part);
    other.Hear(part.size());
    if (LineService::unsent.load() > 1'000'000) break;
  }
  EXPECT_GT(LineService::unsent.load(), 1'000'000);
  EXPECT_TRUE(Eventually([&] { return server_->metrics().connection_stall.Value() == 1; }));
}

TEST_P(ServerTest, AServiceIsToldOfConnectionsAndWhyTheyClose) {
  Start({}, 1);
  const auto closed = [](CloseReason reason) {
    return LineService::closed[static_cast<int>(reason)].load();
  };
  TestClient stays(port());
  stays.Say("echo x\n");
  EXPECT_EQ(stays.Hear(7), "echo x\n");
  {
    TestClient quits(port()), dies(port()), leaves(port());
    quits.Say("quit\n");
    dies.Say("die\n");
    quits.HearAll();
    dies.HearAll();
  }
  EXPECT_TRUE(Eventually([&] { return closed(CloseReason::kNormal) == 2; }));
  EXPECT_TRUE(Eventually([&] { return closed(CloseReason::kError) == 1; }));
  EXPECT_EQ(LineService::opened.load(), 4);
  EXPECT_EQ(closed(CloseReason::kShutdown), 0);
  server_->BeginDrain();
  stays.HearAll();
  EXPECT_TRUE(Eventually([&] { return closed(CloseReason::kShutdown) == 1; }));
}

TEST_P(ServerTest, AnUnansweredRequestClosesItsConnection) {
  Start();
  TestClient client(port());
  client.Say("echo 1\ndrop\n");
  client.HearAll();
  EXPECT_EQ(server_->metrics().reply_abandon.Value(), 1u);
}

TEST_P(ServerTest, ASessionThatDiedIsNotAnswered) {
  Start();
  for (int i = 0; i < 200; ++i) {
    TestClient client(port());
    client.Say("later 1\nlater 2\nlater 3\n");
  }
  EXPECT_TRUE(Eventually([&] { return server_->live() == 0; }));
  TestClient client(port());
  client.Say("later alive\n");
  EXPECT_EQ(client.Hear(12), "later alive\n");
}

TEST_P(ServerTest, ADrainAnswersWhatArrivedAndClosesTheRest) {
  Start();
  TestClient busy(port()), idle(port());
  idle.Say("echo x\n");
  EXPECT_EQ(idle.Hear(7), "echo x\n");
  std::string asked;
  for (int i = 0; i < 500; ++i) absl::StrAppend(&asked, "later ", i, "\n");
  busy.Say(asked);
  ASSERT_TRUE(Eventually([&] { return server_->metrics().request.Value() > 1; }));
  server_->BeginDrain();
  EXPECT_EQ(busy.HearAll(), asked);
  EXPECT_TRUE(idle.HearsEnd());
  EXPECT_TRUE(Eventually([&] { return server_->live() == 0; }));
  EXPECT_TRUE(Listen("127.0.0.1", port(), 1).ok());  // The port is free again.
}

TEST_P(ServerTest, APortInUseIsNamed) {
  Start();
  const auto second = Listen("127.0.0.1", port(), 1);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().message(),
            absl::StrCat("cannot listen on 127.0.0.1:", port(), ": Address already in use"));
}

int OpenDescriptors() {
  int n = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) ++n;
  ::closedir(dir);
  return n;
}

TEST_P(ServerTest, ManyConnectionsLeaveNoDescriptorBehind) {
  Start();
  { TestClient warm(port()); }
  // Until it is accepted, nothing is live although a connection is still to come.
  const auto all_gone = [&](uint64_t accepted) {
    return server_->metrics().connection_accept.Value() == accepted && server_->live() == 0;
  };
  ASSERT_TRUE(Eventually([&] { return all_gone(1); }));
  const int before = OpenDescriptors();
  for (int round = 0; round < 10; ++round) {
    std::vector<TestClient> clients;
    for (int i = 0; i < 200; ++i) clients.emplace_back(port());
    for (int i = 0; i < 200; i += 2) clients[i].Say("later x\n");
  }
  ASSERT_TRUE(Eventually([&] { return all_gone(1 + 10 * 200); }));
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_EQ(connections_->open(), 0u);
}

INSTANTIATE_TEST_SUITE_P(, ServerTest,
                         testing::Values(config::Server::Io::kEpoll, config::Server::Io::kIoUring),
                         [](const auto& one) {
                           return std::string(config::Server::kIos[static_cast<int>(one.param)]);
                         });

}  // namespace
}  // namespace core
