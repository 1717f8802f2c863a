// See h2_connection.h.
#include "proxy/momento/h2_connection.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace proxy::momento {
namespace {

// Frames made ahead of the socket: two of a fast network's round trips; more would only wait.
constexpr size_t kOutBytesMax = 256 * 1024;
// An output buffer that grew past this is given back when it is empty.
constexpr size_t kOutKeptBytes = 64 * 1024;

}  // namespace

H2Connection::H2Connection(core::EventLoop* loop, Resolver* resolver, const Endpoint* endpoint,
                           const RequestHeaders* headers, Metrics* metrics,
                           ConnectionOwner* owner, std::string* read_buffer, size_t turn)
    : loop_(loop),
      resolver_(resolver),
      endpoint_(endpoint),
      metrics_(metrics),
      owner_(owner),
      read_buffer_(read_buffer),
      turn_(turn),
      session_(headers, this) {}

H2Connection::~H2Connection() {
  if (watched_ != 0) loop_->Remove(stream_.fd(), this);
}

void H2Connection::Open() {
  if (std::optional<Address> address = NumericAddress(endpoint_->host, endpoint_->port)) {
    addresses_.push_back(*address);
    // In the next turn: connect() may fail at once, and nobody wants to hear of it from inside.
    loop_->Arm(&begin_timer_, 0);
    return;
  }
  loop_->Arm(&open_timer_, endpoint_->connect_timeout_ms);
  lookup_ = resolver_->Resolve(
      endpoint_->host, endpoint_->port, loop_,
      [this](absl::StatusOr<Resolver::Addresses> answer) { OnResolved(std::move(answer)); });
}

void H2Connection::OnResolved(absl::StatusOr<Resolver::Addresses> answer) {
  if (!answer.ok()) return Close(answer.status().message());
  addresses_ = *std::move(answer);
  // getaddrinfo() puts the family that works best first (RFC 6724): its addresses are equals.
  const auto equals = std::find_if(addresses_.begin(), addresses_.end(), [this](const Address& one) {
    return one.family() != addresses_[0].family();
  });
  std::rotate(addresses_.begin(), addresses_.begin() + turn_ % (equals - addresses_.begin()), equals);
  TryNextAddress();
}

void H2Connection::TryNextAddress() {
  if (watched_ != 0) loop_->Remove(stream_.fd(), this);
  watched_ = 0;
  stream_.Close();
  state_ = State::kConnecting;
  while (next_address_ < addresses_.size()) {
    const Address& address = addresses_[next_address_++];
    const absl::Status opened = stream_.Open(address, endpoint_->tls, endpoint_->host);
    if (opened.ok()) {
      const int64_t share = endpoint_->connect_timeout_ms / static_cast<int64_t>(addresses_.size());
      loop_->Arm(&open_timer_, std::max<int64_t>(share, 1));
      return Watch();
    }
    last_error_ = std::string(opened.message());
  }
  Close(last_error_);
}

void H2Connection::OnOpenTimeout() {
  if (state_ == State::kConnecting) {
    last_error_ = "connect: timed out";
    return TryNextAddress();
  }
  Close(state_ == State::kResolving ? "resolve: timed out" : "no HTTP/2 SETTINGS: timed out");
}

void H2Connection::OnConnectEvent() {
  switch (stream_.Continue()) {
    case Stream::Progress::kWait:
      return Watch();
    case Stream::Progress::kFailed:
      last_error_ = stream_.error();
      return TryNextAddress();
    case Stream::Progress::kDone:
      state_ = State::kSettling;
      Watch();
      owner_->OnProgress(this);  // The preface and our SETTINGS go out at the end of the turn.
      // Under TLS the peer's SETTINGS may have come with the last bytes of the handshake.
      if (endpoint_->tls != nullptr) ReadAll();
  }
}

void H2Connection::Watch() {
  uint32_t events = EPOLLIN;
  if (stream_.wants_write() || out_head_ < out_.size()) events |= EPOLLOUT;
  if (events == watched_) return;
  if (watched_ == 0) {
    loop_->Add(stream_.fd(), events, this);
  } else {
    loop_->Modify(stream_.fd(), events, this);
  }
  watched_ = events;
}

void H2Connection::OnEvents(uint32_t events) {
  if (state_ == State::kConnecting) return OnConnectEvent();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 || stream_.wants_write()) ReadAll();
  if ((events & EPOLLOUT) != 0 && state_ != State::kClosed) owner_->OnProgress(this);
}

// Flow control ends this loop: the peer may send one window a turn, as updates go out at its end.
void H2Connection::ReadAll() {
  for (;;) {
    const Stream::Io io = stream_.Read(read_buffer_->data(), read_buffer_->size());
    if (io.bytes > 0) {
      metrics_->received_bytes.Add(io.bytes);
      heard_since_ping_ = true;
      const bool sound = session_.Receive(absl::string_view(read_buffer_->data(), io.bytes));
      if (!sound) {
        Flush();  // A GOAWAY that tells the peer why.
        Close("HTTP/2 protocol error");
        break;
      }
      // What is left in a plain socket is announced again; TLS may keep bytes that are not.
      if (endpoint_->tls == nullptr && io.bytes < read_buffer_->size()) break;
      continue;
    }
    if (io.closed) Close(absl::StrCat("connection lost: ", stream_.error()));
    break;
  }
  if (state_ == State::kDraining && calls_.empty()) Close("drained");
  owner_->OnProgress(this);
}

