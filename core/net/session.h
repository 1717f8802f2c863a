// One client connection: bytes in, requests, ordered replies, bytes out.
//
//   recv -> Parse -> slot -> Execute ... Reply::Send -> Compose -> (in order) -> one sendmsg a turn
//
// A request that is answered while it is the oldest is composed straight into the output; an answer
// that overtook an older request waits, composed, in its slot. Reading stops while too many
// requests, or bytes of them, are unanswered or too many reply bytes unsent, and goes on when there is room. At end of
// input, after "quit" or a fatal protocol error, and in a drain, what was accepted is answered and
// flushed before the connection closes. Lives and dies on its worker's thread.
//
// Where the worker has a Ring, plaintext is received and sent by that: the kernel has put the bytes
// into a buffer when OnReceived() is called, and replies stay in the output until OnSent(). A drain, and
// the rest of a long request, are read the other way, after the ring's receive has ended, so that
// nothing overtakes what it had taken.
//
// A request that is answered in parts (Reply::SendPart) is the last of its session, which from then
// on reads only to learn that its peer has left, and waits for nobody in a drain.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/string_view.h"
#include "config/server.h"
#include "core/base/fd.h"
#include "core/net/codec.h"
#include "core/net/input_buffer.h"
#include "core/net/metrics.h"
#include "core/net/reply.h"
#include "core/net/ring.h"
#include "core/net/service.h"
#include "core/net/slots.h"
#include "core/net/tls_stream.h"
#include "core/net/turn_clock.h"
#include "core/net/worker.h"

namespace core {

template <class C, class S>
class Shard;

template <Codec C, class S>
class Session final : public EventHandler, private RingHandler {
 public:
  using Response = typename C::Response;

  // `shard` outlives the session. `tls` is null where plaintext is spoken.
  Session(Shard<C, S>* shard, Fd fd, std::unique_ptr<TlsStream> tls, SessionRef ref, C codec)
      : shard_(shard),
        fd_(std::move(fd)),
        tls_(std::move(tls)),
        ref_(ref),
        codec_(std::move(codec)),
        connection_(shard->service().Connect()),
        out_(&shard->worker().chunks),
        ring_(tls_ == nullptr ? loop().ring() : nullptr),
        active_ms_(loop().now_ms()) {
    if (ring_ == nullptr) {
      Watch();
    } else {
      link_ = ring_->Open(fd_.get(), this);
      UpdateRing();
    }
    if constexpr (requires { shard->service().Opened(connection_, 0); }) {
      shard->service().Opened(connection_, fd_.get());
    }
  }

  SessionRef ref() const { return ref_; }
  bool closed() const { return !fd_.valid(); }
  int64_t active_ms() const { return active_ms_; }
  // Reply bytes wait for the peer to take them.
  bool unsent() const { return !out_.empty() || (tls_ != nullptr && tls_->unsent() > 0); }
  size_t unsent_bytes() const {
    return out_.size() + stored_bytes_ + (tls_ == nullptr ? 0 : tls_->unsent());
  }
  bool idle() const { return slots_.empty() && !unsent(); }

  void OnEvents(uint32_t events) override {
    if ((events & EPOLLERR) != 0) return Close(CloseReason::kError);
    if ((events & EPOLLHUP) != 0) [[unlikely]] return HangUp();
    if ((events & EPOLLIN) != 0) Fill();
    if ((events & EPOLLOUT) != 0) MarkDirty();
  }

  // The answer to request `sequence`.
  void Deliver(uint64_t sequence, Response&& rsp) {
    DCHECK(sequence - slots_.head() < slots_.size());
    auto& slot = slots_.At(sequence);
    unanswered_bytes_ -= slot.request_bytes;
    if (slot.open) [[unlikely]] {  // The last part.
      slot.open = streaming_ = false;
      ended_ = true;
    }
    if (sequence == slots_.head()) {
      C::Compose(slot.context, std::move(rsp), &out_);
      slots_.Release(slot);
      slots_.PopHead();
      FlushReadySlots();
      if (out_.has_brief()) [[unlikely]] SendBrief();
    } else {
      Store(&slot, std::move(rsp));
      slots_.Release(slot);
    }
    MarkDirty();
  }

