// See h2_session.h.
#include "proxy/momento/h2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace proxy::momento {
namespace {

// Flow control in bytes: a reply of the largest size never waits for a window, and a stalled
// reader holds no more than the connection's.
constexpr int32_t kConnectionWindow = 16 * 1024 * 1024;
constexpr uint32_t kStreamWindow = 12 * 1024 * 1024;
static_assert(kStreamWindow > kMessageBytesMax);
constexpr uint32_t kFrameBytesMax = 64 * 1024;  // Accepted; the default of 16 KiB costs more calls.

// Sent with the first call of a connection, as Momento's SDKs do.
constexpr absl::string_view kAgent = "momento-proxy:cache:" MP_VERSION;
constexpr absl::string_view kRuntimeVersion = "c++:20";
constexpr absl::string_view kUserAgent = "momento-proxy/" MP_VERSION;

// Both strings outlive the frame: nothing is copied.
nghttp2_nv Field(absl::string_view name, absl::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

// A value of this call alone: copied, and kept out of the peer's compression table.
nghttp2_nv UniqueField(absl::string_view name, absl::string_view value) {
  nghttp2_nv field = Field(name, value);
  field.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX;
  return field;
}

absl::string_view View(const uint8_t* bytes, size_t size) {
  return absl::string_view(reinterpret_cast<const char*>(bytes), size);
}

Call* CallOf(nghttp2_session* session, int32_t stream_id) {
  return static_cast<Call*>(nghttp2_session_get_stream_user_data(session, stream_id));
}

}  // namespace

// What libnghttp2 calls. Each finds its session in `user_data` and its call by the stream.
struct H2Callbacks {
  static H2Session* Self(void* user_data) { return static_cast<H2Session*>(user_data); }

  static int BeforeSend(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (Call* call = CallOf(session, frame->hd.stream_id)) {
      call->header_offset = Self(user_data)->write_offset_;
    }
    return 0;
  }

  static ssize_t ReadBody(nghttp2_session* session, int32_t stream_id, uint8_t* buffer,
                          size_t size, uint32_t* flags, nghttp2_data_source*, void*) {
    Call* call = CallOf(session, stream_id);
    if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // Cancelled meanwhile.
    const size_t n = std::min(size, call->frame.size() - call->frame_sent);
    std::memcpy(buffer, call->frame.data() + call->frame_sent, n);
    call->frame_sent += n;
    if (call->frame_sent == call->frame.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t, void*) {
    if (Call* call = CallOf(session, frame->hd.stream_id)) {
      call->reply.OnHeader(View(name, name_size), View(value, value_size));
    }
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t stream_id, const uint8_t* data,
                    size_t size, void* user_data) {
    Call* call = CallOf(session, stream_id);
    if (call == nullptr) return 0;
    const auto sink = [call](absl::string_view message) { return call->OnMessage(message); };
    if (!call->reply.OnData(View(data, size), sink)) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_CANCEL);
      Self(user_data)->End(call, call->reply.Result());
    }
    return 0;
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
    H2Session* self = Self(user_data);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
          OnReplyEnd(session, frame->hd.stream_id, self);
        }
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0 && !self->peer_settings_) {
          self->peer_settings_ = true;
          self->events_->OnPeerSettings();
        }
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) self->events_->OnPong();
        break;
      case NGHTTP2_GOAWAY:
        self->events_->OnGoAway(frame->goaway.error_code,
                                View(frame->goaway.opaque_data, frame->goaway.opaque_data_len));
        break;
    }
    return 0;
  }

  // The peer has said all. What of the request it did not wait for need not be sent.
  static void OnReplyEnd(nghttp2_session* session, int32_t stream_id, H2Session* self) {
    Call* call = CallOf(session, stream_id);
    if (call == nullptr) return;
    if (call->frame_sent < call->frame.size()) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_NO_ERROR);
    }
    self->End(call, call->reply.Result());
  }

  static int OnStreamClose(nghttp2_session* session, int32_t stream_id, uint32_t h2_error,
                           void* user_data) {
    H2Session* self = Self(user_data);
    DCHECK(self->streams_ > 0);
    --self->streams_;
    if (Call* call = CallOf(session, stream_id)) {
      Error error = ErrorOfReset(h2_error);
      if (call->header_offset == Call::kNotWritten) {
        error = Error{.code = Code::kUnavailable, .message = "connection is closing", .sent = false};
      }
      self->End(call, std::move(error));
    }
    self->events_->OnStreamClosed();
    return 0;
  }

  static nghttp2_session_callbacks* Make() {
    nghttp2_session_callbacks* callbacks;
    CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_before_frame_send_callback(callbacks, BeforeSend);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnStreamClose);
    return callbacks;
  }
};

