// One thread of the load: its connections, and the two ways to keep them busy.
//
// Closed loop: every connection has `depth` requests in flight; what is answered is asked anew. The
// rate is the server's, and a server that stalls is asked less, so its stalls count too little in
// the percentiles ("coordinated omission").
// Open loop: requests are due at times drawn beforehand, whatever the server does. A latency runs
// from the time a request was due, the wait for room included; what could not be sent until the end
// counts with the time it had waited by then. Everything due at one moment goes to one connection,
// the next to the next: as from a client with a pool that pipelines.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/fd.h"
#include "tools/load/conversation.h"
#include "tools/load/endpoint.h"

namespace tools::load {

// What a worker does in one go.
struct Phase {
  int depth = 1;
  double rate = 0;        // This worker's; 0: closed loop.
  int64_t requests = -1;  // This worker's; negative: until the time is over.
  double seconds = 0;     // 0: until the requests are sent.
};

class Worker {
 public:
  // Connects. The options and the values outlive the worker.
  static absl::StatusOr<std::unique_ptr<Worker>> Create(const Options& options,
                                                        const Endpoint& endpoint, int connections);

  // Returns when all is answered, given up, or `timeout_seconds` went by without a byte. The
  // traffic's tally counts. One thread at a time.
  void Run(const Phase& phase, Traffic* traffic);

  // Connections that are still good.
  size_t live() const { return live_; }

 private:
  struct Connection {
    core::Fd fd;
    Conversation conversation;
    bool blocked = false;  // The socket took less than there was; epoll tells when it takes more.
  };

  explicit Worker(const Options& options) : options_(options) {}
  absl::Status Open(const Endpoint& endpoint, int connections);

  // The parts of Run; they use what belongs to the current phase, below.
  void Begin(const Phase& phase, Traffic* traffic);
  bool MayAsk() const;
  void Fill(Connection* c);
  void AskDue();
  bool IsDue() const;
  void AskBurst(Connection* c);
  Connection* NextWithRoom();
  void Schedule();
  void SkipRest();
  void Wait();
  void Read(Connection* c);
  void Flush(Connection* c);
  void Watch(Connection* c, bool writable, int operation);
  void GiveUp(Connection* c, bool closed);
  bool Finished();
  size_t Pending() const;

  const Options& options_;
  core::Fd epoll_;
  std::vector<Connection> connections_;
  size_t live_ = 0;
  size_t turn_ = 0;  // Where the open loop looks for room next.
  std::vector<char> scratch_;

  Phase phase_;
  Traffic* traffic_ = nullptr;
  int64_t now_ns_ = 0;
  int64_t end_ns_ = 0;         // When no more is asked.
  int64_t next_ns_ = 0;        // Open loop: when the next request is due.
  int64_t last_heard_ns_ = 0;  // Or when the phase began.
  int64_t asked_ = 0;
};

}  // namespace tools::load