  // A part of the answer to request `sequence`, which stays unanswered.
  void DeliverPart(uint64_t sequence, Response&& rsp) {
    DCHECK(sequence - slots_.head() < slots_.size());
    auto& slot = slots_.At(sequence);
    slot.open = streaming_ = true;
    if (sequence == slots_.head()) {
      C::Compose(slot.context, std::move(rsp), &out_);
      if (out_.has_brief()) SendBrief();
    } else {
      Store(&slot, std::move(rsp));
    }
    MarkDirty();
  }

  // Sends what is composed: one system call unless the kernel takes only part.
  void Flush() {
    dirty_ = false;
    if (closed()) return;
    if (unsent() && !Send()) return Close(CloseReason::kError);
    if (streaming_ && MayCutOff()) [[unlikely]] return Close(EndReason());
    if (paused_ && !Backlogged()) shard_->MakeRunnable(ref_);
    if (moving_ && AtRest() && idle() && !ended_ && !paused_) return Move();
    if (Finished()) return Close(EndReason());
    UpdateInterest();
    if (slots_.empty()) slots_.Shrink();
  }

  // Goes on with input that waited for room.
  void Resume() {
    if (closed() || Backlogged()) return;
    paused_ = false;
    input_.Consume(Parse(input_.view()));
    MarkDirty();
  }

  // Goes on with what the process before had read of this connection and not taken.
  void Feed(absl::string_view unread) {
    input_.Append(unread);
    input_.Consume(Parse(input_.view()));
    MarkDirty();
  }

  // Answers what has arrived, takes nothing new, closes when everything is flushed. Or, if another
  // process takes connections over: answers what was read, and hands the connection on.
  void BeginDrain() {
    if (closed()) return;
    if (receiving_) {  // What comes before the end of that counts as accepted.
      drain_due_ = true;
      return StopReceiving();
    }
    if (!streaming_) {
      moving_ = shard_->gives() && CanMove();
      if (!moving_ && WantsRead()) Fill();  // Requests already in the socket count as accepted.
    }
    draining_ = true;
    MarkDirty();
  }

  void Close(CloseReason reason) {
    if (closed()) return;
    TellClosed(reason);
    Unwatch();
    if (ring_ != nullptr) ring_->Close(link_, std::move(out_));
    if (tls_ != nullptr) tls_->SayGoodbye();
    DiscardInput();
    fd_.Close();
    shard_->Retire(ref_);
  }

 private:
  static constexpr int kPiecesMax = 64;
  static constexpr size_t kBulkBytesMin = 16 * 1024;  // Eight of the ring's buffers.
  static constexpr uint8_t kFillsAfterBulk = 32;
  // Room for the line of a request and some of what follows.
  static constexpr size_t kProbeBytes = 2 * 1024;
  static constexpr size_t kMovedBytesMax = 64 * 1024;  // A datagram of unix(7) takes it.
  static constexpr bool kForesees = Shard<C, S>::kForesees;
  static constexpr size_t kGroup = Shard<C, S>::kGroup;
  // A longer request ends its group: limits on what is unanswered or unsent are looked at between
  // groups.
  static constexpr size_t kGroupRequestBytesMax = 512;
  // Requests a service may be holding for one connection: a pipeline of large values, sent to a
  // backend that stands still, may not take all memory. Three of Momento's largest items.
  static constexpr size_t kUnansweredBytesMax = 16 * 1024 * 1024;

  EventLoop& loop() { return shard_->worker().loop; }
  const config::Server& limits() const { return shard_->limits(); }
  NetMetrics& metrics() { return shard_->metrics(); }

  bool Backlogged() const {
    return slots_.size() >= limits().in_flight_max || unanswered_bytes_ >= kUnansweredBytesMax ||
           unsent_bytes() >= limits().output_max;
  }
  bool WantsRead() const {
    if (streaming_) return !ended_;
    if (moving_) return !paused_ && !ended_ && !AtRest();
    return !paused_ && !ended_ && !(draining_ && !InputBegun());
  }
  bool Finished() const {
    return (ended_ || (draining_ && !moving_ && !InputBegun())) && !paused_ && idle();
  }

