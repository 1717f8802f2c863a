#include "core/net/ring.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "core/base/fd.h"
#include "core/net/event_loop.h"
#include "core/net/worker.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace core {
namespace {

using testing::HasSubstr;
using Io = config::Server::Io;

// Both ends of a connection.
struct Pair {
  Pair() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ours = Fd(fds[0]);
    peer = Fd(fds[1]);
  }
  void Say(absl::string_view bytes) const {
    ASSERT_EQ(::send(peer.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
  }
  // All that has arrived.
  std::string Hear() const {
    std::string heard(1 << 20, '\0');
    const ssize_t n = ::recv(peer.get(), heard.data(), heard.size(), 0);
    heard.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return heard;
  }
  Fd ours, peer;
};

struct Handler final : RingHandler {
  void OnReceived(absl::string_view bytes) override {
    received.append(bytes.data(), bytes.size());
    ++times;
    if (on_received) on_received();
  }
  void OnReceiveEnd(int result) override { ends.push_back(result); }
  void OnSent(int result) override { sent.push_back(result); }
  std::string received;
  int times = 0;
  std::vector<int> ends, sent;
  std::function<void()> on_received;
};

class RingTest : public testing::Test {
 protected:
  void SetUp() override { Make({}); }
  void Make(const Ring::Options& options) {
    auto made = Ring::Create(options, &metrics_);
    if (!made.ok()) GTEST_SKIP() << made.status();
    loop_ = std::make_unique<EventLoop>(&clock_);
    loop_->UseRing(*std::move(made));
    Turn();
  }
  Ring& ring() { return *loop_->ring(); }
  void Turn() { loop_->RunOnce(0); }
  // Until `condition`, or for two seconds.
  bool Turns(const std::function<bool()>& condition) {
    for (int i = 0; i < 2000 && !condition(); ++i) loop_->RunOnce(1);
    return condition();
  }

  RealClock clock_;
  Registry registry_;
  RingMetrics metrics_{&registry_};
  ChunkPool chunks_;
  std::unique_ptr<EventLoop> loop_;
  Pair pair_;
  Handler handler_;
};

TEST_F(RingTest, ReceivesUntilThePeerEnds) {
  const Ring::Link link = ring().Open(pair_.ours.get(), &handler_);
  ring().Receive(link);
  Turn();
  pair_.Say("one");
  ASSERT_TRUE(Turns([&] { return handler_.times == 1; }));
  pair_.Say("two");
  ASSERT_TRUE(Turns([&] { return handler_.times == 2; }));
  EXPECT_EQ(handler_.received, "onetwo");
  EXPECT_TRUE(handler_.ends.empty());
  pair_.peer.Close();
  ASSERT_TRUE(Turns([&] { return !handler_.ends.empty(); }));
  EXPECT_EQ(handler_.ends, std::vector<int>{0});
}

TEST_F(RingTest, WhatArrivedBeforeAStopIsToldBeforeTheEndAndTheRestStaysInTheSocket) {
  const Ring::Link link = ring().Open(pair_.ours.get(), &handler_);
  ring().Receive(link);
  Turn();
  pair_.Say("before");
  ring().StopReceiving(link);
  ASSERT_TRUE(Turns([&] { return !handler_.ends.empty(); }));
  pair_.Say("after");
  Turn();
  EXPECT_EQ(handler_.ends, std::vector<int>{-ECANCELED});
  char rest[32];
  const ssize_t n = ::recv(pair_.ours.get(), rest, sizeof(rest), 0);
  ASSERT_GE(n, 5);
  EXPECT_EQ(handler_.received + std::string(rest, static_cast<size_t>(n)), "beforeafter");
  ring().Receive(link);
  pair_.Say("again");
  ASSERT_TRUE(Turns([&] { return absl::EndsWith(handler_.received, "again"); }));
}

TEST_F(RingTest, EndsForWantOfBuffersAndLosesNothing) {
  Make({.buffers = 1, .buffer_bytes = 4});
  const Ring::Link link = ring().Open(pair_.ours.get(), &handler_);
  ring().Receive(link);
  pair_.Say("0123456789");
  for (size_t ended = 0; handler_.received.size() < 10;) {
    ASSERT_TRUE(
        Turns([&] { return handler_.ends.size() > ended || handler_.received.size() == 10; }));
    if (handler_.ends.size() == ended) break;
    EXPECT_EQ(handler_.ends[ended++], -ENOBUFS);
    ring().Receive(link);
  }
  EXPECT_EQ(handler_.received, "0123456789");
  EXPECT_GT(metrics_.starve.Value(), 0u);
}

TEST_F(RingTest, SendsPiecesOfATurnTogether) {
  const Ring::Link link = ring().Open(pair_.ours.get(), &handler_);
  std::string a = "first ", b = "second";
  struct iovec pieces[] = {{a.data(), a.size()}, {b.data(), b.size()}};
  ring().Send(link, pieces, 2);
  EXPECT_EQ(pair_.Hear(), "");  // With the next turn.
  ASSERT_TRUE(Turns([&] { return !handler_.sent.empty(); }));
  EXPECT_EQ(handler_.sent, std::vector<int>{12});
  EXPECT_EQ(pair_.Hear(), "first second");
}

// More requests than the ring takes at a time, messages of several pieces among them.
TEST_F(RingTest, ManySendsAreSubmittedEarly) {
  constexpr int kPairs = 700;
  std::vector<Pair> pairs(kPairs);
  std::vector<std::string> texts;
  for (int i = 0; i < kPairs; ++i) texts.push_back("number " + std::to_string(i));
  for (int i = 0; i < kPairs; ++i) {
    const Ring::Link link = ring().Open(pairs[i].ours.get(), &handler_);
    ring().Receive(link);
    struct iovec pieces[] = {{texts[i].data(), 7}, {texts[i].data() + 7, texts[i].size() - 7}};
    ring().Send(link, pieces, 2);
  }
  ASSERT_TRUE(Turns([&] { return handler_.sent.size() == kPairs; }));
  for (int i = 0; i < kPairs; ++i) EXPECT_EQ(pairs[i].Hear(), texts[i]);
}

TEST_F(RingTest, ALinkMayBeClosedByWhatItHears) {
  const Ring::Link link = ring().Open(pair_.ours.get(), &handler_);
  ring().Receive(link);
  handler_.on_received = [&] {
    ring().Close(link, OutBuffer());
    pair_.ours.Close();
  };
  pair_.Say("x");
  ASSERT_TRUE(Turns([&] { return handler_.times == 1; }));
  for (int i = 0; i < 5; ++i) Turn();
  EXPECT_TRUE(handler_.ends.empty());
  // Two links from then on, of which neither is the other.
  Pair one, two;
  Handler first, second;
  const Ring::Link a = ring().Open(one.ours.get(), &first);
  const Ring::Link b = ring().Open(two.ours.get(), &second);
  EXPECT_NE(a, b);
  ring().Receive(a);
  ring().Receive(b);
  one.Say("one");
  two.Say("two");
  ASSERT_TRUE(Turns([&] { return first.times == 1 && second.times == 1; }));
  EXPECT_EQ(first.received + second.received, "onetwo");
}

// A request that was not submitted yet when its descriptor's number went to another socket.
TEST_F(RingTest, WhatWasAskedOfAClosedDescriptorIsNotDoneToTheNextOne) {
  const Ring::Link link = ring().Open(pair_.ours.get(), &handler_);
  OutBuffer out(&chunks_);
  out.Append("for the first");
  struct iovec piece;
  ASSERT_EQ(out.Gather(&piece, 1), 1);
  const int number = pair_.ours.get();
  ring().Receive(link);
  ring().Send(link, &piece, 1);
  ring().Close(link, std::move(out));
  pair_.ours.Close();
  Pair next;
  ASSERT_EQ(next.ours.get(), number);
  for (int i = 0; i < 5; ++i) Turn();
  EXPECT_EQ(next.Hear(), "");
  EXPECT_EQ(pair_.Hear(), "for the first");
  EXPECT_TRUE(handler_.sent.empty());
}

TEST_F(RingTest, BytesUnderWayAreKeptUntilTheKernelLetsGoOfThem) {
  const Ring::Link link = ring().Open(pair_.ours.get(), &handler_);
  int released = 0;
  const std::string text(4 << 20, 't');  // More than the socket takes.
  OutBuffer out(&chunks_);
  out.Append(Bytes::Pinned(text, &released, [](void* count) { ++*static_cast<int*>(count); }));
  struct iovec piece;
  for (int i = 0; i < 3; ++i) {  // The last of them waits for room.
    ASSERT_EQ(out.Gather(&piece, 1), 1);
    ring().Send(link, &piece, 1);
    Turn();
    if (handler_.sent.size() == static_cast<size_t>(i)) break;
    out.Consume(static_cast<size_t>(handler_.sent.back()));
  }
  ring().Close(link, std::move(out));
  EXPECT_EQ(released, 0);
  EXPECT_TRUE(Turns([&] { return released == 1; }));
}

// As a container's filter does it. Only of the thread that says so.
void ForbidIoUring() {
  struct sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog filter = {4, program};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

TEST(RingRefused, IsAnErrorOnlyWhereItIsDemanded) {
  std::thread([] {
    ForbidIoUring();
    RealClock clock;
    for (const Io io : {Io::kAuto, Io::kEpoll, Io::kIoUring}) {
      Registry registry;
      WorkerPool pool(2, &clock, &registry);
      const absl::Status status = pool.ChooseIo(io, nullptr);
      EXPECT_EQ(status.ok(), io != Io::kIoUring) << status;
      if (!status.ok()) {
        EXPECT_TRUE(absl::IsUnavailable(status));
        EXPECT_THAT(std::string(status.message()), HasSubstr("server.io: no io_uring: forbidden"));
      }
      EXPECT_EQ(pool.worker(0).loop.ring(), nullptr);
    }
  }).join();
}

}  // namespace
}  // namespace core
