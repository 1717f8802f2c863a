// See grpc_client.h.
#include "proxy/momento/grpc_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/momento/grpc_call.h"
#include "proxy/momento/messages.h"

namespace proxy::momento {
namespace {

// gRPC's TimeoutValue has at most eight digits.
std::string TimeoutHeader(int64_t ms) {
  return ms < 100'000'000 ? absl::StrCat(ms, "m") : absl::StrCat(ms / 1000, "S");
}

CallTime TimeOf(absl::Duration deadline) {
  const int64_t ms = absl::ToInt64Milliseconds(deadline);
  return {.ms = ms, .header = TimeoutHeader(ms)};
}

std::array<CallTime, config::Cache::kKinds> TimesOf(const config::Cache& cache,
                                                    absl::Duration connect_timeout) {
  using Kind = config::Cache::Kind;
  std::array<CallTime, config::Cache::kKinds> times;
  for (const Kind kind : {Kind::kRead, Kind::kWrite, Kind::kUpdate}) {
    times[static_cast<size_t>(kind)] = TimeOf(cache.DeadlineOf(kind));
  }
  // The control plane is slower and its connection opens with the call: unless told otherwise it
  // gets that time on top.
  const bool told = cache.control_deadline.has_value();
  times[static_cast<size_t>(Kind::kControl)] =
      TimeOf(cache.DeadlineOf(Kind::kControl) + (told ? absl::ZeroDuration() : connect_timeout));
  return times;
}

ChannelPool::Options PoolOptions(const GrpcClient::Shared& shared, const config::Cache& cache,
                                 ChannelPool::Plane plane) {
  const config::Momento& options = *shared.options;
  ChannelPool::Options pool;
  pool.account = shared.account;
  pool.plane = plane;
  pool.endpoint = {.tls = shared.tls,
                   .connect_timeout_ms = absl::ToInt64Milliseconds(options.connect_timeout),
                   .keepalive_interval_ms = absl::ToInt64Milliseconds(options.keepalive_interval),
                   .keepalive_timeout_ms = absl::ToInt64Milliseconds(options.keepalive_timeout),
                   .resolve_interval_ms = absl::ToInt64Milliseconds(options.resolve_interval)};
  pool.headers = {.scheme = shared.tls != nullptr ? "https" : "http",
                  .cache = cache.cache_name,
                  .read_concern = cache.reads == config::Cache::Reads::kConsistent ? "consistent"
                                                                                   : ""};
  return pool;
}

ChannelPool::Options DataOptions(const GrpcClient::Shared& shared, const config::Cache& cache,
                                 int connections) {
  ChannelPool::Options pool = PoolOptions(shared, cache, ChannelPool::Plane::kData);
  pool.connections = connections;
  return pool;
}

ChannelPool::Options ControlOptions(const GrpcClient::Shared& shared, const config::Cache& cache) {
  ChannelPool::Options pool = PoolOptions(shared, cache, ChannelPool::Plane::kControl);
  pool.lazy = true;
  return pool;
}

}  // namespace

GrpcClient::GrpcClient(const Shared& shared, core::EventLoop* loop, const config::Cache& cache,
                       int connections, Meter* meter)
    : loop_(loop),
      metrics_(shared.metrics),
      meter_(meter),
      consistent_(cache.reads == config::Cache::Reads::kConsistent),
      account_(shared.account),
      cache_name_(cache.cache_name),
      connect_timeout_(shared.options->connect_timeout),
      retries_(cache, shared.metrics,
               static_cast<uint32_t>(loop->clock().MonotonicNs() ^
                                     reinterpret_cast<intptr_t>(this) >> 4)),
      hedges_(cache),
      data_(loop, shared.resolver, shared.metrics, shared.log,
            DataOptions(shared, cache, connections)),
      control_(loop, shared.resolver, shared.metrics, shared.log, ControlOptions(shared, cache)) {
  Retune(cache);
}

void GrpcClient::Retune(const config::Cache& cache) {
  const Times fresh = TimesOf(cache, connect_timeout_);
  if (times_.empty() || *times_.back() != fresh) {
    times_.push_back(std::make_unique<const Times>(fresh));
  }
}

GrpcClient::~GrpcClient() = default;

GrpcCall* GrpcClient::TakeFree() {
  if (free_.empty()) {
    calls_.push_back(std::make_unique<GrpcCall>(this));
    free_.push_back(calls_.back().get());
  }
  GrpcCall* call = free_.back();
  free_.pop_back();
  return call;
}

template <class Result>
GrpcCall* GrpcClient::NewCall(Rpc rpc, Kind kind, Callback<Result> done) {
  GrpcCall* call = TakeFree();
  call->Prepare<Result>(rpc, kind, std::move(done));
  return call;
}

void GrpcClient::Start(ChannelPool* plane, GrpcCall* call) {
  retries_.Earn(call->keys);
  call->waited_ms = std::exchange(waited_ms_, 0);
  plane->Start(call);
}

void GrpcClient::StartHedged(GrpcCall* call, Hedges::Of what) {
  Start(&data_, call);
  if (!hedges_.on()) return;
  if (const std::optional<int64_t> delay_ms = hedges_.DelayOf(what, call->keys)) {
    call->HedgeAfter(*delay_ms);
  }
}

void GrpcClient::Get(absl::string_view key, Callback<GetResult> done) {
  GrpcCall* call = NewCall(Rpc::kGet, Kind::kRead, std::move(done));
  call->item_bytes.push_back(key.size());
  EncodeKey(key, &call->frame);
  StartHedged(call, Hedges::Of::kGet);
}

void GrpcClient::GetBatch(absl::Span<const absl::string_view> keys, Callback<std::vector<GetResult>> done) {
  GrpcCall* call = NewCall(Rpc::kGetBatch, Kind::kRead, std::move(done));
  call->Expect<std::vector<GetResult>>(keys.size());
  for (absl::string_view key : keys) call->item_bytes.push_back(key.size());
  EncodeGetBatch(keys, &call->frame);
  StartHedged(call, Hedges::Of::kGetBatch);
}

void GrpcClient::GetWithHash(absl::string_view key, Callback<HashedGetResult> done) {
  GrpcCall* call = NewCall(Rpc::kGetWithHash, Kind::kRead, std::move(done));
  call->item_bytes.push_back(key.size());
  EncodeKey(key, &call->frame);
  Start(&data_, call);
}

void GrpcClient::Set(absl::string_view key, absl::string_view prefix, absl::string_view body,
                     uint64_t ttl_ms, Callback<StoreResult> done) {
  GrpcCall* call = NewCall(Rpc::kSet, Kind::kWrite, std::move(done));
  call->item_bytes.push_back(key.size() + prefix.size() + body.size());
  EncodeSet({key, prefix, body, ttl_ms}, &call->frame);
  Start(&data_, call);
}

void GrpcClient::SetBatch(absl::Span<const StoreItem> items, Callback<std::vector<StoreResult>> done) {
  GrpcCall* call = NewCall(Rpc::kSetBatch, Kind::kWrite, std::move(done));
  call->Expect<std::vector<StoreResult>>(items.size());
  for (const StoreItem& item : items) {
    call->item_bytes.push_back(item.key.size() + item.prefix.size() + item.body.size());
  }
  EncodeSetBatch(items, &call->frame);
  Start(&data_, call);
}

void GrpcClient::SetIf(absl::string_view key, absl::string_view prefix, absl::string_view body,
                       uint64_t ttl_ms, Condition condition, Callback<StoreResult> done) {
  GrpcCall* call = NewCall(Rpc::kSetIf, Kind::kUpdate, std::move(done));
  call->item_bytes.push_back(key.size() + prefix.size() + body.size());
  EncodeSetIf({key, prefix, body, ttl_ms}, condition, &call->frame);
  Start(&data_, call);
}

void GrpcClient::SetIfHash(absl::string_view key, absl::string_view prefix,
                           absl::string_view body, uint64_t ttl_ms,
                           std::optional<absl::string_view> expected_hash,
                           Callback<StoreResult> done) {
  GrpcCall* call = NewCall(Rpc::kSetIfHash, expected_hash.has_value() ? Kind::kUpdate : Kind::kWrite,
                           std::move(done));
  call->item_bytes.push_back(key.size() + prefix.size() + body.size());
  EncodeSetIfHash({key, prefix, body, ttl_ms}, expected_hash, &call->frame);
  Start(&data_, call);
}

void GrpcClient::Delete(absl::string_view key, Callback<DoneResult> done) {
  GrpcCall* call = NewCall(Rpc::kDelete, Kind::kWrite, std::move(done));
  call->item_bytes.push_back(key.size());
  EncodeKey(key, &call->frame);
  Start(&data_, call);
}

void GrpcClient::KeyExists(absl::string_view key, Callback<FoundResult> done) {
  GrpcCall* call = NewCall(Rpc::kKeysExist, Kind::kRead, std::move(done));
  call->item_bytes.push_back(key.size());
  EncodeKey(key, &call->frame);
  Start(&data_, call);
}

void GrpcClient::UpdateTtl(absl::string_view key, uint64_t ttl_ms, Callback<FoundResult> done) {
  GrpcCall* call = NewCall(Rpc::kUpdateTtl, Kind::kWrite, std::move(done));
  call->item_bytes.push_back(key.size());
  EncodeUpdateTtl(key, ttl_ms, &call->frame);
  Start(&data_, call);
}

void GrpcClient::ItemGetTtl(absl::string_view key, Callback<TtlResult> done) {
  GrpcCall* call = NewCall(Rpc::kItemGetTtl, Kind::kRead, std::move(done));
  call->item_bytes.push_back(key.size());
  EncodeKey(key, &call->frame);
  Start(&data_, call);
}

void GrpcClient::FlushCache(Callback<DoneResult> done) {
  GrpcCall* call = NewCall(Rpc::kFlushCache, Kind::kControl, std::move(done));
  EncodeKey(cache_name_, &call->frame);
  Start(&control_, call);
}

void GrpcClient::Ping(Callback<DoneResult> done) {
  GrpcCall* call = NewCall(Rpc::kPing, Kind::kRead, std::move(done));
  EncodeEmpty(&call->frame);
  Start(&data_, call);
}

void GrpcClient::ListCaches(absl::string_view token, Callback<CachesResult> done) {
  GrpcCall* call = NewCall(Rpc::kListCaches, Kind::kControl, std::move(done));
  if (token.empty()) {
    EncodeEmpty(&call->frame);
  } else {
    EncodeKey(token, &call->frame);
  }
  Start(&control_, call);
}

void GrpcClient::CreateCache(absl::string_view name, Callback<DoneResult> done) {
  GrpcCall* call = NewCall(Rpc::kCreateCache, Kind::kControl, std::move(done));
  EncodeKey(name, &call->frame);
  Start(&control_, call);
}

void GrpcClient::NoteFailure(Error* error) {
  // An error's text is the service's, and goes to logs and clients: it must not repeat the key.
  Scrub(account_->current()->authorization, &error->message);
  if (error->code == Code::kUnauthenticated || error->code == Code::kPermissionDenied) {
    account_->NoteRejected();
  }
}

void GrpcClient::Flush() {
  data_.Flush();
  control_.Flush();
}

}  // namespace proxy::momento