  // An answer without end ends when nobody listens any more, or nobody is to, after what was asked
  // before it.
  bool MayCutOff() { return (ended_ || draining_) && slots_.At(slots_.head()).open; }
  CloseReason EndReason() const {
    if (failed_) return CloseReason::kError;
    return ended_ ? CloseReason::kNormal : CloseReason::kShutdown;
  }
  void TellClosed(CloseReason reason) {
    if constexpr (requires { shard_->service().Closed(connection_, reason); }) {
      shard_->service().Closed(connection_, reason);
    }
  }

  // What is not known from the bytes still to come cannot be handed on.
  bool CanMove() const {
    if constexpr (requires { codec_.CanMove(); }) return tls_ == nullptr && codec_.CanMove();
    return false;
  }
  // The next byte to be parsed begins a request, and what was read of it fits into a message.
  bool AtRest() const {
    if constexpr (requires { codec_.AtRest(); }) {
      return codec_.AtRest() && input_.view().size() <= kMovedBytesMax;
    }
    return false;
  }
  void Move() {
    TellClosed(CloseReason::kShutdown);
    Unwatch();
    if (ring_ != nullptr) ring_->Close(link_, std::move(out_));
    shard_->Give(std::move(fd_), input_.view());
    shard_->Retire(ref_);
  }
  bool InputBegun() const {
    return !input_.empty() || (tls_ != nullptr && tls_->holds_input());
  }

  void MarkDirty() {
    if (std::exchange(dirty_, true)) return;
    shard_->MakeDirty(this);
  }

  // Nobody takes replies any more, but what was said before is to be done: of a unix socket, this is
  // told as soon as the peer has closed it, whatever is still to be read.
  void HangUp() {
    if (unsent()) return Close(CloseReason::kNormal);
    if (WantsRead()) return Fill();
    Unwatch();  // Or it would be told every turn until there is room to read, or all is answered.
  }
  void Watch() {
    watched_ = true;
    loop().Add(fd_.get(), interest_ = EPOLLIN, this);
  }
  void Unwatch() {
    if (std::exchange(watched_, false)) loop().Remove(fd_.get(), this);
  }

  // --- Of the ring. ---
  void Foretell(absl::string_view bytes) override {
    if constexpr (requires { shard_->service().Foretell(C::FirstKey(bytes)); }) {
      if (!input_.empty()) return;  // A request that has begun; its key is gone past.
      const absl::string_view key = C::FirstKey(bytes);
      if (!key.empty()) shard_->service().Foretell(key);
    }
  }
  void OnReceived(absl::string_view bytes) override {
    metrics().read_bytes.Add(bytes.size());
    if (streaming_ || ended_) [[unlikely]] return;  // Nobody will look at it.
    active_ms_ = loop().now_ms();
    if (paused_) [[unlikely]] return input_.Append(bytes);  // Came before the receive was stopped.
    ParseFresh(bytes);
  }
  void OnReceiveEnd(int result) override {
    receiving_ = stopping_ = false;
    if (result == 0) {
      EndInput();
    } else if (result != -ECANCELED && result != -ENOBUFS && result != -EINTR &&
               result != -EAGAIN) {
      return Close(CloseReason::kError);
    }
    if (std::exchange(drain_due_, false)) return BeginDrain();
    UpdateInterest();
  }
  void OnSent(int result) override {
    sending_ = false;
    if (result < 0) {
      if (result != -EINTR && result != -EAGAIN) return Close(CloseReason::kError);
    } else {
      Took(static_cast<size_t>(result));
    }
    // The usual reply left as a whole, and nothing waited for that.
    if (!out_.empty() || paused_ || ended_ || draining_ || streaming_) return MarkDirty();
    if (slots_.empty()) slots_.Shrink();
  }
  void StopReceiving() {
    if (!std::exchange(stopping_, true)) ring_->StopReceiving(link_);
  }
  // Has the ring receive, or not. False: the input is, or is to be, read by Fill(). A long request had
  // better be received to where it is kept, in large pieces; who asks so will again, and by the time
  // it is known the ring has received some of it.
  bool UpdateRing() {
    const bool wants = WantsRead();
    const size_t have = input_.view().size();
    if (have > kBulkBytesMin || need_ > have + kBulkBytesMin) [[unlikely]] {
      fills_left_ = kFillsAfterBulk;
    }
    const bool fills = draining_ || fills_left_ > 0;
    if (receiving_) {
      if (!wants || fills) StopReceiving();
      return true;
    }
    if (!wants || fills) return !fills;
    Unwatch();
    receiving_ = true;
    ring_->Receive(link_);
    return true;
  }

