#include "core/admin/http.h"

#include <errno.h>
#include <httplib.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/clock.h"

namespace core {

namespace {

constexpr int kThreads = 3;            // A scraper, a kubelet, and a person with curl.
constexpr size_t kWaitingMax = 64;     // Connections waiting for a thread; past it they are closed.
constexpr int64_t kExchangeMs = 5000;  // Whole exchange; a scrape takes milliseconds.
constexpr size_t kPayloadMax = 4096;   // No page reads a body.
constexpr size_t kBufferBytes = 4096;
constexpr char kPlain[] = "text/plain; charset=utf-8";
// Prometheus, "Exposition formats", text format.
constexpr char kExposition[] = "text/plain; version=0.0.4; charset=utf-8";

// A connection that httplib may read and write for kExchangeMs in all.
class DeadlineStream final : public httplib::Stream {
 public:
  DeadlineStream(int fd, int stop_fd) : fd_(fd), stop_fd_(stop_fd) {}

  bool is_readable() const override { return begin_ < end_ || Wait(POLLIN); }
  bool is_writable() const override { return Wait(POLLOUT); }

  // httplib reads header lines byte by byte; the buffer spares a system call for each.
  ssize_t read(char* to, size_t size) override {
    if (begin_ == end_) {
      const ssize_t n = Receive();
      if (n <= 0) return n;
      begin_ = 0;
      end_ = static_cast<size_t>(n);
    }
    const size_t n = std::min(size, end_ - begin_);
    std::copy_n(buffer_ + begin_, n, to);
    begin_ += n;
    return static_cast<ssize_t>(n);
  }

  ssize_t write(const char* from, size_t size) override {
    while (Wait(POLLOUT)) {
      const ssize_t n = send(fd_, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n >= 0 || (errno != EAGAIN && errno != EINTR)) return n;
    }
    return -1;
  }

  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return fd_; }

 private:
  ssize_t Receive() {
    while (Wait(POLLIN)) {
      const ssize_t n = recv(fd_, buffer_, sizeof(buffer_), MSG_DONTWAIT);
      if (n >= 0 || (errno != EAGAIN && errno != EINTR)) return n;
    }
    return -1;
  }

  // False when time is up or the port is closing.
  bool Wait(short events) const {
    for (;;) {
      const int64_t left_ms = deadline_ms_ - clock_.MonotonicMs();
      if (left_ms <= 0) return false;
      pollfd fds[2] = {{fd_, events, 0}, {stop_fd_, POLLIN, 0}};
      const int n = poll(fds, 2, static_cast<int>(left_ms));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0 || fds[1].revents != 0) return false;
      return fds[0].revents != 0;
    }
  }

  const RealClock clock_;
  const int64_t deadline_ms_ = clock_.MonotonicMs() + kExchangeMs;
  const int fd_;
  const int stop_fd_;
  size_t begin_ = 0;
  size_t end_ = 0;
  char buffer_[kBufferBytes];
};

// Bytes left unread would make close() send a reset, which can overtake the answer.
void CloseGently(Fd connection) {
  shutdown(connection.get(), SHUT_WR);
  char scratch[kBufferBytes];
  for (int i = 0; i < 16; ++i) {
    if (recv(connection.get(), scratch, sizeof(scratch), MSG_DONTWAIT) <= 0) return;
  }
}

}  // namespace

// httplib's request handling without its listening. Pages are found by exact path before its
// routing, whose regular expressions have no part in this.
class AdminHttp::Server final : public httplib::Server {
 public:
  explicit Server(const AdminHooks* hooks) : hooks_(*hooks) {
    set_payload_max_length(kPayloadMax);
    set_pre_routing_handler([this](const httplib::Request& req, httplib::Response& res) {
      Route(req, &res);
      return HandlerResponse::Handled;
    });
  }

  // One request, then the connection is done.
  void Exchange(Fd connection, int stop_fd) {
    DeadlineStream stream(connection.get(), stop_fd);
    bool closed = false;
    try {
      process_request(stream, /*close_connection=*/true, closed, [](httplib::Request& req) {
        req.ranges.clear();  // A thousand ranges of one page would be a thousand pages.
      });
    } catch (...) {  // Whatever a peer made the parser throw costs it the connection.
    }
    CloseGently(std::move(connection));
  }

 private:
  void Route(const httplib::Request& req, httplib::Response* res) const {
    if (req.method != "GET" && req.method != "HEAD") {
      res->status = 405;
      res->set_header("Allow", "GET, HEAD");
      return res->set_content("only GET and HEAD\n", kPlain);
    }
    const auto page = hooks_.pages.find(req.path);
    if (page != hooks_.pages.end()) {
      return res->set_content(page->second.body(), page->second.content_type);
    }
    if (req.path == "/metrics")
      return res->set_content(hooks_.metrics->PrometheusText(), kExposition);
    if (req.path == "/healthz") return res->set_content("ok\n", kPlain);
    if (req.path == "/readyz") return Ready(res);
    if (req.path == "/version") {
      return res->set_content(absl::StrCat(hooks_.product, " ", hooks_.version, "\n"), kPlain);
    }
    if (req.path == "/") return res->set_content(Index(), kPlain);
    res->status = 404;
    res->set_content("not found\n", kPlain);
  }

  void Ready(httplib::Response* res) const {
    const absl::Status status = hooks_.ready ? hooks_.ready() : absl::OkStatus();
    if (status.ok()) return res->set_content("ok\n", kPlain);
    res->status = 503;
    res->set_content(absl::StrCat(status.message(), "\n"), kPlain);
  }

  std::string Index() const {
    std::string text = absl::StrCat(hooks_.product, " ", hooks_.version,
                                    "\n\n"
                                    "/metrics  every metric, for Prometheus\n"
                                    "/healthz  200 while the process lives\n"
                                    "/readyz   200 while clients should be sent here, else 503\n"
                                    "/version  what runs\n");
    for (const auto& [path, page] : hooks_.pages)
      absl::StrAppend(&text, path, "  ", page.help, "\n");
    return text;
  }

  const AdminHooks& hooks_;
};

AdminHttp::AdminHttp(const AdminHooks* hooks)
    : server_(std::make_unique<Server>(hooks)), stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(stop_.valid());
  for (int i = 0; i < kThreads; ++i) {
    threads_.emplace_back([this] { Run(); });
    pthread_setname_np(threads_.back().native_handle(), "admin_http");
  }
}

AdminHttp::~AdminHttp() { Stop(); }

bool AdminHttp::Serve(Fd connection) {
  MutexLock lock(mu_);
  if (stopping_ || waiting_.size() >= kWaitingMax) return false;
  waiting_.push_back(std::move(connection));
  changed_.NotifyAll();
  return true;
}

bool AdminHttp::Next(Fd* connection) {
  MutexLock lock(mu_);
  while (!stopping_ && waiting_.empty()) changed_.Wait(mu_);
  if (stopping_) return false;
  *connection = std::move(waiting_.front());
  waiting_.pop_front();
  return true;
}

void AdminHttp::Run() {
  Fd connection;
  while (Next(&connection)) server_->Exchange(std::move(connection), stop_.get());
}

void AdminHttp::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    waiting_.clear();
    changed_.NotifyAll();
  }
  eventfd_write(stop_.get(), 1);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace core
