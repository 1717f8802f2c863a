// The two loops against a server of twenty lines that can be slow, silent, rude or gone.
#include "tools/load/worker.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

namespace tools::load {
namespace {

// Answers "END" to each line; `behave` may do something else with a connection's input first and
// says how many lines to answer, or -1 to hang up.
class FakeServer {
 public:
  explicit FakeServer(std::function<int(int lines)> behave = [](int lines) { return lines; })
      : behave_(std::move(behave)), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    ::bind(listener_.get(), reinterpret_cast<struct sockaddr*>(&address), size);
    ::listen(listener_.get(), 16);
    ::getsockname(listener_.get(), reinterpret_cast<struct sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~FakeServer() {
    stop_.store(true, std::memory_order_relaxed);
    thread_.join();
  }
  uint16_t port() const { return port_; }

 private:
  void Serve() {
    std::vector<core::Fd> peers;
    while (!stop_.load(std::memory_order_relaxed)) {
      std::vector<struct pollfd> polls = {{listener_.get(), POLLIN, 0}};
      for (const core::Fd& peer : peers) polls.push_back({peer.get(), POLLIN, 0});
      ::poll(polls.data(), polls.size(), 20);
      for (size_t i = 1; i < polls.size(); ++i) {
        if (polls[i].revents != 0) Answer(&peers[i - 1]);
      }
      if (polls[0].revents != 0) peers.emplace_back(::accept(listener_.get(), nullptr, nullptr));
    }
  }
  void Answer(core::Fd* peer) {
    char bytes[4096];
    const ssize_t n = ::recv(peer->get(), bytes, sizeof(bytes), 0);
    const int lines = behave_(static_cast<int>(std::count(bytes, bytes + std::max<ssize_t>(n, 0), '\n')));
    if (n <= 0 || lines < 0) return peer->Close();
    std::string out;
    for (int i = 0; i < lines; ++i) out += "END\r\n";
    ::send(peer->get(), out.data(), out.size(), MSG_NOSIGNAL);
  }

  std::function<int(int)> behave_;
  core::Fd listener_;
  uint16_t port_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// Runs gets on a server, and what was counted.
struct Load {
  Load(const FakeServer& server, Phase phase, int connections = 2, double timeout_seconds = 10) {
    options.port = server.port();
    options.timeout_seconds = timeout_seconds;
    options.even_arrivals = true;
    options.keys = *KeySpace::Create("k", 10, Numbers::Always(4));
    traffic.reset(new Traffic{.options = &options,
                              .mix = &mix,
                              .values = &values,
                              .fill_counters = false,
                              .order = KeyOrder::Sequential(10),
                              .random = Random(1),
                              .tally = Tally(1)});
    auto worker = Worker::Create(options, *Endpoint::Resolve(options), connections);
    EXPECT_TRUE(worker.ok()) << worker.status();
    (*worker)->Run(phase, traffic.get());
    live = (*worker)->live();
    latencies.Add(traffic->tally.latencies[0]);
  }
  uint64_t Faults(Fault fault) const {
    return traffic->tally.faults[static_cast<size_t>(fault)].Value();
  }
  uint64_t requests() const { return traffic->tally.requests.Value(); }

  Options options;
  Mix mix = *Mix::Parse("get");
  Values values;
  std::unique_ptr<Traffic> traffic;
  Latencies latencies;
  size_t live = 0;
};

TEST(Worker, ClosedLoopSendsExactlyWhatItIsTold) {
  for (const int depth : {1, 5, 64}) {
    const FakeServer server;
    const Load load(server, {.depth = depth, .requests = 1001});
    EXPECT_EQ(load.requests(), 1001u);
    EXPECT_EQ(load.traffic->tally.misses.Value(), 1001u);
    EXPECT_EQ(load.latencies.count(), 1001u);
    EXPECT_EQ(load.live, 2u);
  }
}

TEST(Worker, OpenLoopSendsWhatIsDueInTheTime) {
  const FakeServer server;
  const Load load(server, {.depth = 1024, .rate = 1000, .seconds = 0.5});
  // Even arrivals: one each millisecond, the first after one; all sent, however busy the machine.
  EXPECT_EQ(load.requests() + load.traffic->tally.unsent.Value(), 499u);
  EXPECT_EQ(load.traffic->tally.unsent.Value(), 0u);
}

// A server that sleeps once delays everything that was due meanwhile, and all of that is counted.
TEST(Worker, OpenLoopCountsTheWaitBehindAStall) {
  std::atomic<int> bursts = 0;
  const FakeServer server([&bursts](int lines) {
    if (bursts++ == 20) std::this_thread::sleep_for(std::chrono::milliseconds(300));
    return lines;
  });
  const Load load(server, {.depth = 4, .rate = 500, .seconds = 1});
  // 150 of 500 were due during the stall, and waited 150 ms on average; only 8 had room.
  EXPECT_GT(load.latencies.Quantile(0.85), 60'000'000);
  EXPECT_GE(load.latencies.max_ns(), 290'000'000);
  EXPECT_EQ(load.latencies.count(), 499u);
}

TEST(Worker, SaysWhatASilentServerOwes) {
  const FakeServer server([](int) { return 0; });
  const Load closed(server, {.depth = 3, .seconds = 30}, 2, 0.1);
  EXPECT_EQ(closed.Faults(Fault::kUnanswered), 6u);
  const Load open(server, {.depth = 3, .rate = 1000, .seconds = 30}, 2, 0.1);
  EXPECT_EQ(open.Faults(Fault::kUnanswered), 6u);
  EXPECT_GT(open.traffic->tally.unsent.Value(), 0u);
  EXPECT_EQ(open.latencies.count(), open.traffic->tally.unsent.Value());
}

TEST(Worker, GoesOnWithTheConnectionsThatAreLeft) {
  std::atomic<int> bursts = 0;
  const FakeServer server([&bursts](int lines) { return bursts++ == 0 ? -1 : lines; });
  const Load load(server, {.depth = 1, .requests = 100});
  EXPECT_EQ(load.live, 1u);
  EXPECT_EQ(load.Faults(Fault::kClosed), 1u);
  EXPECT_EQ(load.Faults(Fault::kUnanswered), 1u);
  EXPECT_EQ(load.requests(), 99u);
}

TEST(Worker, EndsWhenAllConnectionsAreLost) {
  const FakeServer server([](int) { return -1; });
  const Load load(server, {.depth = 1, .seconds = 30});
  EXPECT_EQ(load.live, 0u);
  EXPECT_EQ(load.Faults(Fault::kClosed), 2u);
}

TEST(Worker, HangsUpOnNonsense) {
  const FakeServer server([](int lines) { return lines + 1; });
  const Load load(server, {.depth = 1, .requests = 10}, 1);
  EXPECT_EQ(load.live, 0u);
  EXPECT_EQ(load.Faults(Fault::kUnexpected), 1u);
}

TEST(Worker, SaysThatNobodyListens) {
  Options options;
  {
    const FakeServer server;
    options.port = server.port();
  }
  const auto worker = Worker::Create(options, *Endpoint::Resolve(options), 1);
  EXPECT_EQ(worker.status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tools::load
