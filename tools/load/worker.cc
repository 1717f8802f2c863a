#include "tools/load/worker.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace tools::load {
namespace {

constexpr size_t kReadBytes = 256 * 1024;  // A burst of replies in one call.
constexpr int kBurstMax = 64;              // Open loop: due requests that one connection takes.
constexpr int64_t kMs = 1'000'000;
// An open loop sleeps only if there is this much time and spins through the rest: the kernel wakes
// a sleeper tens of microseconds late, which would count as the server's.
constexpr int64_t kSleepFromNs = 2 * kMs;

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

int64_t Ns(double seconds) { return static_cast<int64_t>(seconds * 1e9); }

}  // namespace

absl::StatusOr<std::unique_ptr<Worker>> Worker::Create(const Options& options,
                                                       const Endpoint& endpoint, int connections) {
  std::unique_ptr<Worker> worker(new Worker(options));
  RETURN_IF_ERROR(worker->Open(endpoint, connections));
  return worker;
}

absl::Status Worker::Open(const Endpoint& endpoint, int connections) {
  scratch_.resize(kReadBytes);
  epoll_ = core::Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return absl::ResourceExhaustedError("epoll_create1 failed");
  connections_.resize(connections);
  for (Connection& c : connections_) {
    ASSIGN_OR_RETURN(c.fd, endpoint.Connect());
    Watch(&c, false, EPOLL_CTL_ADD);
  }
  live_ = connections_.size();
  return absl::OkStatus();
}

void Worker::Watch(Connection* c, bool writable, int operation) {
  struct epoll_event event = {};
  event.events = EPOLLIN;
  if (writable) event.events |= EPOLLOUT;
  event.data.u64 = c - connections_.data();
  ::epoll_ctl(epoll_.get(), operation, c->fd.get(), &event);
  c->blocked = writable;
}

void Worker::Begin(const Phase& phase, Traffic* traffic) {
  phase_ = phase;
  traffic_ = traffic;
  asked_ = 0;
  now_ns_ = last_heard_ns_ = next_ns_ = NowNs();
  end_ns_ = phase.seconds > 0 ? now_ns_ + Ns(phase.seconds) : INT64_MAX;
  if (phase.rate > 0) Schedule();
}

void Worker::Run(const Phase& phase, Traffic* traffic) {
  Begin(phase, traffic);
  if (phase.rate <= 0) {
    for (Connection& c : connections_) Fill(&c);
  }
  while (true) {
    if (phase.rate > 0) AskDue();
    if (Finished()) break;
    Wait();
  }
  if (phase.rate > 0) SkipRest();
}

bool Worker::MayAsk() const {
  return (phase_.requests < 0 || asked_ < phase_.requests) && now_ns_ < end_ns_;
}

// Closed loop: as many requests as fit.
void Worker::Fill(Connection* c) {
  if (!c->fd.valid()) return;
  while (c->conversation.pending() < static_cast<size_t>(phase_.depth) && MayAsk()) {
    c->conversation.Ask(traffic_, now_ns_);
    ++asked_;
  }
  c->conversation.EndBurst();
  Flush(c);
}

// Open loop: moves next_ns_ to the arrival after it.
void Worker::Schedule() {
  const double gap = options_.even_arrivals ? 1 : traffic_->random.Exponential();
  next_ns_ += std::max<int64_t>(1, std::llround(gap * 1e9 / phase_.rate));
}

void Worker::AskDue() {
  while (IsDue()) {
    Connection* const c = NextWithRoom();
    if (c == nullptr) break;
    AskBurst(c);
  }
  if (now_ns_ >= end_ns_) SkipRest();
}

bool Worker::IsDue() const {
  return next_ns_ <= now_ns_ && next_ns_ < end_ns_ &&
         (phase_.requests < 0 || asked_ < phase_.requests);
}

