// The commands, one after another. See memcache_service.h.
#include "cache/service/memcache_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/net/out_buffer.h"
#include "proto/memcache/arithmetic.h"

namespace cache {

using proto::memcache::Op;
using proto::memcache::StoreMode;
using seg::ItemRef;
using seg::StoreResult;
using seg::Update;

namespace {

// memcached doc/protocol.txt, "Expiration times": 60*60*24*30. Longer ones are Unix times.
constexpr int64_t kRelativeSecMax = 2'592'000;

// What is left of a request's exptime, in milliseconds; 0 or less: nothing.
int64_t UntilMs(int64_t exptime, const core::Clock& clock) {
  if (exptime <= kRelativeSecMax) return exptime * 1000;
  return exptime * 1000 - clock.WallNs() / 1'000'000;
}

// A long value is copied: the output of a client that reads slowly would otherwise pin its segment
// for as long as it likes, and a few such clients the whole heap. Short ones are copied into the
// output before the turn is over anyway.
core::Bytes ForOutput(ItemRef* found) {
  if (found->value().size() < core::OutBuffer::kReferenceMin) return found->TakeValue();
  return core::Bytes(std::string(found->value()));
}

bool TokenDiffers(const proto::memcache::Request& req, const ItemRef& found) {
  return req.cas.has_value() && *req.cas != found.cas();
}

}  // namespace

void MemcacheService::Execute(Connection&, const Request& req, core::Reply<Response> reply) {
  shared_.FlushIfDue();
  std::move(reply).Send(Answer(req));
}

MemcacheService::Response MemcacheService::Answer(const Request& req) {
  switch (req.op) {
    case Op::kGet:
      return Get(req);
    case Op::kStore:
      return Store(req);
    case Op::kDelete:
      return Delete(req);
    case Op::kArithmetic:
      return Arithmetic(req);
    case Op::kTouch:
      return Touch(req);
    case Op::kFlushAll:
      return FlushAll(req);
    case Op::kVersion:
      return Response::Text(Status::kVersion, std::string(proto::memcache::kVersionText));
    case Op::kVerbosity:
    case Op::kNoop:
      return Response(Status::kOk);
    case Op::kStats:
      return Stats(req);
  }
  return Response(Status::kError);
}

MemcacheService::Life MemcacheService::LifeOf(std::optional<int64_t> exptime) const {
  if (!exptime.has_value() || *exptime == 0) return {};
  const int64_t ttl_ms = UntilMs(*exptime, shared_.clock());
  return {.gone = ttl_ms <= 0, .ttl_ms = ttl_ms};
}

// --- get gets gat gats ---

MemcacheService::Response MemcacheService::Get(const Request& req) {
  Response rsp(Status::kValues);
  const bool touches = req.exptime.has_value();
  const Life life = LifeOf(req.exptime);
  uint64_t hits = 0;
  for (const absl::string_view key : req.keys) {
    ItemRef found = touches ? GetAndTouch(key, life) : cache_.Get(key);
    if (!found.found()) continue;
    ++hits;
    proto::memcache::Item item;
    item.key = key;
    item.flags = found.flags();
    item.cas = found.cas();
    const int64_t ttl_ms = touches ? life.ttl_ms : found.ttl_ms();
    item.ttl_sec = ttl_ms == seg::kNever ? -1 : ttl_ms / 1000;
    item.value = ForOutput(&found);
    rsp.items.push_back(std::move(item));
  }
  (touches ? metrics_.touch_hit : metrics_.get_hit).Add(hits);
  (touches ? metrics_.touch_miss : metrics_.get_miss).Add(req.keys.size() - hits);
  return rsp;
}

// Touches exactly the write that it returns: if another write came between, looks again.
ItemRef MemcacheService::GetAndTouch(absl::string_view key, Life life) {
  for (;;) {
    ItemRef found = cache_.Get(key);
    if (!found.found()) return found;
    bool other = false;
    Update update;
    cache_.Apply(
        key,
        [&](const ItemRef& now, Update* u) {
          if (!now.found()) return;  // Gone since: it was got before.
          other = now.cas() != found.cas();
          if (other) return;
          u->action = life.gone ? Update::Action::kDelete : Update::Action::kTouch;
          u->ttl_ms = life.ttl_ms;
        },
        &update);
    if (!other) return found;
  }
}

// --- set add replace append prepend cas ---

MemcacheService::Response MemcacheService::Store(const Request& req) {
  metrics_.store.Add();
  if (req.value_too_large) {
    // The old value must not be taken for the new one.
    if (req.mode == StoreMode::kSet && !req.cas.has_value()) cache_.Delete(req.key());
    metrics_.store_too_large.Add();
    return Response(Status::kTooLarge);
  }
  const Life life = LifeOf(req.exptime);
  if (req.mode == StoreMode::kSet && !req.cas.has_value()) return Set(req, life);
  return StoreIf(req, life);
}

MemcacheService::Response MemcacheService::Set(const Request& req, Life life) {
  uint64_t cas = 0;
  if (life.gone) {
    cache_.Delete(req.key());
    return AfterStore(req, StoreResult::kStored, cas);
  }
  const StoreResult result = cache_.Set(req.key(), req.value, req.flags, life.ttl_ms, &cas);
  // As memcached: what could not be replaced is not left standing.
  if (result != StoreResult::kStored) cache_.Delete(req.key());
  return AfterStore(req, result, cas);
}

MemcacheService::Response MemcacheService::StoreIf(const Request& req, Life life) {
  const bool extends = req.mode == StoreMode::kAppend || req.mode == StoreMode::kPrepend;
  Status refused = Status::kStored;  // Or why nothing is to be stored.
  Update update;
  const auto decide = [&](const ItemRef& found, Update* u) {
    if (req.cas.has_value() && !found.found()) return void(refused = Status::kNotFound);
    if (TokenDiffers(req, found)) return void(refused = Status::kExists);
    if (req.mode == StoreMode::kAdd ? found.found()
                                    : req.mode != StoreMode::kSet && !found.found()) {
      return void(refused = Status::kNotStored);
    }
    if (extends) {
      if (proto::memcache::ItemBytes(req.key().size(), found.value().size() + req.value.size(),
                                     found.flags()) > shared_.options().item_bytes_max) {
        return void(refused = Status::kNotStored);
      }
      const bool append = req.mode == StoreMode::kAppend;
      u->value = append ? absl::StrCat(found.value(), req.value)
                        : absl::StrCat(req.value, found.value());
      u->flags = found.flags();
      u->ttl_ms = found.ttl_ms();
    } else {
      u->value = std::string(req.value);
      u->flags = req.flags;
      u->ttl_ms = life.ttl_ms;
    }
    u->action = !extends && life.gone ? Update::Action::kDelete : Update::Action::kStore;
  };
  StoreResult result = cache_.Apply(req.key(), decide, &update);
  if (req.cas.has_value()) {
    if (refused == Status::kNotFound) metrics_.cas_miss.Add();
    if (refused == Status::kExists) metrics_.cas_badval.Add();
    if (result == StoreResult::kStored) metrics_.cas_hit.Add();
  }
  if (refused != Status::kStored) return Response(refused);
  // An append that outgrows a segment is refused like one that outgrows the limit. A store that is
  // gone at once is stored all the same, whether or not there was something to remove.
  if (extends && result == StoreResult::kTooLarge) return Response(Status::kNotStored);
  if (update.action == Update::Action::kDelete) result = StoreResult::kStored;
  return AfterStore(req, result, update.new_cas);
}

MemcacheService::Response MemcacheService::AfterStore(const Request& req, StoreResult result,
                                                      uint64_t cas) {
  switch (result) {
    case StoreResult::kStored: {
      metrics_.stored.Add();
      Response rsp(Status::kStored);
      rsp.number = cas;
      return rsp;
    }
    case StoreResult::kTooLarge:
      metrics_.store_too_large.Add();
      return Response(Status::kTooLarge);
    case StoreResult::kNoMemory:
      metrics_.store_no_memory.Add();
      return Response(Status::kOutOfMemory);
    case StoreResult::kNotStored:
      break;
  }
  return Response(Status::kNotStored);
}

// --- delete incr decr touch ---

MemcacheService::Response MemcacheService::Delete(const Request& req) {
  Status status = Status::kNotFound;
  Update update;
  cache_.Apply(
      req.key(),
      [&](const ItemRef& found, Update* u) {
        if (!found.found()) return;
        if (TokenDiffers(req, found)) return void(status = Status::kExists);
        status = Status::kDeleted;
        u->action = Update::Action::kDelete;
      },
      &update);
  if (status == Status::kDeleted) metrics_.delete_hit.Add();
  if (status == Status::kNotFound) metrics_.delete_miss.Add();
  return Response(status);
}

MemcacheService::Response MemcacheService::Arithmetic(const Request& req) {
  Status status = Status::kNotFound;
  uint64_t number = 0;
  Update update;
  const StoreResult result = cache_.Apply(
      req.key(),
      [&](const ItemRef& found, Update* u) {
        if (!found.found()) return;
        if (TokenDiffers(req, found)) return void(status = Status::kExists);
        const std::optional<uint64_t> before = proto::memcache::ParseCounter(found.value());
        if (!before.has_value()) return void(status = Status::kNonNumeric);
        status = Status::kNumber;
        number = proto::memcache::Count(*before, req.delta, req.decrement);
        u->action = Update::Action::kStore;
        u->value = proto::memcache::CounterText(number, found.value().size());
        u->flags = found.flags();
        u->ttl_ms = found.ttl_ms();
      },
      &update);
  if (status == Status::kNotFound) {
    (req.decrement ? metrics_.decr_miss : metrics_.incr_miss).Add();
  }
  if (status != Status::kNumber) return Response(status);
  if (result != StoreResult::kStored) return Response(Status::kOutOfMemory);
  (req.decrement ? metrics_.decr_hit : metrics_.incr_hit).Add();
  return Response::Number(number);
}

MemcacheService::Response MemcacheService::Touch(const Request& req) {
  const Life life = LifeOf(req.exptime);
  bool found_it = false;
  Update update;
  const StoreResult result = cache_.Apply(
      req.key(),
      [&](const ItemRef& found, Update* u) {
        found_it = found.found();
        if (!found_it) return;
        u->action = life.gone ? Update::Action::kDelete : Update::Action::kTouch;
        u->ttl_ms = life.ttl_ms;
      },
      &update);
  (found_it ? metrics_.touch_hit : metrics_.touch_miss).Add();
  if (result == StoreResult::kNoMemory) return Response(Status::kOutOfMemory);
  return Response(found_it ? Status::kTouched : Status::kNotFound);
}

// --- The rest ---

MemcacheService::Response MemcacheService::FlushAll(const Request& req) {
  if (!shared_.options().flush_enabled) {
    return Response::Text(Status::kClientError, "flush_all not allowed");
  }
  shared_.FlushAfter(req.exptime.has_value() ? UntilMs(*req.exptime, shared_.clock()) : 0);
  return Response(Status::kOk);
}

MemcacheService::Response MemcacheService::Stats(const Request& req) {
  return proto::memcache::AnswerStats(
      req.argument, [this] { return shared_.Numbers(); },
      [this] { return shared_.options().settings; }, [this] { shared_.ResetCounters(); });
}

}  // namespace cache
