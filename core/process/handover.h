// Passing the work of a process on to the one that replaces it, so that no client notices.
//
// The path of server.handover_socket is where a running process can be found by the next one:
//
//   next  -- connects, "hello" ------------------------------------------> running
//         <- "listen" with each listening socket, "end" ------------------ knows of the other
//   builds everything, opens its connections, listens on those sockets: both accept now
//         -- "take" (Ready) ---------------------------------------------> drains
//         <- "connection" with each client connection, once it is between
//            two requests, and the bytes that were read of the next one --
//   goes on with it
//         <- end of the stream: everything was handed over and the process is going
//
// A next one that dies before "take" has changed nothing. One at a time: a third is told "busy" with
// the number of the second. Who says nothing at all is hung up on. Whoever keeps its state in memory and lets
// the next one read it from a file (segcache) is taken over first and waited for, then the next one
// builds: TakeAllNow().
//
// Messages are datagrams of a SOCK_SEQPACKET socket; only the user of the process, and root, may
// connect. A thread of its own speaks them in either part.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "core/base/fd.h"
#include "core/base/mutex.h"
#include "core/log/log.h"
#include "core/net/listen_sockets.h"
#include "core/net/shard.h"
#include "core/net/unix_socket.h"

namespace core {

class Handover {
 public:
  // A connection to go on with: see Server::Inherit().
  using Receiver = std::function<void(Fd fd, std::string unread)>;

  // `path` empty: nothing is ever handed over. `log` outlives it; `taken` is called once, on the
  // thread, when a next process takes over: the drain is to begin.
  Handover(std::string path, Log* log, std::function<void()> taken);
  ~Handover();
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  // --- As the next process; main thread. ---

  // Asks the running process, if there is one, for its listening sockets, which go to `sockets`.
  absl::Status Greet(ListenSockets* sockets);
  bool has_predecessor() const { return predecessor_.valid(); }
  // Waits until the predecessor has handed everything over and is gone. False: `told_to_stop`, asked
  // now and then, said so first; the predecessor ends all the same.
  bool TakeAllNow(const std::function<bool()>& told_to_stop);
  // Where connections of the server called `name` go. Before Start().
  void Receive(const std::string& name, Receiver receiver) {
    receivers_[name] = std::move(receiver);
  }
  // Called once when the predecessor is gone, from the thread, or from Start() if it is already.
  void WhenAlone(std::function<void()> alone) { alone_.push_back(std::move(alone)); }
  // Takes over from the predecessor, if there is one, and may be found from now on. On failure of the
  // latter the process serves all the same.
  absl::Status Start(ListenSockets* sockets);

  // --- As the running one. ---

  // Whether a next process has taken over. Any thread.
  bool taken() const { return taken_.load(std::memory_order_acquire); }
  // `begins` is called before a next process can serve clients beside this one, `ends` if that one
  // goes without having taken over. From the thread; before Start().
  void WhenShared(std::function<void()> begins, std::function<void()> ends) {
    shared_.push_back({std::move(begins), std::move(ends)});
  }
  // What hands the connections of a server over; null while nobody has taken over. Any thread.
  GiveConnection GiveTo(const std::string& name);
  // No next process is served from now on: this one is going.
  void Refuse() { refuses_.store(true, std::memory_order_relaxed); }
  // Waits until what was given has left, and ends the thread. The stream ends with the Handover, so
  // that the next process knows when this one is done. Idempotent.
  void Finish();

 private:
  struct Given {
    std::string name;
    Fd fd;
    std::string unread;
  };

  struct Shared {
    std::function<void()> begins;
    std::function<void()> ends;
  };

  void Run(ListenSockets* sockets);
  // False: the stream has ended.
  bool ReceiveOne(const std::function<void(Given)>& into);
  void ReceiveAll();
  void WarnOfLost();
  void BeAlone();
  void Deliver(Given given);
  // True: Finish() was called, nothing is to be waited for.
  bool WaitReadable(const Fd& fd);
  void ServeSuccessors(ListenSockets* sockets);
  // Whether `successor` took over.
  bool Serve(ListenSockets* sockets);
  bool SendSockets(ListenSockets* sockets);
  // Tells who else asks that `successor_` was first.
  void TurnAway();
  void SendGiven();

  const std::string path_;
  Log* const log_;
  const std::function<void()> on_taken_;
  Fd predecessor_;
  std::vector<Given> early_;  // Of TakeAllNow().
  Fd successor_;
  std::map<std::string, Receiver> receivers_;
  std::vector<std::function<void()>> alone_;
  std::vector<Shared> shared_;
  size_t lost_ = 0;  // Connections that came without a descriptor.
  UnixListening listening_;
  Fd stop_;  // An eventfd.
  std::atomic<bool> taken_{false};
  std::atomic<bool> refuses_{false};

  Mutex mu_;  // Guards what follows.
  CondVar changed_;
  std::deque<Given> given_ ABSL_GUARDED_BY(mu_);
  bool finishing_ ABSL_GUARDED_BY(mu_) = false;

  std::thread thread_;
};

}  // namespace core
