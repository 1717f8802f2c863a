// What the Momento clients of one process share: who we are, where the service is, trusted roots,
// the name resolver and the metrics. Made by main before the workers, destroyed after them.
//
//   ASSIGN_OR_RETURN(auto backend, Backend::Create(config.momento, registry, log, environment));
//   std::unique_ptr<Client> client = backend->NewClient(loop, config.caches[0], connections);
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "config/momento.h"
#include "core/log/log.h"
#include "core/metrics/metrics.h"
#include "core/net/event_loop.h"
#include "proxy/momento/client.h"
#include "proxy/momento/credentials.h"

namespace proxy::momento {

class Resolver;
class TlsContext;
struct Metrics;

class Backend {
 public:
  // Fails with a sentence for the operator when credentials or trusted roots are missing or wrong.
  // Opens no connection. `registry` outlives it; `log` too, or is null.
  static absl::StatusOr<std::unique_ptr<Backend>> Create(const config::Momento& options,
                                                         core::Registry* registry, core::Log* log,
                                                         Environment environment);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  // A client of one worker: made, used and destroyed on `loop`'s thread, or while the loop does
  // not run. It opens `connections` (>= 1) connections at once and keeps replacing lost ones; one
  // more is opened for the control plane at the first FlushCache. Callbacks must not destroy it.
  // `loop` and the backend outlive it.
  std::unique_ptr<Client> NewClient(core::EventLoop* loop, const config::Cache& cache,
                                    int connections);

  const Credentials& credentials() const { return credentials_; }

 private:
  Backend(const config::Momento& options, Credentials credentials,
          std::unique_ptr<TlsContext> tls, core::Registry* registry, core::Log* log);

  const config::Momento options_;
  const Credentials credentials_;
  const std::unique_ptr<TlsContext> tls_;  // Null: plaintext.
  const std::unique_ptr<Metrics> metrics_;
  core::Log* const log_;
  const std::unique_ptr<Resolver> resolver_;  // Last: its thread ends first.
};

}  // namespace proxy::momento