Worker::Connection* Worker::NextWithRoom() {
  for (size_t i = 0; i < connections_.size(); ++i) {
    if (++turn_ >= connections_.size()) turn_ = 0;
    Connection& c = connections_[turn_];
    const size_t room = static_cast<size_t>(phase_.depth);
    if (c.fd.valid() && !c.blocked && c.conversation.pending() < room) return &c;
  }
  return nullptr;
}

void Worker::AskBurst(Connection* c) {
  for (int i = 0; i < kBurstMax && IsDue(); ++i) {
    if (c->conversation.pending() >= static_cast<size_t>(phase_.depth)) break;
    c->conversation.Ask(traffic_, next_ns_);
    ++asked_;
    Schedule();
  }
  c->conversation.EndBurst();
  Flush(c);
}

// Open loop: what was due and found no room, as having waited until now.
void Worker::SkipRest() {
  while (IsDue()) {
    const uint8_t command = traffic_->mix->Pick(traffic_->random);
    traffic_->tally.latencies[command].Record(now_ns_ - next_ns_);
    traffic_->tally.unsent.Add();
    ++asked_;
    Schedule();
  }
}

void Worker::Wait() {
  int timeout_ms = 100;  // Often enough to notice the end and silence.
  if (phase_.rate > 0 && MayAsk()) {
    const int64_t gap_ns = next_ns_ - now_ns_;
    timeout_ms = gap_ns < kSleepFromNs
                     ? 0
                     : static_cast<int>(std::min<int64_t>(100, (gap_ns - kMs) / kMs));
  }
  std::array<struct epoll_event, 256> events;
  const int n = ::epoll_wait(epoll_.get(), events.data(), events.size(), timeout_ms);
  now_ns_ = NowNs();
  for (int i = 0; i < n; ++i) {
    Connection* const c = &connections_[events[i].data.u64];
    if ((events[i].events & EPOLLOUT) != 0) Flush(c);
    if (c->fd.valid() && (events[i].events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) Read(c);
  }
}

void Worker::Read(Connection* c) {
  const ssize_t n = ::recv(c->fd.get(), scratch_.data(), scratch_.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return GiveUp(c, true);
  last_heard_ns_ = now_ns_ = NowNs();
  if (!c->conversation.Hear(traffic_, absl::string_view(scratch_.data(), n), now_ns_)) {
    return GiveUp(c, false);
  }
  if (phase_.rate > 0) return Flush(c);  // A cas may follow its gets.
  Fill(c);
}

void Worker::Flush(Connection* c) {
  const absl::string_view bytes = c->conversation.unsent();
  if (bytes.empty()) {
    if (c->blocked) Watch(c, false, EPOLL_CTL_MOD);
    return;
  }
  const ssize_t n = ::send(c->fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return GiveUp(c, true);
  if (n > 0) {
    traffic_->tally.bytes_out.Add(n);
    c->conversation.Sent(n);
  }
  const bool blocked = !c->conversation.unsent().empty();
  if (blocked != c->blocked) Watch(c, blocked, EPOLL_CTL_MOD);
}

void Worker::GiveUp(Connection* c, bool closed) {
  if (closed) traffic_->tally.Blame(Fault::kClosed, "the server closed a connection");
  c->conversation.Abandon(traffic_);
  c->fd.Close();
  --live_;
}

size_t Worker::Pending() const {
  size_t pending = 0;
  for (const Connection& c : connections_) pending += c.conversation.pending();
  return pending;
}

bool Worker::Finished() {
  if (live_ == 0) return true;
  const bool sent_all = !MayAsk();
  const bool silent = now_ns_ - last_heard_ns_ > Ns(options_.timeout_seconds);
  if (!sent_all && !silent) return false;
  if (sent_all && Pending() == 0) return true;
  if (!silent) return false;
  if (Pending() == 0) {  // Nobody owes anything: an open loop at a low rate.
    last_heard_ns_ = now_ns_;
    return false;
  }
  for (Connection& c : connections_) {
    if (c.fd.valid() && c.conversation.pending() > 0) GiveUp(&c, false);
  }
  return true;
}

}  // namespace tools::load
