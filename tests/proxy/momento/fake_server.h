// A scripted HTTP/2 server on the test's own event loop: libnghttp2's server half behind a
// listening socket, answering each request as the test says.
#pragma once

#include <nghttp2/nghttp2.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/net/event_loop.h"

namespace proxy::momento {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct FakeRequest {
  std::map<std::string, std::string> headers;
  std::string body;
};

class FakeServer;

class FakePeer;

// What the server does.
struct FakeScript {
  std::vector<nghttp2_settings_entry> settings = {};
  bool silent = false;          // Accepts and says nothing, not even SETTINGS.
  std::string greeting = {};         // Raw bytes instead of HTTP/2.
  size_t write_bytes_max = ~0;  // Bytes per write: 1 splits every frame.
  std::function<void(FakePeer*, int32_t stream, const FakeRequest&)> on_request = {};
};

// One accepted connection.
class FakePeer final : public core::EventHandler {
 public:
  FakePeer(FakeServer* server, core::EventLoop* loop, int fd);
  ~FakePeer() { Close(); }

  // The answers below leave with the next Flush(), which follows on_request by itself.
  // HEADERS, DATA, trailers. Empty trailers: the headers end the stream (trailers-only).
  void Reply(int32_t stream, HeaderList headers, std::string body, HeaderList trailers);
  void ReplyGrpc(int32_t stream, const std::string& message, int status = 0);
  void Reset(int32_t stream, uint32_t error) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, error);
  }
  void GoAway(int32_t last_stream) {
    nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, last_stream, NGHTTP2_NO_ERROR, nullptr, 0);
  }
  void Raw(absl::string_view bytes) {
    CHECK(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
  }
  void Flush();
  void Close();
  void OnEvents(uint32_t events) override;

  FakeServer* server;
  core::EventLoop* loop;
  core::Fd fd;
  nghttp2_session* session = nullptr;
  std::map<int32_t, FakeRequest> requests;
  std::vector<int32_t> resets;  // Streams that the client gave up.
  size_t received = 0;
  bool hang_up = false;  // Close after this event.

 private:
  struct Body {
    std::string bytes;
    size_t sent = 0;
    HeaderList trailers;
  };
  friend class FakeServer;
  static std::vector<nghttp2_nv> Fields(const HeaderList& list);
  std::map<int32_t, Body> bodies_;
  std::string out_;
};

class FakeServer final : public core::EventHandler {
 public:
  // `port` 0 picks one.
  explicit FakeServer(core::EventLoop* loop, FakeScript how = {}, uint16_t port = 0,
                      uint32_t address = INADDR_LOOPBACK)
      : script(std::move(how)), loop_(loop) {
    listener_ = core::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(address);
    CHECK(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&at), sizeof(at)) == 0);
    CHECK(::listen(listener_.get(), 64) == 0);
    socklen_t size = sizeof(at);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
    loop_->Add(listener_.get(), EPOLLIN, this);
  }
  ~FakeServer() { loop_->Remove(listener_.get(), this); }

  uint16_t port() const { return port_; }
  std::string target() const { return absl::StrCat("127.0.0.1:", port_); }

  void OnEvents(uint32_t) override {
    const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) peers.push_back(std::make_unique<FakePeer>(this, loop_, fd));
  }

  FakeScript script;
  std::vector<std::unique_ptr<FakePeer>> peers;  // All that ever connected.

 private:
  core::EventLoop* loop_;
  core::Fd listener_;
  uint16_t port_ = 0;
};

