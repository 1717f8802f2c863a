// What the Momento clients of one process share: who we are, where the service is, trusted roots,
// the name resolver and the metrics. Made by main before the workers, destroyed after them.
//
//   ASSIGN_OR_RETURN(auto backend, Backend::Create(config.momento, config.caches, &clock, registry,
//                                                  log, environment));
//   ASSIGN_OR_RETURN(auto checked, backend->CheckService());
//   std::unique_ptr<Client> client = backend->NewClient(loop, config.caches[0], connections);
//   backend->WatchKeys();
#pragma once

#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "config/momento.h"
#include "core/base/clock.h"
#include "core/log/log.h"
#include "core/metrics/metrics.h"
#include "core/net/event_loop.h"
#include "proxy/momento/client.h"
#include "proxy/momento/credentials.h"
#include "proxy/momento/grpc_client.h"
#include "proxy/momento/service_check.h"

namespace proxy::momento {

struct Meter;
class KeyWatch;

// A cache that was checked at start: which of the configured ones, and what the service allows it.
struct CheckedCache {
  size_t index;
  CacheInfo info;
};

class Backend {
 public:
  // Fails with a sentence for the operator when credentials or trusted roots are missing or wrong:
  // a key that expired is UNAUTHENTICATED, a key file that is not there NOT_FOUND. Opens no
  // connection. The account of [momento] is needed unless every one of `caches` has its own.
  // `clock` and `registry` outlive it; `log` too, or is null.
  static absl::StatusOr<std::unique_ptr<Backend>> Create(const config::Momento& options,
                                                         const std::vector<config::Cache>& caches,
                                                         const core::Clock* clock,
                                                         core::Registry* registry, core::Log* log,
                                                         Environment environment);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  // What momento.startup_check asks for, for at most momento.startup_timeout; the calling thread
  // waits. What the service says its caches allow, when that was asked. UNAVAILABLE when it did not
  // answer in time, UNAUTHENTICATED or PERMISSION_DENIED when it refuses a key, FAILED_PRECONDITION
  // when a cache is missing.
  // CANCELLED when `stop`, which is looked at every fifth of a second, says so.
  absl::StatusOr<std::vector<CheckedCache>> CheckService(
      absl::FunctionRef<bool()> stop = [] { return false; });

  // A client of one worker: made, used and destroyed on `loop`'s thread, or while the loop does
  // not run. It opens `connections` (>= 1) connections at once and keeps replacing lost ones; one
  // more is opened for the control plane at the first FlushCache. Callbacks must not destroy it.
  // `loop`, the backend and `meter` outlive it; a null meter counts nothing.
  std::unique_ptr<Client> NewClient(core::EventLoop* loop, const config::Cache& cache,
                                    int connections, Meter* meter = nullptr);

  // Follows key files and expiries from now on, until the backend ends. REQUIRES a log; once.
  void WatchKeys();
  // Looks at them now, not at the next interval. Any thread, after WatchKeys().
  void LookAtKeysNow();

 private:
  struct AccountEntry;
  Backend(const config::Momento& options, std::vector<AccountEntry> accounts,
          std::unique_ptr<TlsContext> tls, const core::Clock* clock, core::Registry* registry,
          core::Log* log);
  static absl::StatusOr<std::vector<AccountEntry>> OpenAccounts(
      const config::Momento& options, const std::vector<config::Cache>& caches,
      const core::Clock* clock, core::Registry* registry, Environment environment);
  Account* AccountOf(const config::Cache& cache) const;
  GrpcClient::Shared Shared(Account* account) const;
  absl::StatusOr<Caches> CheckUntil(const AccountEntry& entry, int64_t end_ms,
                                    absl::FunctionRef<bool()> stop) const;

  const config::Momento options_;
  std::vector<AccountEntry> accounts_;
  const std::unique_ptr<TlsContext> tls_;  // Null: plaintext.
  const core::Clock* const clock_;
  const std::unique_ptr<Metrics> metrics_;
  core::Log* const log_;
  const std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<KeyWatch> watch_;  // Last: its thread ends first.
};

}  // namespace proxy::momento
