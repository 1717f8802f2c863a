// A worker's connections to one place, and the calls that wait for them.
//
// Choice: a connection that already has something to write this turn takes further calls up to
// kStreamsPerWrite, so that calls made together leave in one write; else the one with the fewest
// streams. Replacement: a slot whose connection ends opens another after a jittered exponential
// delay (none when the old one had lasted). Failure: while some connection is being tried for the
// first time since it last worked, calls wait for it until their deadline; once every slot's latest
// attempt has failed, calls end at once as kUnavailable, until a later attempt works. A call that
// the service has certainly not seen is sent again, twice at most, while its deadline lasts.
// Names: asked for again with every attempt, and while connections work on a timer. A connection whose
// address the name has left is replaced once another has opened, one after the other.
// Credentials: a new key is on every call started after it came; the connections stay, unless the
// key names another place, where they are opened anew while the old ones finish their calls.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/log/log.h"
#include "core/net/event_loop.h"
#include "proxy/momento/account.h"
#include "proxy/momento/address_watch.h"
#include "proxy/momento/call.h"
#include "proxy/momento/h2_connection.h"
#include "proxy/momento/metrics.h"

namespace proxy::momento {

class ChannelPool final : private ConnectionOwner, private core::TurnEnd {
 public:
  // Calls that may wait: at ten thousand a deadline of a second is lost anyway.
  static constexpr size_t kWaitingMax = 10'000;
  static constexpr int kAttemptsMax = 3;
  static constexpr uint32_t kStreamsPerWrite = 32;
  // The delay before another attempt doubles from the first to the last, each +-20 %.
  static constexpr int64_t kBackoffFirstMs = 50;
  // So much may also pass between the end of an outage and the first call.
  static constexpr int64_t kBackoffLastMs = 2000;
  // The last one where the service can be reached, but takes away the only connection left: short of
  // the default deadline, so that calls find another one.
  static constexpr int64_t kBackoffLostMs = 500;
  // A connection that lasted this long was a good one: its loss is followed by no delay.
  static constexpr int64_t kStableMs = 5000;

  enum class Plane : uint8_t { kData, kControl };

  struct Options {
    const Account* account = nullptr;  // Outlives the pool.
    Plane plane = Plane::kData;
    // Host, port, authority and credentials are the account's, whatever stands here.
    Endpoint endpoint;
    RequestHeaders headers;
    int connections = 1;
    bool lazy = false;        // Open them with the first call instead of at once.
  };
  // `loop`, `resolver` and `metrics` outlive the pool; `log` too, or is null.
  ChannelPool(core::EventLoop* loop, Resolver* resolver, Metrics* metrics, core::Log* log,
              Options options);
  // Lets go of every call still here: its timer is off, no OnDone() comes. OnDone() must not
  // destroy the pool.
  ~ChannelPool();

  // Takes the call until its OnDone(), which never runs from inside, or until the pool is destroyed.
  // Its deadline counts from here.
  void Start(Call* call);
  // The same after `pause_ms`, for a call that has ended: it keeps its deadline, and goes to another
  // connection than before if one has room.
  void StartAgain(Call* call, int64_t pause_ms);
  // Whether StartBeside() has a connection to go to.
  bool HasPlaceBeside(const Call& first) { return PickBeside(first) != nullptr; }
  // Starts a call over another connection than that of `first`, which is on the wire, with the
  // deadline of `first`. REQUIRES: HasPlaceBeside(first).
  void StartBeside(const Call& first, Call* call);
  // Takes the call back before its OnDone(), which will not come; its stream is reset. Returns
  // whether the service may have seen it.
  bool Abandon(Call* call);
  void Flush();
  int ready_connections() const { return ready_; }

  // For Call: its time is up, or its pause over.
  void OnTimer(Call* call);

 private:
  struct Slot final : core::Timer {
    void OnTimer() override { pool->Open(this); }
    ChannelPool* pool = nullptr;
    std::unique_ptr<H2Connection> connection;  // Null: waiting to try again.
    std::unique_ptr<H2Connection> successor;   // Opening, to take the place of one that works.
    int failures = 0;        // In a row; sets the delay.
    bool failed = false;     // The latest attempt failed.
    bool ready = false;
    int64_t ready_since_ms = 0;
  };

  void OnReady(H2Connection* connection) override;
  void OnDraining(H2Connection* connection, absl::string_view why) override;
  void OnClosed(H2Connection* connection, absl::string_view why) override;
  void OnCallEnded(Call* call) override;
  void OnProgress(H2Connection* connection) override;
  void OnTurnEnd() override;

  // Where the connections go and what their requests say. Outlives those connections.
  struct Place {
    Endpoint endpoint;
    RequestHeaders headers;
  };
  std::unique_ptr<Place> PlaceOf(const Account::CredentialsPtr& credentials) const;
  // Takes the account's new credentials in use.
  void Adopt();
  void AdoptIfChanged() {
    if (options_.account->generation() != generation_) [[unlikely]]
      Adopt();
  }
  // Leaves every connection for others to the latest place.
  void Move();

  std::unique_ptr<H2Connection> MakeConnection(Slot* slot);
  void Open(Slot* slot);
  void OpenAll();
  // Opens a successor for a connection whose address the name has left, unless one is opening.
  void FollowName();
  // The slot's successor has opened and takes the place of the connection that works.
  void Succeed(Slot* slot);
  // Arms the slot for another attempt.
  void Replace(Slot* slot);
  Slot* SlotOf(const H2Connection* connection);
  Slot* SlotToBeOf(const H2Connection* successor);
  // The slot's connection is no longer one that takes calls.
  void LeaveReady(Slot* slot);
  void MarkDirty(H2Connection* connection);

  // Takes the call, whose deadline stands, to a connection or to wait for one.
  void Begin(Call* call, const H2Connection* avoid);
  void OnDeadline(Call* call);
  // The connection to carry the next call; null when none has room. `avoid`: only if no other has.
  H2Connection* Pick(const H2Connection* avoid);
  H2Connection* LeastLoadedBut(const H2Connection* avoid);
  H2Connection* PickBeside(const Call& first) {
    return first.connection == nullptr ? nullptr : LeastLoadedBut(first.connection);
  }
  void StartOn(H2Connection* connection, Call* call);
  void StartWaiting();
  // No connection works and none is being tried for the first time.
  bool Hopeless() const;
  void FailWaiting();
  // Ends a call that is on no connection; its OnDone() comes with Deliver().
  void End(Call* call, Error error);
  void Deliver();

  core::EventLoop* loop_;
  Resolver* resolver_;
  Metrics* metrics_;
  core::Log* log_;
  const Options options_;
  uint64_t generation_;  // Of the credentials in use.
  std::vector<std::unique_ptr<Place>> places_;  // The last is in use; others have connections left.

  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<H2Connection>> draining_;
  std::vector<std::unique_ptr<H2Connection>> closed_;  // Destroyed at the end of the turn.
  std::vector<H2Connection*> dirty_;                   // To flush at the end of the turn.
  int ready_ = 0;
  bool opened_ = false;
  bool stopping_ = false;
  std::string last_failure_;
  std::string read_buffer_;

  AddressWatch names_;
  CallList waiting_;
  CallList resting_;
  CallList ended_;
  std::minstd_rand random_;
  const size_t first_turn_;  // Pools of different workers begin with different addresses.
};

}  // namespace proxy::momento
