// See grpc_client.h.
#include "proxy/momento/grpc_client.h"

#include <type_traits>
#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proxy/momento/messages.h"

namespace proxy::momento {
namespace {

// Full names of the calls, by Rpc.
constexpr std::array<absl::string_view, kRpcNames.size()> kPaths = {
    "/cache_client.Scs/Get",        "/cache_client.Scs/GetBatch",
    "/cache_client.Scs/GetWithHash", "/cache_client.Scs/Set",
    "/cache_client.Scs/SetIf",      "/cache_client.Scs/SetIfHash",
    "/cache_client.Scs/Delete",     "/cache_client.Scs/KeysExist",
    "/cache_client.Scs/UpdateTtl",  "/cache_client.Scs/ItemGetTtl",
    "/control_client.ScsControl/FlushCache", "/cache_client.Ping/Ping"};

// A request buffer that grew past this is let go with the call.
constexpr size_t kFrameKeptBytes = 64 * 1024;

template <class Result>
struct TypedDone {
  Callback<Result> done;
  Result result;
};
using Batch = std::vector<GetResult>;
using AnyDone = std::variant<std::monostate, TypedDone<GetResult>, TypedDone<Batch>,
                             TypedDone<HashedGetResult>, TypedDone<StoreResult>,
                             TypedDone<DoneResult>, TypedDone<FoundResult>, TypedDone<TtlResult>>;

}  // namespace

// A call that knows what it asked, reads the answer into the result, and hands it over.
class GrpcCall final : public Call {
 public:
  explicit GrpcCall(GrpcClient* client) : client_(client) {}

  template <class Result>
  void Prepare(Rpc asked, Callback<Result> done) {
    rpc = asked;
    path = kPaths[static_cast<size_t>(asked)];
    names_cache = asked < Rpc::kFlushCache;
    keys = 1;
    messages = 0;
    started_ns = client_->loop_->now_ns();
    done_.emplace<TypedDone<Result>>(TypedDone<Result>{std::move(done), {}});
  }

  // REQUIRES: the call was prepared for a GetBatch.
  void ExpectBatch(size_t answers) {
    keys = answers;
    std::get<TypedDone<Batch>>(done_).result.reserve(answers);
  }

  bool OnMessage(absl::string_view message) override {
    if (++messages > keys) return false;
    if (rpc == Rpc::kGetBatch) {
      Batch* batch = result<Batch>();
      if (DecodeGet(message, &batch->emplace_back())) return true;
      batch->pop_back();
      return false;
    }
    return Decode(message);
  }

  void OnDone(Error error) override;

  Rpc rpc = Rpc::kGet;
  size_t keys = 1;      // Messages that the reply must have.
  size_t messages = 0;  // And has.
  int64_t started_ns = 0;

 private:
  template <class Result>
  Result* result() { return &std::get<TypedDone<Result>>(done_).result; }

  bool Decode(absl::string_view message) {
    switch (rpc) {
      case Rpc::kGet: return DecodeGet(message, result<GetResult>());
      case Rpc::kGetWithHash: return DecodeGetWithHash(message, result<HashedGetResult>());
      case Rpc::kSet: return DecodeSet(message, result<StoreResult>());
      case Rpc::kSetIf: return DecodeSetIf(message, result<StoreResult>());
      case Rpc::kSetIfHash: return DecodeSetIfHash(message, result<StoreResult>());
      case Rpc::kKeysExist: return DecodeKeysExist(message, result<FoundResult>());
      case Rpc::kUpdateTtl: return DecodeUpdateTtl(message, result<FoundResult>());
      case Rpc::kItemGetTtl: return DecodeItemGetTtl(message, result<TtlResult>());
      case Rpc::kDelete:
      case Rpc::kFlushCache:
      case Rpc::kPing: return DecodeEmpty(message);
      case Rpc::kGetBatch: break;
    }
    return false;
  }

