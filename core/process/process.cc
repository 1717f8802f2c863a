#include "core/process/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/net/metrics.h"
#include "core/process/notify.h"
#include "core/process/startup_pages.h"
#include "core/process/user.h"

namespace core {

namespace {

// Besides clients: listeners, epoll and event descriptors of up to 128 workers, admin connections,
// the log, connections to a backend.
constexpr uint64_t kOtherFiles = 1024;

// How often a drain looks whether it is done, and notices a second signal no later than this.
constexpr int kDrainLookMs = 10;

struct LogMetrics : MetricGroup {
  LogMetrics(Registry* registry, const Log* log)
      : MetricGroup(registry, "core_log"),
        dropped(this, "drop_total", "Log lines lost: the queue was full or the file took none.",
                [log] { return log == nullptr ? 0 : static_cast<double>(log->dropped()); }) {}
  Counter dropped;
};

void WarnIfFew(uint64_t limit, uint32_t connections_max, Log* log) {
  if (limit >= connections_max + kOtherFiles) return;
  log->Warning("open files are limited to %d, below connections_max %d plus %d for the rest", limit,
               connections_max, kOtherFiles);
}

}  // namespace

uint64_t RaiseOpenFilesLimit(uint64_t needed) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  if (limit.rlim_cur >= needed) return limit.rlim_cur;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = std::min<rlim_t>(needed, limit.rlim_max);
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

void RegisterProcess(const config::Admin& admin, const std::string& product,
                     const std::string& version, Registry* registry) {
  ProcessMetrics(registry, product, version);
  LogMetrics(registry, nullptr);
  const ReloadMetrics reloads(registry);
  if (admin.enabled) NetMetrics(registry, {{"server", "admin"}});
  if (admin.http_enabled) NetMetrics(registry, {{"server", "admin_http"}});
}

absl::StatusOr<std::unique_ptr<Process>> Process::Create(ProcessOptions options) {
  std::unique_ptr<Process> process(new Process(std::move(options)));
  const ProcessOptions& o = process->options_;
  const uint64_t files =
      o.connections_max == 0 ? 0 : RaiseOpenFilesLimit(o.connections_max + kOtherFiles);
  RETURN_IF_ERROR(BecomeUser(o.user));
  ASSIGN_OR_RETURN(process->log_, Log::Open(o.log));
  process->sockets_.Inherit(ListenSockets::FromServiceManager());
  process->handover_ = std::make_unique<Handover>(
      o.handover_socket, process->log(), [raw = process.get()] { raw->RequestStop(); });
  RETURN_IF_ERROR(process->handover_->Greet(&process->sockets_));
  // A process that runs keeps its own until this one takes over.
  if (!process->handover_->has_predecessor()) RETURN_IF_ERROR(process->WritePidFile());
  process->process_metrics_ =
      std::make_unique<ProcessMetrics>(&process->metrics_, o.product, o.version);
  LogMetrics(&process->metrics_, process->log());
  if (o.connections_max > 0) WarnIfFew(files, o.connections_max, process->log());
  process->log()->Info("%s %s starts, pid %d", o.product, o.version, getpid());
  return process;
}

Process::Process(ProcessOptions options) : options_(std::move(options)) {}

Process::~Process() = default;

absl::Status Process::WritePidFile() {
  if (options_.pid_file.empty() || pid_file_ != nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(pid_file_, PidFile::Write(options_.pid_file));
  return absl::OkStatus();
}

absl::Status Process::StartAdmin(AdminHooks hooks) {
  hooks.metrics = &metrics_;
  hooks.product = options_.product;
  hooks.version = options_.version;
  hooks.ready = [this, product = std::move(hooks.ready)] { return Readiness(product); };
  ASSIGN_OR_RETURN(admin_, Admin::Start(options_.admin, std::move(hooks), log(), &sockets_));
  return absl::OkStatus();
}

absl::Status Process::Readiness(const std::function<absl::Status()>& product) const {
  switch (phase_.load(std::memory_order_relaxed)) {
    case Phase::kStarting:
      return absl::UnavailableError("starting");
    case Phase::kDraining:
      return absl::UnavailableError("draining");
    case Phase::kServing:
      break;
  }
  return product ? product() : absl::OkStatus();
}

bool Process::ToldToStop() {
  if (!told_to_stop_) told_to_stop_ = signals_.Wait(0) == SignalEvent::kStop;
  return told_to_stop_;
}

void Process::Ready() {
  phase_.store(Phase::kServing, std::memory_order_relaxed);
  NotifySupervisor(handover_->has_predecessor() ? absl::StrCat("MAINPID=", getpid(), "\nREADY=1")
                                                : std::string("READY=1"));
  const absl::Status named = WritePidFile();
  if (!named.ok()) log_->Error("%s", named.message());
  const absl::Status status = handover_->Start(&sockets_);
  if (!status.ok()) log_->Error("server.handover_socket: %s", status.message());
  ReleaseStartupPages();
}

int Process::ServeUntilSignal(const Drainable& drainable) {
  Serve(drainable);
  phase_.store(Phase::kDraining, std::memory_order_relaxed);
  Linger(drainable);
  Drain(drainable);
  handover_->Finish();
  if (admin_ != nullptr) admin_->Stop();
  admin_.reset();
  log_->Info("%s stops", options_.product);
  log_->Flush();
  return 0;
}

void Process::Serve(const Drainable& drainable) {
  if (told_to_stop_) return;
  while (signals_.Wait(-1) != SignalEvent::kStop) Reload(drainable);
}

// Serves on for drain_delay, unless there is a next process that clients are to go to.
void Process::Linger(const Drainable& drainable) {
  if (told_to_stop_ || handover_->taken() || options_.drain_delay <= absl::ZeroDuration()) return;
  log_->Info("told to stop: not ready any more, serving on for %s",
             absl::FormatDuration(options_.drain_delay));
  const RealClock clock;
  const int64_t since_ms = clock.MonotonicMs();
  for (;;) {
    const int64_t until_ms = since_ms + absl::ToInt64Milliseconds(options_.drain_delay);
    const int64_t left_ms = until_ms - clock.MonotonicMs();
    if (left_ms <= 0) return;
    const SignalEvent event = signals_.Wait(static_cast<int>(left_ms));
    if (event == SignalEvent::kReload) Reload(drainable);
    if (event != SignalEvent::kStop) continue;
    told_again_ = !handover_->taken();  // Else it is the next process that tells.
    return;
  }
}

void Process::Drain(const Drainable& drainable) {
  sockets_.Forget();
  if (handover_->taken()) {
    // The operator's ports are the next process's now, and so is the supervisor's attention.
    if (admin_ != nullptr) admin_->Stop();
  } else {
    handover_->Refuse();
    NotifySupervisor("STOPPING=1");
  }
  if (told_again_) return log_->Warning("told again to stop, not draining");
  const absl::Duration timeout =
      handover_->taken() ? std::min(options_.drain_timeout, drainable.taken_timeout)
                         : options_.drain_timeout;
  log_->Info("draining for at most %s", absl::FormatDuration(timeout));
  const RealClock clock;
  const int64_t deadline_ms = clock.MonotonicMs() + absl::ToInt64Milliseconds(timeout);
  drainable.begin_drain();
  while (!drainable.drained()) {
    const int64_t left_ms = deadline_ms - clock.MonotonicMs();
    if (left_ms <= 0) return log_->Warning("drain_timeout passed, closing what is still in flight");
    const auto look_ms = static_cast<int>(std::min<int64_t>(left_ms, kDrainLookMs));
    const SignalEvent event = signals_.Wait(look_ms);
    if (event == SignalEvent::kStop) {
      told_again_ = true;
      return log_->Warning("told again to stop, not draining");
    }
    if (event == SignalEvent::kReload) Reload(drainable);
  }
  log_->Info("drained");
}

bool Process::ToldAgain() {
  if (!told_again_ && phase_.load(std::memory_order_relaxed) == Phase::kDraining) {
    told_again_ = signals_.Wait(0) == SignalEvent::kStop;
  }
  return told_again_;
}

absl::Status Process::Change(const config::Log& log, absl::Duration drain_delay,
                             absl::Duration drain_timeout) {
  RETURN_IF_ERROR(log_->Change(log));
  options_.drain_delay = drain_delay;
  options_.drain_timeout = drain_timeout;
  return absl::OkStatus();
}

void Process::Reload(const Drainable& drainable) {
  log_->Reopen();
  log_->Info("log reopened on SIGHUP");
  if (drainable.on_reload) drainable.on_reload();
}

}  // namespace core