void H2Connection::Start(Call* call, bool full_time, int64_t timeout_ms) {
  DCHECK(can_take());
  ++call->attempts;
  call->connection = this;
  call->last = this;
  calls_.PushBack(call);
  if (session_.Submit(call, full_time, timeout_ms)) return;
  call->error = Error{.code = Code::kUnavailable, .message = "connection is spent", .sent = false};
  if (state_ == State::kReady) {
    state_ = State::kDraining;
    owner_->OnDraining(this, "stream numbers are used up");
  }
  OnCallEnded(call);
}

void H2Connection::Cancel(Call* call) {
  session_.Cancel(call);
  calls_.Remove(call);
  call->connection = nullptr;
}

void H2Connection::Flush() {
  if (state_ != State::kSettling && state_ != State::kReady && state_ != State::kDraining) return;
  bool ended = false;
  for (;;) {
    if (!session_.WriteTo(&out_, taken_ - static_cast<int64_t>(out_head_), kOutBytesMax)) {
      return Close("HTTP/2 output failed");
    }
    const size_t waiting = out_.size() - out_head_;
    if (waiting == 0) break;
    const Stream::Io io = stream_.Write(out_.data() + out_head_, waiting);
    ended = io.closed;
    metrics_->sent_bytes.Add(io.bytes);
    out_head_ += io.bytes;
    taken_ += static_cast<int64_t>(io.bytes);
    // A TLS record that waits half written counts as written: its bytes may arrive.
    const bool unsure = io.bytes == 0 && endpoint_->tls != nullptr;
    written_ = std::max(written_, unsure ? taken_ + static_cast<int64_t>(waiting) : taken_);
    if (io.bytes == 0) break;
    if (out_head_ == out_.size()) {
      out_.clear();
      if (out_.capacity() > kOutKeptBytes) out_.shrink_to_fit();
      out_head_ = 0;
      if (!session_.wants_write()) break;
    }
  }
  if (ended) return Close(absl::StrCat("connection lost: ", stream_.error()));
  if (state_ == State::kDraining && calls_.empty()) return Close("drained");
  if (session_.finished()) return Close("HTTP/2 protocol error");
  Watch();
}

void H2Connection::OnPeerSettings() {
  if (state_ != State::kSettling) return;
  state_ = State::kReady;
  open_timer_.Cancel();
  loop_->Arm(&keepalive_timer_, endpoint_->keepalive_interval_ms);
  owner_->OnReady(this);
}

void H2Connection::OnGoAway(uint32_t h2_error, absl::string_view reason) {
  if (state_ != State::kReady) return;
  state_ = State::kDraining;
  owner_->OnDraining(this, absl::StrCat("GOAWAY, HTTP/2 error ", h2_error,
                                        reason.empty() ? "" : ": ", reason.substr(0, 100)));
}

void H2Connection::OnKeepalive() {
  if (!ping_unanswered_) {
    session_.Ping();
    ping_unanswered_ = true;
  } else if (!heard_since_ping_) {
    Close("keepalive ping unanswered");
    return owner_->OnProgress(this);
  }
  // An answer behind a large reply is late, not lost: whatever arrives buys another wait.
  heard_since_ping_ = false;
  loop_->Arm(&keepalive_timer_, endpoint_->keepalive_timeout_ms);
  owner_->OnProgress(this);
}

void H2Connection::OnPong() {
  if (!std::exchange(ping_unanswered_, false)) return;
  loop_->Arm(&keepalive_timer_, endpoint_->keepalive_interval_ms);
}

void H2Connection::OnCallEnded(Call* call) {
  calls_.Remove(call);
  call->connection = nullptr;
  call->retry_safe = !call->error.ok() && !call->error.sent;
  // Refused by a GOAWAY: that says nothing about the next connection, and this one is not asked again.
  if (call->retry_safe && state_ == State::kDraining) --call->attempts;
  owner_->OnCallEnded(call);
}

void H2Connection::FailCalls(absl::string_view why) {
  while (Call* call = calls_.front()) {
    call->error = Error{.code = Code::kUnavailable,
                        .message = std::string(why),
                        .sent = MayHaveSent(*call)};
    OnCallEnded(call);
  }
}

void H2Connection::Close(absl::string_view why) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  lookup_.Cancel();
  begin_timer_.Cancel();
  open_timer_.Cancel();
  keepalive_timer_.Cancel();
  if (watched_ != 0) loop_->Remove(stream_.fd(), this);
  watched_ = 0;
  const std::string reason(why);  // `why` may lie in what is closed now.
  stream_.Close();
  FailCalls(reason);
  owner_->OnClosed(this, reason);
}

}  // namespace proxy::momento
