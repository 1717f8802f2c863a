#include "cache/local/server.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cache/local/address.h"
#include "cache/local/directory.h"
#include "cache/local/faults.h"
#include "cache/local/metrics.h"
#include "cache/local/services.h"
#include "cache/local/tokens.h"
#include "core/base/mutex.h"
#include "core/base/status.h"

namespace cache::local {
namespace {

constexpr uint64_t kSegmentRounding = 64 * config::kKB;
constexpr uint64_t kSegmentBytesMax = 8 * config::kMB;  // The engine's (config/seg.h).
constexpr int64_t kMessageBytesMin = 16 * config::kMB;  // SDKs send up to 10,486,000 bytes.
constexpr int kStreamsPerConnection = 100;              // The service's.
constexpr double kTickSeconds = 1;                      // What seg::Cache::Tick asks for.

// The engine as configured, with segments that an item of `item_bytes` fits.
absl::StatusOr<config::Seg> EngineFor(const config::Seg& engine, uint64_t item_bytes) {
  const uint64_t needed = item_bytes + Store::kOverheadBytesMax;
  const uint64_t rounded = (needed + kSegmentRounding - 1) / kSegmentRounding * kSegmentRounding;
  if (rounded > kSegmentBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "local.item_size_max: ", item_bytes,
        " bytes do not fit a segment of the engine, which has ", "at most ", kSegmentBytesMax));
  }
  config::Seg fitted = engine;
  fitted.segment_size = std::max(engine.segment_size, rounded);
  return fitted;
}

// Whether a heap of these sizes can be made, so that no client is the first to learn that not.
absl::Status TryEngine(const config::Seg& engine, const core::Clock* clock, uint64_t item_bytes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, Store::Create(engine, clock, "trial"));
  if (store->item_bytes_max() < item_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("local.item_size_max: ", item_bytes,
                                                   " bytes, but the engine takes at most ",
                                                   store->item_bytes_max()));
  }
  return absl::OkStatus();
}

void Tune(grpc::ServerBuilder* builder, uint64_t item_bytes) {
  const int64_t message_bytes = std::max(
      kMessageBytesMin, static_cast<int64_t>(2 * item_bytes));  // Key and value, twice over.
  builder->SetMaxReceiveMessageSize(static_cast<int>(message_bytes));
  builder->SetMaxSendMessageSize(-1);
  // SDKs ping idle connections every 5 seconds; the library's defaults would close them for it.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
  // Two servers on one port would share its clients by chance; the second must fail instead.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

}  // namespace

class LocalServer::Impl {
 public:
  Impl(const config::Local& options, const config::Seg& engine, Address address,
       const core::Clock* clock, core::Registry* registry, core::Log* log)
      : address_(std::move(address)),
        log_(log),
        directory_(std::make_shared<Directory>(engine, clock, options.caches_max)),
        metrics_(registry, directory_),
        tokens_(options.token, options.token_file),
        quota_(options.operations_per_second, clock) {
    context_.directory = directory_.get();
    context_.faults = &faults_;
    context_.metrics = &metrics_;
    context_.limits = {.item_bytes = options.item_size_max,
                       .ttl_ms = absl::ToInt64Milliseconds(options.ttl_max)};
    context_.tokens = &tokens_;
    context_.quota = &quota_;
    context_.create_unknown = options.create_unknown;
    context_.unix_path = address_.unix_path;
  }
  ~Impl() { Shutdown(absl::ZeroDuration()); }

  absl::Status Start() {
    RETURN_IF_ERROR(tokens_.Read());
    grpc::ServerBuilder builder;
    Tune(&builder, context_.limits.item_bytes);
    // The port is written before the first call can arrive.
    builder.AddListeningPort(address_.listen, grpc::InsecureServerCredentials(), &context_.port);
    for (grpc::Service* service : services_->all()) builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || context_.port == 0) {
      return absl::UnavailableError(absl::StrCat("local: cannot listen on ", address_.listen));
    }
    target_ = address_.Target(context_.port);
    ticker_ = std::thread([this] { TickUntilStopped(); });
    log_->Info("momento_local: serving Momento's gRPC API on %s; what it stores stays in memory",
               target_);
    return absl::OkStatus();
  }

  void Shutdown(absl::Duration drain) {
    {
      core::MutexLock lock(mu_);
      if (stopped_) return;
      stopped_ = true;
      wake_.NotifyAll();
    }
    services_->StopDelays();
    if (server_ != nullptr) {
      server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(drain));
      server_->Wait();
    }
    if (ticker_.joinable()) ticker_.join();
    directory_->Clear();
  }

  int port() const { return address_.is_unix() ? 0 : context_.port; }
  const std::string& target() const { return target_; }
  Directory& directory() { return *directory_; }
  Faults& faults() { return faults_; }
  const Metrics& metrics() const { return metrics_; }

 private:
  void TickUntilStopped() {
    bool tokens_readable = true;
    mu_.Lock();
    while (!stopped_) {
      wake_.WaitFor(mu_, kTickSeconds);
      if (stopped_) break;
      mu_.Unlock();
      directory_->Tick();
      const absl::Status read = tokens_.Read();
      if (!read.ok() && tokens_readable) {
        log_->Warning("%s; the tokens read last stay", read.message());
      }
      tokens_readable = read.ok();
      mu_.Lock();
    }
    mu_.Unlock();
  }

  const Address address_;
  core::Log* const log_;
  // Owned by this server and by the gauges that read it, which live as long as the registry.
  const std::shared_ptr<Directory> directory_;
  Metrics metrics_;
  Tokens tokens_;
  Quota quota_;
  Faults faults_;
  ServicesContext context_;
  const std::unique_ptr<Services> services_ = Services::Create(&context_);
  std::unique_ptr<grpc::Server> server_;
  std::string target_;
  std::thread ticker_;

  core::Mutex mu_;
  core::CondVar wake_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

absl::StatusOr<std::unique_ptr<LocalServer>> LocalServer::Start(const config::Local& options,
                                                                const config::Seg& engine,
                                                                const core::Clock* clock,
                                                                core::Registry* registry,
                                                                core::Log* log) {
  ASSIGN_OR_RETURN(const config::Seg fitted, EngineFor(engine, options.item_size_max));
  RETURN_IF_ERROR(TryEngine(fitted, clock, options.item_size_max));
  RETURN_IF_ERROR(Faults().Configure(options));
  ASSIGN_OR_RETURN(Address address, ResolveListenAddress(options.host, options.port));
  auto impl = std::make_unique<Impl>(options, fitted, std::move(address), clock, registry, log);
  RETURN_IF_ERROR(impl->faults().Configure(options));
  RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<LocalServer>(new LocalServer(std::move(impl)));
}

LocalServer::LocalServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LocalServer::~LocalServer() = default;
int LocalServer::port() const { return impl_->port(); }
const std::string& LocalServer::target() const { return impl_->target(); }
absl::Status LocalServer::CreateCache(absl::string_view name) {
  return impl_->directory().Create(name);
}
absl::Status LocalServer::SetFaults(const config::Local& options) {
  return impl_->faults().Configure(options);
}
uint64_t LocalServer::Calls(absl::string_view rpc, absl::StatusCode code) const {
  for (size_t i = 0; i < kRpcs; ++i) {
    if (kRpcNames[i] == rpc) return impl_->metrics().Calls(static_cast<Rpc>(i), code);
  }
  return 0;
}
void LocalServer::Shutdown(absl::Duration drain) { impl_->Shutdown(drain); }

}  // namespace cache::local
