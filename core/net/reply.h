// The promise to answer one request, exactly once, now or later, from any thread.
//
// An answer may also come in parts and need not end: SendPart(). Its connection is then the answer's
// alone: what the peer says after the request is dropped unread.
//
// A Reply names a session by slot and generation, so a session that died meanwhile is a mismatch
// that drops the answer, never a dangling pointer. Dropping a Reply unsent is a bug: the session is
// closed, so that its peer never waits for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace core {

struct SessionRef {
  uint32_t index = 0;
  uint32_t generation = 0;
};

// Where replies go: the session table of one server on one worker.
template <class Response>
class ReplySink {
 public:
  // Any thread. On the sink's own worker the reply is composed before this returns; elsewhere it
  // is posted to that worker.
  virtual void Deliver(SessionRef session, uint64_t sequence, Response&& rsp) = 0;
  // Any thread. The reply will never come.
  virtual void Abandon(SessionRef session, uint64_t sequence) = 0;

  // For answers in parts; a sink that only passes whole ones on has none of it. On the sink's own
  // worker: a part, composed before this returns.
  virtual void DeliverPart(SessionRef session, uint64_t sequence, Response&& rsp) {}
  // Likewise: bytes of the session's replies that its peer has not taken; nothing if it is gone.
  virtual std::optional<size_t> Unsent(SessionRef session) { return std::nullopt; }

 protected:
  ~ReplySink() = default;
};

template <class Response>
class [[nodiscard]] Reply {
 public:
  // `sink` outlives every Reply.
  Reply(ReplySink<Response>* sink, SessionRef session, uint64_t sequence)
      : sink_(sink), session_(session), sequence_(sequence) {}
  Reply(Reply&& other) noexcept
      : sink_(std::exchange(other.sink_, nullptr)),
        session_(other.session_),
        sequence_(other.sequence_) {}
  Reply& operator=(Reply&& other) noexcept {
    if (this != &other) {
      if (sink_ != nullptr) sink_->Abandon(session_, sequence_);
      sink_ = std::exchange(other.sink_, nullptr);
      session_ = other.session_;
      sequence_ = other.sequence_;
    }
    return *this;
  }
  ~Reply() {
    if (sink_ != nullptr) sink_->Abandon(session_, sequence_);
  }

  // Answers. Any thread; at most once. On the session's worker `rsp` has been composed on return
  // and, apart from values that were handed on, is as it was: its memory may be used again.
  void Send(Response&& rsp) && {
    std::exchange(sink_, nullptr)->Deliver(session_, sequence_, std::move(rsp));
  }

  // Answers in part, after the replies to earlier requests; more parts may follow, and a last one with
  // Send(), after which the connection closes. From the first part on its session takes no further
  // request, and closes when the peer has said all it will, and in a drain. Nothing happens if the
  // session is gone. The session's worker alone; `rsp` as for Send() there.
  void SendPart(Response&& rsp) { sink_->DeliverPart(session_, sequence_, std::move(rsp)); }
  // Bytes of replies that the session's peer has not taken yet, those still to be sent in this turn
  // included; nothing if the session is gone. What bounds them is the caller. The session's worker alone.
  std::optional<size_t> unsent() const { return sink_->Unsent(session_); }

 private:
  ReplySink<Response>* sink_;
  SessionRef session_;
  uint64_t sequence_;
};

}  // namespace core
