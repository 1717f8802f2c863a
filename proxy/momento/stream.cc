// See stream.h.
#include "proxy/momento/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace proxy::momento {
namespace {

bool Temporary(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

int AtMostInt(size_t size) { return size > INT_MAX ? INT_MAX : static_cast<int>(size); }

}  // namespace

absl::Status Stream::Open(const Address& address, const TlsContext* tls, const std::string& host) {
  tls_ = tls;
  host_ = host;
  fd_ = core::Fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd_.valid()) return absl::UnavailableError(absl::StrCat("socket: ", strerror(errno)));
  if (address.family() != AF_UNIX) {
    const int on = 1;
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  if (::connect(fd_.get(), address.get(), address.size) < 0 && errno != EINPROGRESS) {
    const int error = errno;
    fd_.Close();
    return absl::UnavailableError(absl::StrCat("connect: ", strerror(error)));
  }
  wants_write_ = true;
  return absl::OkStatus();
}

void Stream::Close() {
  if (ssl_ != nullptr) SSL_free(std::exchange(ssl_, nullptr));
  fd_.Close();
  connected_ = wants_write_ = false;
}

Stream::Progress Stream::Continue() {
  if (!connected_) {
    const Progress progress = FinishConnect();
    if (progress != Progress::kDone || tls_ == nullptr) return progress;
  }
  return Handshake();
}

Stream::Progress Stream::FinishConnect() {
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    error_ = absl::StrCat("connect: ", strerror(error));
    return Progress::kFailed;
  }
  connected_ = true;
  wants_write_ = false;
  if (tls_ == nullptr) return Progress::kDone;
  ssl_ = tls_->NewSession(fd_.get(), host_);
  if (ssl_ != nullptr) return Progress::kDone;
  error_ = absl::StrCat("TLS: ", TakeTlsError());
  return Progress::kFailed;
}

Stream::Progress Stream::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) {
    wants_write_ = false;
    const unsigned char* protocol = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl_, &protocol, &size);
    if (size == 2 && std::memcmp(protocol, "h2", 2) == 0) return Progress::kDone;
    error_ = absl::StrCat("TLS: ", host_, " does not speak HTTP/2 (no ALPN h2)");
    return Progress::kFailed;
  }
  const int why = SSL_get_error(ssl_, result);
  wants_write_ = why == SSL_ERROR_WANT_WRITE;
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return Progress::kWait;
  error_ = HandshakeError(ssl_, host_);
  return Progress::kFailed;
}

Stream::Io Stream::Ended(std::string why) {
  error_ = std::move(why);
  return Io{.closed = true};
}

Stream::Io Stream::TlsOutcome(int result) {
  const int system_error = errno;
  const int why = SSL_get_error(ssl_, result);
  wants_write_ = why == SSL_ERROR_WANT_WRITE;
  switch (why) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Io();
    case SSL_ERROR_ZERO_RETURN:
      return Ended("closed by the peer");
    case SSL_ERROR_SYSCALL:
      ERR_clear_error();
      return Ended(system_error == 0 ? "closed by the peer" : strerror(system_error));
    default:
      return Ended(absl::StrCat("TLS: ", TakeTlsError()));
  }
}

Stream::Io Stream::Read(char* data, size_t size) {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    errno = 0;
    const int n = SSL_read(ssl_, data, AtMostInt(size));
    return n > 0 ? Io{.bytes = static_cast<size_t>(n)} : TlsOutcome(n);
  }
  const ssize_t n = ::recv(fd_.get(), data, size, 0);
  if (n > 0) return Io{.bytes = static_cast<size_t>(n)};
  if (n == 0) return Ended("closed by the peer");
  return Temporary(errno) ? Io() : Ended(strerror(errno));
}

Stream::Io Stream::Write(const char* data, size_t size) {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    errno = 0;
    const int n = SSL_write(ssl_, data, AtMostInt(size));
    if (n > 0) wants_write_ = false;
    return n > 0 ? Io{.bytes = static_cast<size_t>(n)} : TlsOutcome(n);
  }
  const ssize_t n = ::send(fd_.get(), data, size, MSG_NOSIGNAL);
  if (n >= 0) return Io{.bytes = static_cast<size_t>(n)};
  return Temporary(errno) ? Io() : Ended(strerror(errno));
}

}  // namespace proxy::momento