  // One read a turn, so that a busy peer cannot starve the others. After a long request two: the first
  // is short and learns how long the next one is, which is then received to where it is kept.
  void Fill() {
    if (!WantsRead()) return;
    if (fills_left_ > 0) --fills_left_;
    if (streaming_) [[unlikely]] return Discard();
    if (std::exchange(took_bulk_, false) && input_.empty() && tls_ == nullptr) [[unlikely]] {
      const bool has_more = FillOnce(kProbeBytes) == kProbeBytes;
      if (closed() || receiving_ || !WantsRead()) return;
      if (!has_more && need_ <= input_.view().size() + kBulkBytesMin) return;
    }
    FillOnce(Worker::kScratchBytes);
  }
  // `room`: of what passes through the scratch memory. Returns the bytes received; 0 also for none.
  size_t FillOnce(size_t room) {
    const bool direct = input_.empty();
    char* into = shard_->worker().scratch.get();
    if (!direct) {
      const size_t have = input_.view().size();
      input_.Reserve(std::max(need_ > have ? need_ - have : InputStep(),
                              tls_ == nullptr ? 0 : TlsStream::kReadRoomMin));
      into = input_.tail();
      room = input_.room();
    }
    const ssize_t n = Receive(into, room);
    if (n < 0) {
      if (errno != EAGAIN && errno != EINTR) Close(CloseReason::kError);
      return 0;
    }
    if (n == 0) {
      EndInput();
      return 0;
    }
    metrics().read_bytes.Add(n);
    active_ms_ = loop().now_ms();
    if (direct) {
      ParseFresh(absl::string_view(into, n));
    } else {
      input_.Commit(n);
      input_.Consume(Parse(input_.view()));
    }
    if (tls_ != nullptr && tls_->ended()) EndInput();
    if (ended_ && !paused_) input_.Consume(input_.view().size());
    return static_cast<size_t>(n);
  }
  // Takes bytes that lie elsewhere, where they are if nothing waits before them.
  void ParseFresh(absl::string_view fresh) {
    if (input_.empty()) return input_.Append(fresh.substr(Parse(fresh)));
    input_.Append(fresh);
    input_.Consume(Parse(input_.view()));
  }
  ssize_t Receive(char* into, size_t room) {
    if (tls_ == nullptr) return ::recv(fd_.get(), into, room, 0);
    const ssize_t n = tls_->Read(into, room);
    if (tls_->unsent() > 0) MarkDirty();  // The handshake's part.
    return n;
  }
  static constexpr size_t InputStep() { return 16 * 1024; }

  // Reads what nobody will look at. Its peer's silence is judged by what it takes, not by this.
  void Discard() {
    const ssize_t n = Receive(shard_->worker().scratch.get(), Worker::kScratchBytes);
    if (n < 0) {
      if (errno != EAGAIN && errno != EINTR) Close(CloseReason::kError);
      return;
    }
    metrics().read_bytes.Add(n);
    if (n == 0 || (tls_ != nullptr && tls_->ended())) EndInput();
  }

  void EndInput() {
    ended_ = true;
    MarkDirty();
  }

