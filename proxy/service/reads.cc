// get, gets, gat, gats. See service.h.
#include <algorithm>

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

}  // namespace

void ProxyService::StartGet(Operation* op) {
  if ((op->want & proto::memcache::kWantCas) != 0) {
    return client_->GetWithHash(op->key, [op](momento::HashedGetResult result) {
      op->service->OnGotHashed(op, std::move(result));
    });
  }
  gets_.push_back(op);
  if (cache_.batch == config::Cache::Batch::kOff) SendGets();
}

// Sends what was collected: a call a key, or a call a group of keys.
void ProxyService::SendGets() {
  if (gets_.empty()) return;
  using Batch = config::Cache::Batch;
  const size_t group_max = cache_.batch == Batch::kOff ? 1 : cache_.batch_keys_max;
  if (cache_.batch == Batch::kConnection) {
    std::stable_sort(gets_.begin(), gets_.end(), [](const Operation* a, const Operation* b) {
      return std::less<const ConnectionState*>()(a->connection, b->connection);
    });
  }
  for (size_t first = 0; first < gets_.size();) {
    size_t end = std::min(first + group_max, gets_.size());
    if (cache_.batch == Batch::kConnection) {
      const ConnectionState* connection = gets_[first]->connection;
      end = std::find_if(gets_.begin() + first, gets_.begin() + end,
                         [=](const Operation* op) { return op->connection != connection; }) -
            gets_.begin();
    }
    SendGroup(gets_.data() + first, end - first);
    first = end;
  }
  gets_.clear();
  constexpr size_t kKept = 1024;
  if (gets_.capacity() > kKept) gets_ = {};
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
    op->failed = true;
    op->error = std::move(result.error);
  } else if (result.hit) {
    TakeStored(op, std::move(result.value));
  }
  if (op->hit && op->exptime.has_value()) return TouchRead(op);
  EndGet(op);
}

void ProxyService::OnGotHashed(Operation* op, momento::HashedGetResult result) {
  op->item_cas = translate::CasToken(result.hash);
  OnGot(op, momento::GetResult{std::move(result.error), result.hit, std::move(result.value)});
}

void ProxyService::TakeStored(Operation* op, std::string stored) {
  op->buffer = std::move(stored);
  const std::optional<translate::Unwrapped> item = translate::Unwrap(cache_.envelope, op->buffer);
  if (!item.has_value()) return;
  op->hit = true;
  op->item_value = item->value;
  op->item_flags = item->flags;
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
  if (op->hit) rsp.items.push_back(ItemOf(op));
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
