// A nonblocking byte stream to one address, plain or under TLS. Knows bytes, not HTTP/2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "core/base/fd.h"
#include "proxy/momento/address.h"
#include "proxy/momento/tls.h"

namespace proxy::momento {

class Stream {
 public:
  enum class Progress : uint8_t { kDone, kWait, kFailed };

  Stream() = default;
  ~Stream() { Close(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Begins to connect. The descriptor exists from here on, if the result is OK.
  // `tls`: null for plaintext; else outlives the stream, and `host` is whom to verify.
  absl::Status Open(const Address& address, const TlsContext* tls, const std::string& host);
  void Close();

  // Continues after an event on fd(): connecting, then the TLS handshake, then done.
  // After kFailed, error() says why.
  Progress Continue();

  struct Io {
    size_t bytes = 0;      // > 0: moved. 0: see below.
    bool closed = false;   // The peer has ended the stream, or it broke (error() says which).
  };                       // Neither: try again at the next event.
  Io Read(char* data, size_t size);
  Io Write(const char* data, size_t size);

  // Whether fd() is to be watched for EPOLLOUT though there may be nothing to write.
  bool wants_write() const { return wants_write_; }
  int fd() const { return fd_.get(); }
  const std::string& error() const { return error_; }

 private:
  Progress FinishConnect();
  Progress Handshake();
  Io Ended(std::string why);
  // What a TLS call that moved nothing (`result` <= 0) means.
  Io TlsOutcome(int result);

  core::Fd fd_;
  const TlsContext* tls_ = nullptr;
  std::string host_;
  ssl_st* ssl_ = nullptr;  // Owned; null before the socket is connected, and always in plaintext.
  bool connected_ = false;
  bool wants_write_ = false;
  std::string error_;
};

}  // namespace proxy::momento
