// A worker's connections to one place, and the calls that wait for them.
//
// Choice: a connection that already has something to write this turn takes further calls up to
// kStreamsPerWrite, so that calls made together leave in one write; else the one with the fewest
// streams. Replacement: a slot whose connection ends opens another after a jittered exponential
// delay (none when the old one had lasted). Failure: while some connection is being tried for the
// first time since it last worked, calls wait for it until their deadline; once every slot's latest
// attempt has failed, calls end at once as kUnavailable, until a later attempt works. A call that
// the service has certainly not seen is sent again, twice at most, while its deadline lasts.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/log/log.h"
#include "core/net/event_loop.h"
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
  static constexpr int64_t kBackoffLastMs = 5000;
  // A connection that lasted this long was a good one: its loss is followed by no delay.
  static constexpr int64_t kStableMs = 5000;

  struct Options {
    Endpoint endpoint;
    RequestHeaders headers;
    int connections = 1;
    bool lazy = false;        // Open them with the first call instead of at once.
    int64_t deadline_ms = 1000;  // Of a call, from Start().
  };
  // `loop`, `resolver` and `metrics` outlive the pool; `log` too, or is null.
  ChannelPool(core::EventLoop* loop, Resolver* resolver, Metrics* metrics, core::Log* log,
              Options options);
  // Lets go of every call still here: its timer is off, no OnDone() comes. OnDone() must not
  // destroy the pool.
  ~ChannelPool();

  // Takes the call until its OnDone(), which never runs from inside, or until the pool is destroyed.
  void Start(Call* call);
  void Flush();
  int ready_connections() const { return ready_; }

  // For Call: its time is up.
  void OnDeadline(Call* call);

 private:
  struct Slot final : core::Timer {
    void OnTimer() override { pool->Open(this); }
    ChannelPool* pool = nullptr;
    std::unique_ptr<H2Connection> connection;  // Null: waiting to try again.
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

  void Open(Slot* slot);
  void OpenAll();
  // Arms the slot for another attempt.
  void Replace(Slot* slot);
  Slot* SlotOf(const H2Connection* connection);
  // The slot's connection is no longer one that takes calls.
  void LeaveReady(Slot* slot);
  void MarkDirty(H2Connection* connection);

  // The connection to carry the next call; null when none has room.
  H2Connection* Pick();
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

  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<H2Connection>> draining_;
  std::vector<std::unique_ptr<H2Connection>> closed_;  // Destroyed at the end of the turn.
  std::vector<H2Connection*> dirty_;                   // To flush at the end of the turn.
  int ready_ = 0;
  bool opened_ = false;
  bool stopping_ = false;
  std::string last_failure_;
  std::string read_buffer_;

  CallList waiting_;
  CallList ended_;
  std::minstd_rand random_;
};

}  // namespace proxy::momento