  // Executes every complete request in `in` that there is room for. Returns the bytes done with.
  size_t Parse(absl::string_view in) {
    if (streaming_) return in.size();
    TurnClock::Expire();  // What arrived is not to be answered as of before it did.
    size_t done = 0;
    uint64_t taken = 0;
    bool more = true;
    while (more) {
      if (done < in.size() && Backlogged()) {
        Pause();
        break;
      }
      const int n = ParseGroup(in, &done);
      if (n == 0) break;
      for (int i = 0; i < n && more; ++i) {
        const auto& [req, result] = shard_->parsed(i);
        more = Take(req, result);
        taken += result.status != ParseStatus::kQuit;
      }
    }
    metrics().request.Add(taken);
    if (!more) return in.size();
    UpdateInterest();
    return done;
  }

  // Parses the next few requests of in[*done..] and announces them to the service, so that it can
  // load what all of them will look at while it executes the first. Returns how many; 0 = there is no
  // complete one. The last may be one that ends the input.
  int ParseGroup(absl::string_view in, size_t* done) {
    int n = 0;
    const size_t room = std::min<size_t>(kGroup, limits().in_flight_max - slots_.size());
    while (static_cast<size_t>(n) < room && *done < in.size() && in.size() - *done >= need_) {
      auto& [req, result] = shard_->parsed(n);
      result = codec_.Parse(in.substr(*done), &req);
      *done += result.consumed;
      need_ = 0;
      if (result.status == ParseStatus::kNeedMore) {
        need_ = result.need;
        if (result.consumed == 0) break;
        continue;
      }
      ++n;
      if (result.status != ParseStatus::kComplete) break;
      if (result.consumed > kGroupRequestBytesMax) {
        took_bulk_ = result.consumed > kBulkBytesMin;
        break;
      }
      if constexpr (kForesees) {
        if (!shard_->service().Foresee(req)) break;
      }
    }
    return n;
  }

  // Acts on one parsed request. False: nothing after it is to be parsed.
  [[gnu::always_inline]] bool Take(const typename C::Request& req, const ParseResult& result) {
    if (result.status == ParseStatus::kQuit) {
      EndInput();
      return false;
    }
    const uint64_t sequence = slots_.Push(C::ContextOf(req), static_cast<uint32_t>(result.consumed));
    unanswered_bytes_ += result.consumed;
    if (result.status != ParseStatus::kComplete) [[unlikely]] return Reject(sequence, req, result);
    shard_->service().Execute(connection_, req, Reply<Response>(shard_, ref_, sequence));
    return !closed() && !streaming_;
  }

  // Says what the codec has to say. Apart, so that Take() stays small. As Take().
  [[gnu::noinline]] bool Reject(uint64_t sequence, const typename C::Request& req,
                                const ParseResult& result) {
    if (result.status == ParseStatus::kInvalid) metrics().request_invalid.Add();
    Deliver(sequence, C::Rejection(req));
    if (!result.close) return true;
    failed_ = true;
    EndInput();
    return false;
  }

  void Pause() {
    if (std::exchange(paused_, true)) return;
    metrics().read_pause.Add();
  }

  // Composes what comes before its turn.
  void Store(typename Slots<typename C::ReplyContext>::Slot* slot, Response&& rsp) {
    if (slot->ready == nullptr) slot->ready = std::make_unique<OutBuffer>();
    stored_bytes_ -= slot->ready->size();
    C::Compose(slot->context, std::move(rsp), slot->ready.get());
    slot->ready->KeepBrief();
    stored_bytes_ += slot->ready->size();
  }

  void FlushReadySlots() {
    while (!slots_.empty()) {
      auto& slot = slots_.At(slots_.head());
      if (slot.ready == nullptr) return;
      stored_bytes_ -= slot.ready->size();
      out_.Append(std::move(*slot.ready));
      slot.ready.reset();
      if (slot.open) return;
      slots_.PopHead();
    }
  }

  ssize_t SendPieces(struct iovec* pieces, int count) {
    // The usual reply is one piece; the kernel then has no list of them to copy and check.
    if (count == 1) return ::send(fd_.get(), pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL);
    struct msghdr message = {};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    return ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
  }

  // Sends at once, out of the turn's order, what must not stay where it is.
  void SendBrief() {
    // A dead connection is found again by the flush, which may close it. What the ring is sending goes
    // before.
    if (!sending_) (void)SendNow();
    out_.KeepBrief();
  }

