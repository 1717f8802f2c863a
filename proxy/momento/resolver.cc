// See resolver.h.
#include "proxy/momento/resolver.h"

#include <netdb.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace proxy::momento {
absl::StatusOr<Resolver::Addresses> Resolver::LookUpInSystem(const std::string& host, uint16_t port) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("cannot resolve ", host, ": ", gai_strerror(error)));
  }
  Resolver::Addresses addresses;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    if (a->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Address address;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.size = a->ai_addrlen;
    addresses.push_back(address);
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) return absl::UnavailableError(absl::StrCat(host, " has no address"));
  return addresses;
}

struct Lookup::State {
  std::string host;
  uint16_t port;
  Resolver::Done done;  // Touched on the loop's thread only.
  core::Mutex mu;
  core::EventLoop* loop ABSL_GUARDED_BY(mu);  // Null once taken back.
};

Lookup& Lookup::operator=(Lookup&& other) noexcept {
  if (this != &other) {
    Cancel();
    state_ = std::move(other.state_);
  }
  return *this;
}

void Lookup::Cancel() {
  if (state_ == nullptr) return;
  core::MutexLock lock(state_->mu);
  state_->loop = nullptr;
}

namespace {

// Hands `answer` to the asker's loop, unless the question was taken back.
void Deliver(const std::shared_ptr<Lookup::State>& state,
             absl::StatusOr<Resolver::Addresses> answer) {
  core::MutexLock lock(state->mu);
  if (state->loop == nullptr) return;
  state->loop->Post([state, answer = std::move(answer)]() mutable {
    {
      core::MutexLock still(state->mu);
      if (state->loop == nullptr) return;
    }
    state->done(std::move(answer));
  });
}

}  // namespace

Lookup Resolver::Resolve(std::string host, uint16_t port, core::EventLoop* loop, Done done) {
  auto state = std::make_shared<Lookup::State>();
  state->host = std::move(host);
  state->port = port;
  state->done = std::move(done);
  {
    core::MutexLock lock(state->mu);
    state->loop = loop;
  }
  bool full = false;
  {
    core::MutexLock lock(mu_);
    full = waiting_.size() >= kWaitingMax;
    if (!full) waiting_.push_back(state);
    if (!std::exchange(started_, true)) thread_ = std::thread([this] { Run(); });
  }
  changed_.NotifyAll();
  if (full) Deliver(state, absl::ResourceExhaustedError("too many names wait to be resolved"));
  return Lookup(std::move(state));
}

Resolver::~Resolver() {
  {
    core::MutexLock lock(mu_);
    stop_ = true;
  }
  changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void Resolver::Run() {
  for (;;) {
    std::shared_ptr<Lookup::State> state;
    {
      core::MutexLock lock(mu_);
      while (waiting_.empty() && !stop_) changed_.Wait(mu_);
      if (stop_) return;
      state = std::move(waiting_.front());
      waiting_.pop_front();
    }
    absl::StatusOr<Addresses> answer = look_up_(state->host, state->port);
    Deliver(state, std::move(answer));
  }
}

}  // namespace proxy::momento