H2Session::H2Session(const RequestHeaders* headers, SessionEvents* events)
    : headers_(headers), events_(events) {
  static nghttp2_session_callbacks* const callbacks = H2Callbacks::Make();
  nghttp2_option* options;
  CHECK(nghttp2_option_new(&options) == 0);
  // Closed streams would be remembered for the old priority scheme, which nobody here speaks.
  nghttp2_option_set_no_closed_streams(options, 1);
  const int made = nghttp2_session_client_new2(&session_, callbacks, this, options);
  nghttp2_option_del(options);
  CHECK(made == 0);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kFrameBytesMax},
  };
  CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) == 0);
  CHECK(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) ==
        0);
}

H2Session::~H2Session() { nghttp2_session_del(session_); }

bool H2Session::Submit(Call* call, bool full_time, int64_t timeout_ms) {
  if (credentials_.empty() || credentials_.back() != headers_->credentials) {
    credentials_.push_back(headers_->credentials);
  }
  const std::string own_timeout = full_time ? std::string() : absl::StrCat(timeout_ms, "m");
  nghttp2_nv fields[16];
  size_t n = 0;
  fields[n++] = Field(":method", "POST");
  fields[n++] = Field(":scheme", headers_->scheme);
  fields[n++] = Field(":path", call->path);
  fields[n++] = Field(":authority", headers_->authority);
  fields[n++] = Field("te", "trailers");
  fields[n++] = Field("content-type", "application/grpc");
  fields[n++] = Field("user-agent", kUserAgent);
  fields[n++] = full_time ? Field("grpc-timeout", call->time->header)
                          : UniqueField("grpc-timeout", own_timeout);
  fields[n++] = Field("authorization", credentials_.back()->authorization.view());
  if (call->names_cache) {
    fields[n++] = Field("cache", headers_->cache);
    if (!headers_->read_concern.empty()) {
      fields[n++] = Field("read-concern", headers_->read_concern);
    }
  }
  if (!introduced_) {
    fields[n++] = Field("agent", kAgent);
    fields[n++] = Field("runtime-version", kRuntimeVersion);
  }
  call->frame_sent = 0;
  call->header_offset = Call::kNotWritten;
  nghttp2_data_provider body = {};
  body.read_callback = H2Callbacks::ReadBody;
  const int32_t id = nghttp2_submit_request(session_, nullptr, fields, n, &body, call);
  if (id < 0) return false;
  introduced_ = true;
  call->stream_id = id;
  ++streams_;
  return true;
}

void H2Session::Forget(Call* call) {
  nghttp2_session_set_stream_user_data(session_, call->stream_id, nullptr);
  call->stream_id = 0;
}

void H2Session::Cancel(Call* call) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
  Forget(call);
}

void H2Session::End(Call* call, Error error) {
  Forget(call);
  call->error = std::move(error);
  events_->OnCallEnded(call);
}

void H2Session::Ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }

bool H2Session::Receive(absl::string_view bytes) {
  const ssize_t n = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return n >= 0;
}

bool H2Session::WriteTo(std::string* out, int64_t offset, size_t size_max) {
  while (out->size() < size_max) {
    write_offset_ = offset + static_cast<int64_t>(out->size());
    const uint8_t* data;
    const ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n < 0) return false;
    if (n == 0) {
      ReleaseCredentials();
      return true;
    }
    out->append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
  }
  return true;
}

void H2Session::ReleaseCredentials() {
  if (credentials_.empty() ||
      (credentials_.size() == 1 && credentials_.back() == headers_->credentials)) {
    return;
  }
  if (nghttp2_session_get_outbound_queue_size(session_) > 0) return;
  credentials_.clear();
}

bool H2Session::wants_write() const { return nghttp2_session_want_write(session_) != 0; }

bool H2Session::finished() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

uint32_t H2Session::streams_max() const {
  if (!peer_settings_) return kStreamsUnlessTold;
  const uint32_t told = nghttp2_session_get_remote_settings(
      session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return told >= kNoLimit ? kStreamsUnlessTold : std::min(kStreamsMax, told);
}

}  // namespace proxy::momento
