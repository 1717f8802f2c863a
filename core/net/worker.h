// The data plane's threads: one event loop each, plus the memory its sessions share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "config/server.h"
#include "core/base/clock.h"
#include "core/log/log.h"
#include "core/metrics/metrics.h"
#include "core/net/event_loop.h"
#include "core/net/out_buffer.h"
#include "core/net/ring.h"

namespace core {

// One event-loop thread and what belongs to it.
struct Worker {
  // What one session reads in one turn at most, which also bounds the requests it gets parsed.
  static constexpr size_t kScratchBytes = 64 * 1024;

  Worker(int worker_index, const Clock* clock)
      : index(worker_index), loop(clock), scratch(new char[kScratchBytes]) {}

  const int index;
  ChunkPool chunks;  // Before the loop, whose ring may hold some to its end.
  EventLoop loop;
  std::unique_ptr<char[]> scratch;  // Input passes through here; only what is left over is kept.
  std::unique_ptr<char[]> tls_scratch;  // The same where it is encrypted; made when it is needed.
};

// CPUs this process may run on (affinity and cgroup v2 quota considered), at least 1.
int UsableCpus();

// Built by main; servers attach to its loops; then Start(). Stop() joins; what is attached is
// destroyed after that, on main's thread.
class WorkerPool {
 public:
  // `count` 0 means UsableCpus(). `clock` and `registry` outlive the pool. The threads are called
  // `name` and their number.
  WorkerPool(int count, const Clock* clock, Registry* registry,
             absl::string_view name = "worker_");
  ~WorkerPool() { Stop(); }

  // Lets every worker receive and send through io_uring, if `io` says so and the kernel lets it: one
  // line of `log`, if given, tells which it is. An error where `io` demands what there is not. Without
  // it, it is epoll. Once, before Start().
  absl::Status ChooseIo(config::Server::Io io, Log* log, const Ring::Options& options = {});

  void Start();
  // Returns when every worker has ended its turn and its thread. Idempotent.
  void Stop();

  int size() const { return static_cast<int>(workers_.size()); }
  Worker& worker(int i) { return *workers_[i]; }

 private:
  Registry* registry_;
  const std::string name_;
  std::unique_ptr<RingMetrics> ring_metrics_;  // Null until ChooseIo(); outlives the workers' rings.
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
};

// Starts a pool and stops it at the end of a scope: declare it after everything attached.
class ScopedRun {
 public:
  explicit ScopedRun(WorkerPool* pool) : pool_(pool) { pool_->Start(); }
  ~ScopedRun() { pool_->Stop(); }
  ScopedRun(const ScopedRun&) = delete;
  ScopedRun& operator=(const ScopedRun&) = delete;

 private:
  WorkerPool* pool_;
};

}  // namespace core
