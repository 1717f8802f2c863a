// See backend.h.
#include "proxy/momento/backend.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status.h"
#include "proxy/momento/account.h"
#include "proxy/momento/grpc_client.h"
#include "proxy/momento/key_file.h"
#include "proxy/momento/key_watch.h"
#include "proxy/momento/metrics.h"
#include "proxy/momento/resolver.h"
#include "proxy/momento/service_check.h"
#include "proxy/momento/tls.h"

namespace proxy::momento {
namespace {

// Between two attempts at start: a service that starts beside us is noticed soon enough.
constexpr int64_t kAgainMs = 200;

}  // namespace

// An account and the caches served with it.
struct Backend::AccountEntry {
  KeySource source = {};
  Secret key = {};  // The text in use at start, until WatchKeys().
  std::vector<config::Cache> caches = {};
  std::vector<size_t> indexes = {};  // Of those caches in the configuration.
  bool own = false;                  // One cache's own, not that of [momento].
  std::unique_ptr<KeyMetrics> metrics = nullptr;
  std::unique_ptr<Account> account = nullptr;

  // Reads the key and makes the account.
  absl::Status Open(const core::Clock* clock, core::Registry* registry) {
    key = source.key;
    if (!source.file.empty()) {
      ASSIGN_OR_RETURN(key, ReadKeyFile(source.file, source.section + ".api_key_file"));
    }
    ASSIGN_OR_RETURN(Credentials credentials, ParseCredentials(source, key.view()));
    RETURN_IF_ERROR(CheckExpiry(credentials, clock->WallSec()));
    const std::string name = own ? absl::StrCat("cache:", caches[0].cache_name) : "momento";
    metrics = std::make_unique<KeyMetrics>(registry, name, [clock] { return clock->WallSec(); });
    account = std::make_unique<Account>(std::move(credentials), metrics.get());
    return absl::OkStatus();
  }
};

absl::StatusOr<std::vector<Backend::AccountEntry>> Backend::OpenAccounts(
    const config::Momento& options, const std::vector<config::Cache>& caches,
    const core::Clock* clock, core::Registry* registry, Environment environment) {
  std::vector<AccountEntry> accounts;
  AccountEntry common{.source = SourceOf(options, environment)};
  for (size_t i = 0; i < caches.size(); ++i) {
    if (HasOwnAccount(caches[i])) {
      accounts.push_back({.source = SourceOf(options, caches[i], absl::StrCat("cache[", i, "]"),
                                             environment),
                          .caches = {caches[i]},
                          .indexes = {i},
                          .own = true});
    } else {
      common.caches.push_back(caches[i]);
      common.indexes.push_back(i);
    }
  }
  if (accounts.empty() || !common.caches.empty()) {
    accounts.insert(accounts.begin(), std::move(common));
  }
  for (AccountEntry& entry : accounts) {
    RETURN_IF_ERROR(entry.Open(clock, registry));
  }
  return accounts;
}

absl::StatusOr<std::unique_ptr<Backend>> Backend::Create(
    const config::Momento& options, const std::vector<config::Cache>& caches,
    const core::Clock* clock, core::Registry* registry, core::Log* log, Environment environment) {
  ASSIGN_OR_RETURN(std::vector<AccountEntry> accounts,
                   OpenAccounts(options, caches, clock, registry, environment));
  std::unique_ptr<TlsContext> tls;
  // What decides about TLS is not the key: all accounts agree.
  if (accounts[0].account->current()->tls) {
    ASSIGN_OR_RETURN(tls, TlsContext::Create(options.ca_file));
  }
  return std::unique_ptr<Backend>(
      new Backend(options, std::move(accounts), std::move(tls), clock, registry, log));
}

Backend::Backend(const config::Momento& options, std::vector<AccountEntry> accounts,
                 std::unique_ptr<TlsContext> tls, const core::Clock* clock,
                 core::Registry* registry, core::Log* log)
    : options_(options),
      accounts_(std::move(accounts)),
      tls_(std::move(tls)),
      clock_(clock),
      metrics_(std::make_unique<Metrics>(registry)),
      log_(log),
      resolver_(std::make_unique<Resolver>()) {}

Backend::~Backend() = default;

Account* Backend::AccountOf(const config::Cache& cache) const {
  for (const AccountEntry& entry : accounts_) {
    if (!entry.own) {
      if (!HasOwnAccount(cache)) return entry.account.get();
    } else if (entry.caches[0].cache_name == cache.cache_name) {
      return entry.account.get();
    }
  }
  CHECK(false);  // Create() was told of every cache that has its own account.
  return nullptr;
}

std::unique_ptr<Client> Backend::NewClient(core::EventLoop* loop, const config::Cache& cache,
                                           int connections, Meter* meter) {
  return std::make_unique<GrpcClient>(Shared(AccountOf(cache)), loop, cache, connections, meter);
}

GrpcClient::Shared Backend::Shared(Account* account) const {
  return {.options = &options_,
          .account = account,
          .tls = tls_.get(),
          .resolver = resolver_.get(),
          .metrics = metrics_.get(),
          .log = log_};
}

absl::StatusOr<std::vector<CheckedCache>> Backend::CheckService(
    absl::FunctionRef<bool()> stop) {
  std::vector<CheckedCache> checked;
  const int64_t timeout_ms = absl::ToInt64Milliseconds(options_.startup_timeout);
  const int64_t end_ms = clock_->MonotonicMs() + timeout_ms;
  for (const AccountEntry& entry : accounts_) {
    if (entry.caches.empty()) continue;
    absl::StatusOr<Caches> caches = CheckUntil(entry, end_ms, stop);
    if (!caches.ok()) return caches.status();
    for (size_t i = 0; i < entry.caches.size(); ++i) {
      for (const CacheInfo& info : *caches) {
        if (info.name == entry.caches[i].cache_name) checked.push_back({entry.indexes[i], info});
      }
    }
  }
  return checked;
}

absl::StatusOr<Caches> Backend::CheckUntil(const AccountEntry& entry, int64_t end_ms,
                                            absl::FunctionRef<bool()> stop) const {
  using Startup = config::Momento::StartupCheck;
  const Startup wish = options_.create_missing_caches ? Startup::kCaches : options_.startup_check;
  if (wish == Startup::kOff) return Caches();
  GrpcClient::Shared shared = Shared(entry.account.get());
  shared.log = nullptr;  // What went wrong is in the status.
  core::EventLoop loop(clock_);
  absl::Status why;  // Nothing answers: the latest reason that is more than the end of our time.
  for (;;) {
    const int64_t left_ms = std::max<int64_t>(end_ms - clock_->MonotonicMs(), 1);
    ServiceCheck check(shared, &loop, entry.caches,
                       {.ping = true,
                        .caches = wish >= Startup::kCaches,
                        .create = options_.create_missing_caches,
                        .key = wish >= Startup::kKey,
                        .deadline_ms = left_ms});
    std::optional<absl::StatusOr<Caches>> result;
    check.Start([&result](absl::StatusOr<Caches> r) { result = std::move(r); });
    // The steps are several, each with all the time that is left.
    while (!result && clock_->MonotonicMs() < end_ms) {
      if (stop()) return absl::CancelledError("told to stop");
      loop.RunOnce(std::min(left_ms, kAgainMs));
    }
    if (!result) result = absl::DeadlineExceededError("the service is slow to answer");
    const bool final =
        result->ok() || !(absl::IsUnavailable(result->status()) ||
                          absl::IsDeadlineExceeded(result->status()));
    if (final) return *std::move(result);
    if (why.ok() || absl::IsUnavailable(result->status())) why = result->status();
    const int64_t again_ms = clock_->MonotonicMs() + kAgainMs;
    if (again_ms >= end_ms) {
      return absl::UnavailableError(
          absl::StrCat("momento.startup_check: no answer within momento.startup_timeout (",
                       absl::FormatDuration(options_.startup_timeout),
                       "): ", why.message()));
    }
    while (clock_->MonotonicMs() < again_ms && !stop()) loop.RunOnce(kAgainMs);
  }
}

void Backend::WatchKeys() {
  std::vector<WatchedAccount> watched;
  for (AccountEntry& entry : accounts_) {
    watched.push_back({.source = entry.source,
                       .key = std::move(entry.key),
                       .caches = entry.caches,
                       .account = entry.account.get(),
                       .metrics = entry.metrics.get()});
  }
  watch_ = std::make_unique<KeyWatch>(std::move(watched), Shared(nullptr),
                                      absl::ToInt64Milliseconds(options_.key_poll_interval),
                                      clock_);
}

void Backend::LookAtKeysNow() { watch_->LookNow(); }

}  // namespace proxy::momento
