// get, gets, gat, gats, mg, me. See service.h.
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

// A get whose answer tells the token, or depends on it.
bool NeedsToken(const Operation& op) {
  return (op.want & proto::memcache::kWantCas) != 0 || op.cas.has_value();
}

// A get that must know how long the item lives: to tell it, or to win the item if that is not long.
// One that sets the life knows what it will be.
bool AsksForTtl(const Operation& op) {
  const bool sets = op.exptime.has_value();
  const bool told = (op.want & proto::memcache::kWantTtl) != 0 && (!sets || op.old_ttl_told);
  return told || (op.recache_below_ms != 0 && (!sets || op.old_ttl_judged));
}

// A get that shares calls and copies.
bool IsPlain(const Operation& op) {
  return !op.exptime.has_value() && !AsksForToken(op) && !AsksForTtl(op);
}

// What gets that may share a call have in common.
uint64_t FlightOf(const Operation& op) {
  constexpr uint64_t kTimed = 0x9e3779b97f4a7c15;  // Any odd constant.
  return AsksForTtl(op) ? op.key_hash ^ kTimed : op.key_hash;
}

// Adds the answer of `op` to what that of its command takes, and lets its value go if that is too much.
void AddToAnswer(Operation* op, Gather* gather) {
  if (!op->hit) return;
  gather->answer_bytes += op->askers * proto::memcache::AnswerBytes(op->key, op->item_value);
  if (gather->answer_bytes <= proto::memcache::kAnswerBytesMax) [[likely]] return;
  op->item_value = {};
  op->buffer = std::string();
}

}  // namespace

void ProxyService::StartGet(Operation* op) {
  if (AsksForToken(*op) && !AsksForTtl(*op)) {
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
    if (AsksForTtl(*op)) [[unlikely]] {
      const bool shares = !op->exptime.has_value() && !AsksForToken(*op);
      if (!shares || !Join(op)) timed_gets_.push_back(op);
      continue;
    }
    if (!op->exptime.has_value() && (AnswerNear(op) || Join(op))) continue;
    gets_[kept++] = op;
  }
  gets_.resize(kept);
  if (cache_.reads == config::Cache::Reads::kConsistent) flights_.clear();
  for (Operation* op : timed_gets_) ReadWithTtl(op);
  timed_gets_.clear();
  SendInGroups(&gets_, [this](Operation* const* first, size_t count) { SendGroup(first, count); });
}

