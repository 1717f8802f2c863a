// append, prepend, incr, decr: read, change, store if nothing came between, again if something did.
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
  op->answers_due = 2;
  client_->GetWithHash(op->key, [op](momento::HashedGetResult result) {
    op->read = std::move(result);
    if (--op->answers_due == 0) op->service->OnUpdateRead(op);
  });
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
  const bool makes = !old.has_value() && op->initial.has_value();
  if (counting && op->rounds == 1 && !makes) {
    Metrics& m = shared_->metrics;
    (op->decrement ? (old ? m.decr_hit : m.decr_miss) : (old ? m.incr_hit : m.incr_miss)).Add();
  }
  if (makes) return MakeCounter(op);
  if (!old.has_value()) {
    return EndUpdate(op, Response(counting ? Status::kNotFound : Status::kNotStored));
  }
  if (counting && !proto::memcache::MayBeCounter(op->key.size(), old->value.size(), old->flags)) {
    return EndUpdate(op, Response(Status::kNonNumeric));
  }
  if (op->cas.has_value() && translate::CasToken(op->read.value) != *op->cas) {
    return EndUpdate(op, Response(Status::kExists));
  }
  if (!op->read_ttl.found) return RetryUpdate(op);  // The two reads saw different moments.
  op->ttl_ms = std::clamp<uint64_t>(op->read_ttl.ttl_ms, 1, ttl_rules_.max_ms);
  StoreUpdate(op, *old);
}

void ProxyService::MakeCounter(Operation* op) {
  op->number = *op->initial;
  const translate::Ttl ttl =
      translate::TtlOf(op->initial_exptime, ttl_rules_, loop_->clock().WallNs());
  if (ttl.gone) return EndUpdate(op, Response::Number(op->number));
  if (ttl.clamped) shared_->metrics.ttl_clamped.Add();
  const std::string text = absl::StrCat(op->number);
  const translate::EnvelopePrefix prefix =
      translate::Wrap(cache_.envelope, /*flags=*/0, text, absl::Uniform<uint64_t>(random_));
  NoteToken(op, prefix, text);
  if (!turn_open_) loop_->KeepAwake();
  client_->SetIf(op->key, prefix.view(), text, ttl.ms, momento::Condition::kAbsent,
                 [op](momento::StoreResult result) {
                   op->service->OnUpdated(op, std::move(result));
                 });
}

void ProxyService::StoreUpdate(Operation* op, const translate::Unwrapped& old) {
  std::string changed;
  if (op->op == Op::kArithmetic) {
    const std::optional<uint64_t> number = proto::memcache::ParseCounter(old.value);
    if (!number.has_value()) return EndUpdate(op, Response(Status::kNonNumeric));
    op->number = proto::memcache::Count(*number, op->delta, op->decrement);
    changed = proto::memcache::CounterText(op->number, old.value.size());
  } else {
    // What memcached answers when the joined value does not fit; the old one stays.
    if (proto::memcache::ItemBytes(op->key.size(), old.value.size() + op->body.size(), old.flags) >
        item_bytes_max_) {
      return EndUpdate(op, Response(Status::kNotStored));
    }
    const bool append = op->mode == StoreMode::kAppend;
    changed = append ? absl::StrCat(old.value, op->body) : absl::StrCat(op->body, old.value);
    op->number = changed.size();
  }
  if (!turn_open_) loop_->KeepAwake();
  Store(op, changed, old.flags, absl::string_view(op->read.hash),
        [op](momento::StoreResult result) { op->service->OnUpdated(op, std::move(result)); });
  op->read.value = std::string();
}

void ProxyService::OnUpdated(Operation* op, momento::StoreResult result) {
  if (!result.error.ok()) return FailUpdate(op, result.error, Intent::kWrite);
  if (!result.stored) return RetryUpdate(op);
  Response rsp(Status::kStored);
  if (op->op == Op::kArithmetic) {
    rsp = Response::Number(op->number);
  } else {
    rsp.bytes = op->number;
  }
  rsp.cas = op->item_cas;
  EndUpdate(op, std::move(rsp));
}

void ProxyService::RetryUpdate(Operation* op) {
  const bool late = loop_->now_ms() - op->update_started_ms >= DeadlineMs(config::Cache::Kind::kUpdate);
  if (op->rounds >= cache_.update_attempts || late) {
    shared_->metrics.update_exhausted.Add();
    shared_->metrics.failed.Add();
    return EndUpdate(op, Response::Text(Status::kServerError, "too many concurrent updates"));
  }
  shared_->metrics.update_retry.Add();
  if (op->rounds < kRoundsAtOnce) return ReadForUpdate(op);
  const int64_t most = std::min(kPauseMsMax, int64_t{1} << std::min(op->rounds, 6u));
  loop_->Arm(op, absl::Uniform<int64_t>(absl::IntervalClosedClosed, random_, 1, most));
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
