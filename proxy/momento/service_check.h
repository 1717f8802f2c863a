// Asks the service, over connections of its own, whether an account works: step by step, each step
// a sentence for the operator when it fails.
//
//   ping    the data plane answers                 (Ping; the service may answer it without a key)
//   caches  the caches are there, and their limits (ListCaches, CreateCache; control plane)
//   key     the key may read every cache           (a Get of one key each, one billed operation)
//
// Used at start, and for a new key before it is put in use.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "config/momento.h"
#include "core/net/event_loop.h"
#include "proxy/momento/grpc_client.h"

namespace proxy::momento {

// What the service says that its caches allow.
using Caches = std::vector<CacheInfo>;

class ServiceCheck {
 public:
  struct Steps {
    bool ping = false;
    bool caches = false;
    bool create = false;  // Those caches that are missing.
    bool key = false;
    int64_t deadline_ms = 5000;  // Of each call.
  };
  // UNAVAILABLE when there was no answer, or one that says nothing of the account: worth asking again.
  // UNAUTHENTICATED, PERMISSION_DENIED when the key is refused, FAILED_PRECONDITION when a cache is
  // missing, INVALID_ARGUMENT for a name that no cache can have.
  using Done = absl::AnyInvocable<void(absl::StatusOr<Caches>)>;

  // `shared.account` is whose credentials are used, for `caches` (at least one). All that is borrowed
  // outlives the check.
  ServiceCheck(const GrpcClient::Shared& shared, core::EventLoop* loop,
               std::vector<config::Cache> caches, const Steps& steps);

  // Begins; `done` comes once, on the loop's thread, never from inside, and must not destroy the
  // check. Destroying the check takes the question back. Called once.
  void Start(Done done);

 private:
  void Ping();
  void List(absl::string_view token);
  void OnListed(CachesResult page);
  void CreateMissing();
  void ReadAll();
  void OnRead(size_t index, const Error& error);
  void Finish(absl::Status status);
  // As a status, with what was asked of whom in front of the service's words.
  absl::Status StatusOf(const Error& error, absl::string_view asked) const;
  // `what`, and the first cache it is for: accounts have no names.
  std::string Asked(absl::string_view what) const;
  bool Listed(absl::string_view name) const;

  const Steps steps_;
  const Account::CredentialsPtr credentials_;
  const std::vector<config::Cache> caches_;
  std::vector<std::unique_ptr<GrpcClient>> clients_;  // One a cache.
  Done done_;
  Caches listed_;
  size_t created_ = 0;
  size_t reads_left_ = 0;
  absl::Status read_status_;
};

}  // namespace proxy::momento
