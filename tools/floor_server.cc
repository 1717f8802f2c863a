// The least that a memcached can cost: one thread that polls, receives, counts what was asked and
// sends a canned answer. It stores nothing and looks nothing up. What the other servers cost above
// it is theirs; the rest is the kernel's.
//
//   floor_server PORT [VALUE_BYTES]
//
// get and gets: every key is a hit. set and the like: STORED. Everything else: ERROR.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/fd.h"

namespace {

struct Peer {
  core::Fd fd;
  std::string line;  // The beginning of an unfinished one.
  size_t skip = 0;   // Bytes of a value still to come.
};

class Floor {
 public:
  explicit Floor(size_t value_bytes)
      : hit_(absl::StrCat("VALUE key:0000000000000000 0 ", value_bytes, "\r\n",
                          std::string(value_bytes, 'v'), "\r\n")) {}

  // False when the peer is gone.
  bool Serve(Peer* peer) {
    const ssize_t n = ::recv(peer->fd.get(), in_.data(), in_.size(), 0);
    if (n <= 0) return false;
    out_.clear();
    Take(peer, absl::string_view(in_.data(), static_cast<size_t>(n)));
    if (out_.empty()) return true;
    // A peer that does not read is waited for: this is a yardstick, not a server.
    return ::send(peer->fd.get(), out_.data(), out_.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(out_.size());
  }

 private:
  void Take(Peer* peer, absl::string_view in) {
    while (!in.empty()) {
      const size_t skipped = std::min(peer->skip, in.size());
      peer->skip -= skipped;
      in.remove_prefix(skipped);
      const void* const end = in.empty() ? nullptr : std::memchr(in.data(), '\n', in.size());
      if (end == nullptr) {
        peer->line.append(in.data(), in.size());
        return;
      }
      const size_t length = static_cast<const char*>(end) - in.data();
      if (peer->line.empty()) {
        Answer(peer, in.substr(0, length));
      } else {
        peer->line.append(in.data(), length);
        Answer(peer, peer->line);
        peer->line.clear();
      }
      in.remove_prefix(length + 1);
    }
  }

  void Answer(Peer* peer, absl::string_view line) {
    if (absl::EndsWith(line, "\r")) line.remove_suffix(1);
    if (absl::StartsWith(line, "get")) {
      for (auto keys = std::count(line.begin(), line.end(), ' '); keys > 0; --keys) out_ += hit_;
      out_ += "END\r\n";
      return;
    }
    size_t bytes = 0;
    if (!absl::SimpleAtoi(line.substr(line.rfind(' ') + 1), &bytes)) {
      out_ += "ERROR\r\n";
      return;
    }
    peer->skip = bytes + 2;
    out_ += "STORED\r\n";
  }

  const std::string hit_;
  std::vector<char> in_ = std::vector<char>(64 * 1024);
  std::string out_;
};

core::Fd Listen(uint16_t port) {
  core::Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
  const int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  struct sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(fd.get(), 1024) != 0) {
    fd.Close();
  }
  return fd;
}

void Watch(int epoll, int fd) {
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

int main(int argc, char** argv) {
  constexpr char kUsage[] =
      "floor_server PORT [VALUE_BYTES]    on 127.0.0.1; values of 64 bytes if not told otherwise\n";
  if (argc == 2 && (absl::string_view(argv[1]) == "--help" || absl::string_view(argv[1]) == "-h")) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  uint32_t port = 0;
  size_t value_bytes = 64;
  if (argc < 2 || !absl::SimpleAtoi(argv[1], &port) || port > 65535 ||
      (argc > 2 && !absl::SimpleAtoi(argv[2], &value_bytes))) {
    std::fputs(kUsage, stderr);
    return 64;
  }
  const core::Fd listener = Listen(static_cast<uint16_t>(port));
  const core::Fd epoll(::epoll_create1(0));
  if (!listener.valid()) {
    std::fprintf(stderr, "floor_server: cannot listen on port %u\n", port);
    return 69;
  }
  Watch(epoll.get(), listener.get());
  Floor floor(value_bytes);
  std::map<int, Peer> peers;
  std::array<struct epoll_event, 64> events;
  while (true) {
    const int n = ::epoll_wait(epoll.get(), events.data(), events.size(), -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener.get()) {
        const int peer = ::accept(fd, nullptr, nullptr);
        if (peer < 0) continue;
        const int one = 1;
        ::setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        peers[peer].fd = core::Fd(peer);
        Watch(epoll.get(), peer);
      } else if (!floor.Serve(&peers[fd])) {
        peers.erase(fd);
      }
    }
  }
}
