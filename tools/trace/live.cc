// Connections, pipelines and the clock of a live replay. See live.h.
#include "tools/trace/live.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "tools/server_process.h"

namespace trace {
namespace {

// What waits for a connection while its pipeline is full: enough that one busy key does not stop
// the others.
constexpr size_t kBacklogMax = 256;
constexpr int kSilenceMs = 30'000;
// memcached takes a larger exptime for a date.
constexpr int64_t kRelativeMaxSec = 60 * 60 * 24 * 30;

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

double PercentileUs(const tools::Latencies& latency, double part) {
  return static_cast<double>(latency.Quantile(part)) / 1e3;
}

// A request that has its key made; the trace's line is gone.
struct Task {
  std::string key;
  Op op = Op::kGet;
  int64_t value_bytes = 0;
  int64_t ttl_sec = 0;
  int64_t sent_ns = 0;
};

absl::StatusOr<int> Connect(const LiveOptions& options) {
  struct sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(options.port));
  if (::inet_pton(AF_INET, options.host.c_str(), &address.sin_addr) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("--host: ", options.host, " is no IPv4 address"));
  }
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) != 0) {
    const int error = errno;
    if (fd >= 0) ::close(fd);
    return absl::UnavailableError(
        absl::StrCat(options.host, ":", options.port, ": ", std::strerror(error)));
  }
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  return fd;
}

// Requests of the keys that fall to it, in the order of the trace for each key.
class Pipeline {
 public:
  Pipeline(int fd, size_t depth, LiveReport* report) : fd_(fd), depth_(depth), report_(report) {}
  ~Pipeline() { ::close(fd_); }
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  int fd() const { return fd_; }
  bool HasRoom() const { return waiting_.size() < kBacklogMax; }
  bool Idle() const { return waiting_.empty() && in_flight_.empty(); }
  bool WantsToWrite() const { return !output_.empty(); }
  void Add(Task task) { waiting_.push_back(std::move(task)); }

