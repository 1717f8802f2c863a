// Taking commands in, ordering them, ending them. See service.h.
#include "proxy/service/service.h"

#include <algorithm>
#include <optional>
#include <string>

#include "core/base/check.h"
#include "core/base/hash.h"
#include "proto/memcache/stats_names.h"

namespace proxy {

using proto::memcache::Op;
using proto::memcache::Response;
using proto::memcache::Status;
using proto::memcache::StoreMode;
using translate::Intent;

namespace {

using Kind = config::Cache::Kind;

std::array<int64_t, config::Cache::kKinds> DeadlinesOf(const config::Cache& cache) {
  std::array<int64_t, config::Cache::kKinds> ms;
  for (size_t i = 0; i < ms.size(); ++i) {
    ms[i] = absl::ToInt64Milliseconds(cache.DeadlineOf(static_cast<Kind>(i)));
  }
  return ms;
}

// The kind of the call by which the command has its effect.
Kind KindOf(const Operation& op) {
  if (op.op == Op::kGet || op.op == Op::kDebug) return Kind::kRead;
  const bool conditional = op.op == Op::kArithmetic || op.invalidate || op.drop_value ||
                           (op.op == Op::kStore && op.mode != StoreMode::kSet) ||
                           op.cas.has_value();
  return conditional ? Kind::kUpdate : Kind::kWrite;
}

// Whether what is asked for needs an item that has a state.
bool AsksForState(const proto::memcache::Request& req) {
  return req.new_cas.has_value() || req.invalidate || req.recache_below_sec.has_value() ||
         (req.op == Op::kGet && req.vivify_exptime.has_value());
}

// A get that does more than read runs alone on its key within its connection, so that the replies
// to a pipeline are in order; the others of the worker share its read all the same.
bool IsExclusive(const proto::memcache::Request& req) {
  if (req.op == Op::kDebug) return false;
  return req.op != Op::kGet || req.exptime.has_value() || req.vivify_exptime.has_value() ||
         req.recache_below_sec.has_value();
}

}  // namespace

ProxyService::ProxyService(momento::Client* client, const config::Cache& cache,
                           const config::Server& server, core::EventLoop* loop,
                           CacheShared* shared, StatsSource stats)
    : client_(client),
      cache_(cache),
      ttl_rules_(translate::TtlRulesOf(cache)),
      item_bytes_max_(server.item_size_max),
      deadlines_ms_(DeadlinesOf(cache)),
      loop_(loop),
      shared_(shared),
      near_(shared->near),
      stats_(std::move(stats)) {}

ProxyService::~ProxyService() {
  for (Operation* op = operations_.first_used(); op != nullptr; op = op->pool_next) {
    Unreference(op->connection);
  }
}

void ProxyService::Forsake() {
  for (Operation* op = operations_.first_used(); op != nullptr; op = op->pool_next) {
    op->reply.reset();
  }
  for (Gather* gather = gathers_.first_used(); gather != nullptr; gather = gather->pool_next) {
    gather->reply.reset();
  }
}

void ProxyService::Retune(const config::Cache& cache) {
  cache_ = cache;
  ttl_rules_ = translate::TtlRulesOf(cache);
  deadlines_ms_ = DeadlinesOf(cache);
  client_->Retune(cache);
}

void ProxyService::Unreference(ConnectionState* state) {
  if (--state->references == 0) delete state;
}

void ProxyService::Execute(Connection& connection, const Request& req, Reply reply) {
  turn_open_ = true;
  switch (req.op) {
    case Op::kGet:
      if (req.keys.size() != 1) return TakeGetMany(connection, req, std::move(reply));
      break;
    case Op::kFlushAll: return TakeFlush(connection, req, std::move(reply));
    case Op::kVersion:
      return std::move(reply).Send(
          Response::Text(Status::kVersion, std::string(proto::memcache::kVersionText)));
    case Op::kStats: return std::move(reply).Send(stats_(req.argument));
    case Op::kVerbosity:
    case Op::kNoop: return std::move(reply).Send(Response(Status::kOk));
    case Op::kWatch: return std::move(reply).Send(Response(Status::kError));  // WithWatch's.
    case Op::kStore:
    case Op::kDelete:
    case Op::kArithmetic:
    case Op::kTouch:
    case Op::kDebug: break;
  }
  if (!translate::KeepsState(cache_.envelope) && AsksForState(req)) [[unlikely]] {
    return std::move(reply).Send(
        Response::Text(Status::kClientError, "this cache keeps no state of items (envelope)"));
  }
  if (!TakeBytes(req.value.size())) [[unlikely]] {
    shared_->metrics.busy_bytes.Add();
    return std::move(reply).Send(Response::Text(Status::kServerError, "busy"));
  }
  Operation* op = NewOperation(connection, req, req.key());
  if (req.value.size() >= ByteBudget::kCountedMin) op->counted_bytes = req.value.size();
  op->reply.emplace(std::move(reply));
  Admit(op);
}

void ProxyService::EndTurn() {
  do {
    SendGets();
    SendSets();
    turn_open_ = false;
    client_->Flush();
    // Whom the client refused at once may have let others go.
  } while (!gets_.empty() || !sets_.empty());
}

// Cuts what was collected into groups that share a call, and empties it. `send` must not add to it.
void ProxyService::SendInGroups(std::vector<Operation*>* operations,
                                absl::FunctionRef<void(Operation* const*, size_t)> send) {
  using Batch = config::Cache::Batch;
  const size_t group_max = cache_.batch == Batch::kOff ? 1 : cache_.batch_keys_max;
  if (cache_.batch == Batch::kConnection) {
    std::stable_sort(operations->begin(), operations->end(),
                     [](const Operation* a, const Operation* b) {
                       return std::less<const ConnectionState*>()(a->connection, b->connection);
                     });
  }
  for (size_t first = 0; first < operations->size();) {
    const auto from = operations->begin() + static_cast<std::ptrdiff_t>(first);
    size_t count = std::min(group_max, operations->size() - first);
    if (cache_.batch == Batch::kConnection) {
      const ConnectionState* connection = (*from)->connection;
      count = static_cast<size_t>(
          std::find_if(from, from + static_cast<std::ptrdiff_t>(count),
                       [=](const Operation* op) { return op->connection != connection; }) -
          from);
    }
    send(operations->data() + first, count);
    first += count;
  }
  operations->clear();
  constexpr size_t kKept = 1024;
  if (operations->capacity() > kKept) *operations = {};
}

Operation* ProxyService::NewOperation(const Connection& connection, const Request& req,
                                      absl::string_view key) {
  Operation* op = operations_.Take();
  shared_->metrics.in_flight.Add(1);
  op->service = this;
  op->connection = connection.state_;
  ++op->connection->references;
  op->op = req.op;
  op->mode = req.mode;
  op->decrement = req.decrement;
  op->value_too_large = req.value_too_large;
  op->want = req.want;
  op->flags = req.flags;
  op->exptime = req.exptime;
  op->cas = req.cas;
  op->delta = req.delta;
  op->initial = req.initial;
  op->initial_exptime = req.initial_exptime;
  op->vivify_exptime = req.vivify_exptime;
  if (req.recache_below_sec.has_value()) [[unlikely]] {
    op->recache_below_ms =
        translate::DelayMs(*req.recache_below_sec, loop_->clock().WallNs());
  }
  op->new_cas = req.new_cas;
  op->invalidate = req.invalidate;
  op->drop_value = req.drop_value;
  op->no_bump = req.no_bump;
  op->old_ttl_told = req.old_ttl_told;
  op->old_ttl_judged = req.old_ttl_judged;
  op->may_win = (req.want & proto::memcache::kWantState) != 0;
  op->exclusive = IsExclusive(req);
  op->key.assign(key.data(), key.size());
  op->key_hash = core::Hash64(key, shared_->hash_seed);
  op->body = req.value;
  op->admitted_ms = loop_->now_ms();
  if (op->may_win) [[unlikely]] Enlist(op);
  return op;
}

// One operation a distinct key. A key named twice is fetched once, but touched twice: the second
// touch may find what the first one ended.
void ProxyService::TakeGetMany(Connection& connection, const Request& req, Reply reply) {
  if (req.keys.empty()) return std::move(reply).Send(Response(Status::kValues));
  if (req.keys.size() > kGetKeysMax) return std::move(reply).Send(Response::AnswerTooLong());
  Gather* gather = gathers_.Take();
  gather->reply.emplace(std::move(reply));
  for (absl::string_view key : req.keys) {
    if (!req.exptime.has_value()) {
      auto it = gather->by_key.find(key);
      if (it != gather->by_key.end()) {
        ++it->second->askers;
        gather->asked.push_back(it->second);
        continue;
      }
    }
    Operation* op = NewOperation(connection, req, key);
    op->gather = gather;
    gather->by_key.emplace(op->key, op);
    gather->asked.push_back(op);
    gather->owned.push_back(op);
  }
  gather->due = gather->owned.size();
  shared_->metrics.get_shared.Add(gather->asked.size() - gather->owned.size());
  // Nothing ends before it is admitted: every callback comes later.
  for (Operation* op : gather->owned) Admit(op);
}

// As memcached: a delay of 0 or less means now, and a new flush_all replaces one still to come.
void ProxyService::TakeFlush(Connection& connection, const Request& req, Reply reply) {
  if (!cache_.flush_all) {
    return std::move(reply).Send(Response::Text(Status::kClientError, "flush_all not allowed"));
  }
  shared_->metrics.flush.Add();
  const uint64_t generation =
      shared_->flush_generation.fetch_add(1, std::memory_order_relaxed) + 1;
  const uint64_t delay_ms = translate::DelayMs(req.exptime.value_or(0), loop_->clock().WallNs());
  if (delay_ms > 0) {
    flush_timer_.generation = generation;
    loop_->Arm(&flush_timer_, static_cast<int64_t>(delay_ms));
    return std::move(reply).Send(Response(Status::kOk));
  }
  flush_timer_.Cancel();
  Operation* op = NewOperation(connection, req, absl::string_view());
  op->reply.emplace(std::move(reply));
  op->connection->held.Push(op);
  RunHeld(op->connection);
}

void ProxyService::OnFlushDue() {
  if (shared_->flush_generation.load(std::memory_order_relaxed) != flush_timer_.generation) return;
  Metrics* const metrics = &shared_->metrics;
  FlushCache([metrics](momento::DoneResult result) {
    if (!result.error.ok()) metrics->failed.Add();
  });
  loop_->KeepAwake();
}

void ProxyService::Admit(Operation* op) {
  ConnectionState* connection = op->connection;
  if (connection->held.empty() && !connection->flushing) [[likely]] return EnterLine(op);
  shared_->metrics.order_wait.Add();
  Keep(op);
  connection->held.Push(op);
}

void ProxyService::EnterLine(Operation* op) {
  ++op->connection->running;
  if (op->connection->lines.Enter(op)) [[likely]] return Start(op);
  shared_->metrics.order_wait.Add();
  Keep(op);
}

void ProxyService::Start(Operation* op) {
  // A get that may win begins to write when it tries to.
  if (op->exclusive && (op->op != Op::kGet || op->exptime.has_value())) BeginWrite(op);
  if (!turn_open_) loop_->KeepAwake();  // Its calls are sent by the EndTurn of the next turn.
  switch (op->op) {
    case Op::kGet: return StartGet(op);
    case Op::kStore: return StartStore(op);
    case Op::kArithmetic: return StartUpdate(op);
    case Op::kTouch: return StartTouch(op);
    case Op::kDelete: return StartDelete(op);
    case Op::kDebug: return ReadWithTtl(op);
    default: CHECK(false);
  }
}

void ProxyService::BeginWrite(Operation* op) {
  if (std::exchange(op->marked, true)) return;
  op->moment = shared_->marks.Begin(op->key_hash);
  op->sent_ms = loop_->now_ms();
  if (near_ != nullptr) near_->Forget(op->key);
}

// The write has had its effect, or may have: said before the client hears of it.
void ProxyService::EndWrite(Operation* op) {
  if (!std::exchange(op->marked, false)) return;
  if (op->stored && near_ != nullptr) {
    const bool has_flags = cache_.envelope != config::Cache::Envelope::kRaw;
    near_->KeepWritten({.key = op->key,
                        .key_hash = op->key_hash,
                        .moment = op->moment,
                        .since_ms = op->sent_ms,
                        .dies_ms = op->sent_ms + static_cast<int64_t>(op->ttl_ms),
                        .value = op->body,
                        .flags = has_flags ? op->flags : 0});
  }
  shared_->marks.End(op->key_hash);
}

// Counts as a write of every key.
void ProxyService::FlushCache(momento::Callback<momento::DoneResult> done) {
  shared_->marks.BeginAll();
  if (near_ != nullptr) near_->ForgetAll();
  client_->FlushCache(
      [shared = shared_, done = std::move(done)](momento::DoneResult result) mutable {
        if (shared->near != nullptr) shared->near->ForgetAll();
        shared->marks.EndAll();
        done(std::move(result));
      });
}

// The operation has had its effect: whoever waited for it may go.
void ProxyService::Leave(Operation* op) {
  ConnectionState* connection = op->connection;
  connection->lines.Leave(op, [this, op](Operation* ready) { Proceed(*op, ready); });
  --connection->running;
  if (!connection->held.empty()) RunHeld(connection);
  if (!late_.empty()) [[unlikely]] EndLate();
}

// Lets `ready` go after `before` has left. Behind a backend that answers nothing, a long line would
// time out one command after the other: whoever has waited a whole deadline when the one in front
// times out is answered with it. None of its calls was made.
void ProxyService::Proceed(const Operation& before, Operation* ready) {
  if (before.timed_out && loop_->now_ms() - ready->admitted_ms >= DeadlineMs(KindOf(*ready))) [[unlikely]] {
    ready->timed_out = true;
    late_.push_back(ready);
  } else if (ready->updating) {
    ReadForUpdate(ready);
  } else {
    Start(ready);
  }
}

// Answers the late ones, and those that become late by it, without recursion.
void ProxyService::EndLate() {
  if (ending_late_) return;
  ending_late_ = true;
  for (size_t i = 0; i < late_.size(); ++i) {
    Operation* op = late_[i];
    momento::Error error;
    error.code = momento::Code::kDeadlineExceeded;
    error.sent = false;
    if (op->op == Op::kGet) {
      op->failed = true;
      op->error = std::move(error);
      EndGet(op);
    } else if (op->updating) {
      FailUpdate(op, error, Intent::kWrite);
    } else {
      Fail(op, error, op->op == Op::kDebug ? Intent::kRead : Intent::kWrite);
    }
  }
  late_.clear();
  ending_late_ = false;
}

void ProxyService::RunHeld(ConnectionState* connection) {
  while (!connection->held.empty() && !connection->flushing) {
    if (connection->held.head()->op != Op::kFlushAll) {
      EnterLine(connection->held.Pop());
      continue;
    }
    if (connection->running > 0) return;
    connection->flushing = true;
    Operation* op = connection->held.Pop();
    if (!turn_open_) loop_->KeepAwake();
    FlushCache([op](momento::DoneResult result) {
      ProxyService* service = op->service;
      if (result.error.ok()) {
        service->Answer(op, Response(Status::kOk));
      } else {
        service->Fail(op, result.error, Intent::kWrite);
      }
    });
  }
}

// Makes the value outlive the request.
void ProxyService::Keep(Operation* op) {
  if (op->body.empty() || op->body.data() == op->buffer.data()) return;
  op->buffer.assign(op->body.data(), op->body.size());
  op->body = op->buffer;
}

void ProxyService::Answer(Operation* op, Response rsp) {
  EndWrite(op);
  std::move(*op->reply).Send(std::move(rsp));
  if (op->op == Op::kFlushAll) {
    op->connection->flushing = false;
    RunHeld(op->connection);
  } else {
    Leave(op);
  }
  Free(op);
}

void ProxyService::Free(Operation* op) {
  ConnectionState* connection = op->connection;
  if (op->may_win) [[unlikely]] Delist(op);
  if (op->counted_bytes != 0) shared_->bytes.Give(op->counted_bytes);
  operations_.Put(op);
  shared_->metrics.in_flight.Add(-1);
  Unreference(connection);
}

void ProxyService::Fail(Operation* op, const momento::Error& error, Intent intent) {
  shared_->metrics.failed.Add();
  op->timed_out = error.code == momento::Code::kDeadlineExceeded;
  Answer(op, translate::FailureOf(error, intent));
}

}  // namespace proxy
