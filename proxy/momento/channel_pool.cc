// See channel_pool.h.
#include "proxy/momento/channel_pool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace proxy::momento {
namespace {

// What one read takes: a fast network's worth of a turn, small enough to stay in the L2 cache.
constexpr size_t kReadBytes = 64 * 1024;

}  // namespace

ChannelPool::ChannelPool(core::EventLoop* loop, Resolver* resolver, Metrics* metrics,
                         core::Log* log, Options options)
    : loop_(loop),
      resolver_(resolver),
      metrics_(metrics),
      log_(log),
      options_(std::move(options)),
      slots_(options_.connections),
      random_(static_cast<uint32_t>(loop->clock().MonotonicNs() ^
                                    reinterpret_cast<intptr_t>(this) >> 4)) {
  for (Slot& slot : slots_) slot.pool = this;
  loop_->AddTurnEnd(core::EventLoop::Phase::kTransport, this);
  if (!options_.lazy) OpenAll();
}

ChannelPool::~ChannelPool() {
  stopping_ = true;
  loop_->RemoveTurnEnd(this);
  for (Slot& slot : slots_) {
    if (slot.connection != nullptr) slot.connection->Close("client is closing");
  }
  // Each Close() takes its connection out of the list.
  while (!draining_.empty()) draining_.back()->Close("client is closing");
  while (Call* call = waiting_.PopFront()) {
    metrics_->waiting.Add(-1);
    call->Cancel();
  }
}

void ChannelPool::OpenAll() {
  opened_ = true;
  read_buffer_.resize(kReadBytes);
  for (Slot& slot : slots_) Open(&slot);
}

void ChannelPool::Open(Slot* slot) {
  slot->connection = std::make_unique<H2Connection>(loop_, resolver_, &options_.endpoint,
                                                    &options_.headers, metrics_,
                                                    static_cast<ConnectionOwner*>(this),
                                                    &read_buffer_);
  slot->connection->Open();
}

// --- Connections.

ChannelPool::Slot* ChannelPool::SlotOf(const H2Connection* connection) {
  for (Slot& slot : slots_) {
    if (slot.connection.get() == connection) return &slot;
  }
  return nullptr;
}

void ChannelPool::OnReady(H2Connection* connection) {
  Slot* slot = SlotOf(connection);
  slot->failed = false;
  slot->ready = true;
  slot->ready_since_ms = loop_->now_ms();
  ++ready_;
  metrics_->connections.Add(1);
  metrics_->connects.Add();
  if (log_ != nullptr && ready_ == 1) {
    log_->Info("momento: connected to %s", options_.headers.authority);
  }
}

void ChannelPool::LeaveReady(Slot* slot) {
  if (!std::exchange(slot->ready, false)) return;
  --ready_;
  metrics_->connections.Add(-1);
  if (loop_->now_ms() - slot->ready_since_ms >= kStableMs) slot->failures = 0;
}

void ChannelPool::Replace(Slot* slot) {
  if (stopping_) return;
  int64_t delay_ms = 0;
  if (slot->failures > 0) {
    const int doublings = std::min(slot->failures - 1, 20);
    delay_ms = std::min(kBackoffFirstMs << doublings, kBackoffLastMs);
    delay_ms = delay_ms * std::uniform_int_distribution<int64_t>(80, 120)(random_) / 100;
  }
  ++slot->failures;  // Taken back by LeaveReady() if the next one lasts.
  loop_->Arm(slot, delay_ms);
}

void ChannelPool::OnDraining(H2Connection* connection, absl::string_view why) {
  metrics_->goaway.Add();
  if (log_ != nullptr) log_->Debug("momento: %s: %s", options_.headers.authority, why);
  Slot* slot = SlotOf(connection);
  LeaveReady(slot);
  draining_.push_back(std::move(slot->connection));
  Replace(slot);
}

void ChannelPool::OnClosed(H2Connection* connection, absl::string_view why) {
  Slot* slot = SlotOf(connection);
  if (slot == nullptr) {  // It had been draining: its slot is somebody else's already.
    auto it = std::find_if(draining_.begin(), draining_.end(),
                           [&](const auto& one) { return one.get() == connection; });
    closed_.push_back(std::move(*it));
    draining_.erase(it);
    return;
  }
  closed_.push_back(std::move(slot->connection));
  if (stopping_) return LeaveReady(slot);
  last_failure_ = std::string(why);
  const bool news = !slot->failed;
  if (slot->ready) {
    metrics_->lost.Add();
    LeaveReady(slot);
  } else {
    metrics_->connect_failures.Add();
    slot->failed = true;
    slot->failures = std::max(slot->failures, 1);
  }
  if (log_ != nullptr && ready_ == 0 && news) {
    log_->Warning("momento: %s: %s; trying again", options_.headers.authority, why);
  }
  Replace(slot);
  if (Hopeless()) FailWaiting();
}