bool ProxyService::AnswerNear(Operation* op) {
  if (near_ == nullptr) return false;
  // A copy does not have the nonce that is part of the token.
  if (cache_.envelope == config::Cache::Envelope::kNonce && NeedsToken(*op)) return false;
  // An item of which nothing is known but that it was not there may be there, and not be to be made.
  const NearCache::Look look{.counts = !op->no_bump, .misses = !op->vivify_exptime.has_value()};
  const NearCache::Answer answer = near_->Find(op->key, look, &op->buffer, &op->item_flags);
  if (answer == NearCache::Answer::kUnknown) return false;
  op->hit = answer == NearCache::Answer::kHit;
  op->item_value = op->buffer;
  if (NeedsToken(*op)) op->item_cas = TokenOfCopy(*op);
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
  const auto [at, first] = flights_.try_emplace(FlightOf(*op), op);
  if (first) return false;
  Operation* leader = at->second;
  const bool young = 2 * (op->sent_ms - leader->sent_ms) < DeadlineMs(config::Cache::Kind::kRead);
  if (young && leader->moment == op->moment && !op->moment.all_written() &&
      leader->key == op->key) {
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
  if (op->won) [[unlikely]] return Arrive(op);  // It has been handed the item (wins.cc).
  if (!result.error.ok()) {
    op->error = std::move(result.error);
    op->failed = !IsPlain(*op) || !AnswerStale(op);
  } else if (result.hit) {
    TakeStored(op, std::move(result.value));
  }
  if (near_ != nullptr && op->error.ok() && IsPlain(*op) && !op->item_state.has_value()) {
    KeepRead(*op);
  }
  Arrive(op);
}

// What the service knows of the item is there.
void ProxyService::Arrive(Operation* op) {
  if (!op->exptime.has_value()) [[likely]] return Land(op);
  if (Contends(*op)) return Contend(op);
  if (op->hit && !op->made) return TouchRead(op);
  EndGet(op);
}

// Ends a get and those that follow it. The first of them that contends for the item takes the others
// that do along; the rest is answered with what was read.
void ProxyService::Land(Operation* op) {
  const auto flight = flights_.find(FlightOf(*op));
  if (flight != flights_.end() && flight->second == op) flights_.erase(flight);
  constexpr size_t kIdleCapacityMax = 1024;
  if (flights_.empty() && flights_.capacity() > kIdleCapacityMax) flights_ = {};
  OperationQueue followers = std::exchange(op->followers, OperationQueue());
  for (Operation* one = followers.head(); one != nullptr; one = one->next) {
    if (!one->won) one->TakeAnswerOf(*op);
  }
  Operation* contender = nullptr;
  const auto end = [&](Operation* one) {
    if (!Contends(*one)) [[likely]] return EndGet(one);
    if (contender != nullptr) return contender->followers.Push(one);
    contender = one;
  };
  end(op);
  while (!followers.empty()) end(followers.Pop());
  if (contender != nullptr) [[unlikely]] Contend(contender);
}

void ProxyService::OnGotHashed(Operation* op, momento::HashedGetResult result) {
  OnGot(op, momento::GetResult{std::move(result.error), result.hit, std::move(result.value)});
}

// The item and how long it lives, with the hash that a win is stored on. The two calls see different
// moments: what one of them misses has come or gone in between, and is taken for absent.
void ProxyService::ReadWithTtl(Operation* op) {
  op->answers_due = 2;
  client_->GetWithHash(op->key, [op](momento::HashedGetResult result) {
    op->read = std::move(result);
    if (--op->answers_due == 0) op->service->OnReadWithTtl(op);
  });
  client_->ItemGetTtl(op->key, [op](momento::TtlResult result) {
    op->read_ttl = std::move(result);
    if (--op->answers_due == 0) op->service->OnReadWithTtl(op);
  });
}

void ProxyService::OnReadWithTtl(Operation* op) {
  if (op->won) return Arrive(op);  // As in OnGot().
  op->hit = false;
  momento::Error& error = op->read.error.ok() ? op->read_ttl.error : op->read.error;
  if (!error.ok()) {
    op->failed = true;
    op->error = std::move(error);
  } else if (op->read.hit && op->read_ttl.found) {
    op->item_ttl_ms = op->read_ttl.ttl_ms;
    TakeStored(op, std::move(op->read.value));
  }
  if (op->op == proto::memcache::Op::kDebug) return EndDebug(op);
  Arrive(op);
}

void ProxyService::TakeStored(Operation* op, std::string stored) {
  op->buffer = std::move(stored);
  const std::optional<translate::Unwrapped> item = translate::Unwrap(cache_.envelope, op->buffer);
  if (!item.has_value()) return;
  op->hit = true;
  op->item_value = item->value;
  op->item_flags = item->flags;
  op->item_cas = translate::TokenOf(*item, op->buffer);
  op->item_state = item->state;
}

// gat: read first, so that a miss costs one call, then touch; the item is answered only if it was
// still there to be touched.
void ProxyService::TouchRead(Operation* op) {
  if (!turn_open_) loop_->KeepAwake();
  SetTtl(op);
  if (!op->old_ttl_told) op->item_ttl_ms = op->gone ? 0 : op->ttl_ms;
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
    AddToAnswer(op, gather);
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

void ProxyService::EndDebug(Operation* op) {
  if (op->failed) return Fail(op, op->error, Intent::kRead);
  if (!op->hit) return Answer(op, Response(Status::kNotFound));
  Response rsp(Status::kDebug);
  rsp.items.push_back(ItemOf(op));
  Answer(op, std::move(rsp));
}

void ProxyService::EndGather(Gather* gather) {
  Response rsp(Status::kValues);
  if (gather->answer_bytes > proto::memcache::kAnswerBytesMax) [[unlikely]] {
    rsp = Response::AnswerTooLong();
  }
  for (Operation* op : gather->asked) {
    if (op->failed && cache_.get_error == config::Cache::GetError::kError) {
      rsp = translate::FailureOf(op->error, Intent::kRead);
      break;
    }
    if (op->hit && rsp.status == Status::kValues) rsp.items.push_back(ItemOf(op));
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
  if (!op->made || !op->old_ttl_told) item.ttl_sec = translate::SecondsOf(op->item_ttl_ms);
  item.access_known = false;
  item.unchanged = op->cas.has_value() && *op->cas == op->item_cas;
  item.won = op->won;
  if (op->item_state.has_value()) {
    item.stale = op->item_state->stale;
    item.win_taken = op->item_state->win_taken && !op->won;
  }
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
