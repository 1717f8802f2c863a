// What the proxy asks of Momento, in plain structs: the protocol behind, without its spelling.
//
// A client belongs to one worker: every method is called on the worker's thread and every callback
// runs there, never inside the call that started it. Exactly one callback a call, at the latest
// when its deadline passes; but destroying the client drops the callbacks it still owes, uncalled,
// since whoever asked may be gone. Key and value views are read before the method returns.
// The wire facts are in proto/momento/*.proto.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "config/momento.h"

namespace proxy::momento {

// gRPC status codes, by their numbers (grpc/doc/statuscodes.md).
enum class Code : uint8_t {
  kOk = 0, kCancelled = 1, kUnknown = 2, kInvalidArgument = 3, kDeadlineExceeded = 4,
  kNotFound = 5, kAlreadyExists = 6, kPermissionDenied = 7, kResourceExhausted = 8,
  kFailedPrecondition = 9, kAborted = 10, kOutOfRange = 11, kUnimplemented = 12, kInternal = 13,
  kUnavailable = 14, kDataLoss = 15, kUnauthenticated = 16,
};

// Whether a call that ended so was judged: carried out, or looked at and turned down. After any other
// code the service could not do its work, and nobody knows how much of it was done.
constexpr bool IsVerdict(Code code) {
  switch (code) {
    case Code::kCancelled:
    case Code::kUnknown:
    case Code::kDeadlineExceeded:
    case Code::kAborted:
    case Code::kInternal:
    case Code::kUnavailable:
    case Code::kDataLoss: return false;
    default: return true;
  }
}

// Why this proxy did not let a call go to the service.
enum class Refusal : uint8_t {
  kNone,
  kBusy,         // It could not have been answered in time, or too much waits already.
  kCircuitOpen,  // The service has failed too often of late.
};

// How a call ended. `detail` is the service's `err` trailer when it sent one.
struct Error {
  Code code = Code::kOk;
  Refusal refusal = Refusal::kNone;  // Else `code` is ours, and nothing was sent.
  std::string message = {};
  std::string detail = {};
  // Whether the request may have reached the service: a write that failed with sent == false has
  // certainly not been applied.
  bool sent = true;
  bool ok() const { return code == Code::kOk; }
};

struct GetResult {
  Error error;
  bool hit = false;
  std::string value;
};
struct HashedGetResult {
  Error error;
  bool hit = false;
  std::string value;
  std::string hash;  // Opaque bytes of the service; never interpreted, only compared.
};
struct StoreResult {
  Error error;
  bool stored = false;
  std::string hash;  // SetIfHash only: the hash of what was stored.
};
struct DoneResult {
  Error error;
};
struct FoundResult {  // UpdateTtl, KeysExist of one key.
  Error error;
  bool found = false;
};
struct TtlResult {
  Error error;
  bool found = false;
  uint64_t ttl_ms = 0;
};

// What every write carries. The value is given as a prefix and a body, sent one after the other.
struct StoreItem {
  absl::string_view key;
  absl::string_view prefix;
  absl::string_view body;
  uint64_t ttl_ms;  // > 0
};

// One cache of the account and what the service allows it; 0: the service does not say.
struct CacheInfo {
  std::string name;
  uint64_t item_bytes_max = 0;  // Key and value.
  uint64_t ttl_seconds_max = 0;
  uint32_t requests_per_second_max = 0;
  uint32_t kib_per_second_max = 0;
};
struct CachesResult {
  Error error;
  std::vector<CacheInfo> caches;
  std::string next_token;  // Not empty: there are more.
};

// Conditions of SetIf and SetIfHash that the proxy uses.
enum class Condition : uint8_t { kPresent, kAbsent };

template <class Result>
using Callback = absl::AnyInvocable<void(Result)>;

// A call that is to go to the service once more than it was asked for: again after a failure, or a
// second time while the first is slow. In the service's units (proto/momento/metering.h).
struct ExtraCall {
  uint64_t operations = 0;
  uint64_t bytes = 0;
  int64_t pause_ms = 0;  // From now until it goes.
};

// Who is told of every call to the data plane that ends, and asked about those on top.
class CallObserver {
 public:
  // Whether it may go. True has taken what it weighs.
  virtual bool AdmitExtra(const ExtraCall& call) = 0;
  // Once a call that was started, just before its callback. `elapsed_ns`: since it was started;
  // `waited_ms`: what NextHasWaited() said of it.
  virtual void OnCallEnded(const Error& error, int64_t elapsed_ns, int64_t waited_ms) = 0;

 protected:
  ~CallObserver() = default;
};

class Client {
 public:
  virtual ~Client() = default;
  // Null: nobody. Borrowed until another is named.
  void Observe(CallObserver* observer) { observer_ = observer; }
  // The next call has waited for so long already: it has that much less until its deadline.
  void NextHasWaited(int64_t ms) { waited_ms_ = ms; }

  virtual void Get(absl::string_view key, Callback<GetResult> done) = 0;
  // One call for many keys. On success one result a key, in order; on failure the results that came,
  // in order, and behind them one element holding only the error.
  virtual void GetBatch(absl::Span<const absl::string_view> keys,
                        Callback<std::vector<GetResult>> done) = 0;
  virtual void GetWithHash(absl::string_view key, Callback<HashedGetResult> done) = 0;

  // `ttl_ms` > 0 everywhere. Values are given as a prefix and a body, sent one after the other.
  virtual void Set(absl::string_view key, absl::string_view prefix, absl::string_view body,
                   uint64_t ttl_ms, Callback<StoreResult> done) = 0;
  // One call for many items, done in order. On success one result an item; on failure the results
  // that came, in order, and behind them one element holding only the error.
  virtual void SetBatch(absl::Span<const StoreItem> items,
                        Callback<std::vector<StoreResult>> done) = 0;
  virtual void SetIf(absl::string_view key, absl::string_view prefix, absl::string_view body,
                     uint64_t ttl_ms, Condition condition, Callback<StoreResult> done) = 0;
  // Stores if the item's hash is `*expected_hash`, or always when it is absent.
  virtual void SetIfHash(absl::string_view key, absl::string_view prefix, absl::string_view body,
                         uint64_t ttl_ms, std::optional<absl::string_view> expected_hash,
                         Callback<StoreResult> done) = 0;

  virtual void Delete(absl::string_view key, Callback<DoneResult> done) = 0;
  virtual void KeyExists(absl::string_view key, Callback<FoundResult> done) = 0;
  virtual void UpdateTtl(absl::string_view key, uint64_t ttl_ms, Callback<FoundResult> done) = 0;
  virtual void ItemGetTtl(absl::string_view key, Callback<TtlResult> done) = 0;
  // Control plane.
  virtual void FlushCache(Callback<DoneResult> done) = 0;
  virtual void Ping(Callback<DoneResult> done) = 0;

  // Calls from now on have the deadlines of `cache`, on the loop's thread.
  virtual void Retune(const config::Cache&) {}

  // Sends what this turn's calls have queued: one write per connection.
  virtual void Flush() = 0;
  // Connections that can carry a call now.
  virtual int ready_connections() const = 0;

 protected:
  CallObserver* observer_ = nullptr;
  int64_t waited_ms_ = 0;
};

}  // namespace proxy::momento
