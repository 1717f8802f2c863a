// One call on its way: what to send, where it is, what has come back.
//
//   idle --Start--> queued --Submit--> on wire --stream ends--> ended --OnDone--> idle
//                      \___________ deadline, loss of the connection ___/
//
// OnDone() may give it back with StartAgain(), to be queued anew after a pause; Abandon() takes it
// away from wherever it is, without an OnDone().
//
// The client makes it and reuses it; between ChannelPool::Start() and OnDone() it belongs to the
// pool. The call is its own deadline timer.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/string_view.h"
#include "core/net/timer.h"
#include "proxy/momento/client.h"
#include "proxy/momento/grpc_reply.h"

namespace proxy::momento {

class ChannelPool;
class H2Connection;

// How long the calls of one kind may take, and how their grpc-timeout header says it while they
// have all that time left.
struct CallTime {
  int64_t ms = 0;
  std::string header = {};
  bool operator==(const CallTime&) const = default;
};

// A place in one intrusive list.
struct CallLink {
  CallLink* prev = nullptr;
  CallLink* next = nullptr;
};

class Call : public core::Timer, public CallLink {
 public:
  // Offset of a request no byte of which was handed to the connection.
  static constexpr int64_t kNotWritten = std::numeric_limits<int64_t>::max();

  // --- What to send; set by the client, unchanged until OnDone().
  absl::string_view path;  // A literal.
  bool names_cache = true;  // Carries the `cache` header: data plane only.
  const CallTime* time = nullptr;  // Outlives the call.
  std::string frame;       // Length prefix and message.
  int64_t waited_ms = 0;  // Before it came here; taken off its deadline.

  // --- Where it is; the pool's, the connection's and the session's.
  ChannelPool* pool = nullptr;
  H2Connection* connection = nullptr;  // Null unless on the wire.
  // Where the latest attempt went. Only compared with: it may be gone, and its address another's.
  const H2Connection* last = nullptr;
  int64_t deadline_ms = 0;             // On the loop's clock.
  bool resting = false;                // Waits for the end of a pause, not on any connection.
  bool ended = false;                  // Waits for its OnDone().
  int32_t stream_id = 0;
  size_t frame_sent = 0;               // Bytes of `frame` handed to HTTP/2.
  int64_t header_offset = kNotWritten;  // Where the request begins in the connection's output.
  int attempts = 0;
  bool retry_safe = false;             // The service has certainly not seen the last attempt.
  Error error;                         // When ended.

  // --- What has come back.
  GrpcReply reply;

  // One message of the reply; false when it is not one the call can read.
  virtual bool OnMessage(absl::string_view message) = 0;
  // The end, once. `error` is how. The call may be started anew, or destroyed, from inside.
  virtual void OnDone(Error result) = 0;

  void OnTimer() override;
};

// Calls in order of arrival. Owns nothing.
class CallList {
 public:
  CallList() { head_.prev = head_.next = &head_; }
  CallList(const CallList&) = delete;
  CallList& operator=(const CallList&) = delete;

  bool empty() const { return head_.next == &head_; }
  size_t size() const { return size_; }
  Call* front() { return empty() ? nullptr : static_cast<Call*>(head_.next); }
  void PushBack(Call* call) {
    CallLink* link = call;
    link->prev = head_.prev;
    link->next = &head_;
    head_.prev->next = link;
    head_.prev = link;
    ++size_;
  }
  // REQUIRES: `call` is in this list.
  void Remove(Call* call) {
    CallLink* link = call;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = nullptr;
    --size_;
  }
  Call* PopFront() {
    Call* call = front();
    if (call != nullptr) Remove(call);
    return call;
  }

 private:
  CallLink head_;
  size_t size_ = 0;
};

}  // namespace proxy::momento