void ChannelPool::MarkDirty(H2Connection* connection) {
  if (std::exchange(connection->dirty, true)) return;
  dirty_.push_back(connection);
}

void ChannelPool::OnProgress(H2Connection* connection) {
  MarkDirty(connection);
  StartWaiting();
  Deliver();
}

void ChannelPool::Flush() {
  // By index: a flush may end a connection, whose calls may move to another one.
  for (size_t i = 0; i < dirty_.size(); ++i) {
    dirty_[i]->dirty = false;
    dirty_[i]->Flush();
  }
  dirty_.clear();
}

void ChannelPool::OnTurnEnd() {
  if (!waiting_.empty()) StartWaiting();
  Deliver();
  if (!dirty_.empty()) Flush();
  closed_.clear();
  // What the flush ended, or sent back to wait, is the next turn's.
  if (!ended_.empty() || (!waiting_.empty() && Pick() != nullptr)) loop_->KeepAwake();
}

// --- Calls.

void ChannelPool::Start(Call* call) {
  call->pool = this;
  call->attempts = 0;
  call->retry_safe = false;
  call->header_offset = Call::kNotWritten;
  call->reply.Reset();
  call->deadline_ms = loop_->now_ms() + options_.deadline_ms;
  if (!opened_) OpenAll();
  if (H2Connection* connection = waiting_.empty() ? Pick() : nullptr) {
    loop_->Arm(call, options_.deadline_ms);
    return StartOn(connection, call);
  }
  if (Hopeless()) {
    return End(call, Error{.code = Code::kUnavailable, .message = last_failure_, .sent = false});
  }
  if (waiting_.size() >= kWaitingMax) {
    metrics_->overload.Add();
    return End(call, Error{.code = Code::kResourceExhausted,
                           .message = "overload: too many calls wait for the service",
                           .sent = false});
  }
  loop_->Arm(call, options_.deadline_ms);
  waiting_.PushBack(call);
  metrics_->waiting.Add(1);
}

H2Connection* ChannelPool::Pick() {
  if (!dirty_.empty()) {
    H2Connection* last = dirty_.back();
    if (last->can_take() && last->streams() < kStreamsPerWrite) return last;
  }
  H2Connection* best = nullptr;
  for (Slot& slot : slots_) {
    H2Connection* one = slot.connection.get();
    if (one == nullptr || !one->can_take()) continue;
    if (best == nullptr || one->streams() < best->streams()) best = one;
  }
  return best;
}

void ChannelPool::StartOn(H2Connection* connection, Call* call) {
  MarkDirty(connection);
  const int64_t left_ms = call->deadline_ms - loop_->now_ms();
  connection->Start(call, left_ms >= options_.deadline_ms, std::max<int64_t>(left_ms, 1));
}

void ChannelPool::StartWaiting() {
  while (!waiting_.empty()) {
    H2Connection* connection = Pick();
    if (connection == nullptr) return;
    metrics_->waiting.Add(-1);
    StartOn(connection, waiting_.PopFront());
  }
}

bool ChannelPool::Hopeless() const {
  return std::all_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.failed; });
}

void ChannelPool::FailWaiting() {
  while (Call* call = waiting_.PopFront()) {
    metrics_->waiting.Add(-1);
    End(call, Error{.code = Code::kUnavailable, .message = last_failure_, .sent = false});
  }
}

void ChannelPool::OnCallEnded(Call* call) {
  if (stopping_) return call->Cancel();  // Let go of without OnDone().
  if (!call->retry_safe || call->attempts >= kAttemptsMax) {
    return End(call, std::move(call->error));
  }
  metrics_->retries.Add();
  call->header_offset = Call::kNotWritten;
  call->reply.Reset();
  waiting_.PushBack(call);
  metrics_->waiting.Add(1);
}

void ChannelPool::End(Call* call, Error error) {
  call->Cancel();
  call->error = std::move(error);
  ended_.PushBack(call);
}

void ChannelPool::Deliver() {
  // Only what has ended by now: a callback may start a call that ends at once.
  for (size_t n = ended_.size(); n > 0; --n) {
    Call* call = ended_.PopFront();
    if (call == nullptr) return;
    call->OnDone(std::move(call->error));
  }
}

void ChannelPool::OnDeadline(Call* call) {
  Error error{.code = Code::kDeadlineExceeded, .message = "deadline exceeded", .sent = false};
  if (H2Connection* connection = call->connection) {
    error.sent = connection->MayHaveSent(*call);
    connection->Cancel(call);
    MarkDirty(connection);
  } else {
    waiting_.Remove(call);
    metrics_->waiting.Add(-1);
    error.message = "deadline exceeded while waiting for a connection";
  }
  call->OnDone(std::move(error));
}

}  // namespace proxy::momento
