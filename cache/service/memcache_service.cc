// The commands, one after another. See memcache_service.h.
#include "cache/service/memcache_service.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cache/service/look_ahead.h"
#include "cache/service/terms.h"
#include "core/net/out_buffer.h"
#include "proto/memcache/arithmetic.h"

namespace cache {

using proto::memcache::Op;
using proto::memcache::StoreMode;
using seg::ItemRef;
using seg::StoreResult;
using seg::Update;

namespace {

// memcached's words when it cannot hold an answer (proto_text.c).
constexpr absl::string_view kAnswerTooLong = "out of memory writing get response";

bool TokenDiffers(const proto::memcache::Request& req, const ItemRef& found) {
  return req.cas.has_value() && *req.cas != found.cas();
}

// Of I of ms: whether `cas`, which is not the item's, is an older one. In memcached tokens are numbers
// of a counter. The engine's do not grow from one segment to another, but whoever has one of this key
// has it from an earlier write, as the item is from the last. Tokens that clients name are numbers.
bool IsOlder(uint64_t cas, const ItemRef& found, const seg::Cache& cache) {
  return cas < (found.cas_is_named() ? found.cas() : cache.token_end());
}

}  // namespace

void MemcacheService::Execute(Connection&, const Request& req, core::Reply<Response>&& reply) {
  shared_.FlushIfDue();
  if (foreseen_count_ != 0) LoadForeseen();
  if (req.op == Op::kGet) {
    if ((req.want & proto::memcache::kWantState) != 0) return MetaGet(req, std::move(reply));
    return Get(req, std::move(reply));
  }
  std::move(reply).Send(Answer(req));
}

void MemcacheService::LoadForeseen() {
  // One alone is looked up right now.
  for (size_t i = 0; foreseen_count_ > 1 && i < foreseen_count_; ++i) {
    cache_.PrefetchItem(foreseen_[i]);
  }
  foreseen_count_ = 0;
}

MemcacheService::Response MemcacheService::Answer(const Request& req) {
  switch (req.op) {
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
    case Op::kDebug:
      return Debug(req);
    case Op::kGet:
    case Op::kWatch:  // WithWatch's.
      break;
  }
  return Response(Status::kError);
}

MemcacheService::Life MemcacheService::LifeOf(std::optional<int64_t> exptime) const {
  if (!exptime.has_value() || *exptime == 0) return {};
  const int64_t ttl_ms = UntilMs(*exptime, shared_.clock());
  return {.gone = ttl_ms <= 0, .ttl_ms = ttl_ms};
}

// --- get gets gat gats ---

void MemcacheService::Get(const Request& req, core::Reply<Response>&& reply) {
  const bool touches = req.exptime.has_value();
  const bool many = req.keys.size() > 1;
  const Life life = touches ? LifeOf(req.exptime) : Life();
  uint64_t hits = 0;
  size_t value_bytes = 0;
  LookAhead ahead(&cache_, req.keys);
  for (size_t i = 0; i < req.keys.size(); ++i) {
    if (many) ahead.At(i);
    const absl::string_view key = req.keys[i];
    ItemRef found =
        touches ? GetAndTouch(key, life, TokenFor(req)) : cache_.Get(key, TokenFor(req));
    if (!found.found()) continue;
    ++hits;
    proto::memcache::Item& item = got_.items.emplace_back();
    item.key = key;
    item.flags = found.flags();
    if ((req.want & proto::memcache::kWantCas) != 0) item.cas = found.cas();
    if ((req.want & proto::memcache::kWantTtl) != 0) {
      const int64_t ttl_ms = touches ? life.ttl_ms : found.ttl_ms();
      item.ttl_sec = WholeSeconds(ttl_ms);
    }
    value_bytes += found.value().size();
    if (value_bytes > kAnswerBytesMax) [[unlikely]] break;
    item.value = ForOutput(&found, many);
  }
  if (hits == 0) MissKey(req);
  (touches ? metrics_.touch_hit : metrics_.get_hit).Add(hits);
  (touches ? metrics_.touch_miss : metrics_.get_miss).Add(req.keys.size() - hits);
  if (value_bytes > kAnswerBytesMax) [[unlikely]] {
    std::move(reply).Send(Response::Text(Status::kServerError, std::string(kAnswerTooLong)));
  } else {
    std::move(reply).Send(std::move(got_));
  }
  got_.items.clear();
  if (got_.items.capacity() > kItemsKeptMax) [[unlikely]] got_.items.shrink_to_fit();
  copied_bytes_ = 0;
  held_ = 0;
}

// The name of what was not found, if it was asked for. What a hit leaves there nobody looks at.
void MemcacheService::MissKey(const Request& req) {
  const bool wanted = (req.want & proto::memcache::kWantMissKey) != 0;
  got_.text.assign(req.key().data(), wanted ? req.key().size() : 0);
}

// A value stays where it is until it has been copied into the output or sent from there: before
// Send() returns, for the output of a client that reads slowly must not pin a segment for as long as
// it likes, nor a few such clients the whole heap. Of many values, which wait for each other, those
// that fit are copied, for a thread holds few segments at once cheaply; and few long ones are held.
core::Bytes MemcacheService::ForOutput(ItemRef* found, bool one_of_many) {
  if (!one_of_many) return found->TakeValue().Briefly();
  const absl::string_view value = found->value();
  if (value.size() <= kCopiesBytes - copied_bytes_) {
    if (copies_ == nullptr) copies_.reset(new char[kCopiesBytes]);
    char* const copy = copies_.get() + copied_bytes_;
    std::memcpy(copy, value.data(), value.size());
    copied_bytes_ += value.size();
    return core::Bytes::Borrowed({copy, value.size()});
  }
  if (held_ == kHeldMax) return core::Bytes(std::string(value));
  ++held_;
  return found->TakeValue().Briefly();
}

// Touches exactly the write that it returns: if another write came between, looks again.
ItemRef MemcacheService::GetAndTouch(absl::string_view key, Life life, seg::Token token) {
  for (;;) {
    ItemRef found = cache_.Get(key, token);
    if (!found.found()) return found;
    bool other = false;
    Update update;
    cache_.Apply(
        key,
        [&](const ItemRef& now, Update* u) {
          other = false;
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
  if (req.value_too_large) {
    // The old value must not be taken for the new one.
    if (req.mode == StoreMode::kSet && !req.cas.has_value()) cache_.Delete(req.key());
    metrics_.store_too_large.Add();
    return Response(Status::kTooLarge);
  }
  metrics_.store.Add();
  const Life life = LifeOf(req.exptime);
  const bool plain = req.mode == StoreMode::kSet && !req.cas.has_value() && !req.new_cas.has_value();
  return plain ? Set(req, life) : StoreIf(req, life);
}

MemcacheService::Response MemcacheService::Set(const Request& req, Life life) {
  uint64_t cas = 0;
  if (life.gone) {
    cache_.Delete(req.key());
    return AfterStore(req, StoreResult::kStored, cas, req.value.size());
  }
  const StoreResult result = cache_.Set(req.key(), req.value, req.flags, life.ttl_ms,
                                        TokenFor(req) == seg::Token::kTold ? &cas : nullptr);
  // As memcached: what could not be replaced is not left standing.
  if (result != StoreResult::kStored) cache_.Delete(req.key());
  return AfterStore(req, result, cas, req.value.size());
}

MemcacheService::Response MemcacheService::StoreIf(const Request& req, Life life) {
  const bool extends = req.mode == StoreMode::kAppend || req.mode == StoreMode::kPrepend;
  Status refused = Status::kStored;  // Or why nothing is to be stored.
  bool invalidated = false;
  uint64_t bytes = 0;
  Update update;
  const auto decide = [&](const ItemRef& found, Update* u) {
    refused = Status::kStored;
    invalidated = false;
    const bool makes = extends && !found.found() && req.vivify_exptime.has_value();
    if (extends && !found.found() && !makes) return void(refused = Status::kNotStored);
    if (!makes && req.cas.has_value() && !found.found()) return void(refused = Status::kNotFound);
    if (found.found() && TokenDiffers(req, found)) {
      invalidated = req.invalidate && IsOlder(*req.cas, found, cache_);
      if (!invalidated) return void(refused = Status::kExists);
    }
    if (req.mode == StoreMode::kAdd ? found.found()
                                    : req.mode == StoreMode::kReplace && !found.found()) {
      return void(refused = Status::kNotStored);
    }
    Life lives = life;
    if (extends && !makes) {
      if (proto::memcache::ItemBytes(req.key().size(), found.value().size() + req.value.size(),
                                     found.flags()) > shared_.options().item_bytes_max) {
        return void(refused = Status::kNotStored);
      }
      const bool append = req.mode == StoreMode::kAppend;
      u->value = append ? absl::StrCat(found.value(), req.value)
                        : absl::StrCat(req.value, found.value());
      u->flags = found.flags();
      lives = {.ttl_ms = found.ttl_ms()};
    } else {
      u->value = std::string(req.value);
      u->flags = req.flags;
      if (makes) lives = LifeOf(req.vivify_exptime);
      if (invalidated) {
        lives = {.ttl_ms = found.ttl_ms()};
        u->marks = {.stale = true, .won = found.marks().won};
      }
    }
    bytes = u->value.size();
    u->ttl_ms = lives.ttl_ms;
    u->cas = req.new_cas.value_or(0);
    u->action = lives.gone ? Update::Action::kDelete : Update::Action::kStore;
  };
  update.token = TokenFor(req);
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
  if (invalidated && result == StoreResult::kStored) metrics_.invalidated.Add();
  return AfterStore(req, result, update.new_cas, bytes);
}

MemcacheService::Response MemcacheService::AfterStore(const Request& req, StoreResult result,
                                                      uint64_t cas, uint64_t bytes) {
  switch (result) {
    case StoreResult::kStored: {
      metrics_.stored.Add();
      Response rsp(Status::kStored);
      rsp.cas = cas;
      rsp.bytes = bytes;
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
  if (req.invalidate || req.drop_value) return MetaDelete(req);
  Response rsp(Status::kNotFound);
  Status& status = rsp.status;
  Update update;
  cache_.Apply(
      req.key(),
      [&](const ItemRef& found, Update* u) {
        status = Status::kNotFound;
        if (!found.found()) return;
        rsp.bytes = found.value().size();
        if (TokenDiffers(req, found)) return void(status = Status::kExists);
        status = Status::kDeleted;
        u->action = Update::Action::kDelete;
      },
      &update);
  if (status == Status::kDeleted) metrics_.delete_hit.Add();
  const bool missed = status == Status::kNotFound ||
                      (status == Status::kExists && req.verb == proto::memcache::Verb::kMetaDelete);
  if (missed) metrics_.delete_miss.Add();
  return rsp;
}

MemcacheService::Response MemcacheService::Arithmetic(const Request& req) {
  Response rsp(Status::kNotFound);
  Status& status = rsp.status;
  uint64_t& number = rsp.number;
  bool made = false;
  int64_t told_ttl_ms = seg::kNever;
  const Life first = LifeOf(req.initial_exptime);
  const Life touched = LifeOf(req.exptime);
  Update update;
  update.token = TokenFor(req);
  const StoreResult result = cache_.Apply(
      req.key(),
      [&](const ItemRef& found, Update* u) {
        status = Status::kNotFound;
        made = !found.found() && req.initial.has_value();
        u->cas = req.new_cas.value_or(0);
        if (made) {
          status = Status::kNumber;
          number = *req.initial;
          told_ttl_ms = req.old_ttl_told ? seg::kNever : first.gone ? 0 : first.ttl_ms;
          // Gone at once: nothing was there, so nothing is to be removed.
          u->action = first.gone ? Update::Action::kKeep : Update::Action::kStore;
          u->value = absl::StrCat(number);
          u->flags = 0;
          u->ttl_ms = first.ttl_ms;
          return;
        }
        if (!found.found()) return;
        rsp.bytes = found.value().size();
        if (!proto::memcache::MayBeCounter(req.key().size(), found.value().size(), found.flags())) {
          return void(status = Status::kNonNumeric);
        }
        if (TokenDiffers(req, found)) return void(status = Status::kExists);
        const std::optional<uint64_t> before = proto::memcache::ParseCounter(found.value());
        if (!before.has_value()) return void(status = Status::kNonNumeric);
        status = Status::kNumber;
        number = proto::memcache::Count(*before, req.delta, req.decrement);
        u->action = Update::Action::kStore;
        u->value = proto::memcache::CounterText(number, found.value().size());
        u->flags = found.flags();
        u->ttl_ms = found.ttl_ms();
        // memcached writes over a number that is long enough, and else makes an item anew.
        u->inherits_marks = u->value.size() == found.value().size();
        if (req.exptime.has_value()) {
          u->ttl_ms = touched.gone ? 0 : touched.ttl_ms;
          if (touched.gone) u->action = Update::Action::kDelete;
        }
        told_ttl_ms = req.old_ttl_told ? found.ttl_ms() : u->ttl_ms;
      },
      &update);
  if (status == Status::kNotFound) {
    (req.decrement ? metrics_.decr_miss : metrics_.incr_miss).Add();
  }
  if (status != Status::kNumber) return rsp;
  if (result != StoreResult::kStored && !(made && first.gone)) {
    return Response(Status::kOutOfMemory);
  }
  (made ? metrics_.made : req.decrement ? metrics_.decr_hit : metrics_.incr_hit).Add();
  rsp.cas = update.new_cas;
  rsp.ttl_sec = WholeSeconds(told_ttl_ms);
  return rsp;
}

MemcacheService::Response MemcacheService::Touch(const Request& req) {
  const Life life = LifeOf(req.exptime);
  if ((req.want & proto::memcache::kWantCas) != 0) return TouchAndTell(req, life);
  bool found_it = false;
  Response rsp(Status::kTouched);
  bool is_use = false;  // That somebody may ask for.
  Update update;
  const StoreResult result = cache_.Apply(
      req.key(),
      [&](const ItemRef& found, Update* u) {
        found_it = found.found();
        is_use = found.knows_uses();
        if (!found_it) return;
        rsp.bytes = found.value().size();
        u->action = life.gone ? Update::Action::kDelete : Update::Action::kTouch;
        u->ttl_ms = life.ttl_ms;
      },
      &update);
  if (is_use) cache_.Get(req.key(), seg::Token::kQuiet);
  (found_it ? metrics_.touch_hit : metrics_.touch_miss).Add();
  if (result == StoreResult::kNoMemory) return Response(Status::kOutOfMemory);
  return found_it ? std::move(rsp) : Response(Status::kNotFound);
}

// The token and the flags are those of the write that was touched.
MemcacheService::Response MemcacheService::TouchAndTell(const Request& req, Life life) {
  const ItemRef found = GetAndTouch(req.key(), life, TokenFor(req));
  (found.found() ? metrics_.touch_hit : metrics_.touch_miss).Add();
  if (!found.found()) return Response(Status::kNotFound);
  Response rsp(Status::kTouched);
  rsp.cas = found.cas();
  rsp.flags = found.flags();
  rsp.bytes = found.value().size();
  return rsp;
}

// --- The rest ---

MemcacheService::Response MemcacheService::FlushAll(const Request& req) {
  if (!shared_.flush_enabled()) {
    return Response::Text(Status::kClientError, "flush_all not allowed");
  }
  shared_.FlushAfter(req.exptime.has_value() ? UntilMs(*req.exptime, shared_.clock()) : 0);
  return Response(Status::kOk);
}

MemcacheService::Response MemcacheService::Stats(const Request& req) {
  return proto::memcache::AnswerStats(
      req.argument, [this] { return shared_.Numbers(); },
      [this] { return shared_.settings(); }, [this] { shared_.ResetCounters(); });
}

}  // namespace cache
