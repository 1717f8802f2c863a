// io_uring behind one event loop: sockets receive into buffers that the kernel picks, and what a
// turn has to send is handed over with the system call that waits for the next turn.
//
//   Open -> Receive ... StopReceiving -> Close          a link is one socket's part
//              \-> Send, one at a time
//
// A receive goes on by itself until it ends with the peer's input, an error, for want of buffers,
// or by StopReceiving(); what arrived before that is told before the end is. The kernel reads what
// is to be sent where it lies, so it must lie there until the handler hears how much was taken, or,
// if the link is closed before, the ring keeps it. Everything else of the loop stays with epoll,
// whose own descriptor the ring watches.
//
// Made and destroyed by any thread; from Enable() to Leave() everything belongs to the loop's
// thread (the kernel holds it to that: SINGLE_ISSUER).
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/metrics/metrics.h"
#include "core/net/out_buffer.h"

struct io_uring;
struct io_uring_buf_ring;
struct io_uring_sqe;

namespace core {

// What a socket's owner hears. Nothing after Ring::Close().
class RingHandler {
 public:
  // What OnReceived() will be told in a moment, after others have been told theirs: time to begin
  // loading what it will need. Not called if nothing comes between.
  virtual void Foretell(absl::string_view) {}
  // The next bytes of the peer, at least one. They are good during the call.
  virtual void OnReceived(absl::string_view bytes) = 0;
  // Nothing more comes until Receive() is called again. `result` is 0 at the end of the peer's
  // input, -ECANCELED if it was stopped, -ENOBUFS if it ended for a reason of the ring's own, or an
  // error of the socket.
  virtual void OnReceiveEnd(int result) = 0;
  // The bytes that were taken of what Send() was given, or an error: -ECANCELED if it was stopped.
  virtual void OnSent(int result) = 0;

 protected:
  ~RingHandler() = default;
};

struct RingMetrics : MetricGroup {
  explicit RingMetrics(Registry* registry) : MetricGroup(registry, "core_net", {}) {}

  Gauge workers{this, "io_uring_workers",
                "Workers that receive and send through io_uring; 0 where it is epoll."};
  Counter starve{this, "io_uring_starve_total",
                 "Times a connection waited a turn because the ring's buffers were all full."};
};

class Ring {
 public:
  struct Options {
    // What the kernel may fill between two turns, of all sockets together: 256 KB, all of which is
    // in use after a while. One is enough for a burst of short requests and bounds what is copied
    // where a request spans two; one socket gets 32 of them a turn at most (MULTISHOT_MAX_RETRY in
    // Linux's io_uring/net.c), as much as one read of Worker::kScratchBytes. 256 of 4 KB cost as
    // much CPU, at 500 connections, too.
    uint32_t buffers = 128;  // A power of two.
    uint32_t buffer_bytes = 2 * 1024;
  };

  // Or why the kernel gives none: kUnavailable, with a reason for people. `metrics` outlives it.
  static absl::StatusOr<std::unique_ptr<Ring>> Create(const Options& options, RingMetrics* metrics);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // The calling thread is the loop's from now on; `epoll` is what the loop has beside the ring.
  void Enable(int epoll);
  bool enabled() const { return enabled_; }
  // No turn comes after this; what was asked for is submitted.
  void Leave();

  // Submits what was asked for since the last time and waits at most `timeout_ms` (-1: as long as
  // nothing happens) for something to dispatch.
  void Wait(int64_t timeout_ms);
  // Tells handlers what happened. `poll` is called if epoll has events.
  void Dispatch(absl::FunctionRef<void()> poll);
  // Submits without waiting: nothing will wait any more, or a descriptor is about to be closed.
  void Submit();

  using Link = uint32_t;
  // `fd` stays open and `handler` alive until Close(). REQUIRES: enabled().
  Link Open(int fd, RingHandler* handler);
  // REQUIRES: no receive is under way.
  void Receive(Link link);
  // OnReceiveEnd() follows, in a later turn.
  void StopReceiving(Link link);
  // Sends `count` pieces as if they were one; what is kept of them is the pieces' bytes, not the
  // list. REQUIRES: no send is under way.
  void Send(Link link, const struct iovec* pieces, int count);
  // After this `fd` may be closed and the handler destroyed. `unsent` holds the bytes of a send
  // under way, which are kept until the kernel has done with them. After Leave() any thread may
  // call it.
  void Close(Link link, OutBuffer&& unsent);

 private:
  enum Kind : uint64_t { kPoll, kReceive, kSend, kCancel };
  static constexpr int kKindBits = 2;
  static constexpr int kPiecesMax = 64;
  // How many events are looked at before the first is told: as Shard::kGroup.
  static constexpr unsigned kGroup = 8;

  struct Socket {
    RingHandler* handler = nullptr;  // Null: closed, or never opened.
    int fd = -1;
    bool receiving = false;
    bool sending = false;
    bool named = false;  // Its descriptor is named by a request that is not submitted yet.
    std::unique_ptr<OutBuffer> unsent;  // Of a closed one: what the kernel may still read.
  };
  // What sendmsg() is told; read by the kernel when it is submitted.
  struct Message {
    struct msghdr header;
    struct iovec pieces[kPiecesMax];
  };

  Ring(const Options& options, RingMetrics* metrics);
  int Setup();
  void GiveBuffer(uint16_t index);
  struct io_uring_sqe* Request(Kind kind, Link link);
  void Cancel(Kind kind, Link link);
  void WatchEpoll();
  void Submitted();
  struct Event;
  void Foretell(const Event& event);
  absl::string_view BytesOf(const Event& event) const;
  void Received(const Event& event);
  void Sent(Link link, int result);
  void FreeIfDone(Link link);

  const Options options_;
  RingMetrics& metrics_;
  const std::unique_ptr<struct io_uring> ring_;
  bool made_ = false;
  bool enabled_ = false;
  bool left_ = false;
  int epoll_ = -1;
  size_t buffers_bytes_ = 0;  // Of both that follow.
  struct io_uring_buf_ring* ring_of_buffers_ = nullptr;
  char* buffers_ = nullptr;
  std::vector<Socket> sockets_;  // Index = Link.
  std::vector<Link> free_;
  std::vector<Link> named_;  // Whose `named` is set.
  std::vector<std::unique_ptr<Message>> messages_;
  size_t messages_used_ = 0;
};

}  // namespace core
