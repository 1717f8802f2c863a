// Life and reuse of operations; see operation.h.
#include "proxy/service/operation.h"

#include "proxy/service/service.h"

namespace proxy {
namespace {

constexpr size_t kKeptStringMax = 512;  // Longer buffers go back to the allocator at once.

void Empty(std::string* text) {
  if (text->capacity() > kKeptStringMax) {
    *text = std::string();
  } else {
    text->clear();
  }
}

}  // namespace

void Operation::OnTimer() {
  if (op == proto::memcache::Op::kGet) return service->ReadForWin(this);
  service->ReadForUpdate(this);
}

void Operation::TakeAnswerOf(const Operation& other) {
  hit = other.hit;
  failed = other.failed;
  error = other.error;
  gave_up = other.gave_up;
  item_flags = other.item_flags;
  item_cas = other.item_cas;
  item_ttl_ms = other.item_ttl_ms;
  item_state = other.item_state;
  buffer.assign(other.item_value.data(), other.item_value.size());
  item_value = buffer;
}

void Operation::Reset() {
  Cancel();
  using proto::memcache::Op;
  using proto::memcache::Status;
  using proto::memcache::StoreMode;
  service = nullptr;
  connection = nullptr;
  next = earlier_get = later_get = nullptr;
  op = Op::kNoop;
  mode = StoreMode::kSet;
  decrement = value_too_large = exclusive = false;
  want = 0;
  flags = 0;
  exptime.reset();
  cas.reset();
  delta = key_hash = counted_bytes = 0;
  initial.reset();
  initial_exptime = 0;
  vivify_exptime.reset();
  recache_below_ms = 0;
  new_cas.reset();
  invalidate = drop_value = no_bump = may_win = old_ttl_told = old_ttl_judged = false;
  Empty(&key);
  Empty(&buffer);
  body = item_value = absl::string_view();
  reply.reset();
  gather = nullptr;
  askers = 1;
  hit = failed = gone = updating = timed_out = marked = stored = false;
  rounds = 0;
  answers_due = 0;
  ttl_ms = 0;
  admitted_ms = update_started_ms = sent_ms = 0;
  number = value_bytes = 0;
  item_flags = 0;
  item_cas = item_ttl_ms = 0;
  item_state.reset();
  new_state.reset();
  won = made = gave_up = false;
  if (!error.ok()) error = momento::Error();
  if (!read.value.empty() || !read.hash.empty() || !read.error.ok()) {
    read = momento::HashedGetResult();
  }
  if (!read_ttl.error.ok()) read_ttl = momento::TtlResult();
  after = Status::kError;
}

void Gather::Reset() {
  reply.reset();
  // A huge command must not leave huge tables behind.
  constexpr size_t kKept = 256;
  if (asked.capacity() > kKept) {
    asked = {};
    owned = {};
  }
  asked.clear();
  owned.clear();
  due = 0;
  answer_bytes = 0;
  if (by_key.capacity() > 2 * kKept) by_key = {};
  by_key.clear();
}

}  // namespace proxy
