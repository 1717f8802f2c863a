#include "tools/load/run.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "tools/load/endpoint.h"
#include "tools/load/worker.h"
#include "tools/server_process.h"

namespace tools::load {
namespace {

using Clock = std::chrono::steady_clock;

// What to do in one phase, over all workers.
struct Plan {
  const char* name;
  const Mix* mix;
  Phase phase;              // Of the whole; divided among the workers.
  bool every_key = false;   // Each key once, in order, whatever the key order.
  bool fill_counters = false;
};

// The part of `whole` that falls to worker `i` of `n`.
int64_t Share(int64_t whole, int64_t i, int64_t n) { return whole * (i + 1) / n - whole * i / n; }

class Load {
 public:
  explicit Load(const Options& options) : options_(options) {}

  absl::Status Connect();
  // Runs the plan and adds up. Leaves the time it took in *seconds.
  Totals Carry(const Plan& plan, double* seconds);

 private:
  std::unique_ptr<Traffic> TrafficOf(const Plan& plan, int worker);
  Phase PhaseOf(const Plan& plan, int worker) const;
  void PrintProgress(const Plan& plan, const std::vector<std::unique_ptr<Traffic>>& traffics,
                     double seconds, Totals* before) const;

  const Options& options_;
  const Values values_;
  std::vector<std::unique_ptr<Worker>> workers_;
  uint64_t seeds_ = 0;
};

absl::Status Load::Connect() {
  struct rlimit files = {};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  ASSIGN_OR_RETURN(const Endpoint endpoint, Endpoint::Resolve(options_));
  for (int i = 0; i < options_.threads; ++i) {
    const auto connections = static_cast<int>(Share(options_.connections, i, options_.threads));
    ASSIGN_OR_RETURN(auto worker, Worker::Create(options_, endpoint, connections));
    workers_.push_back(std::move(worker));
  }
  return absl::OkStatus();
}

std::unique_ptr<Traffic> Load::TrafficOf(const Plan& plan, int worker) {
  const uint64_t count = options_.keys.count();
  KeyOrder order = plan.every_key ? KeyOrder::Sequential(count)
                                  : *KeyOrder::Parse(options_.key_order, count);
  order.StartAt(count * static_cast<uint64_t>(worker) / workers_.size());
  return std::unique_ptr<Traffic>(new Traffic{
      .options = &options_,
      .mix = plan.mix,
      .values = &values_,
      .fill_counters = plan.fill_counters,
      .order = order,
      .random = Random(Random(options_.seed + 1000 * ++seeds_).Next()),
      .tally = Tally(plan.mix->commands().size())});
}

Phase Load::PhaseOf(const Plan& plan, int worker) const {
  Phase phase = plan.phase;
  const auto n = static_cast<int64_t>(workers_.size());
  phase.rate /= static_cast<double>(n);
  if (phase.requests >= 0) phase.requests = Share(phase.requests, worker, n);
  return phase;
}

Totals Load::Carry(const Plan& plan, double* seconds) {
  std::vector<std::unique_ptr<Traffic>> traffics;
  std::vector<std::future<void>> running;
  for (size_t i = 0; i < workers_.size(); ++i) {
    traffics.push_back(TrafficOf(plan, static_cast<int>(i)));
  }
  const Clock::time_point start = Clock::now();
  const auto elapsed = [start] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  for (size_t i = 0; i < workers_.size(); ++i) {
    const Phase phase = PhaseOf(plan, static_cast<int>(i));
    running.push_back(std::async(std::launch::async, [this, i, phase, &traffics] {
      workers_[i]->Run(phase, traffics[i].get());
    }));
  }
  Totals before(plan.mix->commands().size());
  Clock::time_point tick = start;
  for (const std::future<void>& one : running) {
    while (one.wait_until(tick + std::chrono::seconds(1)) == std::future_status::timeout) {
      tick += std::chrono::seconds(1);
      if (options_.progress) PrintProgress(plan, traffics, elapsed(), &before);
    }
  }
  *seconds = elapsed();
  Totals totals(plan.mix->commands().size());
  for (const auto& traffic : traffics) totals.Add(traffic->tally);
  return totals;
}

// The last second of it; *before is where the line before left off.
void Load::PrintProgress(const Plan& plan, const std::vector<std::unique_ptr<Traffic>>& traffics,
                         double seconds, Totals* before) const {
  Totals now(plan.mix->commands().size());
  for (const auto& traffic : traffics) now.AddCounts(traffic->tally);
  const Latencies lately = now.All().Since(before->All());
  const uint64_t hits = now.hits - before->hits;
  const uint64_t reads = hits + now.misses - before->misses;
  const auto us = [&](double quantile) {
    return static_cast<double>(lately.Quantile(quantile)) / 1e3;
  };
  std::fprintf(stderr, "%s %4.0f s %10llu/s  hits %6.2f %%  p50 %.0f  p99 %.0f  p99.9 %.0f us  faults %llu\n",
               plan.name, seconds, static_cast<unsigned long long>(now.requests - before->requests),
               reads == 0 ? 0.0 : 100.0 * static_cast<double>(hits) / static_cast<double>(reads),
               us(0.5), us(0.99), us(0.999), static_cast<unsigned long long>(now.Faults()));
  *before = std::move(now);
}

// Every key, and every counter if there are any; a fault here makes what follows meaningless.
absl::Status Preload(const Options& options, Load* load) {
  constexpr int kDepth = 64;
  const Mix set = *Mix::Parse("set");
  Plan plan = {.name = "preload",
               .mix = &set,
               .phase = {.depth = kDepth, .requests = static_cast<int64_t>(options.keys.count())},
               .every_key = true};
  for (const bool counters : {false, true}) {
    if (counters && !options.mix.Has(IsArithmetic)) break;
    plan.fill_counters = counters;
    double seconds = 0;
    const Totals totals = load->Carry(plan, &seconds);
    if (totals.Faults() > 0 || totals.requests < options.keys.count()) {
      return absl::FailedPreconditionError(
          absl::StrCat("preload: stored ", totals.requests, " of ", options.keys.count(), " keys, ",
                       totals.Faults(), " faults: ", totals.first_fault));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Report> Run(const Options& options) {
  Load load(options);
  RETURN_IF_ERROR(load.Connect());
  if (options.preload) RETURN_IF_ERROR(Preload(options, &load));
  Plan plan = {.name = "warm-up",
               .mix = &options.mix,
               .phase = {.depth = options.depth,
                         .rate = options.rate,
                         .seconds = options.warmup_seconds}};
  Report report;
  if (options.warmup_seconds > 0) load.Carry(plan, &report.seconds);

  plan.name = "measure";
  plan.phase.seconds = options.requests > 0 ? 0 : options.seconds;
  plan.phase.requests = options.requests > 0 ? options.requests : -1;
  if (options.pid > 0) RETURN_IF_ERROR(ServerProcess::Look(options.pid).status());
  const auto server_before = ServerProcess::Look(options.pid);
  ASSIGN_OR_RETURN(const ServerProcess client_before, ServerProcess::Look(::getpid()));
  report.totals = load.Carry(plan, &report.seconds);
  ASSIGN_OR_RETURN(const ServerProcess client_after, ServerProcess::Look(::getpid()));
  report.client_cpu_seconds = client_after.cpu_seconds - client_before.cpu_seconds;
  // A server that died has no figures, and the faults tell.
  const auto server_after = ServerProcess::Look(options.pid);
  if (server_before.ok() && server_after.ok()) {
    report.server_cpu_seconds = server_after->cpu_seconds - server_before->cpu_seconds;
    report.server_resident_bytes = server_after->rss_bytes;
  }
  return report;
}

}  // namespace tools::load
