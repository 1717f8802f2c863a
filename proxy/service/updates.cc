// append, prepend, incr, decr, and what marks an item stale or empties it (ms I, md I and x): read,
// change, store if nothing came between, again if something did.
//
// Momento's own Increment is not used: it creates missing keys, is signed, and rewrites the life of
// the item. The life is read beside the value and sent back with the store. Where a count shall make
// its counter, that is a store on the condition that there is none.
//
// A store whose outcome is unknown is never repeated: it may have been applied.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/memcache/arithmetic.h"
#include "proxy/service/service.h"
#include "proxy/translate/cas.h"

namespace proxy {

using proto::memcache::Op;
using proto::memcache::Response;
using proto::memcache::Status;
using proto::memcache::StoreMode;
using translate::Intent;

namespace {

// Rounds that follow at once; later ones wait a random while, so that rivals on other workers and
// machines come apart and a balanced read has time to see the rival's store.
constexpr uint32_t kRoundsAtOnce = 2;
constexpr int64_t kPauseMsMax = 64;

// ms I: stores if the token is the item's, and stores what is stale if the token is older.
bool SetsOrInvalidates(const Operation& op) {
  return op.op == Op::kStore && op.invalidate &&
         (op.mode == StoreMode::kSet || op.mode == StoreMode::kReplace);
}

// Whether the item is to live as long as it would have.
bool KeepsLife(const Operation& op) {
  switch (op.op) {
    case Op::kArithmetic: return !op.exptime.has_value();
    case Op::kDelete: return !op.exptime.has_value() && !op.drop_value;
    default: return true;
  }
}

// Whether it must be known how long it would have.
bool AsksForTtl(const Operation& op) { return KeepsLife(op) || op.old_ttl_told; }

}  // namespace

void ProxyService::StartUpdate(Operation* op) {
  op->updating = true;
  if (updates_.Enter(op)) [[likely]] return ReadForUpdate(op);
  Keep(op);
}

void ProxyService::ReadForUpdate(Operation* op) {
  Keep(op);
  if (!turn_open_) loop_->KeepAwake();
  if (op->rounds++ == 0) op->update_started_ms = loop_->now_ms();
  const bool asks_for_ttl = AsksForTtl(*op);
  op->answers_due = asks_for_ttl ? 2 : 1;
  client_->GetWithHash(op->key, [op](momento::HashedGetResult result) {
    op->read = std::move(result);
    if (--op->answers_due == 0) op->service->OnUpdateRead(op);
  });
  if (!asks_for_ttl) return;
  client_->ItemGetTtl(op->key, [op](momento::TtlResult result) {
    op->read_ttl = std::move(result);
    if (--op->answers_due == 0) op->service->OnUpdateRead(op);
  });
}

void ProxyService::OnUpdateRead(Operation* op) {
  const bool counting = op->op == Op::kArithmetic;
  for (const momento::Error* error : {&op->read.error, &op->read_ttl.error}) {
    if (!error->ok()) return FailUpdate(op, *error, Intent::kRead);
  }
  std::optional<translate::Unwrapped> old;
  if (op->read.hit) old = translate::Unwrap(cache_.envelope, op->read.value);
  if (counting && op->rounds == 1 && (old.has_value() || !op->initial.has_value())) {
    Metrics& m = shared_->metrics;
    (op->decrement ? (old ? m.decr_hit : m.decr_miss) : (old ? m.incr_hit : m.incr_miss)).Add();
  }
  if (!old.has_value()) return UpdateNothing(op);
  if (counting && !proto::memcache::MayBeCounter(op->key.size(), old->value.size(), old->flags)) {
    return EndUpdate(op, Response(Status::kNonNumeric));
  }
  const bool matches =
      !op->cas.has_value() || translate::TokenOf(*old, op->read.value) == *op->cas;
  const bool outdates = SetsOrInvalidates(*op) && translate::IsOlder(op->cas.value_or(0), *old);
  if (!matches && !outdates) {
    if (SetsOrInvalidates(*op)) shared_->metrics.cas_badval.Add();
    return EndUpdate(op, Response(Status::kExists));
  }
  if (AsksForTtl(*op)) {
    if (!op->read_ttl.found) return RetryUpdate(op);  // The two reads saw different moments.
    op->ttl_ms = std::clamp<uint64_t>(op->read_ttl.ttl_ms, 1, ttl_rules_.max_ms);
  }
  if (!KeepsLife(*op)) SetTtl(op);
  op->new_state = op->GivenState();
  if (counting) return StoreCount(op, *old);
  if (op->op == Op::kDelete) return StoreLessened(op, *old);
  if (!SetsOrInvalidates(*op)) return StoreJoined(op, *old);
  // As memcached's: the life stays, and whoever has the win keeps it.
  if (matches) {
    SetTtl(op);
  } else {
    MarkStale(op, old->state.has_value() && old->state->win_taken);
  }
  StoreChanged(op, op->body, op->flags);
}

// There is no item to change.
void ProxyService::UpdateNothing(Operation* op) {
  switch (op->op) {
    case Op::kArithmetic:
      if (!op->initial.has_value()) return EndUpdate(op, Response(Status::kNotFound));
      op->number = *op->initial;
      return Make(op, absl::StrCat(op->number), /*flags=*/0, op->initial_exptime);
    case Op::kDelete:
      shared_->metrics.delete_miss.Add();
      return EndUpdate(op, Response(Status::kNotFound));
    default:
      break;
  }
  if (SetsOrInvalidates(*op)) {
    shared_->metrics.cas_miss.Add();
    return EndUpdate(op, Response(Status::kNotFound));
  }
  if (!op->vivify_exptime.has_value()) return EndUpdate(op, Response(Status::kNotStored));
  Make(op, op->body, op->flags, *op->vivify_exptime);
}

// Stores what is to be there where nothing was, unless somebody else does.
void ProxyService::Make(Operation* op, absl::string_view value, uint32_t flags, int64_t exptime) {
  const translate::Ttl ttl = translate::TtlOf(exptime, ttl_rules_, loop_->clock().WallNs());
  op->ttl_ms = ttl.ms;
  if (ttl.gone) return EndUpdate(op, UpdatedResponse(*op));
  if (ttl.clamped) shared_->metrics.ttl_clamped.Add();
  op->new_state = op->GivenState();
  const translate::EnvelopePrefix prefix = Wrap(op, value, flags);
  if (!turn_open_) loop_->KeepAwake();
  client_->SetIf(op->key, prefix.view(), value, op->ttl_ms, momento::Condition::kAbsent,
                 [op](momento::StoreResult result) {
                   op->service->OnUpdated(op, std::move(result));
                 });
}

// A number that fits where the old one was is written over it in memcached, and the rest of the item
// stays; a longer one makes a new item.
void ProxyService::StoreCount(Operation* op, const translate::Unwrapped& old) {
  const std::optional<uint64_t> number = proto::memcache::ParseCounter(old.value);
  if (!number.has_value()) return EndUpdate(op, Response(Status::kNonNumeric));
  op->number = proto::memcache::Count(*number, op->delta, op->decrement);
  const std::string text = proto::memcache::CounterText(op->number, old.value.size());
  if (old.state.has_value() && text.size() == old.value.size()) {
    if (!op->new_state.has_value()) op->new_state = translate::ItemState{.token = FreshToken()};
    op->new_state->stale = old.state->stale;
    op->new_state->win_taken = old.state->win_taken;
  }
  StoreChanged(op, text, old.flags);
}

void ProxyService::StoreJoined(Operation* op, const translate::Unwrapped& old) {
  // What memcached answers when the joined value does not fit; the old one stays.
  if (proto::memcache::ItemBytes(op->key.size(), old.value.size() + op->body.size(), old.flags) >
      item_bytes_max_) {
    return EndUpdate(op, Response(Status::kNotStored));
  }
  const bool append = op->mode == StoreMode::kAppend;
  StoreChanged(op, append ? absl::StrCat(old.value, op->body) : absl::StrCat(op->body, old.value),
               old.flags);
}

// md I: the item is stale, and the next that asks for it wins it. md x: it is empty, and keeps its
// token where it can.
void ProxyService::StoreLessened(Operation* op, const translate::Unwrapped& old) {
  if (op->invalidate) {
    MarkStale(op, /*win_taken=*/false);
  } else if (!op->new_state.has_value() && translate::KeepsState(cache_.envelope)) {
    op->new_state = translate::ItemState{.ranked = old.state.has_value() && old.state->ranked,
                                         .token = translate::TokenOf(old, op->read.value)};
  }
  if (op->drop_value) return StoreChanged(op, absl::string_view(), op->flags);
  StoreChanged(op, old.value, old.flags);
}

void ProxyService::MarkStale(Operation* op, bool win_taken) {
  if (!op->new_state.has_value()) op->new_state = translate::ItemState{.token = FreshToken()};
  op->new_state->stale = true;
  op->new_state->win_taken = win_taken;
}

void ProxyService::StoreChanged(Operation* op, absl::string_view value, uint32_t flags) {
  if (!turn_open_) loop_->KeepAwake();
  op->value_bytes = value.size();
  Store(op, value, flags, absl::string_view(op->read.hash),
        [op](momento::StoreResult result) { op->service->OnUpdated(op, std::move(result)); });
  op->read.value = std::string();
}

void ProxyService::OnUpdated(Operation* op, momento::StoreResult result) {
  if (!result.error.ok()) return FailUpdate(op, result.error, Intent::kWrite);
  if (!result.stored) return RetryUpdate(op);
  if (op->op == Op::kDelete) shared_->metrics.delete_hit.Add();
  if (SetsOrInvalidates(*op)) shared_->metrics.cas_hit.Add();
  if (!op->gone) return EndUpdate(op, UpdatedResponse(*op));
  // Its life of a millisecond may not be over (writes.cc).
  if (!turn_open_) loop_->KeepAwake();
  client_->Delete(op->key, [op](momento::DoneResult) {
    op->service->EndUpdate(op, op->service->UpdatedResponse(*op));
  });
}

Response ProxyService::UpdatedResponse(const Operation& op) const {
  if (op.op == Op::kArithmetic) {
    Response rsp = Told(op, Response::Number(op.number));
    if (op.old_ttl_told) {
      rsp.ttl_sec = op.read_ttl.found ? translate::SecondsOf(op.read_ttl.ttl_ms) : -1;
    }
    return rsp;
  }
  return Told(op, Response(op.op == Op::kDelete ? Status::kDeleted : Status::kStored));
}

void ProxyService::RetryUpdate(Operation* op) {
  if (StartNextRound(op)) return;
  shared_->metrics.failed.Add();
  EndUpdate(op, Response::Text(Status::kServerError, "too many concurrent updates"));
}

// False if there have been too many.
bool ProxyService::StartNextRound(Operation* op) {
  const bool late =
      loop_->now_ms() - op->update_started_ms >= DeadlineMs(config::Cache::Kind::kUpdate);
  if (op->rounds >= cache_.update_attempts || late) {
    shared_->metrics.update_exhausted.Add();
    return false;
  }
  shared_->metrics.update_retry.Add();
  if (op->rounds < kRoundsAtOnce) {
    op->OnTimer();
    return true;
  }
  const int64_t most = std::min(kPauseMsMax, int64_t{1} << std::min(op->rounds, 6u));
  loop_->Arm(op, absl::Uniform<int64_t>(absl::IntervalClosedClosed, random_, 1, most));
  return true;
}

void ProxyService::FailUpdate(Operation* op, const momento::Error& error, Intent intent) {
  shared_->metrics.failed.Add();
  op->timed_out = error.code == momento::Code::kDeadlineExceeded;
  EndUpdate(op, translate::FailureOf(error, intent));
}

void ProxyService::EndUpdate(Operation* op, Response rsp) {
  updates_.Leave(op, [this, op](Operation* ready) { Proceed(*op, ready); });
  Answer(op, std::move(rsp));
}

}  // namespace proxy
