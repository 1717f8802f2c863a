// One HTTP/2 client session over libnghttp2: calls in, frames out; frames in, ended calls out.
// Sees no socket and no clock. gRPC's rules about replies are in grpc_reply.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proxy/momento/call.h"
#include "proxy/momento/credentials.h"

extern "C" {
struct nghttp2_session;
}

namespace proxy::momento {

// What the requests of one pool have in common. Outlives its sessions; nothing but the credentials
// changes while one of them lives.
struct RequestHeaders {
  std::string scheme = {};
  std::string authority = {};
  std::shared_ptr<const Credentials> credentials = {};  // See Account::CredentialsPtr.
  std::string cache = {};         // Value of `cache`, for calls with names_cache.
  std::string read_concern = {};  // Empty: not sent, which means balanced.
};

// Told by a session while it receives. None of these may destroy the session.
class SessionEvents {
 public:
  // The peer's first SETTINGS have come: it speaks HTTP/2.
  virtual void OnPeerSettings() = 0;
  // The peer takes no further calls. Calls it refused end right after this.
  virtual void OnGoAway(uint32_t h2_error, absl::string_view reason) = 0;
  virtual void OnPong() = 0;
  // `call` has left the session; call->error says how it ended.
  virtual void OnCallEnded(Call* call) = 0;
  // A stream is closed: there is room for a call.
  virtual void OnStreamClosed() = 0;

 protected:
  ~SessionEvents() = default;
};

class H2Session {
 public:
  // Streams used before the peer's SETTINGS, and where they set no limit: what Momento allows
  // (and RFC 9113's advice).
  static constexpr uint32_t kStreamsUnlessTold = 100;
  // From here on a limit is none: libnghttp2 says 2^32-1 for a peer that sent none, gRPC's servers
  // send 2^31-1.
  static constexpr uint32_t kNoLimit = 0x7fffffff;
  // Most streams used of what a peer offers: enough to fill a link, small enough to search.
  static constexpr uint32_t kStreamsMax = 1024;

  H2Session(const RequestHeaders* headers, SessionEvents* events);
  ~H2Session();
  H2Session(const H2Session&) = delete;
  H2Session& operator=(const H2Session&) = delete;

  // Takes the call on. `full_time`: it has all its time left, so that its header is the one that
  // compresses to a byte; otherwise `timeout_ms` is spelled out.
  // False when the session can open no more streams, ever.
  [[nodiscard]] bool Submit(Call* call, bool full_time, int64_t timeout_ms);
  // Drops the call: its stream is reset and no event comes of it.
  void Cancel(Call* call);
  // Drops the call on wire because its session is over. No frame is made.
  void Forget(Call* call);
  void Ping();

  // Digests bytes of the peer. False when they are not HTTP/2: the connection must be closed
  // after what WriteTo() has to say.
  [[nodiscard]] bool Receive(absl::string_view bytes);
  // Appends frames to `out`, which is `offset` bytes into the connection's output, until nothing
  // is left or `out` holds `size_max` bytes. False when the session broke.
  [[nodiscard]] bool WriteTo(std::string* out, int64_t offset, size_t size_max);

  bool wants_write() const;
  // Neither side has more to say: the session ended itself after an error.
  bool finished() const;
  // Streams open now, cancelled ones included until their reset is written.
  uint32_t streams() const { return streams_; }
  // How many streams there may be.
  uint32_t streams_max() const;

 private:
  friend struct H2Callbacks;
  void End(Call* call, Error error);
  // Lets go of credentials that no request still to be written names.
  void ReleaseCredentials();

  const RequestHeaders* headers_;
  SessionEvents* events_;
  nghttp2_session* session_ = nullptr;
  // Requests that are queued point into these: the ones in use last, before them the ones that were.
  std::vector<std::shared_ptr<const Credentials>> credentials_;
  uint32_t streams_ = 0;
  bool introduced_ = false;    // agent and runtime-version were sent.
  bool peer_settings_ = false;
  int64_t write_offset_ = 0;   // Where in the connection's output the next frame will begin.
};

}  // namespace proxy::momento
