// What every daemon is besides its service: signals, log, metrics, admin ports, start and stop.
//
//   main: Create (before any thread) -> build servers -> StartAdmin -> Ready -> ServeUntilSignal
//
//   serving --SIGTERM, SIGINT, SIGUSR1, SIGUSR2--> leaving --drain_delay--> draining
//                                                                              |
//                                 stopped <--drained, or drain_timeout---------/
//
//   while leaving or draining, one more of them: stopped at once
//   until stopped, SIGHUP: on_reload (reload.h)
//
// While leaving, everything is served as before, so that whoever looks at /readyz or is told of the
// end by an orchestrator can send new clients elsewhere first. A next process that takes over
// (handover.h) ends that at once: its clients have somewhere to go. While leaving and draining,
// /readyz says 503 and the admin ports still answer; they are closed when ServeUntilSignal() returns,
// so that no hook runs while main takes things apart.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/admin.h"
#include "config/log.h"
#include "core/admin/admin.h"
#include "core/log/log.h"
#include "core/metrics/metrics.h"
#include "core/metrics/process_metrics.h"
#include "core/net/listen_sockets.h"
#include "core/process/handover.h"
#include "core/process/pid_file.h"
#include "core/process/reload_metrics.h"
#include "core/process/signals.h"

namespace core {

struct ProcessOptions {
  std::string product;  // "segcache"
  std::string version;  // MP_VERSION
  config::Log log;
  config::Admin admin;
  uint32_t connections_max = 0;  // For the limit on open files; 0 leaves it alone.
  absl::Duration drain_delay = absl::ZeroDuration();
  absl::Duration drain_timeout = absl::Seconds(10);
  std::string user;      // To become, before any file is opened; empty: nobody else.
  std::string pid_file;  // Empty: none.
  std::string handover_socket;  // Empty: nothing is handed over.
};

// How to stop taking requests. Called on the main thread.
struct Drainable {
  std::function<void()>
      begin_drain;                // Takes nothing new, answers what is in flight. Returns at once.
  std::function<bool()> drained;  // Nothing is in flight any more.
  std::function<void()> on_reload;  // SIGHUP, after the log was reopened. May be empty.
  // Bounds the drain, as drain_timeout does, when a next process has taken over and waits for its end.
  absl::Duration taken_timeout = absl::InfiniteDuration();
};

class Process {
 public:
  // Blocks signals, raises the limit on open files, becomes the user, opens the log, writes the pid
  // file (or Ready() does, if it is to replace a process that runs), registers the process's metrics.
  // REQUIRES: the main thread, before any other thread is started.
  static absl::StatusOr<std::unique_ptr<Process>> Create(ProcessOptions options);
  // Stops the admin ports if they run, writes out the log, removes the pid file.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Borrowed by everything that main builds; they live as long as the Process. Any thread.
  Log* log() { return log_.get(); }
  Registry* metrics() { return &metrics_; }

  // Serves the admin ports that are enabled. `hooks` needs only what the product adds (ready,
  // commands, pages); what its functions use outlives ServeUntilSignal(). Call it when the servers
  // are built, at most once.
  absl::Status StartAdmin(AdminHooks hooks);
  // Null before StartAdmin() and after ServeUntilSignal().
  const Admin* admin() const { return admin_.get(); }

  // Whether a signal to stop has come before Ready(): the start may end here, with exit code 0. Main
  // thread.
  bool ToldToStop();

  // Where servers look for listening sockets that are there already. Any thread.
  ListenSockets* sockets() { return &sockets_; }
  // Receivers and givers are named before Ready() and in begin_drain.
  Handover& handover() { return *handover_; }

  // Clients may come, and those of a process that this one replaces do: /readyz answers by the product's hook from now on (503 "starting" before),
  // and the service manager is told.
  void Ready();

  // Blocks until a signal asks for a stop and the drain has ended. Returns the exit code: 0, also
  // when the drain ran out of time or was cut short.
  int ServeUntilSignal(const Drainable& drainable);

  // Goes on with these; on failure nothing changes. Main thread.
  absl::Status Change(const config::Log& log, absl::Duration drain_delay,
                      absl::Duration drain_timeout);
  const ReloadMetrics& reloads() const { return reload_metrics_; }
  ReloadMetrics& reloads() { return reload_metrics_; }

  // Whether a signal to stop has come after the one that ServeUntilSignal() returned for: what is
  // left to do had better be left. Main thread.
  bool ToldAgain();

  // As a SIGTERM: the first drains, the second stops at once. Any thread.
  void RequestStop() { signals_.RequestStop(); }

 private:
  // Unless it is there.
  absl::Status WritePidFile();
  enum class Phase : uint8_t { kStarting, kServing, kDraining };

  explicit Process(ProcessOptions options);
  absl::Status Readiness(const std::function<absl::Status()>& product) const;
  void Serve(const Drainable& drainable);
  void Linger(const Drainable& drainable);
  void Drain(const Drainable& drainable);
  void Reload(const Drainable& drainable);

  ProcessOptions options_;  // Main thread's, once the admin ports are served.
  Signals signals_;  // Before what starts threads.
  std::unique_ptr<PidFile> pid_file_;
  std::unique_ptr<Log> log_;
  Registry metrics_;
  std::unique_ptr<ProcessMetrics> process_metrics_;
  ReloadMetrics reload_metrics_{&metrics_};
  ListenSockets sockets_;
  std::unique_ptr<Handover> handover_;
  bool told_to_stop_ = false;
  bool told_again_ = false;
  std::atomic<Phase> phase_{Phase::kStarting};  // Written by main, read by admin threads.
  std::unique_ptr<Admin> admin_;
};

// What every process counts, without a process: for --describe-metrics. Reads as zeros.
void RegisterProcess(const config::Admin& admin, const std::string& product,
                     const std::string& version, Registry* registry);

// Raises the soft limit on open files to at least `needed` as far as the hard limit allows. Returns
// the limit now in force.
uint64_t RaiseOpenFilesLimit(uint64_t needed);

}  // namespace core
