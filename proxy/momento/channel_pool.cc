// See channel_pool.h.
#include "proxy/momento/channel_pool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace proxy::momento {
namespace {

// What one read takes: a fast network's worth of a turn, small enough to stay in the L2 cache.
constexpr size_t kReadBytes = 64 * 1024;

std::string Authority(const std::string& host, uint16_t port) {
  if (port == 0) return "localhost";  // A Unix address: nothing to name.
  const bool v6 = absl::StrContains(host, ':');
  return absl::StrCat(v6 ? "[" : "", host, v6 ? "]" : "", ":", port);
}

}  // namespace

ChannelPool::ChannelPool(core::EventLoop* loop, Resolver* resolver, Metrics* metrics,
                         core::Log* log, Options options)
    : loop_(loop),
      resolver_(resolver),
      metrics_(metrics),
      log_(log),
      options_(std::move(options)),
      generation_(options_.account->generation()),
      slots_(options_.connections),
      names_(loop, resolver, metrics, [this] { FollowName(); }),
      random_(static_cast<uint32_t>(loop->clock().MonotonicNs() ^
                                    reinterpret_cast<intptr_t>(this) >> 4)),
      first_turn_(random_() % 1024) {
  places_.push_back(PlaceOf(options_.account->current()));
  for (Slot& slot : slots_) slot.pool = this;
  loop_->AddTurnEnd(core::EventLoop::Phase::kTransport, this);
  if (!options_.lazy) OpenAll();
}

ChannelPool::~ChannelPool() {
  stopping_ = true;
  loop_->RemoveTurnEnd(this);
  for (Slot& slot : slots_) {
    if (slot.successor != nullptr) slot.successor->Close("client is closing");
    if (slot.connection != nullptr) slot.connection->Close("client is closing");
  }
  // Each Close() takes its connection out of the list.
  while (!draining_.empty()) draining_.back()->Close("client is closing");
  while (Call* call = waiting_.PopFront()) {
    metrics_->waiting.Add(-1);
    call->Cancel();
  }
  while (Call* call = resting_.PopFront()) call->Cancel();
}

void ChannelPool::OpenAll() {
  opened_ = true;
  read_buffer_.resize(kReadBytes);
  for (Slot& slot : slots_) Open(&slot);
  const Endpoint& place = places_.back()->endpoint;
  names_.Follow(place.host, place.port, place.resolve_interval_ms);
}

// --- Credentials.

std::unique_ptr<ChannelPool::Place> ChannelPool::PlaceOf(
    const Account::CredentialsPtr& credentials) const {
  const bool data = options_.plane == Plane::kData;
  auto place = std::make_unique<Place>(Place{options_.endpoint, options_.headers});
  place->endpoint.host = data ? credentials->cache_host : credentials->control_host;
  place->endpoint.port = data ? credentials->cache_port : credentials->control_port;
  place->headers.authority = Authority(place->endpoint.host, place->endpoint.port);
  place->headers.credentials = credentials;
  return place;
}

void ChannelPool::Adopt() {
  generation_ = options_.account->generation();
  std::unique_ptr<Place> place = PlaceOf(options_.account->current());
  if (place->headers.authority == places_.back()->headers.authority &&
      place->endpoint.host == places_.back()->endpoint.host) {
    places_.back()->headers.credentials = place->headers.credentials;
    return;
  }
  places_.push_back(std::move(place));
  if (opened_) Move();
}

void ChannelPool::Move() {
  const Endpoint& place = places_.back()->endpoint;
  names_.Follow(place.host, place.port, place.resolve_interval_ms);
  for (Slot& slot : slots_) {
    if (slot.successor != nullptr) slot.successor->Close("its place is no longer the account's");
    slot.failures = 0;
    slot.failed = false;
    if (slot.connection == nullptr) {  // It waits to try the old place again.
      loop_->Arm(&slot, 0);
      continue;
    }
    const bool ready = slot.ready;
    LeaveReady(&slot);
    H2Connection* left = draining_.emplace_back(std::move(slot.connection)).get();
    if (ready) {
      left->BeginDrain();
      MarkDirty(left);
    } else {
      left->Close("its place is no longer the account's");
    }
    Replace(&slot);
  }
}

std::unique_ptr<H2Connection> ChannelPool::MakeConnection(Slot* slot) {
  Place* place = places_.back().get();
  return std::make_unique<H2Connection>(loop_, resolver_, &place->endpoint, &place->headers,
                                        metrics_, static_cast<ConnectionOwner*>(this),
                                        &read_buffer_, first_turn_ + (slot - slots_.data()));
}

