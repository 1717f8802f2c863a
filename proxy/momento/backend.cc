// See backend.h.
#include "proxy/momento/backend.h"

#include <utility>

#include "core/base/status.h"
#include "proxy/momento/grpc_client.h"
#include "proxy/momento/metrics.h"
#include "proxy/momento/resolver.h"
#include "proxy/momento/tls.h"

namespace proxy::momento {

absl::StatusOr<std::unique_ptr<Backend>> Backend::Create(const config::Momento& options,
                                                         core::Registry* registry, core::Log* log,
                                                         Environment environment) {
  ASSIGN_OR_RETURN(Credentials credentials, ResolveCredentials(options, environment));
  std::unique_ptr<TlsContext> tls;
  if (credentials.tls) {
    ASSIGN_OR_RETURN(tls, TlsContext::Create(options.ca_file));
  }
  return std::unique_ptr<Backend>(
      new Backend(options, std::move(credentials), std::move(tls), registry, log));
}

Backend::Backend(const config::Momento& options, Credentials credentials,
                 std::unique_ptr<TlsContext> tls, core::Registry* registry, core::Log* log)
    : options_(options),
      credentials_(std::move(credentials)),
      tls_(std::move(tls)),
      metrics_(std::make_unique<Metrics>(registry)),
      log_(log),
      resolver_(std::make_unique<Resolver>()) {}

Backend::~Backend() = default;

std::unique_ptr<Client> Backend::NewClient(core::EventLoop* loop, const config::Cache& cache,
                                           int connections) {
  return std::make_unique<GrpcClient>(
      GrpcClient::Shared{.options = &options_,
                         .credentials = &credentials_,
                         .tls = tls_.get(),
                         .resolver = resolver_.get(),
                         .metrics = metrics_.get(),
                         .log = log_},
      loop, cache, connections);
}

}  // namespace proxy::momento