  // Sends what may go.
  absl::Status Send() {
    while (in_flight_.size() < depth_ && !waiting_.empty() && !Waits(waiting_.front())) {
      Issue(std::move(waiting_.front()));
      waiting_.pop_front();
    }
    while (!output_.empty()) {
      const ssize_t n = ::send(fd_, output_.data(), output_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
      if (n < 0) return absl::UnavailableError(absl::StrCat("send: ", std::strerror(errno)));
      output_.erase(0, static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }

  // Reads what has come.
  absl::Status Receive() {
    char buffer[65536];
    const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return absl::OkStatus();
    if (n <= 0) return absl::UnavailableError("the server closed a connection");
    input_.append(buffer, static_cast<size_t>(n));
    const int64_t now_ns = NowNs();
    size_t at = 0;
    for (;;) {
      const size_t skipped = std::min(skip_, input_.size() - at);
      at += skipped;
      skip_ -= skipped;
      const size_t end = input_.find("\r\n", at);
      if (skip_ != 0 || end == std::string::npos) break;
      RETURN_IF_ERROR(TakeLine(absl::string_view(input_).substr(at, end - at), now_ns));
      at = end + 2;
    }
    input_.erase(0, at);
    return absl::OkStatus();
  }

 private:
  // Pipelines are short, so looking through one beats keeping an index.
  bool Waits(const Task& task) const {
    return std::any_of(in_flight_.begin(), in_flight_.end(),
                       [&](const Task& other) { return other.key == task.key; });
  }

  void Issue(Task task) {
    const int64_t ttl =
        task.ttl_sec <= kRelativeMaxSec ? task.ttl_sec : std::time(nullptr) + task.ttl_sec;
    switch (task.op) {
      case Op::kGet:
        absl::StrAppend(&output_, "get ", task.key, "\r\n");
        break;
      case Op::kSet:
      case Op::kAdd:
        absl::StrAppend(&output_, task.op == Op::kSet ? "set " : "add ", task.key, " 0 ", ttl, " ",
                        task.value_bytes, "\r\n");
        output_.append(static_cast<size_t>(task.value_bytes), 'v');
        output_ += "\r\n";
        ++report_->sets;
        break;
      case Op::kDelete:
        absl::StrAppend(&output_, "delete ", task.key, "\r\n");
        break;
      case Op::kOther:
        return;
    }
    task.sent_ns = NowNs();
    in_flight_.push_back(std::move(task));
  }

  absl::Status TakeLine(absl::string_view line, int64_t now_ns) {
    if (in_flight_.empty()) return Unexpected(line);
    if (line.substr(0, 6) == "VALUE ") {
      size_t bytes = 0;
      if (!absl::SimpleAtoi(line.substr(line.rfind(' ') + 1), &bytes)) return Unexpected(line);
      skip_ = bytes + 2;
      hit_ = true;
      return absl::OkStatus();
    }
    Task task = std::move(in_flight_.front());
    in_flight_.pop_front();
    report_->latency.Record(now_ns - task.sent_ns);
    const bool failed = line.substr(0, 12) == "SERVER_ERROR";
    if (task.op == Op::kGet) {
      if (line != "END" && !failed) return Unexpected(line);
      ++report_->gets;
      if (std::exchange(hit_, false)) return absl::OkStatus();
      ++report_->misses;
      if (task.value_bytes == kUnknownBytes) return absl::OkStatus();
      // The next of this pipeline to be sent, so it takes the place of the get.
      task.op = Op::kSet;
      Issue(std::move(task));
    } else if (task.op == Op::kDelete) {
      if (line != "DELETED" && line != "NOT_FOUND" && !failed) return Unexpected(line);
    } else if (failed) {
      ++report_->sets_refused;
    } else if (line != "STORED" && line != "NOT_STORED") {
      return Unexpected(line);
    }
    return absl::OkStatus();
  }

  static absl::Status Unexpected(absl::string_view line) {
    return absl::UnavailableError(absl::StrCat("unexpected reply: ", line.substr(0, 80)));
  }

  const int fd_;
  const size_t depth_;
  LiveReport* const report_;
  std::deque<Task> waiting_;
  std::deque<Task> in_flight_;
  std::string output_;
  std::string input_;
  size_t skip_ = 0;  // Bytes of a value still to pass over.
  bool hit_ = false;
};

// When each request of the trace is due.
class Pace {
 public:
  Pace(Reader* reader, const LiveOptions& options) : reader_(reader), options_(options) {}

  // The next task, if there is one; *due_ns is when, 0 = at once.
  bool Next(Task* task, int64_t* due_ns, LiveReport* report) {
    while (at_ == second_.size()) {
      if (!ReadSecond(report)) return false;
    }
    *due_ns = 0;
    if (options_.time_scale > 0) {
      // Those of one second are spread over it.
      const double seconds = static_cast<double>(now_ - first_) +
                             static_cast<double>(at_) / static_cast<double>(second_.size());
      *due_ns = start_ns_ + static_cast<int64_t>(seconds / options_.time_scale * 1e9);
    }
    *task = std::move(second_[at_++]);
    return true;
  }
  // Of the trace's time.
  int64_t now() const { return now_; }

 private:
  bool ReadSecond(LiveReport* report) {
    second_.clear();
    at_ = 0;
    Request request;
    // Without a pace, a second of the trace may be as long as it likes.
    constexpr size_t kAtOnce = 4096;
    while (options_.time_scale > 0 || second_.size() < kAtOnce) {
      if (ahead_.has_value()) {
        second_.push_back(*std::exchange(ahead_, std::nullopt));
        now_ = std::max(now_, ahead_second_);
        continue;
      }
      if (options_.requests_max != 0 && report->requests == options_.requests_max) break;
      if (!reader_->Next(&request)) break;
      ++report->requests;
      if (request.op == Op::kOther) {
        ++report->skipped;
        continue;
      }
      Task task;
      MakeKey(request.key, request.key_bytes, &task.key);
      task.op = request.op;
      task.value_bytes = request.value_bytes;
      task.ttl_sec = request.ttl_sec;
      if (start_ns_ == 0) {
        start_ns_ = NowNs();
        first_ = now_ = request.second;
      }
      if (request.second > now_ && !second_.empty()) {
        ahead_ = std::move(task);
        ahead_second_ = request.second;
        break;
      }
      now_ = std::max(now_, request.second);
      second_.push_back(std::move(task));
    }
    return !second_.empty();
  }

  Reader* const reader_;
  const LiveOptions& options_;
  std::vector<Task> second_;  // The requests of one second of the trace.
  size_t at_ = 0;
  std::optional<Task> ahead_;  // The first of the next.
  int64_t ahead_second_ = 0;
  int64_t first_ = 0;
  int64_t now_ = 0;
  int64_t start_ns_ = 0;
};

class LiveReplay {
 public:
  LiveReplay(Reader* reader, const LiveOptions& options)
      : options_(options), pace_(reader, options_) {}

  absl::StatusOr<LiveReport> Run(Reader* reader) {
    for (int i = 0; i < options_.connections; ++i) {
      ASSIGN_OR_RETURN(const int fd, Connect(options_));
      pipelines_.push_back(
          std::make_unique<Pipeline>(fd, static_cast<size_t>(options_.depth), &report_));
    }
    const int pid = options_.pid != 0 ? options_.pid : PidByStats();
    const auto before = tools::ServerProcess::Look(pid);
    const int64_t start_ns = NowNs();
    RETURN_IF_ERROR(Loop());
    RETURN_IF_ERROR(reader->status());
    report_.seconds = static_cast<double>(NowNs() - start_ns) / 1e9;
    report_.lines_skipped = reader->lines_skipped();
    if (const auto after = tools::ServerProcess::Look(pid); before.ok() && after.ok()) {
      report_.has_server = true;
      report_.server_cpu_seconds = after->cpu_seconds - before->cpu_seconds;
      report_.server_rss_bytes = after->rss_bytes;
      report_.server_anonymous_bytes = after->anonymous_bytes;
    }
    return report_;
  }

 private:
  // What the server says in stats, if it is on this machine; else 0.
  int PidByStats() {
    const auto fd = Connect(options_);
    if (!fd.ok()) return 0;
    constexpr absl::string_view kAsk = "stats\r\n";
    std::string heard;
    if (::send(*fd, kAsk.data(), kAsk.size(), MSG_NOSIGNAL) > 0) {
      struct pollfd readable = {*fd, POLLIN, 0};
      char buffer[16384];
      while (heard.find("END\r\n") == std::string::npos && ::poll(&readable, 1, 1000) > 0) {
        const ssize_t n = ::recv(*fd, buffer, sizeof(buffer), 0);
        if (n <= 0) break;
        heard.append(buffer, static_cast<size_t>(n));
      }
    }
    ::close(*fd);
    const std::string kPid = "STAT pid ";
    int pid = 0;
    if (const size_t at = heard.find(kPid); at != std::string::npos) {
      const size_t from = at + kPid.size();
      if (!absl::SimpleAtoi(heard.substr(from, heard.find('\r', from) - from), &pid)) pid = 0;
    }
    return pid;
  }

  absl::Status Loop() {
    bool more = pace_.Next(&next_, &due_ns_, &report_);
    while (more || !AllIdle()) {
      const int64_t now_ns = NowNs();
      while (more && due_ns_ <= now_ns) {
        Pipeline& pipeline = PipelineOf(next_.key);
        if (!pipeline.HasRoom()) break;
        if (due_ns_ != 0) {
          report_.late_seconds =
              std::max(report_.late_seconds, static_cast<double>(now_ns - due_ns_) / 1e9);
        }
        pipeline.Add(std::move(next_));
        more = pace_.Next(&next_, &due_ns_, &report_);
      }
      for (const auto& pipeline : pipelines_) RETURN_IF_ERROR(pipeline->Send());
      RETURN_IF_ERROR(Wait(more && due_ns_ > now_ns ? due_ns_ - now_ns : -1));
    }
    return absl::OkStatus();
  }

  bool AllIdle() const {
    return std::all_of(pipelines_.begin(), pipelines_.end(),
                       [](const auto& pipeline) { return pipeline->Idle(); });
  }
  Pipeline& PipelineOf(absl::string_view key) {
    return *pipelines_[core::Hash64(key, 0) % pipelines_.size()];
  }

  // Until something comes, or `ns` have passed if that is not negative.
  absl::Status Wait(int64_t ns) {
    polls_.clear();
    bool silent = true;
    for (const auto& pipeline : pipelines_) {
      const bool writes = pipeline->WantsToWrite();
      polls_.push_back({pipeline->fd(), static_cast<short>(writes ? POLLIN | POLLOUT : POLLIN), 0});
      silent = silent && pipeline->Idle();
    }
    // A millisecond is poll's grain: what is due sooner is waited for that long, and counts as late.
    const int ms = ns < 0 ? kSilenceMs : static_cast<int>(std::min<int64_t>(ns / 1'000'000 + 1, 100));
    if (silent && ns < 0) return absl::OkStatus();
    const int ready = ::poll(polls_.data(), polls_.size(), ms);
    if (ready == 0 && ns < 0) return absl::UnavailableError("the server went silent");
    for (size_t i = 0; i < polls_.size(); ++i) {
      if ((polls_[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
        RETURN_IF_ERROR(pipelines_[i]->Receive());
      }
    }
    return absl::OkStatus();
  }

  const LiveOptions options_;
  Pace pace_;
  std::vector<std::unique_ptr<Pipeline>> pipelines_;
  std::vector<struct pollfd> polls_;
  LiveReport report_;
  Task next_;
  int64_t due_ns_ = 0;
};

}  // namespace

absl::StatusOr<LiveReport> ReplayLive(Reader* reader, const LiveOptions& options) {
  return LiveReplay(reader, options).Run(reader);
}

std::string LiveReport::Text() const {
  const double ratio = gets == 0 ? 0 : static_cast<double>(misses) / static_cast<double>(gets);
  std::string text = absl::StrFormat(
      "requests=%d gets=%d hits=%d misses=%d miss_ratio=%.4f sets=%d sets_refused=%d skipped=%d "
      "lines_skipped=%d\n",
      requests, gets, gets - misses, misses, ratio, sets, sets_refused, skipped, lines_skipped);
  const double answered = static_cast<double>(latency.count());
  absl::StrAppendFormat(&text,
                        "seconds=%.2f rate=%.0f late_s=%.3f p50_us=%.0f p99_us=%.0f p999_us=%.0f\n",
                        seconds, answered / std::max(seconds, 1e-9), late_seconds,
                        PercentileUs(latency, 0.5), PercentileUs(latency, 0.99),
                        PercentileUs(latency, 0.999));
  if (has_server) {
    absl::StrAppendFormat(
        &text, "server_rss_kb=%d server_anonymous_kb=%d server_cpu_s=%.2f server_cpu_us=%.2f\n",
        server_rss_bytes >> 10, server_anonymous_bytes >> 10, server_cpu_seconds,
        server_cpu_seconds * 1e6 / std::max(answered, 1.0));
  }
  return text;
}

std::string LiveReport::Csv(absl::string_view trace) const {
  return absl::StrFormat(
      "trace,requests,gets,misses,sets,sets_refused,seconds,late_s,p50_us,p99_us,p999_us,"
      "server_rss_bytes,server_anonymous_bytes,server_cpu_s\n"
      "%s,%d,%d,%d,%d,%d,%.2f,%.3f,%.0f,%.0f,%.0f,%d,%d,%.2f\n",
      trace, requests, gets, misses, sets, sets_refused, seconds, late_seconds,
      PercentileUs(latency, 0.5), PercentileUs(latency, 0.99), PercentileUs(latency, 0.999),
      server_rss_bytes, server_anonymous_bytes, server_cpu_seconds);
}

}  // namespace trace
