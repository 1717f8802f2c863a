// A call that knows what it asked, reads the answer into a result, and hands it over once, however
// often it had to be sent for that.
//
// A slow read is asked twice: a twin, another GrpcCall with the same request, goes over a second
// connection. The two know each other; one of them, the heir, has the caller's callback. Whoever is
// answered first takes the callback and ends the other; whoever fails first leaves it to the other
// and is gone. So a pair ends as a single call does: answered, sent again after a pause, or failed.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "config/momento.h"
#include "proxy/momento/call.h"
#include "proxy/momento/client.h"
#include "proxy/momento/hedges.h"
#include "proxy/momento/member_timer.h"
#include "proxy/momento/messages.h"
#include "proxy/momento/metrics.h"

namespace proxy::momento {

class GrpcClient;

class GrpcCall final : public Call {
 public:
  // `client` outlives it.
  explicit GrpcCall(GrpcClient* client) : client_(client) {}

  // Makes a fresh call of it. `kind` decides about its deadline and whether it may be repeated.
  template <class Result>
  void Prepare(Rpc asked, config::Cache::Kind sort, Callback<Result> done) {
    Begin(asked, sort);
    done_.emplace<TypedDone<Result>>(TypedDone<Result>{std::move(done), {}});
  }

  // REQUIRES: the call was prepared for a GetBatch or SetBatch, whose Results these are.
  template <class Results>
  void Expect(size_t answers) {
    keys = answers;
    result<Results>()->reserve(answers);
  }

  // Asks again over another connection if no answer has come in `delay_ms`. REQUIRES: just started.
  void HedgeAfter(int64_t delay_ms);

  bool OnMessage(absl::string_view message) override;
  void OnDone(Error error) override;

  Rpc rpc = Rpc::kGet;
  config::Cache::Kind kind = config::Cache::Kind::kRead;
  size_t keys = 1;      // Messages that the reply must have; the operations that the call is.
  size_t messages = 0;  // And has.
  std::vector<uint64_t> item_bytes;  // Of each item of the request, for the meter.
  int64_t started_ns = 0;

 private:
  template <class Result>
  struct TypedDone {
    Callback<Result> done;
    Result result;
  };
  using Batch = std::vector<GetResult>;
  using StoreBatch = std::vector<StoreResult>;
  using AnyDone = std::variant<std::monostate, TypedDone<GetResult>, TypedDone<Batch>,
                               TypedDone<StoreBatch>, TypedDone<HashedGetResult>,
                               TypedDone<StoreResult>, TypedDone<DoneResult>, TypedDone<FoundResult>,
                               TypedDone<TtlResult>, TypedDone<CachesResult>>;

  template <class Result>
  static bool Append(absl::string_view message, bool (*decode)(absl::string_view, Result*),
                     std::vector<Result>* results) {
    if (decode(message, &results->emplace_back())) return true;
    results->pop_back();
    return false;
  }
  template <class Result>
  Result* result() { return &std::get<TypedDone<Result>>(done_).result; }

  void Begin(Rpc asked, config::Cache::Kind sort);
  bool Decode(absl::string_view message);
  // Counts the call by what the request had and the result has.
  void Measure(const Error& how);
  // Forgets what an attempt has brought.
  void ForgetResult();
  // Whether the rate limit of the cache lets it go once more.
  bool AdmitExtra(int64_t pause_ms) const;
  // Whether the call goes on after a pause.
  bool TryAgain(const Error& how);
  // A call in a pair ended. Whether it is the pair's end.
  bool EndOfPair(const Error& how);
  // Takes the callback and the history of the one that had them.
  void Inherit(GrpcCall* from);
  // The end of one of a pair that is not the pair's.
  void Leave(const Error& how);
  void OnHedgeDue();
  void Finish(Error how);

  GrpcClient* const client_;
  AnyDone done_;
  uint32_t retries_ = 0;
  GrpcCall* twin_ = nullptr;  // The other one of a pair.
  bool heir_ = true;          // Has the caller's callback.
  MemberTimer<GrpcCall, &GrpcCall::OnHedgeDue> hedge_timer_{this};
};

}  // namespace proxy::momento
