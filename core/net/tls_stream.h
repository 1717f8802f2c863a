// The server's end of one TLS connection, for a session that reads and writes as if it had none.
//
//   recv -> the worker's scratch -> OpenSSL -> plain bytes, into the session's buffer
//   the session's output -> full records -> OpenSSL -> sealed_ -> one sendmsg a turn
//
// OpenSSL never sees the socket: it is fed from memory and writes to memory, so nothing here waits,
// and however many records a turn makes leave with one system call. The handshake is part of
// reading. Between turns a connection holds OpenSSL's state, and bytes only if the peer has sent a
// part of a record or does not take what it asked for. Lives on its worker's thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "core/net/out_buffer.h"
#include "core/net/timer.h"

extern "C" {
struct ssl_st;
}

namespace core {

class TlsContext;
struct Worker;

class TlsStream {
 public:
  // What Read() needs room for at least.
  static constexpr size_t kReadRoomMin = 64 * 1024;

  // Takes `ssl` over, new and unconnected, whatever comes back. Everything else is borrowed for the
  // stream's life. Null when out of memory.
  static std::unique_ptr<TlsStream> Take(ssl_st* ssl, int fd, Worker* worker, TlsContext* context);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // As recv(2): plain bytes, 0 at their end (close_notify, or the end of the connection without one),
  // -1 with errno EAGAIN when there is nothing yet. Any other errno: the connection is of no use.
  // The handshake goes on here; it may leave bytes to be sent. REQUIRES: room >= kReadRoomMin.
  ssize_t Read(char* into, size_t room);
  // Nothing more will be read: true with the last bytes already.
  bool ended() const { return ended_ || broken_; }
  // Part of a record has arrived, and may be part of a request.
  bool holds_input() const;

  // Encrypts `plain`, consuming it as it goes, and sends. True while the connection is good, whether
  // or not the kernel took everything; *sent is added what it took.
  bool Send(OutBuffer* plain, size_t* sent);
  // Encrypted bytes that the kernel has not taken.
  size_t unsent() const { return sealed_.size(); }

  // Says that nothing more comes, or what was wrong, if the socket takes it at once. Nothing is read
  // or sent afterwards.
  void SayGoodbye();

 private:
  // How many plain bytes are encrypted ahead of the socket: what a turn's burst of answers is at
  // most, and what a peer that does not read makes us hold twice.
  static constexpr size_t kAheadMax = 256 * 1024;
  static constexpr size_t kRecordMax = 16 * 1024;  // RFC 8446, 5.1.
  // The worker's scratch: what is received at once, then a record being gathered. What comes out of
  // the former, and of a record of which a part came before, fits kReadRoomMin.
  static constexpr size_t kReceiveMax = 48 * 1024;
  static constexpr size_t kScratchBytes = kReceiveMax + kRecordMax;

  // Ends a handshake that takes too long: the session then finds the socket closed.
  struct Deadline final : Timer {
    explicit Deadline(TlsStream* owner) : stream(owner) {}
    void OnTimer() override;
    TlsStream* stream;
  };
  struct Bio;  // OpenSSL's view of us.

  TlsStream(ssl_st* ssl, int fd, Worker* worker, TlsContext* context);
  char* received() const;
  char* record() const;
  size_t Decrypt(char* into, size_t room);
  void NoteEstablished();
  void NoteError();
  void FailHandshake(absl::string_view why);
  bool Encrypt(OutBuffer* plain);
  bool Seal(const char* data, size_t size);

  ssl_st* const ssl_;  // Owned.
  const int fd_;
  Worker* const worker_;
  TlsContext* const context_;
  absl::string_view source_;  // Received, and not yet taken by OpenSSL.
  OutBuffer sealed_;
  Deadline deadline_{this};
  bool heard_ = false;        // The peer has sent anything.
  bool established_ = false;
  bool failed_ = false;       // The handshake; counted once.
  bool ended_ = false;
  bool broken_ = false;
};

}  // namespace core
