#include "core/process/handover.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/check.h"
#include "core/base/status.h"
#include "core/log/log_file.h"

namespace core {
namespace {

// A running process answers from a thread that does nothing else. One that did not take a connection
// in that time is not waited for as long again.
constexpr int kAnswerSeconds = 10;
constexpr int kAnswerAgainMs = 10;
// A next process says hello as soon as it has connected; meanwhile others wait, no longer than above.
constexpr int kHelloMs = 2000;
// Likewise a third; meanwhile the second may have to wait.
constexpr int kTurnAwaySeconds = 1;
// How often a wait for the predecessor looks whether it is to end.
constexpr int kStopLookMs = 20;
// Unread bytes of a connection, its server's name and the word.
constexpr size_t kMessageBytesMax = 128 * 1024;
constexpr mode_t kSocketMode = 0600;
constexpr int kBacklog = 4;

constexpr absl::string_view kHello = "hello";
constexpr absl::string_view kListen = "listen";
constexpr absl::string_view kEnd = "end";
constexpr absl::string_view kTake = "take";
constexpr absl::string_view kBusy = "busy ";  // Then the process id of who was first.
constexpr absl::string_view kConnection = "connection ";  // Then the server's name and a line break.

struct Message {
  std::string text;
  Fd fd;  // May be invalid.
};

bool Send(const Fd& to, absl::string_view text, const Fd& fd = Fd()) {
  struct iovec piece = {const_cast<char*>(text.data()), text.size()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (fd.valid()) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = fd.get();
    std::memcpy(CMSG_DATA(header), &number, sizeof(number));
  }
  ssize_t n;
  do {
    n = ::sendmsg(to.get(), &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(text.size());
}

// False: the stream has ended, or nothing came in time.
bool Hear(const Fd& from, Message* out) {
  out->text.resize(kMessageBytesMax);
  struct iovec piece = {out->text.data(), out->text.size()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t n;
  do {
    n = ::recvmsg(from.get(), &message, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  out->fd.Close();
  if (n <= 0) return false;
  out->text.resize(static_cast<size_t>(n));
  const struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int number;
    std::memcpy(&number, CMSG_DATA(header), sizeof(number));
    out->fd = Fd(number);
  }
  return true;
}

void LimitWaits(const Fd& fd, struct timeval wait = {kAnswerSeconds, 0}) {
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
}

struct ucred WhoIs(const Fd& peer) {
  struct ucred who = {0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
  socklen_t length = sizeof(who);
  (void)::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &length);
  return who;
}

bool IsOurs(const Fd& peer) {
  const uid_t user = WhoIs(peer).uid;
  return user == ::geteuid() || user == 0;
}

// Why a process that was said hello to did not tell of its sockets; `last` is what it said, if anything.
std::string WhyNot(absl::string_view last, int error) {
  if (absl::ConsumePrefix(&last, kBusy)) {
    return absl::StrCat("process ", last, " is about to take over there");
  }
  if (error == EAGAIN) return "the process there does not answer; it may be taking over itself";
  return "the process there does not hand over, or is about to end";
}

}  // namespace

Handover::Handover(std::string path, Log* log, std::function<void()> taken)
    : path_(std::move(path)),
      log_(log),
      on_taken_(std::move(taken)),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(stop_.valid());
}

Handover::~Handover() { Finish(); }

absl::Status Handover::Greet(ListenSockets* sockets) {
  if (path_.empty()) return absl::OkStatus();
  sockets->Keep();
  struct sockaddr_un address = {};
  if (path_.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("server.handover_socket: ", path_, ": ", std::strerror(ENAMETOOLONG)));
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path_.data(), path_.size());
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<const struct sockaddr*>(&address),
                               sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return absl::OkStatus();  // Nobody runs.
    return absl::UnavailableError(
        absl::StrCat("server.handover_socket: ", path_, ": ", std::strerror(errno)));
  }
  LimitWaits(fd);
  std::vector<Fd> all;
  Message message;
  bool ended = false;
  errno = 0;
  if (Send(fd, kHello)) {
    while (!ended && Hear(fd, &message)) {
      ended = message.text == kEnd;
      if (message.fd.valid()) all.push_back(std::move(message.fd));
      if (absl::StartsWith(message.text, kBusy)) break;
      errno = 0;
    }
  }
  if (!ended) {
    return absl::UnavailableError(absl::StrCat("server.handover_socket: ", path_, ": ",
                                               WhyNot(message.text, errno)));
  }
  log_->Info("handover: another process runs, %d listening sockets come from it", all.size());
  sockets->Inherit(std::move(all), ListenSockets::From::kPredecessor);
  predecessor_ = std::move(fd);
  return absl::OkStatus();
}

bool Handover::TakeAllNow(const std::function<bool()>& told_to_stop) {
  if (!predecessor_.valid()) return true;
  // It has its own bound, and its state is worth waiting for.
  const struct timeval forever = {0, 0};
  ::setsockopt(predecessor_.get(), SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
  const auto keep = [this](Given given) { early_.push_back(std::move(given)); };
  bool goes_on = Send(predecessor_, kTake);
  while (goes_on) {
    struct pollfd fds = {predecessor_.get(), POLLIN, 0};
    if (::poll(&fds, 1, kStopLookMs) > 0) {
      goes_on = ReceiveOne(keep);
    } else if (told_to_stop()) {
      return false;
    }
  }
  predecessor_.Close();
  log_->Info("handover: the process before is gone, %d connections come from it", early_.size());
  WarnOfLost();
  return true;
}

bool Handover::ReceiveOne(const std::function<void(Given)>& into) {
  Message message;
  if (!Hear(predecessor_, &message)) return false;
  absl::string_view text = message.text;
  const size_t line = text.find('\n');
  if (line == absl::string_view::npos || !absl::ConsumePrefix(&text, kConnection)) return true;
  if (!message.fd.valid()) {
    ++lost_;
    return true;
  }
  const size_t end = text.find('\n');
  into({std::string(text.substr(0, end)), std::move(message.fd), std::string(text.substr(end + 1))});
  return true;
}

void Handover::WarnOfLost() {
  if (lost_ == 0) return;
  log_->Error("handover: %d connections are lost: this process may not open as many files", lost_);
}

void Handover::Deliver(Given given) {
  const auto found = receivers_.find(given.name);
  // A server that is no more: its clients see the end of their connections.
  if (found != receivers_.end()) found->second(std::move(given.fd), std::move(given.unread));
}

void Handover::BeAlone() {
  for (const auto& alone : std::exchange(alone_, {})) alone();
}

absl::Status Handover::Start(ListenSockets* sockets) {
  for (Given& given : std::exchange(early_, {})) Deliver(std::move(given));
  if (predecessor_.valid()) {
    const struct timeval forever = {0, 0};
    ::setsockopt(predecessor_.get(), SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
    if (!Send(predecessor_, kTake)) predecessor_.Close();
  }
  sockets->Own();
  if (!predecessor_.valid()) BeAlone();
  absl::Status status;
  if (!path_.empty()) {
    absl::StatusOr<UnixListening> listening =
        ListenUnix(path_, kSocketMode, kBacklog, sockets, SOCK_SEQPACKET);
    if (listening.ok()) {
      listening_ = *std::move(listening);
      sockets->Note(listening_.fd);
    }
    status = listening.status();
  }
  if (predecessor_.valid() || listening_.fd.valid()) {
    thread_ = std::thread([this, sockets] { Run(sockets); });
  } else {
    sockets->CloseUntaken();
  }
  return status;
}

void Handover::Run(ListenSockets* sockets) {
  BlockSignals();
  ::pthread_setname_np(::pthread_self(), "handover");
  if (predecessor_.valid()) ReceiveAll();
  sockets->CloseUntaken();
  if (listening_.fd.valid()) ServeSuccessors(sockets);
}

bool Handover::WaitReadable(const Fd& fd) {
  struct pollfd fds[2] = {{fd.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  while (::poll(fds, 2, -1) < 0) CHECK(errno == EINTR);
  return fds[1].revents != 0;
}

void Handover::ReceiveAll() {
  size_t count = 0;
  const auto deliver = [this, &count](Given given) {
    ++count;
    Deliver(std::move(given));
  };
  while (!WaitReadable(predecessor_) && ReceiveOne(deliver)) {
  }
  predecessor_.Close();
  BeAlone();
  log_->Info("handover: the process before is gone, %d connections came from it", count);
  WarnOfLost();
}

void Handover::ServeSuccessors(ListenSockets* sockets) {
  while (!WaitReadable(listening_.fd)) {
    successor_ = Fd(::accept4(listening_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!successor_.valid()) continue;
    if (!IsOurs(successor_) || refuses_.load(std::memory_order_relaxed)) {
      successor_.Close();
      continue;
    }
    LimitWaits(successor_);
    for (const Shared& shared : shared_) shared.begins();
    if (!Serve(sockets)) {
      successor_.Close();
      for (const Shared& shared : shared_) shared.ends();
      continue;
    }
    if (listening_.file != nullptr) listening_.file->Leave();
    listening_.fd.Close();
    return SendGiven();
  }
}

bool Handover::Serve(ListenSockets* sockets) {
  Message message;
  bool greeted = false;
  for (;;) {
    // Before its hello others wait in the queue: it may be the only one that means it.
    struct pollfd fds[3] = {{successor_.get(), POLLIN, 0},
                            {stop_.get(), POLLIN, 0},
                            {greeted ? listening_.fd.get() : -1, POLLIN, 0}};
    const int ready = ::poll(fds, 3, greeted ? -1 : kHelloMs);
    if (ready < 0) continue;  // EINTR.
    if (ready == 0) log_->Warning("handover: process %d says nothing", WhoIs(successor_).pid);
    if (ready == 0 || fds[1].revents != 0) return false;
    if (fds[2].revents != 0) TurnAway();
    if (fds[0].revents == 0) continue;
    if (!Hear(successor_, &message)) return false;  // It died, or thought better of it.
    if (message.text == kHello) {
      log_->Info("handover: another process starts, it gets the listening sockets");
      if (!SendSockets(sockets)) return false;
      greeted = true;
    } else if (message.text == kTake) {
      if (refuses_.load(std::memory_order_relaxed)) return false;
      log_->Info("handover: another process takes over");
      // Pairs with the acquire in taken().
      taken_.store(true, std::memory_order_release);
      on_taken_();
      return true;
    }
  }
}

bool Handover::SendSockets(ListenSockets* sockets) {
  for (const Fd& fd : sockets->ToPassOn()) {
    if (!Send(successor_, kListen, fd)) return false;
  }
  return Send(successor_, kEnd);
}

void Handover::TurnAway() {
  const Fd third(::accept4(listening_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!third.valid() || !IsOurs(third)) return;
  LimitWaits(third, {kTurnAwaySeconds, 0});
  Message hello;  // Unread, it would make of the answer a connection reset.
  if (Hear(third, &hello)) Send(third, absl::StrCat(kBusy, WhoIs(successor_).pid));
}

void Handover::SendGiven() {
  size_t lost = 0;
  for (;;) {
    Given given;
    {
      MutexLock lock(mu_);
      while (given_.empty() && !finishing_) changed_.Wait(mu_);
      if (given_.empty()) break;
      given = std::move(given_.front());
      given_.pop_front();
    }
    if (!Send(successor_, absl::StrCat(kConnection, given.name, "\n", given.unread), given.fd)) {
      if (lost++ == 0) log_->Error("handover: a connection is lost: %s", std::strerror(errno));
      LimitWaits(successor_, {0, kAnswerAgainMs * 1000});
    }
  }
  if (lost > 1) log_->Error("handover: %d connections are lost", lost);
}

GiveConnection Handover::GiveTo(const std::string& name) {
  if (!taken()) return nullptr;
  return [this, name](Fd fd, std::string unread) {
    MutexLock lock(mu_);
    given_.push_back({name, std::move(fd), std::move(unread)});
    changed_.NotifyAll();
  };
}

void Handover::Finish() {
  if (!thread_.joinable()) return;
  {
    MutexLock lock(mu_);
    finishing_ = true;
  }
  changed_.NotifyAll();
  ::eventfd_write(stop_.get(), 1);
  thread_.join();
}

}  // namespace core
