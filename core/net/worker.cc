#include "core/net/worker.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace core {
namespace {

// Whole CPUs granted by cgroup v2's cpu.max ("quota period" or "max period"), or a large number.
int CgroupCpus() {
  constexpr int kUnlimited = 1 << 20;
  std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "re");
  if (file == nullptr) return kUnlimited;
  long long quota = 0, period = 0;
  const int fields = std::fscanf(file, "%lld %lld", &quota, &period);
  std::fclose(file);
  if (fields != 2 || quota <= 0 || period <= 0) return kUnlimited;
  return static_cast<int>((quota + period - 1) / period);
}

}  // namespace

int UsableCpus() {
  cpu_set_t set;
  int cpus = 1;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) cpus = CPU_COUNT(&set);
  return std::max(1, std::min(cpus, CgroupCpus()));
}

WorkerPool::WorkerPool(int count, const Clock* clock, Registry* registry, absl::string_view name)
    : registry_(registry), name_(name) {
  if (count == 0) count = UsableCpus();
  for (int i = 0; i < count; ++i) workers_.push_back(std::make_unique<Worker>(i, clock));
}

absl::Status WorkerPool::ChooseIo(config::Server::Io io, Log* log, const Ring::Options& options) {
  using Io = config::Server::Io;
  ring_metrics_ = std::make_unique<RingMetrics>(registry_);
  std::vector<std::unique_ptr<Ring>> rings;
  absl::Status status;
  for (size_t i = 0; i < workers_.size() && io != Io::kEpoll && status.ok(); ++i) {
    absl::StatusOr<std::unique_ptr<Ring>> ring = Ring::Create(options, ring_metrics_.get());
    status = ring.status();
    if (ring.ok()) rings.push_back(*std::move(ring));
  }
  if (io == Io::kIoUring && !status.ok()) {
    return absl::Status(status.code(), absl::StrCat("server.io: ", status.message()));
  }
  if (log != nullptr) {
    log->Info("connections are served by %s%s",
              rings.size() == workers_.size() ? "io_uring" : "epoll",
              status.ok() ? "" : absl::StrCat(", ", status.message()));
  }
  if (!status.ok()) return absl::OkStatus();  // All or none.
  for (size_t i = 0; i < rings.size(); ++i) workers_[i]->loop.UseRing(std::move(rings[i]));
  return absl::OkStatus();
}

void WorkerPool::Start() {
  for (auto& worker : workers_) {
    threads_.emplace_back([this, w = worker.get()] {
      ::pthread_setname_np(::pthread_self(), absl::StrCat(name_, w->index).c_str());
      registry_->ClaimShard();
      w->loop.Run();
    });
  }
}

void WorkerPool::Stop() {
  for (auto& worker : workers_) worker->loop.Stop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace core