void ChannelPool::Open(Slot* slot) {
  slot->connection = MakeConnection(slot);
  slot->connection->Open();
}

// --- Where the name leads.

void ChannelPool::FollowName() {
  Slot* left = nullptr;
  for (Slot& slot : slots_) {
    if (slot.successor != nullptr) return;
    if (left == nullptr && slot.ready && names_.HasLeft(slot.connection->address())) left = &slot;
  }
  if (left == nullptr) return;
  left->successor = MakeConnection(left);
  left->successor->Open();
}

void ChannelPool::Succeed(Slot* slot) {
  H2Connection* left = draining_.emplace_back(std::move(slot->connection)).get();
  slot->connection = std::move(slot->successor);
  metrics_->moved.Add();
  LeaveReady(slot);
  left->BeginDrain();
  MarkDirty(left);
}

// --- Connections.

ChannelPool::Slot* ChannelPool::SlotOf(const H2Connection* connection) {
  for (Slot& slot : slots_) {
    if (slot.connection.get() == connection) return &slot;
  }
  return nullptr;
}

ChannelPool::Slot* ChannelPool::SlotToBeOf(const H2Connection* successor) {
  for (Slot& slot : slots_) {
    if (slot.successor.get() == successor) return &slot;
  }
  return nullptr;
}

void ChannelPool::OnReady(H2Connection* connection) {
  Slot* slot = SlotOf(connection);
  if (slot == nullptr) {
    slot = SlotToBeOf(connection);
    Succeed(slot);
  }
  slot->failed = false;
  slot->ready = true;
  slot->ready_since_ms = loop_->now_ms();
  ++ready_;
  metrics_->connections.Add(1);
  metrics_->connects.Add();
  if (log_ != nullptr && ready_ == 1) {
    log_->Info("momento: connected to %s", places_.back()->headers.authority);
  }
  FollowName();  // The next one that has to move.
}

void ChannelPool::LeaveReady(Slot* slot) {
  if (!std::exchange(slot->ready, false)) return;
  --ready_;
  metrics_->connections.Add(-1);
  if (loop_->now_ms() - slot->ready_since_ms >= kStableMs) slot->failures = 0;
}

void ChannelPool::Replace(Slot* slot) {
  if (stopping_) return;
  if (slot->successor != nullptr) {  // On its way already.
    slot->connection = std::move(slot->successor);
    return;
  }
  int64_t delay_ms = 0;
  if (slot->failures > 0) {
    const int doublings = std::min(slot->failures - 1, 20);
    const int64_t most_ms = ready_ == 0 && !slot->failed ? kBackoffLostMs : kBackoffLastMs;
    delay_ms = std::min(kBackoffFirstMs << doublings, most_ms);
    delay_ms = delay_ms * std::uniform_int_distribution<int64_t>(80, 120)(random_) / 100;
  }
  ++slot->failures;  // Taken back by LeaveReady() if the next one lasts.
  loop_->Arm(slot, delay_ms);
}

void ChannelPool::OnDraining(H2Connection* connection, absl::string_view why) {
  metrics_->goaway.Add();
  if (log_ != nullptr) log_->Debug("momento: %s: %s", places_.back()->headers.authority, why);
  Slot* slot = SlotOf(connection);
  LeaveReady(slot);
  draining_.push_back(std::move(slot->connection));
  Replace(slot);
}

void ChannelPool::OnClosed(H2Connection* connection, absl::string_view why) {
  if (Slot* heir = SlotToBeOf(connection)) {  // The one that works stays; the next answer tries again.
    metrics_->connect_failures.Add();
    closed_.push_back(std::move(heir->successor));
    return;
  }
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
    // An outage's pauses begin anew, however often the connection was lost while there was a service.
    slot->failures = news ? 1 : std::max(slot->failures, 1);
  }
  if (log_ != nullptr && ready_ == 0 && news) {
    log_->Warning("momento: %s: %s; trying again", places_.back()->headers.authority, why);
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
  AdoptIfChanged();
  if (!waiting_.empty()) StartWaiting();
  Deliver();
  if (!dirty_.empty()) Flush();
  closed_.clear();
  if (places_.size() > 1 && draining_.empty()) places_.erase(places_.begin(), places_.end() - 1);
  // What the flush ended, or sent back to wait, is the next turn's.
  if (!ended_.empty() || (!waiting_.empty() && Pick(nullptr) != nullptr)) loop_->KeepAwake();
}