  GrpcClient* const client_;
  AnyDone done_;
};

void GrpcCall::OnDone(Error how) {
  if (how.ok() && messages != keys) {
    how = Error{.code = Code::kInternal,
                  .message = absl::StrCat(messages, " messages in a reply that needs ", keys)};
    if (rpc == Rpc::kGetBatch) result<Batch>()->clear();  // Nobody knows whose they are.
  }
  client_->metrics_->CallEnded(rpc, how.code, client_->loop_->now_ns() - started_ns);
  AnyDone ended = std::exchange(done_, AnyDone());
  if (frame.capacity() > kFrameKeptBytes) frame = std::string();
  client_->Release(this);  // From here on this may be another call.
  std::visit(
      [&how](auto& one) {
        using T = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<T, TypedDone<Batch>>) {
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
      ended);
}

namespace {

// gRPC's TimeoutValue has at most eight digits.
std::string TimeoutHeader(int64_t ms) {
  return ms < 100'000'000 ? absl::StrCat(ms, "m") : absl::StrCat(ms / 1000, "S");
}

std::string Authority(const std::string& host, uint16_t port) {
  if (port == 0) return "localhost";  // A Unix address: nothing to name.
  const bool v6 = absl::StrContains(host, ':');
  return absl::StrCat(v6 ? "[" : "", host, v6 ? "]" : "", ":", port);
}

ChannelPool::Options PoolOptions(const GrpcClient::Shared& shared, const config::Cache& cache,
                                 const std::string& host, uint16_t port, int64_t deadline_ms) {
  const config::Momento& options = *shared.options;
  ChannelPool::Options pool;
  pool.endpoint = {.host = host,
                   .port = port,
                   .tls = shared.tls,
                   .connect_timeout_ms = absl::ToInt64Milliseconds(options.connect_timeout),
                   .keepalive_interval_ms = absl::ToInt64Milliseconds(options.keepalive_interval),
                   .keepalive_timeout_ms = absl::ToInt64Milliseconds(options.keepalive_timeout)};
  pool.headers = {.scheme = shared.tls != nullptr ? "https" : "http",
                  .authority = Authority(host, port),
                  .authorization = shared.credentials->authorization,
                  .cache = cache.cache_name,
                  .read_concern = cache.reads == config::Cache::Reads::kConsistent ? "consistent"
                                                                                   : "",
                  .timeout = TimeoutHeader(deadline_ms)};
  pool.deadline_ms = deadline_ms;
  return pool;
}

ChannelPool::Options DataOptions(const GrpcClient::Shared& shared, const config::Cache& cache,
                                 int connections) {
  ChannelPool::Options pool =
      PoolOptions(shared, cache, shared.credentials->cache_host, shared.credentials->cache_port,
                  absl::ToInt64Milliseconds(cache.deadline));
  pool.connections = connections;
  return pool;
}

// The control plane is slower and its connection opens with the call: it gets that time on top.
ChannelPool::Options ControlOptions(const GrpcClient::Shared& shared, const config::Cache& cache) {
  ChannelPool::Options pool = PoolOptions(
      shared, cache, shared.credentials->control_host, shared.credentials->control_port,
      absl::ToInt64Milliseconds(cache.deadline + shared.options->connect_timeout));
  pool.lazy = true;
  return pool;
}

}  // namespace

GrpcClient::GrpcClient(const Shared& shared, core::EventLoop* loop, const config::Cache& cache,
                       int connections)
    : loop_(loop),
      metrics_(shared.metrics),
      cache_name_(cache.cache_name),
      data_(loop, shared.resolver, shared.metrics, shared.log,
            DataOptions(shared, cache, connections)),
      control_(loop, shared.resolver, shared.metrics, shared.log, ControlOptions(shared, cache)) {}

GrpcClient::~GrpcClient() = default;

template <class Result>
GrpcCall* GrpcClient::NewCall(Rpc rpc, Callback<Result> done) {
  if (free_.empty()) {
    calls_.push_back(std::make_unique<GrpcCall>(this));
    free_.push_back(calls_.back().get());
  }
  GrpcCall* call = free_.back();
  free_.pop_back();
  call->Prepare<Result>(rpc, std::move(done));
  return call;
}

void GrpcClient::Get(absl::string_view key, Callback<GetResult> done) {
  GrpcCall* call = NewCall(Rpc::kGet, std::move(done));
  EncodeKey(key, &call->frame);
  data_.Start(call);
}

void GrpcClient::GetBatch(absl::Span<const absl::string_view> keys, Callback<Batch> done) {
  GrpcCall* call = NewCall(Rpc::kGetBatch, std::move(done));
  call->ExpectBatch(keys.size());
  EncodeGetBatch(keys, &call->frame);
  data_.Start(call);
}

void GrpcClient::GetWithHash(absl::string_view key, Callback<HashedGetResult> done) {
  GrpcCall* call = NewCall(Rpc::kGetWithHash, std::move(done));
  EncodeKey(key, &call->frame);
  data_.Start(call);
}

void GrpcClient::Set(absl::string_view key, absl::string_view prefix, absl::string_view body,
                     uint64_t ttl_ms, Callback<StoreResult> done) {
  GrpcCall* call = NewCall(Rpc::kSet, std::move(done));
  EncodeSet({key, prefix, body, ttl_ms}, &call->frame);
  data_.Start(call);
}

void GrpcClient::SetIf(absl::string_view key, absl::string_view prefix, absl::string_view body,
                       uint64_t ttl_ms, Condition condition, Callback<StoreResult> done) {
  GrpcCall* call = NewCall(Rpc::kSetIf, std::move(done));
  EncodeSetIf({key, prefix, body, ttl_ms}, condition, &call->frame);
  data_.Start(call);
}

void GrpcClient::SetIfHash(absl::string_view key, absl::string_view prefix,
                           absl::string_view body, uint64_t ttl_ms,
                           std::optional<absl::string_view> expected_hash,
                           Callback<StoreResult> done) {
  GrpcCall* call = NewCall(Rpc::kSetIfHash, std::move(done));
  EncodeSetIfHash({key, prefix, body, ttl_ms}, expected_hash, &call->frame);
  data_.Start(call);
}

void GrpcClient::Delete(absl::string_view key, Callback<DoneResult> done) {
  GrpcCall* call = NewCall(Rpc::kDelete, std::move(done));
  EncodeKey(key, &call->frame);
  data_.Start(call);
}

void GrpcClient::KeyExists(absl::string_view key, Callback<FoundResult> done) {
  GrpcCall* call = NewCall(Rpc::kKeysExist, std::move(done));
  EncodeKey(key, &call->frame);
  data_.Start(call);
}

void GrpcClient::UpdateTtl(absl::string_view key, uint64_t ttl_ms, Callback<FoundResult> done) {
  GrpcCall* call = NewCall(Rpc::kUpdateTtl, std::move(done));
  EncodeUpdateTtl(key, ttl_ms, &call->frame);
  data_.Start(call);
}

void GrpcClient::ItemGetTtl(absl::string_view key, Callback<TtlResult> done) {
  GrpcCall* call = NewCall(Rpc::kItemGetTtl, std::move(done));
  EncodeKey(key, &call->frame);
  data_.Start(call);
}

void GrpcClient::FlushCache(Callback<DoneResult> done) {
  GrpcCall* call = NewCall(Rpc::kFlushCache, std::move(done));
  EncodeKey(cache_name_, &call->frame);
  control_.Start(call);
}

void GrpcClient::Ping(Callback<DoneResult> done) {
  GrpcCall* call = NewCall(Rpc::kPing, std::move(done));
  EncodeEmpty(&call->frame);
  data_.Start(call);
}

void GrpcClient::Flush() {
  data_.Flush();
  control_.Flush();
}

}  // namespace proxy::momento
