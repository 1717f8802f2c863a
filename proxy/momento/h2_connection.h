// One connection to the service, from the first lookup to its end. Lives once: a replacement is
// another object.
//
//   opening: resolve -> connect -> TLS -> SETTINGS      (each address in turn, one deadline for all)
//   ready:   takes calls
//   draining: GOAWAY came; finishes the calls it has
//   closed:  every call it had has been handed back
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/net/event_loop.h"
#include "proxy/momento/address.h"
#include "proxy/momento/call.h"
#include "proxy/momento/h2_session.h"
#include "proxy/momento/member_timer.h"
#include "proxy/momento/metrics.h"
#include "proxy/momento/resolver.h"
#include "proxy/momento/stream.h"

namespace proxy::momento {

// What connections to one place have in common. Outlives them.
struct Endpoint {
  std::string host = {};  // A name, a numeric address or a Unix address.
  uint16_t port = 0;
  const TlsContext* tls = nullptr;  // Null: plaintext, HTTP/2 by prior knowledge.
  int64_t connect_timeout_ms = 5000;
  int64_t keepalive_interval_ms = 5000;
  int64_t keepalive_timeout_ms = 1000;
  int64_t resolve_interval_ms = 30'000;
};

// What the pool hears of its connections. None of these may destroy the connection.
class ConnectionOwner {
 public:
  virtual void OnReady(H2Connection* connection) = 0;
  // No more calls here. Comes at most once, before OnClosed().
  virtual void OnDraining(H2Connection* connection, absl::string_view why) = 0;
  virtual void OnClosed(H2Connection* connection, absl::string_view why) = 0;
  // `call` has left the connection; call->error and call->retry_safe are set.
  virtual void OnCallEnded(Call* call) = 0;
  // There may be room for a call, or bytes to write at the end of this turn.
  virtual void OnProgress(H2Connection* connection) = 0;

 protected:
  ~ConnectionOwner() = default;
};

class H2Connection final : public core::EventHandler, private SessionEvents {
 public:
  enum class State : uint8_t { kResolving, kConnecting, kSettling, kReady, kDraining, kClosed };

  // All pointers outlive the connection. `read_buffer` is shared by the worker's connections.
  // `turn`: of the addresses of one preference, the one to begin with; so connections spread.
  H2Connection(core::EventLoop* loop, Resolver* resolver, const Endpoint* endpoint,
               const RequestHeaders* headers, Metrics* metrics, ConnectionOwner* owner,
               std::string* read_buffer, size_t turn = 0);
  // Calls still on it are let go without a word: the owner cancels them.
  ~H2Connection();

  // Begins; the owner hears of the result later, never from inside.
  void Open();
  // REQUIRES: can_take().
  void Start(Call* call, bool full_time, int64_t timeout_ms);
  // The call's deadline has passed: resets its stream. No event comes of it.
  void Cancel(Call* call);
  // Writes what the session has to say, as far as the socket takes it.
  void Flush();
  // Takes no more calls, finishes those it has and closes with the Flush() that finds none left. The
  // owner hears of that end only. REQUIRES: ready.
  void BeginDrain() { state_ = State::kDraining; }
  // Ends the connection; its calls end as kUnavailable and the owner hears of it, from inside.
  void Close(absl::string_view why);

  State state() const { return state_; }
  // Where it leads. REQUIRES: ready or draining.
  const Address& address() const { return addresses_[next_address_ - 1]; }
  bool can_take() const {
    return state_ == State::kReady && session_.streams() < session_.streams_max();
  }
  uint32_t streams() const { return session_.streams(); }
  // Whether a byte of the call's request may have left.
  bool MayHaveSent(const Call& call) const { return call.header_offset < written_; }

  void OnEvents(uint32_t events) override;

  // For the owner: already in its list of connections to flush.
  bool dirty = false;

 private:
  void OnPeerSettings() override;
  void OnGoAway(uint32_t h2_error, absl::string_view reason) override;
  void OnPong() override;
  void OnCallEnded(Call* call) override;
  void OnStreamClosed() override {}

  void OnResolved(absl::StatusOr<Resolver::Addresses> answer);
  // Tries the addresses from next_address_ on; closes when none is left.
  void TryNextAddress();
  void OnConnectEvent();
  void ReadAll();
  void OnOpenTimeout();
  void OnKeepalive();
  void FailCalls(absl::string_view why);
  void Watch();

  core::EventLoop* loop_;
  Resolver* resolver_;
  const Endpoint* endpoint_;
  Metrics* metrics_;
  ConnectionOwner* owner_;
  std::string* read_buffer_;
  const size_t turn_;

  State state_ = State::kResolving;
  Lookup lookup_;
  Resolver::Addresses addresses_;
  size_t next_address_ = 0;
  std::string last_error_;
  Stream stream_;
  uint32_t watched_ = 0;  // The events fd() is registered for; 0 = not registered.
  H2Session session_;
  CallList calls_;        // On the wire.

  std::string out_;       // Frames not yet taken by the socket, from out_head_ on.
  size_t out_head_ = 0;
  int64_t taken_ = 0;     // Bytes the socket took since the connection began.
  int64_t written_ = 0;   // At least taken_: bytes that may be on their way.

  MemberTimer<H2Connection, &H2Connection::TryNextAddress> begin_timer_{this};
  MemberTimer<H2Connection, &H2Connection::OnOpenTimeout> open_timer_{this};
  MemberTimer<H2Connection, &H2Connection::OnKeepalive> keepalive_timer_{this};
  bool ping_unanswered_ = false;
  bool heard_since_ping_ = false;
};

}  // namespace proxy::momento
