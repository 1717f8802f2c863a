// See grpc_call.h.
#include "proxy/momento/grpc_call.h"

#include <array>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "proto/momento/metering.h"
#include "proxy/momento/grpc_client.h"

namespace proxy::momento {
namespace {

using Kind = config::Cache::Kind;

// Full names of the calls, by Rpc.
constexpr std::array<absl::string_view, kRpcNames.size()> kPaths = {
    "/cache_client.Scs/Get",        "/cache_client.Scs/GetBatch",
    "/cache_client.Scs/GetWithHash", "/cache_client.Scs/Set",
    "/cache_client.Scs/SetIf",      "/cache_client.Scs/SetIfHash",
    "/cache_client.Scs/Delete",     "/cache_client.Scs/KeysExist",
    "/cache_client.Scs/UpdateTtl",  "/cache_client.Scs/ItemGetTtl",
    "/cache_client.Scs/SetBatch",
    "/control_client.ScsControl/FlushCache", "/control_client.ScsControl/ListCaches",
    "/control_client.ScsControl/CreateCache", "/cache_client.Ping/Ping"};

// A request buffer that grew past this is let go with the call.
constexpr size_t kFrameKeptBytes = 64 * 1024;

Meter::Kind MeterKindOf(Rpc rpc, bool consistent) {
  switch (rpc) {
    case Rpc::kGet:
    case Rpc::kGetBatch:
    case Rpc::kGetWithHash:
    case Rpc::kKeysExist:
    case Rpc::kItemGetTtl: return consistent ? Meter::Kind::kConsistentRead : Meter::Kind::kRead;
    case Rpc::kSetIf: return Meter::Kind::kConditionalWrite;
    default: return Meter::Kind::kWrite;
  }
}

// REQUIRES: one of the two reads that are hedged.
Hedges::Of HedgedAs(Rpc rpc) {
  return rpc == Rpc::kGet ? Hedges::Of::kGet : Hedges::Of::kGetBatch;
}

}  // namespace

void GrpcCall::Begin(Rpc asked, Kind sort) {
  rpc = asked;
  kind = sort;
  path = kPaths[static_cast<size_t>(asked)];
  names_cache = asked < Rpc::kFlushCache;
  time = &(*client_->times_.back())[static_cast<size_t>(sort)];
  keys = 1;
  messages = 0;
  item_bytes.clear();
  started_ns = client_->loop_->now_ns();
  retries_ = 0;
  heir_ = true;
}

void GrpcCall::HedgeAfter(int64_t delay_ms) { client_->loop_->Arm(&hedge_timer_, delay_ms); }

// --- What comes back.

bool GrpcCall::OnMessage(absl::string_view message) {
  if (++messages > keys) return false;
  if (rpc == Rpc::kGetBatch) return Append(message, DecodeGet, result<Batch>());
  if (rpc == Rpc::kSetBatch) return Append(message, DecodeSet, result<StoreBatch>());
  return Decode(message);
}

bool GrpcCall::Decode(absl::string_view message) {
  switch (rpc) {
    case Rpc::kGet: return DecodeGet(message, result<GetResult>());
    case Rpc::kGetWithHash: return DecodeGetWithHash(message, result<HashedGetResult>());
    case Rpc::kSet: return DecodeSet(message, result<StoreResult>());
    case Rpc::kSetIf: return DecodeSetIf(message, result<StoreResult>());
    case Rpc::kSetIfHash: return DecodeSetIfHash(message, result<StoreResult>());
    case Rpc::kKeysExist: return DecodeKeysExist(message, result<FoundResult>());
    case Rpc::kUpdateTtl: return DecodeUpdateTtl(message, result<FoundResult>());
    case Rpc::kItemGetTtl: return DecodeItemGetTtl(message, result<TtlResult>());
    case Rpc::kListCaches: return DecodeListCaches(message, result<CachesResult>());
    case Rpc::kDelete:
    case Rpc::kFlushCache:
    case Rpc::kCreateCache:
    case Rpc::kPing: return DecodeEmpty(message);
    case Rpc::kGetBatch:
    case Rpc::kSetBatch: break;
  }
  return false;
}

void GrpcCall::ForgetResult() {
  messages = 0;
  std::visit(
      [](auto& one) {
        using T = std::decay_t<decltype(one)>;
        if constexpr (!std::is_same_v<T, std::monostate>) one.result = {};
      },
      done_);
}

void GrpcCall::Measure(const Error& how) {
  Meter* const meter = client_->meter_;
  if (meter == nullptr || item_bytes.empty()) return;
  const Meter::Kind measured = MeterKindOf(rpc, client_->consistent_);
  if (!how.ok()) {
    if (how.sent) meter->Doubt(measured, item_bytes);
    return;
  }
  const auto one = [&](const std::string& value) {
    const uint64_t told = value.size();
    meter->Count(measured, item_bytes, absl::MakeConstSpan(&told, 1));
  };
  if (rpc == Rpc::kGet) return one(result<GetResult>()->value);
  if (rpc == Rpc::kGetWithHash) return one(result<HashedGetResult>()->value);
  if (rpc != Rpc::kGetBatch) return meter->Count(measured, item_bytes, {});
  std::vector<uint64_t>& told = client_->told_;
  told.clear();
  for (const GetResult& got : *result<Batch>()) told.push_back(got.value.size());
  meter->Count(measured, item_bytes, told);
}

// --- The end, or what comes instead of it.

void GrpcCall::OnDone(Error how) {
  hedge_timer_.Cancel();
  if (how.ok() && messages != keys) {
    how = Error{.code = Code::kInternal,
                .message = absl::StrCat(messages, " messages in a reply that needs ", keys)};
    // Nobody knows whose they are.
    if (rpc == Rpc::kGetBatch) result<Batch>()->clear();
    if (rpc == Rpc::kSetBatch) result<StoreBatch>()->clear();
  }
  if (twin_ != nullptr && !EndOfPair(how)) [[unlikely]] return;
  if (!how.ok() && TryAgain(how)) [[unlikely]] return;
  Finish(std::move(how));
}

bool GrpcCall::AdmitExtra(int64_t pause_ms) const {
  if (client_->observer_ == nullptr || !names_cache) return true;
  ExtraCall extra{.pause_ms = pause_ms};
  for (const uint64_t bytes : item_bytes) {
    extra.operations += proto::momento::OperationsOf(bytes);
    extra.bytes += bytes;
  }
  if (rpc == Rpc::kSetIf) extra.operations *= proto::momento::kSetIfFactor;
  return client_->observer_->AdmitExtra(extra);
}

bool GrpcCall::TryAgain(const Error& how) {
  const std::optional<int64_t> pause_ms = client_->retries_.PauseBefore(
      {.kind = kind,
       .operations = keys,
       .retries = retries_,
       .left_ms = deadline_ms - client_->loop_->now_ms()},
      how,
      // What the service has not seen it has not counted: the turn taken for it still is to be had.
      [&](int64_t pause) { return !how.sent || AdmitExtra(pause); });
  if (!pause_ms.has_value()) return false;
  Measure(how);
  ForgetResult();
  ++retries_;
  pool->StartAgain(this, *pause_ms);
  return true;
}

void GrpcCall::OnHedgeDue() {
  Metrics& metrics = *client_->metrics_;
  if (connection == nullptr) return;  // It still waits for a connection, as a second one would.
  if (!pool->HasPlaceBeside(*this)) return metrics.hedge_unplaced.Add();
  if (!client_->hedges_.Affords(keys)) return metrics.hedge_refused.Add();
  if (!AdmitExtra(0)) return metrics.hedge_limited.Add();
  client_->hedges_.Spend(keys);
  metrics.hedge_sent.Add();
  twin_ = client_->TakeFree();
  if (rpc == Rpc::kGet) {
    twin_->Prepare<GetResult>(rpc, kind, nullptr);
  } else {
    twin_->Prepare<Batch>(rpc, kind, nullptr);
    twin_->Expect<Batch>(keys);
  }
  twin_->item_bytes = item_bytes;
  twin_->frame = frame;
  twin_->heir_ = false;
  twin_->twin_ = this;
  pool->StartBeside(*this, twin_);
}

bool GrpcCall::EndOfPair(const Error& how) {
  GrpcCall* const other = std::exchange(twin_, nullptr);
  other->twin_ = nullptr;
  if (!how.ok()) {
    if (heir_) other->Inherit(this);
    Leave(how);
    return false;
  }
  if (!heir_) {
    client_->metrics_->hedge_won.Add();
    Inherit(other);
  }
  const bool sent = pool->Abandon(other);
  other->Leave(Error{.code = Code::kCancelled, .sent = sent});
  return true;
}

void GrpcCall::Inherit(GrpcCall* from) {
  std::visit(
      [from](auto& one) {
        using T = std::decay_t<decltype(one)>;
        if constexpr (!std::is_same_v<T, std::monostate>) {
          one.done = std::move(std::get<T>(from->done_).done);
        }
      },
      done_);
  started_ns = from->started_ns;
  waited_ms = from->waited_ms;
  retries_ = from->retries_;
  heir_ = true;
}

void GrpcCall::Leave(const Error& how) {
  Measure(how);
  done_ = AnyDone();
  client_->Release(this);
}

void GrpcCall::Finish(Error how) {
  const int64_t took_ns = client_->loop_->now_ns() - started_ns;
  if (!how.ok()) [[unlikely]] {
    client_->NoteFailure(&how);
  } else if (retries_ > 0) [[unlikely]] {
    client_->metrics_->retry_succeeded.Add();
  } else if (client_->hedges_.on() && (rpc == Rpc::kGet || rpc == Rpc::kGetBatch)) {
    client_->hedges_.Record(HedgedAs(rpc), took_ns);
  }
  client_->metrics_->CallEnded(rpc, how.code, took_ns);
  if (client_->observer_ != nullptr && names_cache) {
    client_->observer_->OnCallEnded(how, took_ns, waited_ms);
  }
  Measure(how);
  AnyDone owed = std::exchange(done_, AnyDone());
  if (frame.capacity() > kFrameKeptBytes) frame = std::string();
  client_->Release(this);  // From here on this may be another call.
  std::visit(
      [&how](auto& one) {
        using T = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<T, TypedDone<Batch>> ||
                      std::is_same_v<T, TypedDone<StoreBatch>>) {
          if (!how.ok()) one.result.emplace_back().error = std::move(how);
          one.done(std::move(one.result));
        } else if constexpr (!std::is_same_v<T, std::monostate>) {
          if (!how.ok()) {
            one.result = {};
            one.result.error = std::move(how);
          }
          one.done(std::move(one.result));
        }
      },
      owed);
}

}  // namespace proxy::momento