  // False: the connection is dead.
  bool Send() {
    if (ring_ == nullptr) return SendNow();
    if (sending_) return true;
    struct iovec pieces[kPiecesMax];
    sending_ = true;
    ring_->Send(link_, pieces, out_.Gather(pieces, kPiecesMax));
    return true;
  }

  bool SendNow() {
    if (tls_ != nullptr) return SendOverTls();
    struct iovec pieces[kPiecesMax];
    while (!out_.empty()) {
      const ssize_t n = SendPieces(pieces, out_.Gather(pieces, kPiecesMax));
      if (n < 0) {
        if (errno == EINTR) continue;
        return errno == EAGAIN;
      }
      Took(static_cast<size_t>(n));
    }
    return true;
  }
  // The kernel has taken `n` bytes of the output.
  void Took(size_t n) {
    metrics().written_bytes.Add(n);
    active_ms_ = loop().now_ms();
    out_.Consume(n);
  }

  bool SendOverTls() {
    const size_t before = out_.size();
    size_t sent = 0;
    const bool good = tls_->Send(&out_, &sent);
    metrics().written_bytes.Add(before - out_.size());
    if (sent > 0) active_ms_ = loop().now_ms();
    return good;
  }

  void UpdateInterest() {
    if (closed()) return;
    if (ring_ != nullptr && UpdateRing()) return;
    if (!watched_) [[unlikely]] {
      if (!WantsRead()) return;
      Watch();
    }
    const bool sends = ring_ == nullptr && unsent();
    const uint32_t wanted = (WantsRead() ? EPOLLIN : 0u) | (sends ? EPOLLOUT : 0u);
    // While a flush is due this turn its outcome is not known: EPOLLOUT is asked for after it.
    const uint32_t now = dirty_ ? wanted & ~EPOLLOUT : wanted;
    if (now == interest_) return;
    interest_ = now;
    loop().Modify(fd_.get(), now, this);
  }

  // Unread input would make close() send a reset, which can overtake the last reply.
  void DiscardInput() {
    ::shutdown(fd_.get(), SHUT_WR);
    char* scratch = shard_->worker().scratch.get();
    for (int i = 0; i < 16; ++i) {
      if (::recv(fd_.get(), scratch, Worker::kScratchBytes, 0) <= 0) return;
    }
  }

  Shard<C, S>* const shard_;
  Fd fd_;
  const std::unique_ptr<TlsStream> tls_;  // Null: plaintext.
  const SessionRef ref_;
  C codec_;
  typename S::Connection connection_;
  InputBuffer input_;
  size_t need_ = 0;  // Parsing again makes no sense before input_ holds this much.
  Slots<typename C::ReplyContext> slots_;
  OutBuffer out_;
  size_t unanswered_bytes_ = 0;  // Of the requests in slots_ whose answer is still to come.
  size_t stored_bytes_ = 0;  // Composed replies waiting in slots.
  Ring* const ring_;  // Null: the worker has none, or TLS is spoken.
  Ring::Link link_ = 0;
  uint32_t interest_ = EPOLLIN;
  bool watched_ = false;   // Events of fd_ are asked for.
  bool receiving_ = false;  // The ring receives, or has still to say that it ended.
  bool stopping_ = false;   // The latter.
  bool sending_ = false;    // The ring sends the first pieces of out_.
  bool took_bulk_ = false;  // The last request that was long was longer than kBulkBytesMin.
  uint8_t fills_left_ = 0;  // Reads to come by Fill(), before the ring receives again.
  bool drain_due_ = false;  // BeginDrain() waits for the end of the receive.
  bool dirty_ = false;     // In the shard's list of sessions to flush this turn.
  bool paused_ = false;    // Complete requests may wait in input_ for room.
  bool ended_ = false;     // Nothing more will be read: end of input, quit, or a fatal error.
  bool failed_ = false;    // The latter.
  bool streaming_ = false;  // Its last request is being answered in parts: input is dropped.
  bool draining_ = false;
  bool moving_ = false;    // Draining, to go on in another process.
  int64_t active_ms_;
};

}  // namespace core
