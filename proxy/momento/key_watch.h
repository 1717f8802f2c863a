// The thread that keeps accounts current: it looks at key files and expiries, and asks the service
// about new keys over connections of its own. The one place that waits for a disk on behalf of keys.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "config/momento.h"
#include "core/base/clock.h"
#include "core/net/event_loop.h"
#include "proxy/momento/account.h"
#include "proxy/momento/grpc_client.h"
#include "proxy/momento/key_rotation.h"

namespace proxy::momento {

// An account and what it was made from.
struct WatchedAccount {
  KeySource source;
  Secret key;  // The text in use at start.
  std::vector<config::Cache> caches;  // Those served with it.
  Account* account;
  KeyMetrics* metrics;
};

class KeyWatch {
 public:
  // Starts the thread. `shared` is what the clients of the process share; its account is not used.
  // What is borrowed outlives the watch; shared.log is not null.
  KeyWatch(std::vector<WatchedAccount> accounts, const GrpcClient::Shared& shared,
           int64_t interval_ms, const core::Clock* clock);
  // Ends the thread; a question under way is dropped.
  ~KeyWatch();
  KeyWatch(const KeyWatch&) = delete;
  KeyWatch& operator=(const KeyWatch&) = delete;

  // Looks at once instead of at the next interval. Any thread.
  void LookNow();

 private:
  class Entry;

  core::EventLoop loop_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::thread thread_;
};

}  // namespace proxy::momento