// --- Calls.

void ChannelPool::Start(Call* call) {
  call->pool = this;
  const int64_t left_ms = std::max<int64_t>(call->time->ms - call->waited_ms, 1);
  call->deadline_ms = loop_->now_ms() + left_ms;
  loop_->Arm(call, left_ms);
  Begin(call, nullptr);
}

void ChannelPool::StartAgain(Call* call, int64_t pause_ms) {
  call->resting = true;
  resting_.PushBack(call);
  loop_->Arm(call, pause_ms);
}

void ChannelPool::StartBeside(const Call& first, Call* call) {
  H2Connection* connection = PickBeside(first);
  DCHECK(connection != nullptr);
  call->pool = this;
  call->deadline_ms = first.deadline_ms;
  call->attempts = 0;
  call->retry_safe = false;
  call->reply.Reset();
  loop_->Arm(call, std::max<int64_t>(call->deadline_ms - loop_->now_ms(), 1));
  StartOn(connection, call);
}

void ChannelPool::Begin(Call* call, const H2Connection* avoid) {
  call->attempts = 0;
  call->retry_safe = false;
  call->header_offset = Call::kNotWritten;
  call->last = avoid;
  call->reply.Reset();
  AdoptIfChanged();
  if (!opened_) OpenAll();
  if (H2Connection* connection = waiting_.empty() ? Pick(avoid) : nullptr) {
    return StartOn(connection, call);
  }
  if (Hopeless()) {
    return End(call, Error{.code = Code::kUnavailable, .message = last_failure_, .sent = false});
  }
  if (waiting_.size() >= kWaitingMax) {
    metrics_->overload.Add();
    return End(call, Error{.code = Code::kResourceExhausted,
                           .refusal = Refusal::kBusy,
                           .message = "overload: too many calls wait for the service",
                           .sent = false});
  }
  waiting_.PushBack(call);
  metrics_->waiting.Add(1);
}

H2Connection* ChannelPool::Pick(const H2Connection* avoid) {
  if (!dirty_.empty()) {
    H2Connection* last = dirty_.back();
    if (last != avoid && last->can_take() && last->streams() < kStreamsPerWrite) return last;
  }
  H2Connection* best = LeastLoadedBut(avoid);
  if (best != nullptr || avoid == nullptr) return best;
  return LeastLoadedBut(nullptr);
}

H2Connection* ChannelPool::LeastLoadedBut(const H2Connection* avoid) {
  H2Connection* best = nullptr;
  for (Slot& slot : slots_) {
    H2Connection* one = slot.connection.get();
    if (one == nullptr || one == avoid || !one->can_take()) continue;
    if (best == nullptr || one->streams() < best->streams()) best = one;
  }
  return best;
}

void ChannelPool::StartOn(H2Connection* connection, Call* call) {
  MarkDirty(connection);
  const int64_t left_ms = call->deadline_ms - loop_->now_ms();
  connection->Start(call, left_ms >= call->time->ms, std::max<int64_t>(left_ms, 1));
}

void ChannelPool::StartWaiting() {
  while (!waiting_.empty()) {
    H2Connection* connection = Pick(waiting_.front()->last);
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
  call->ended = true;
  ended_.PushBack(call);
}

void ChannelPool::Deliver() {
  // Only what has ended by now: a callback may start a call that ends at once.
  for (size_t n = ended_.size(); n > 0; --n) {
    Call* call = ended_.PopFront();
    if (call == nullptr) return;
    call->ended = false;
    call->OnDone(std::move(call->error));
  }
}

void ChannelPool::OnTimer(Call* call) {
  if (!call->resting) return OnDeadline(call);
  call->resting = false;
  resting_.Remove(call);
  loop_->Arm(call, std::max<int64_t>(call->deadline_ms - loop_->now_ms(), 1));
  Begin(call, call->last);
}

bool ChannelPool::Abandon(Call* call) {
  call->Cancel();
  if (call->resting) {
    call->resting = false;
    resting_.Remove(call);
    return false;
  }
  if (H2Connection* connection = call->connection) {
    const bool sent = connection->MayHaveSent(*call);
    connection->Cancel(call);
    MarkDirty(connection);
    return sent;
  }
  if (call->ended) {
    ended_.Remove(call);
    call->ended = false;
    return call->error.sent;
  }
  waiting_.Remove(call);
  metrics_->waiting.Add(-1);
  return false;
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
