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

ProxyService::ProxyService(momento::Client* client, const config::Cache& cache,
                           const config::Server& server, core::EventLoop* loop,
                           CacheShared* shared, StatsSource stats)
    : client_(client),
      cache_(cache),
      ttl_rules_(translate::TtlRulesOf(cache)),
      item_bytes_max_(server.item_size_max),
      deadline_ms_(absl::ToInt64Milliseconds(cache.deadline)),
      loop_(loop),
      shared_(shared),
      stats_(std::move(stats)),
      hash_seed_(absl::Uniform<uint64_t>(random_)) {}

ProxyService::~ProxyService() {
  for (Operation* op = operations_.first_used(); op != nullptr; op = op->pool_next) {
    Unreference(op->connection);
  }
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
    case Op::kStore:
    case Op::kDelete:
    case Op::kArithmetic:
    case Op::kTouch: break;
  }
  Operation* op = NewOperation(connection, req, req.key());
  op->reply.emplace(std::move(reply));
  Admit(op);
}

void ProxyService::EndTurn() {
  turn_open_ = false;
  SendGets();
  client_->Flush();
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
  op->exclusive = req.op != Op::kGet || req.exptime.has_value();
  op->key.assign(key.data(), key.size());
  op->key_hash = core::Hash64(key, hash_seed_);
  op->body = req.value;
  op->admitted_ms = loop_->now_ms();
  return op;
}

// One operation a distinct key. A key named twice is fetched once, but touched twice: the second
// touch may find what the first one ended.
void ProxyService::TakeGetMany(Connection& connection, const Request& req, Reply reply) {
  if (req.keys.empty()) return std::move(reply).Send(Response(Status::kValues));
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
  client_->FlushCache([metrics](momento::DoneResult result) {
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
  if (!turn_open_) loop_->KeepAwake();  // Its calls are sent by the EndTurn of the next turn.
  switch (op->op) {
    case Op::kGet: return StartGet(op);
    case Op::kStore: return StartStore(op);
    case Op::kArithmetic: return StartUpdate(op);
    case Op::kTouch: return StartTouch(op);
    case Op::kDelete: return StartDelete(op);
    default: CHECK(false);
  }
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
  if (before.timed_out && loop_->now_ms() - ready->admitted_ms >= deadline_ms_) [[unlikely]] {
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
      Fail(op, error, Intent::kWrite);
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
    client_->FlushCache([op](momento::DoneResult result) {
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
