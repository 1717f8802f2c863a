// set, add, replace, cas, touch, delete. See service.h.
//
// An item that is to be gone at once (a negative or past exptime) cannot be stored: Momento wants a
// life of at least a millisecond. A set becomes a delete. A conditional store keeps its condition by
// storing for that millisecond, and the delete that follows makes it certain.
#include <algorithm>

#include "proxy/service/service.h"
#include "proxy/translate/cas.h"

namespace proxy {

using proto::memcache::Response;
using proto::memcache::Status;
using proto::memcache::StoreMode;
using translate::Intent;

namespace {

// A value this long gains nothing from company, and would keep others waiting for it.
constexpr size_t kSharedValueMax = 16 * 1024;

}  // namespace

// Works out the life of the item from its exptime.
void ProxyService::SetTtl(Operation* op) {
  const translate::Ttl ttl =
      translate::TtlOf(op->exptime.value_or(0), ttl_rules_, loop_->clock().WallNs());
  op->gone = ttl.gone;
  op->ttl_ms = ttl.ms;
  if (ttl.clamped) shared_->metrics.ttl_clamped.Add();
}

void ProxyService::StartStore(Operation* op) {
  if (op->value_too_large) {
    shared_->metrics.store_too_large.Add();
    return Delete(op, Status::kTooLarge, /*must_succeed=*/false);
  }
  shared_->metrics.store.Add();
  if (op->mode == StoreMode::kAppend || op->mode == StoreMode::kPrepend) return StartUpdate(op);
  op->new_state = op->GivenState();
  if (op->cas.has_value() && op->mode != StoreMode::kAdd) {  // An add compares nothing.
    if (op->invalidate) return StartUpdate(op);
    SetTtl(op);
    return StartCas(op);
  }
  SetTtl(op);
  if (!op->gone) KeepForNear(op);

  auto done = [op](momento::StoreResult result) {
    op->service->OnStored(op, std::move(result));
  };
  if (op->mode == StoreMode::kSet) {
    if (op->gone) return Delete(op, Status::kStored, /*must_succeed=*/true);
    if (cache_.writes == config::Cache::Writes::kPlain &&
        cache_.batch != config::Cache::Batch::kOff && op->body.size() <= kSharedValueMax) {
      Keep(op);
      sets_.push_back(op);
      return;
    }
    return Store(op, op->body, op->flags, std::nullopt, done);
  }
  const momento::Condition condition =
      op->mode == StoreMode::kAdd ? momento::Condition::kAbsent : momento::Condition::kPresent;
  const translate::EnvelopePrefix prefix = Wrap(op, op->body, op->flags);
  client_->SetIf(op->key, prefix.view(), op->body, op->ttl_ms, condition, done);
}

// Sends the plain sets of the turn: SetIfHash, which exact mode writes with, has no batch.
void ProxyService::SendSets() {
  if (sets_.empty()) return;
  SendInGroups(&sets_,
               [this](Operation* const* first, size_t count) { SendSetGroup(first, count); });
}

void ProxyService::SendSetGroup(Operation* const* first, size_t count) {
  if (count == 1) {
    Operation* op = *first;
    return Store(op, op->body, op->flags, std::nullopt, [op](momento::StoreResult result) {
      op->service->OnStored(op, std::move(result));
    });
  }
  shared_->metrics.set_batch.Add();
  shared_->metrics.set_batch_key.Add(count);
  BatchCall* batch = batches_.Take();
  batch->operations.assign(first, first + count);
  batch_prefixes_.clear();
  batch_prefixes_.reserve(count);
  batch_items_.clear();
  for (Operation* op : batch->operations) {
    batch_prefixes_.push_back(Wrap(op, op->body, op->flags));
    batch_items_.push_back({op->key, batch_prefixes_.back().view(), op->body, op->ttl_ms});
  }
  client_->SetBatch(batch_items_, [this, batch](std::vector<momento::StoreResult> results) {
    OnSetBatch(batch, std::move(results));
  });
}

// A call that failed says so once, behind the answers that came. Refused for its size it has stored
// nothing further, and the rest goes one by one; any other error is the rest's own.
void ProxyService::OnSetBatch(BatchCall* batch, std::vector<momento::StoreResult> results) {
  const std::vector<Operation*> operations = std::move(batch->operations);
  batches_.Put(batch);
  momento::Error error;
  error.code = momento::Code::kInternal;  // Fewer answers than items.
  if (!results.empty() && !results.back().error.ok()) {
    error = std::move(results.back().error);
    results.pop_back();
  }
  const size_t came = std::min(results.size(), operations.size());
  for (size_t i = 0; i < came; ++i) OnStored(operations[i], std::move(results[i]));
  const bool too_large = translate::IsTooLarge(error);
  if (too_large && came < operations.size() && !turn_open_) loop_->KeepAwake();
  for (size_t i = came; i < operations.size(); ++i) {
    if (too_large) {
      SendSetGroup(&operations[i], 1);
      continue;
    }
    momento::StoreResult failed;
    failed.error = error;
    OnStored(operations[i], std::move(failed));
  }
}

// Makes the value last until it is stored and can be copied.
void ProxyService::KeepForNear(Operation* op) {
  if (near_ != nullptr && near_->Admits(op->key.size(), op->body.size())) Keep(op);
}

// What goes in front of the value. Notes what the client is to be told of what is stored.
translate::EnvelopePrefix ProxyService::Wrap(Operation* op, absl::string_view body, uint32_t flags) {
  op->value_bytes = body.size();
  if (op->new_state.has_value()) [[unlikely]] {
    op->item_cas = op->new_state->token;
    return translate::WrapWithState(*op->new_state, flags);
  }
  const translate::EnvelopePrefix prefix =
      translate::Wrap(cache_.envelope, flags, body, absl::Uniform<uint64_t>(random_));
  if ((op->want & proto::memcache::kWantCas) != 0) {
    op->item_cas = translate::CasToken(prefix.view(), body);
  }
  return prefix;
}

Response ProxyService::Told(const Operation& op, Response rsp) const {
  rsp.cas = op.gone ? 0 : op.item_cas;
  rsp.bytes = op.value_bytes;
  rsp.ttl_sec = op.gone ? 0 : translate::SecondsOf(op.ttl_ms);
  return rsp;
}

// The one place that stores on a hash or without a condition. Exact mode keeps to the conditional
// family throughout: the service leaves a mix with plain writes undefined.
void ProxyService::Store(Operation* op, absl::string_view body, uint32_t flags,
                         std::optional<absl::string_view> expected,
                         momento::Callback<momento::StoreResult> done) {
  const translate::EnvelopePrefix prefix = Wrap(op, body, flags);
  if (cache_.writes == config::Cache::Writes::kPlain && !expected.has_value()) {
    return client_->Set(op->key, prefix.view(), body, op->ttl_ms, std::move(done));
  }
  client_->SetIfHash(op->key, prefix.view(), body, op->ttl_ms, expected, std::move(done));
}

void ProxyService::OnStored(Operation* op, momento::StoreResult result) {
  if (!result.error.ok()) {
    // memcached drops the old item when a set is too large for it.
    if (op->mode == StoreMode::kSet && translate::IsTooLarge(result.error)) {
      shared_->metrics.failed.Add();
      return Delete(op, Status::kTooLarge, /*must_succeed=*/false);
    }
    return Fail(op, result.error, Intent::kWrite);
  }
  if (!result.stored) {
    if (op->mode != StoreMode::kSet) return Answer(op, Response(Status::kNotStored));
    momento::Error error;  // An unconditional store that did not store.
    error.code = momento::Code::kInternal;
    return Fail(op, error, Intent::kWrite);
  }
  if (op->gone) return Delete(op, Status::kStored, /*must_succeed=*/false);
  EndStored(op);
}

// The value is what the cache holds now: near copies are without a state.
void ProxyService::EndStored(Operation* op) {
  op->stored = !op->new_state.has_value() &&
               (op->body.empty() || op->body.data() == op->buffer.data());
  Answer(op, Told(*op, Response(Status::kStored)));
}

void ProxyService::StartCas(Operation* op) {
  Keep(op);
  client_->GetWithHash(op->key, [op](momento::HashedGetResult found) {
    op->service->OnCasRead(op, std::move(found));
  });
}

void ProxyService::OnCasRead(Operation* op, momento::HashedGetResult found) {
  Metrics& metrics = shared_->metrics;
  if (!found.error.ok()) return Fail(op, found.error, Intent::kRead);
  std::optional<translate::Unwrapped> item;
  if (found.hit) item = translate::Unwrap(cache_.envelope, found.value);
  if (!item.has_value()) {
    metrics.cas_miss.Add();
    return Answer(op, Response(Status::kNotFound));
  }
  if (translate::TokenOf(*item, found.value) != *op->cas) {
    metrics.cas_badval.Add();
    return Answer(op, Response(Status::kExists));
  }
  if (!turn_open_) loop_->KeepAwake();
  Store(op, op->body, op->flags, absl::string_view(found.hash),
        [op](momento::StoreResult result) { op->service->OnCasStored(op, std::move(result)); });
}

void ProxyService::OnCasStored(Operation* op, momento::StoreResult result) {
  if (!result.error.ok()) return Fail(op, result.error, Intent::kWrite);
  if (!result.stored) {  // Another writer came between.
    shared_->metrics.cas_badval.Add();
    return Answer(op, Response(Status::kExists));
  }
  shared_->metrics.cas_hit.Add();
  if (op->gone) return Delete(op, Status::kStored, /*must_succeed=*/false);
  EndStored(op);
}

void ProxyService::StartTouch(Operation* op) {
  SetTtl(op);
  client_->UpdateTtl(op->key, op->ttl_ms, [op](momento::FoundResult result) {
    ProxyService* service = op->service;
    Metrics& metrics = service->shared_->metrics;
    metrics.touch.Add();
    const bool found = result.error.ok() && result.found;
    (found ? metrics.touch_hit : metrics.touch_miss).Add();
    if (!result.error.ok()) return service->Fail(op, result.error, Intent::kWrite);
    if (!found) return service->Answer(op, Response(Status::kNotFound));
    if (op->gone) return service->Delete(op, Status::kTouched, /*must_succeed=*/false);
    service->Answer(op, Response(Status::kTouched));
  });
}

void ProxyService::StartDelete(Operation* op) {
  if (op->invalidate || op->drop_value) {
    const bool gone = op->exptime.has_value() &&
                      translate::TtlOf(*op->exptime, ttl_rules_, loop_->clock().WallNs()).gone;
    if (!gone) return StartUpdate(op);  // What is to be gone at once need not be marked.
  }
  if (op->cas.has_value()) {
    return client_->GetWithHash(op->key, [op](momento::HashedGetResult found) {
      op->service->OnDeleteRead(op, std::move(found));
    });
  }
  if (cache_.delete_reply == config::Cache::DeleteReply::kFast) {
    return Delete(op, Status::kDeleted, /*must_succeed=*/true);
  }
  client_->KeyExists(op->key, [op](momento::FoundResult result) {
    op->service->OnExists(op, std::move(result));
  });
}

// A balanced read may not know of a key just written, so its "no" is not trusted with the delete.
void ProxyService::OnExists(Operation* op, momento::FoundResult result) {
  if (!result.error.ok()) return Fail(op, result.error, Intent::kRead);
  if (result.found) return Delete(op, Status::kDeleted, /*must_succeed=*/true);
  if (cache_.reads == config::Cache::Reads::kConsistent) {
    shared_->metrics.delete_miss.Add();
    return Answer(op, Response(Status::kNotFound));
  }
  Delete(op, Status::kNotFound, /*must_succeed=*/true);
}

// Momento has no conditional delete: what is written between the two calls is deleted too.
void ProxyService::OnDeleteRead(Operation* op, momento::HashedGetResult found) {
  if (!found.error.ok()) return Fail(op, found.error, Intent::kRead);
  std::optional<translate::Unwrapped> item;
  if (found.hit) item = translate::Unwrap(cache_.envelope, found.value);
  if (!item.has_value()) {
    shared_->metrics.delete_miss.Add();
    return Answer(op, Response(Status::kNotFound));
  }
  if (translate::TokenOf(*item, found.value) != *op->cas) {
    return Answer(op, Response(Status::kExists));
  }
  Delete(op, Status::kDeleted, /*must_succeed=*/true);
}

// Deletes, then answers `after`; a failure is answered instead if the delete is what was asked.
void ProxyService::Delete(Operation* op, Status after, bool must_succeed) {
  if (!turn_open_) loop_->KeepAwake();
  op->after = after;
  client_->Delete(op->key, [op, must_succeed](momento::DoneResult result) {
    ProxyService* service = op->service;
    if (!result.error.ok() && must_succeed) {
      return service->Fail(op, result.error, Intent::kWrite);
    }
    Metrics& metrics = service->shared_->metrics;
    if (op->op == proto::memcache::Op::kDelete) {
      (op->after == Status::kDeleted ? metrics.delete_hit : metrics.delete_miss).Add();
    }
    service->Answer(op, Response(op->after));
  });
}

}  // namespace proxy
