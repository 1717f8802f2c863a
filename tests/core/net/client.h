// A blocking TCP client for tests: says things, hears things, with a bound on the wait.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/base/check.h"
#include "core/base/fd.h"

namespace core {

class TestClient {
 public:
  explicit TestClient(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(::connect(fd_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) == 0);
  }

  // To a unix socket.
  explicit TestClient(const std::string& path)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    CHECK(path.size() < sizeof(address.sun_path));
    path.copy(address.sun_path, path.size());
    CHECK(::connect(fd_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) == 0);
  }

  // False once the peer has closed.
  bool Say(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(n);
    }
    return true;
  }
  // What arrives until `n` bytes, the end, or five silent seconds.
  std::string Hear(size_t n) {
    std::string heard;
    char buffer[65536];
    while (heard.size() < n && Readable(5000)) {
      const ssize_t got = ::recv(fd_.get(), buffer, std::min(sizeof(buffer), n - heard.size()), 0);
      if (got <= 0) break;
      heard.append(buffer, got);
    }
    return heard;
  }
  std::string HearAll() { return Hear(SIZE_MAX); }
  // Whether the peer closes within five seconds, saying nothing more.
  bool HearsEnd() {
    char byte;
    return Readable(5000) && ::recv(fd_.get(), &byte, 1, 0) <= 0;
  }
  bool Silent(int ms) { return !Readable(ms); }
  void HalfClose() { ::shutdown(fd_.get(), SHUT_WR); }
  int fd() const { return fd_.get(); }

 private:
  bool Readable(int ms) {
    struct pollfd poll = {fd_.get(), POLLIN, 0};
    return ::poll(&poll, 1, ms) == 1;
  }
  Fd fd_;
};

}  // namespace core
