// Client over gRPC: each method encodes its request into a call, and the call decodes its reply.
//
// Calls are kept and reused, with their buffers: a Get in a warm client allocates what the HTTP/2
// library needs and the value it returns. What a call does on its way is in grpc_call.h.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "config/momento.h"
#include "core/log/log.h"
#include "core/net/event_loop.h"
#include "proxy/momento/channel_pool.h"
#include "proxy/momento/client.h"
#include "proxy/momento/account.h"
#include "proxy/momento/credentials.h"
#include "proxy/momento/hedges.h"
#include "proxy/momento/meter.h"
#include "proxy/momento/metrics.h"
#include "proxy/momento/retries.h"

namespace proxy::momento {

class GrpcCall;

class GrpcClient final : public Client {
 public:
  // What comes from the Backend and outlives the client.
  struct Shared {
    const config::Momento* options;
    Account* account;  // Whose calls they are.
    const TlsContext* tls;  // Null: plaintext.
    Resolver* resolver;
    Metrics* metrics;
    core::Log* log;  // May be null.
  };
  GrpcClient(const Shared& shared, core::EventLoop* loop, const config::Cache& cache,
             int connections, Meter* meter = nullptr);
  ~GrpcClient() override;

  void Get(absl::string_view key, Callback<GetResult> done) override;
  void GetBatch(absl::Span<const absl::string_view> keys,
                Callback<std::vector<GetResult>> done) override;
  void GetWithHash(absl::string_view key, Callback<HashedGetResult> done) override;
  void Set(absl::string_view key, absl::string_view prefix, absl::string_view body,
           uint64_t ttl_ms, Callback<StoreResult> done) override;
  void SetBatch(absl::Span<const StoreItem> items,
                Callback<std::vector<StoreResult>> done) override;
  void SetIf(absl::string_view key, absl::string_view prefix, absl::string_view body,
             uint64_t ttl_ms, Condition condition, Callback<StoreResult> done) override;
  void SetIfHash(absl::string_view key, absl::string_view prefix, absl::string_view body,
                 uint64_t ttl_ms, std::optional<absl::string_view> expected_hash,
                 Callback<StoreResult> done) override;
  void Delete(absl::string_view key, Callback<DoneResult> done) override;
  void KeyExists(absl::string_view key, Callback<FoundResult> done) override;
  void UpdateTtl(absl::string_view key, uint64_t ttl_ms, Callback<FoundResult> done) override;
  void ItemGetTtl(absl::string_view key, Callback<TtlResult> done) override;
  void FlushCache(Callback<DoneResult> done) override;
  void Ping(Callback<DoneResult> done) override;
  // Control plane, of the whole account. `token`: a previous result's next_token, or empty.
  void ListCaches(absl::string_view token, Callback<CachesResult> done);
  // kAlreadyExists when there is such a cache.
  void CreateCache(absl::string_view name, Callback<DoneResult> done);

  void Retune(const config::Cache& cache) override;
  void Flush() override;
  int ready_connections() const override { return data_.ready_connections(); }

 private:
  friend class GrpcCall;
  using Kind = config::Cache::Kind;
  // A call that nobody has.
  GrpcCall* TakeFree();
  // A free call that will do `rpc` and then `done`.
  template <class Result>
  GrpcCall* NewCall(Rpc rpc, Kind kind, Callback<Result> done);
  // Its request is complete.
  void Start(ChannelPool* plane, GrpcCall* call);
  // The same for a read that may be hedged.
  void StartHedged(GrpcCall* call, Hedges::Of what);
  // A call of this client failed.
  void NoteFailure(Error* error);
  void Release(GrpcCall* call) { free_.push_back(call); }

  core::EventLoop* loop_;
  Metrics* metrics_;
  Meter* const meter_;  // Null: nothing is metered.
  const bool consistent_;
  Account* account_;
  const std::string cache_name_;
  using Times = std::array<CallTime, config::Cache::kKinds>;  // By Kind.
  const absl::Duration connect_timeout_;
  // The last is in force. Those before stay: calls under way, and headers that the HTTP/2 library has
  // not written yet, point into them.
  std::vector<std::unique_ptr<const Times>> times_;
  Retries retries_;
  Hedges hedges_;

  std::vector<std::unique_ptr<GrpcCall>> calls_;  // All; the pools have those not in free_.
  std::vector<GrpcCall*> free_;
  std::vector<uint64_t> told_;  // Of the batch being measured.
  ChannelPool data_;     // The pools let go of their calls before calls_ is destroyed.
  ChannelPool control_;  // Opened by the first call of the control plane.
};

}  // namespace proxy::momento