inline FakePeer::FakePeer(FakeServer* owner, core::EventLoop* on, int socket)
    : server(owner), loop(on), fd(socket) {
  loop->Add(fd.get(), EPOLLIN, this);
  if (!server->script.greeting.empty()) {
    Raw(server->script.greeting);
    return;
  }
  nghttp2_session_callbacks* callbacks;
  CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t n,
                    const uint8_t* value, size_t v, uint8_t, void* self) {
        static_cast<FakePeer*>(self)->requests[frame->hd.stream_id].headers[std::string(
            reinterpret_cast<const char*>(name), n)] =
            std::string(reinterpret_cast<const char*>(value), v);
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t n,
                    void* self) {
        static_cast<FakePeer*>(self)->requests[stream].body.append(
            reinterpret_cast<const char*>(data), n);
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
        FakePeer* self = static_cast<FakePeer*>(user);
        if (frame->hd.type == NGHTTP2_RST_STREAM) self->resets.push_back(frame->hd.stream_id);
        if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
            (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && self->server->script.on_request) {
          self->server->script.on_request(self, frame->hd.stream_id,
                                          self->requests[frame->hd.stream_id]);
        }
        return 0;
      });
  CHECK(nghttp2_session_server_new(&session, callbacks, this) == 0);
  nghttp2_session_callbacks_del(callbacks);
  if (server->script.silent) return;
  CHECK(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, server->script.settings.data(),
                                server->script.settings.size()) == 0);
  Flush();
}

inline std::vector<nghttp2_nv> FakePeer::Fields(const HeaderList& list) {
  std::vector<nghttp2_nv> fields;
  for (const auto& [name, value] : list) {
    fields.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(),
                      value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  return fields;
}

inline void FakePeer::Reply(int32_t stream, HeaderList headers, std::string body,
                            HeaderList trailers) {
  const std::vector<nghttp2_nv> fields = Fields(headers);
  if (trailers.empty() && body.empty()) {
    nghttp2_submit_response(session, stream, fields.data(), fields.size(), nullptr);
    return;
  }
  bodies_[stream] = Body{std::move(body), 0, std::move(trailers)};
  nghttp2_data_provider provider = {};
  provider.source.ptr = this;
  provider.read_callback = [](nghttp2_session* on, int32_t id, uint8_t* out, size_t size,
                              uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
    Body& one = static_cast<FakePeer*>(source->ptr)->bodies_[id];
    const size_t n = std::min(size, one.bytes.size() - one.sent);
    std::copy_n(one.bytes.data() + one.sent, n, out);
    one.sent += n;
    if (one.sent == one.bytes.size()) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!one.trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const std::vector<nghttp2_nv> last = Fields(one.trailers);
        nghttp2_submit_trailer(on, id, last.data(), last.size());
      }
    }
    return static_cast<ssize_t>(n);
  };
  nghttp2_submit_response(session, stream, fields.data(), fields.size(), &provider);
}

inline std::string GrpcFrame(const std::string& message) {
  std::string frame(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) {
    frame.push_back(static_cast<char>(message.size() >> shift));
  }
  return frame + message;
}

inline void FakePeer::ReplyGrpc(int32_t stream, const std::string& message, int status) {
  Reply(stream, {{":status", "200"}, {"content-type", "application/grpc"}}, GrpcFrame(message),
        {{"grpc-status", absl::StrCat(status)}});
}

// One write a turn, so that a small write_bytes_max reaches the client in pieces.
inline void FakePeer::Flush() {
  if (!fd.valid()) return;
  const uint8_t* data;
  ssize_t n;
  while (session != nullptr && (n = nghttp2_session_mem_send(session, &data)) > 0) {
    out_.append(reinterpret_cast<const char*>(data), n);
  }
  const size_t piece = std::min(out_.size(), server->script.write_bytes_max);
  const ssize_t sent = piece == 0 ? 0 : ::send(fd.get(), out_.data(), piece, MSG_NOSIGNAL);
  if (sent > 0) out_.erase(0, sent);
  loop->Modify(fd.get(), out_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT, this);
}

inline void FakePeer::Close() {
  if (!fd.valid()) return;
  loop->Remove(fd.get(), this);
  fd.Close();
  if (session != nullptr) nghttp2_session_del(std::exchange(session, nullptr));
}

inline void FakePeer::OnEvents(uint32_t events) {
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) {
    char buffer[65536];
    const ssize_t n = ::recv(fd.get(), buffer, sizeof(buffer), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return Close();
    received += std::max<ssize_t>(n, 0);
    if (n > 0 && session != nullptr) {
      nghttp2_session_mem_recv(session, reinterpret_cast<uint8_t*>(buffer), n);
    }
  }
  if (!server->script.silent) Flush();
  if (hang_up) Close();
}

}  // namespace proxy::momento
