// The HTTP half of the admin plane: cpp-httplib reads the request and writes the answer; sockets,
// threads and time limits are ours. (Its own server waits per read, not per request, so a peer that
// drips bytes could hold every thread; and it queues connections without bound.)
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/admin/admin.h"
#include "core/base/fd.h"
#include "core/base/mutex.h"

namespace core {

class AdminHttp {
 public:
  // Starts the threads. `hooks` outlives the object.
  explicit AdminHttp(const AdminHooks* hooks);
  ~AdminHttp();

  // Takes an accepted connection and answers it in turn. False: too many wait, it is closed. Any
  // thread.
  bool Serve(Fd connection);
  // Ends the threads; requests in hand are cut off. Idempotent.
  void Stop();

 private:
  class Server;
  void Run();
  bool Next(Fd* connection);

  const std::unique_ptr<Server> server_;
  Fd stop_;  // An eventfd, readable once Stop() was called: wakes whoever waits for a peer.
  std::vector<std::thread> threads_;

  Mutex mu_;  // Guards what follows.
  CondVar changed_;
  std::deque<Fd> waiting_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace core
