// A closed-loop memcache load: C connections, each with D requests in flight, K keys a get.
//
//   memcache_load --port P [--host A] [--connections C] [--depth D] [--keys-per-get K]
//                 [--keys N] [--value-bytes B] [--requests R] [--fill]
//
// --fill first stores every key. A "request" in the report is one key answered; latency is per get.
// One thread; the server is the one measured.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tools/load_report.h"

namespace {

struct Options {
  std::string host = "127.0.0.1";
  int port = 11211;
  int connections = 50;
  int depth = 1;
  int keys_per_get = 1;
  int keys = 10'000;
  int value_bytes = 64;
  int64_t requests = 200'000;
  bool fill = false;
};

int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "memcache_load: %s\n", why.c_str());
  std::exit(1);
}

int Connect(const Options& options) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(options.port);
  if (::inet_pton(AF_INET, options.host.c_str(), &address.sin_addr) != 1) Die("bad --host");
  if (::connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) != 0) {
    Die(absl::StrCat("connect: ", std::strerror(errno)));
  }
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  return fd;
}

void SendAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) Die("send failed");
    bytes.remove_prefix(n);
  }
}

void Fill(const Options& options) {
  const int fd = Connect(options);
  const std::string value(options.value_bytes, 'v');
  for (int i = 0; i < options.keys; ++i) {
    SendAll(fd, absl::StrCat("set key:", i, " 0 0 ", value.size(), "\r\n", value, "\r\n"));
    char reply[64];
    const ssize_t n = ::recv(fd, reply, sizeof(reply), 0);
    if (n < 6 || std::memcmp(reply, "STORED", 6) != 0) {
      Die(absl::StrCat("fill: ", absl::string_view(reply, n > 0 ? n : 0)));
    }
  }
  ::close(fd);
}

// One connection: counts "VALUE" blocks and "END" lines of the stream of replies.
struct Connection {
  int fd = -1;
  std::deque<int64_t> asked_ns;
  std::string input;
  size_t skip = 0;  // Bytes of a value still to pass over.
  int hits = 0;     // Of the get being read.
};

class Load {
 public:
  explicit Load(const Options& options) : options_(options) {}

  void Run() {
    std::vector<struct pollfd> polls;
    for (int i = 0; i < options_.connections; ++i) {
      connections_.emplace_back();
      connections_.back().fd = Connect(options_);
      polls.push_back({connections_.back().fd, POLLIN, 0});
    }
    const int64_t start_ns = NowNs();
    const double start_cpu = tools::CpuSeconds();
    for (Connection& c : connections_) Ask(&c, options_.depth);
    while (answered_ < options_.requests) {
      if (::poll(polls.data(), polls.size(), 10'000) <= 0) Die("the server went silent");
      for (size_t i = 0; i < polls.size(); ++i) {
        if (polls[i].revents != 0) Read(&connections_[i]);
      }
    }
    tools::Report(answered_, misses_, (NowNs() - start_ns) / 1e9,
                  tools::CpuSeconds() - start_cpu, &latency_ns_);
  }

 private:
  void Ask(Connection* c, int gets) {
    std::string out;
    for (int i = 0; i < gets; ++i) {
      out += "get";
      for (int k = 0; k < options_.keys_per_get; ++k) {
        absl::StrAppend(&out, " key:", rng_() % options_.keys);
      }
      out += "\r\n";
      c->asked_ns.push_back(NowNs());
    }
    if (!out.empty()) SendAll(c->fd, out);
  }

  void Read(Connection* c) {
    char buffer[65536];
    const ssize_t n = ::recv(c->fd, buffer, sizeof(buffer), 0);
    if (n <= 0) Die("the server closed a connection");
    c->input.append(buffer, n);
    size_t at = 0;
    int finished = 0;
    while (true) {
      const size_t skipped = std::min(c->skip, c->input.size() - at);
      at += skipped;
      c->skip -= skipped;
      const size_t end = c->input.find("\r\n", at);
      if (c->skip > 0 || end == std::string::npos) break;
      finished += Line(c, absl::string_view(c->input).substr(at, end - at));
      at = end + 2;
    }
    c->input.erase(0, at);
    if (finished > 0 && answered_ < options_.requests) Ask(c, finished);
  }

  // Returns 1 when a get is complete.
  int Line(Connection* c, absl::string_view line) {
    if (line.substr(0, 6) == "VALUE ") {
      int bytes = 0;
      if (!absl::SimpleAtoi(line.substr(line.rfind(' ') + 1), &bytes)) Die("bad VALUE line");
      c->skip = bytes + 2;
      ++c->hits;
      return 0;
    }
    if (line != "END") Die(absl::StrCat("unexpected reply: ", line));
    latency_ns_.push_back(NowNs() - c->asked_ns.front());
    c->asked_ns.pop_front();
    answered_ += options_.keys_per_get;
    misses_ += options_.keys_per_get - std::exchange(c->hits, 0);
    return 1;
  }

  const Options options_;
  std::vector<Connection> connections_;
  std::mt19937 rng_{1};
  int64_t answered_ = 0;
  int64_t misses_ = 0;
  std::vector<int64_t> latency_ns_;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--fill") {
      options.fill = true;
      continue;
    }
    if (i + 1 == argc) Die("missing value of " + flag);
    const char* value = argv[++i];
    int64_t number = 0;
    if (flag == "--host") {
      options.host = value;
      continue;
    }
    if (!absl::SimpleAtoi(value, &number)) Die("not a number: " + flag + " " + value);
    if (flag == "--port") options.port = number;
    else if (flag == "--connections") options.connections = number;
    else if (flag == "--depth") options.depth = number;
    else if (flag == "--keys-per-get") options.keys_per_get = number;
    else if (flag == "--keys") options.keys = number;
    else if (flag == "--value-bytes") options.value_bytes = number;
    else if (flag == "--requests") options.requests = number;
    else Die("unknown flag " + flag);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  if (options.fill) Fill(options);
  Load(options).Run();
}
