// get, gets, gat, gats. See service.h.
#include <utility>

#include "core/net/out_buffer.h"
#include "proxy/service/service.h"
#include "proxy/translate/cas.h"

namespace proxy {

using proto::memcache::Item;
using proto::memcache::Response;
using proto::memcache::Status;
using translate::Intent;

namespace {

// How a batch ends whose values are too large to come at once; asked in parts, all may come.
bool OfLargeReply(const momento::Error& error) {
  return error.code == momento::Code::kDeadlineExceeded ||
         error.code == momento::Code::kResourceExhausted;
}

// Whether an error says that the service cannot answer now, rather than that it will not.
bool Unavailable(momento::Code code) {
  using momento::Code;
  switch (code) {
    case Code::kCancelled:
    case Code::kUnknown:
    case Code::kDeadlineExceeded:
    case Code::kResourceExhausted:
    case Code::kAborted:
    case Code::kInternal:
    case Code::kUnavailable: return true;
    default: return false;
  }
}

// A get that was made for the sake of the token.
bool AsksForToken(const Operation& op) {
  return (op.want & (proto::memcache::kWantCas | proto::memcache::kWantCasAlong)) ==
         proto::memcache::kWantCas;
}

// A get that shares calls and copies.
bool IsPlain(const Operation& op) { return !op.exptime.has_value() && !AsksForToken(op); }

}  // namespace

void ProxyService::StartGet(Operation* op) {
  if (AsksForToken(*op)) {
    return client_->GetWithHash(op->key, [op](momento::HashedGetResult result) {
      op->service->OnGotHashed(op, std::move(result));
    });
  }
  gets_.push_back(op);
}

// Sends what was collected: a call a key, or a call a group of keys. What ends here may start more
// gets, which are appended and looked at in the same pass.
void ProxyService::SendGets() {
  if (gets_.empty()) return;
  size_t kept = 0;
  for (size_t i = 0; i < gets_.size(); ++i) {
    Operation* op = gets_[i];
    if (!op->exptime.has_value() && (AnswerNear(op) || Join(op))) continue;
    gets_[kept++] = op;
  }
  gets_.resize(kept);
  if (cache_.reads == config::Cache::Reads::kConsistent) flights_.clear();
  SendInGroups(&gets_, [this](Operation* const* first, size_t count) { SendGroup(first, count); });
}

bool ProxyService::AnswerNear(Operation* op) {
  if (near_ == nullptr) return false;
  // A copy does not have the nonce that is part of the token.
  if (cache_.envelope == config::Cache::Envelope::kNonce &&
      (op->want & proto::memcache::kWantCas) != 0) {
    return false;
  }
  const NearCache::Answer answer = near_->Find(op->key, &op->buffer, &op->item_flags);
  if (answer == NearCache::Answer::kUnknown) return false;
  op->hit = answer == NearCache::Answer::kHit;
  op->item_value = op->buffer;
  if ((op->want & proto::memcache::kWantCas) != 0) op->item_cas = TokenOfCopy(*op);
  EndGet(op);
  return true;
}

bool ProxyService::AnswerStale(Operation* op) {
  if (near_ == nullptr || !Unavailable(op->error.code) ||
      !near_->FindStale(op->key, &op->buffer, &op->item_flags)) {
    return false;
  }
  op->hit = true;
  op->item_value = op->buffer;
  op->item_cas = TokenOfCopy(*op);
  return true;
}

// What the token of the stored bytes is that a copy was made of. Where they were spelled otherwise a
// cas with it fails, and makes the copy be forgotten.
uint64_t ProxyService::TokenOfCopy(const Operation& op) const {
  const translate::EnvelopePrefix prefix =
      translate::Wrap(cache_.envelope, op.item_flags, op.item_value, /*nonce=*/0);
  return translate::CasToken(prefix.view(), op.item_value);
}

void ProxyService::KeepRead(const Operation& op) {
  const NearCache::Copy copy{.key = op.key,
                             .key_hash = op.key_hash,
                             .moment = op.moment,
                             .since_ms = op.sent_ms,
                             .value = op.item_value,
                             .flags = op.item_flags};
  if (op.hit) return near_->KeepRead(copy);
  near_->KeepMiss(copy);
}

// Makes the get a follower of the one that is asking for its key; or else the one that others
// follow, and says no.
bool ProxyService::Join(Operation* op) {
  op->moment = shared_->marks.Now(op->key_hash);
  op->sent_ms = loop_->now_ms();
  if (!cache_.coalesce) return false;
  const auto [at, first] = flights_.try_emplace(op->key_hash, op);
  if (first) return false;
  Operation* leader = at->second;
  const bool young = 2 * (op->sent_ms - leader->sent_ms) < DeadlineMs(config::Cache::Kind::kRead);
  if (young && leader->moment == op->moment && leader->key == op->key) {
    leader->followers.Push(op);
    shared_->metrics.get_coalesced.Add(op->askers);
    return true;
  }
  at->second = op;
  return false;
}

void ProxyService::SendGroup(Operation* const* first, size_t count) {
  if (count == 1) {
    Operation* op = *first;
    return client_->Get(op->key, [op](momento::GetResult result) {
      op->service->OnGot(op, std::move(result));
    });
  }
  shared_->metrics.batch.Add();
  shared_->metrics.batch_key.Add(count);
  BatchCall* batch = batches_.Take();
  batch->operations.assign(first, first + count);
  batch_keys_.clear();
  for (const Operation* op : batch->operations) batch_keys_.push_back(op->key);
  client_->GetBatch(batch_keys_, [this, batch](std::vector<momento::GetResult> results) {
    OnBatch(batch, std::move(results));
  });
}

// A call that failed says so once, behind the results that came; what is left of it shares the error.
void ProxyService::OnBatch(BatchCall* batch, std::vector<momento::GetResult> results) {
  const std::vector<Operation*> operations = std::move(batch->operations);
  batches_.Put(batch);
  const size_t count = operations.size();
  momento::Error error;
  error.code = momento::Code::kInternal;  // Fewer answers than keys.
  if (!results.empty() && (results.size() != count || OfLargeReply(results.back().error))) {
    if (!results.back().error.ok()) error = std::move(results.back().error);
    results.pop_back();
  }
  const size_t came = std::min(results.size(), count);
  for (size_t i = 0; i < came; ++i) OnGot(operations[i], std::move(results[i]));
  if (came == count) return;
  // A quarter at least must have come, which bounds the rounds (15 for 64 keys).
  if (OfLargeReply(error) && 4 * came >= count) {
    if (!turn_open_) loop_->KeepAwake();
    return SendGroup(operations.data() + came, count - came);
  }
  for (size_t i = came; i < count; ++i) {
    momento::GetResult failed;
    failed.error = error;
    OnGot(operations[i], std::move(failed));
  }
}

void ProxyService::OnGot(Operation* op, momento::GetResult result) {
  if (!result.error.ok()) {
    op->error = std::move(result.error);
    op->failed = !IsPlain(*op) || !AnswerStale(op);
  } else if (result.hit) {
    TakeStored(op, std::move(result.value));
  }
  if (op->hit && op->exptime.has_value()) return TouchRead(op);
  if (near_ != nullptr && op->error.ok() && IsPlain(*op)) KeepRead(*op);
  Land(op);
}

// Ends a get and those that follow it, each with bytes of its own: as many as its own call would
// have brought.
void ProxyService::Land(Operation* op) {
  const auto flight = flights_.find(op->key_hash);
  if (flight != flights_.end() && flight->second == op) flights_.erase(flight);
  constexpr size_t kIdleCapacityMax = 1024;
  if (flights_.empty() && flights_.capacity() > kIdleCapacityMax) flights_ = {};
  OperationQueue followers = std::exchange(op->followers, OperationQueue());
  for (Operation* one = followers.head(); one != nullptr; one = one->next) {
    one->hit = op->hit;
    one->failed = op->failed;
    one->error = op->error;
    one->item_flags = op->item_flags;
    one->item_cas = op->item_cas;
    one->buffer.assign(op->item_value.data(), op->item_value.size());
    one->item_value = one->buffer;
  }
  EndGet(op);
  while (!followers.empty()) EndGet(followers.Pop());
}

void ProxyService::OnGotHashed(Operation* op, momento::HashedGetResult result) {
  OnGot(op, momento::GetResult{std::move(result.error), result.hit, std::move(result.value)});
}

void ProxyService::TakeStored(Operation* op, std::string stored) {
  op->buffer = std::move(stored);
  const std::optional<translate::Unwrapped> item = translate::Unwrap(cache_.envelope, op->buffer);
  if (!item.has_value()) return;
  op->hit = true;
  op->item_value = item->value;
  op->item_flags = item->flags;
  op->item_cas = translate::CasToken(op->buffer);
}

// gat: read first, so that a miss costs one call, then touch; the item is answered only if it was
// still there to be touched.
void ProxyService::TouchRead(Operation* op) {
  if (!turn_open_) loop_->KeepAwake();
  SetTtl(op);
  if (op->gone) {
    return client_->Delete(op->key, [op](momento::DoneResult result) {
      if (!result.error.ok()) {
        op->failed = true;
        op->hit = false;
        op->error = std::move(result.error);
      }
      op->service->EndGet(op);
    });
  }
  client_->UpdateTtl(op->key, op->ttl_ms, [op](momento::FoundResult result) {
    op->hit = result.error.ok() && result.found;
    op->failed = !result.error.ok();
    op->error = std::move(result.error);
    op->service->EndGet(op);
  });
}

// A gat counts as a touch alone, as in memcached.
void ProxyService::CountGet(const Operation& op) {
  Metrics& metrics = shared_->metrics;
  if (op.failed) metrics.get_failed.Add(op.askers);
  if (op.exptime.has_value()) {
    metrics.touch.Add();
    (op.hit ? metrics.touch_hit : metrics.touch_miss).Add();
    return;
  }
  metrics.get.Add(op.askers);
  (op.hit ? metrics.get_hit : metrics.get_miss).Add(op.askers);
}

void ProxyService::EndGet(Operation* op) {
  EndWrite(op);
  CountGet(*op);
  op->timed_out = op->failed && op->error.code == momento::Code::kDeadlineExceeded;
  if (op->gather != nullptr) {
    Gather* gather = op->gather;
    Leave(op);
    if (--gather->due == 0) EndGather(gather);
    return;
  }
  if (op->failed && cache_.get_error == config::Cache::GetError::kError) {
    return Answer(op, translate::FailureOf(op->error, Intent::kRead));
  }
  Response rsp(Status::kValues);
  if (op->hit) {
    rsp.items.push_back(ItemOf(op));
  } else if ((op->want & proto::memcache::kWantMissKey) != 0) {
    rsp.text = op->key;
  }
  Answer(op, std::move(rsp));
}

void ProxyService::EndGather(Gather* gather) {
  Response rsp(Status::kValues);
  for (Operation* op : gather->asked) {
    if (op->failed && cache_.get_error == config::Cache::GetError::kError) {
      rsp = translate::FailureOf(op->error, Intent::kRead);
      break;
    }
    if (op->hit) rsp.items.push_back(ItemOf(op));
  }
  std::move(*gather->reply).Send(std::move(rsp));
  for (Operation* op : gather->owned) Free(op);
  gathers_.Put(gather);
}

// The operation outlives Send(), which copies short values: those are borrowed from it. A long one
// is given away, unless it is answered twice.
Item ProxyService::ItemOf(Operation* op) const {
  Item item;
  item.key = op->key;
  item.flags = op->item_flags;
  item.cas = op->item_cas;
  const absl::string_view value = op->item_value;
  if (op->askers > 1 || value.size() < core::OutBuffer::kReferenceMin) {
    item.value = core::Bytes::Borrowed(value);
  } else if (value.size() == op->buffer.size()) {
    item.value = core::Bytes(std::move(op->buffer));
  } else {
    // A string this long keeps its bytes in place when it is moved.
    auto* owner = new std::string(std::move(op->buffer));
    item.value = core::Bytes::Pinned(value, owner,
                                     [](void* p) { delete static_cast<std::string*>(p); });
  }
  return item;
}

}  // namespace proxy
