#include "cache/local/services.h"

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/cord.h"
#include "cache/local/reset.h"
#include "core/base/mutex.h"
#include "core/base/status.h"
#include "proto/momento/cacheclient.grpc.pb.h"
#include "proto/momento/cacheping.grpc.pb.h"
#include "proto/momento/controlclient.grpc.pb.h"

namespace cache::local {
namespace {

namespace pb = cache_client;
using Context = grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

absl::string_view View(const grpc::string_ref& ref) { return {ref.data(), ref.size()}; }

std::optional<absl::string_view> Header(Context* call, const char* name) {
  const auto at = call->client_metadata().find(name);
  if (at == call->client_metadata().end()) return std::nullopt;
  return View(at->second);
}

// As gRPC says it; a refusal's trailer goes to the call.
grpc::Status ToGrpc(const absl::Status& status, Context* call) {
  if (status.ok()) return grpc::Status::OK;
  if (const auto err = status.GetPayload(kErrTrailer); err.has_value()) {
    call->AddTrailingMetadata(std::string(kErrTrailer), std::string(*err));
  }
  const absl::string_view message = status.message();
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()),
                      std::string(message.data(), message.size()));
}

// Calls that wait. Any thread.
class Delays {
 public:
  using Then = std::function<void(bool in_time)>;

  // Runs then(true) after `delay` on a thread of gRPC's, or then(false) once Stop() was called.
  void Wait(absl::Duration delay, Then then) {
    mu_.Lock();
    const bool stopped = stopped_;
    if (!stopped) Arm(delay, std::move(then));
    mu_.Unlock();
    if (stopped) then(false);
  }

  void Stop() {
    core::MutexLock lock(mu_);
    stopped_ = true;
    for (auto& [id, waiting] : waiting_) waiting->alarm.Cancel();
  }

 private:
  struct Waiting {
    grpc::Alarm alarm;
    Then then;
  };

  void Arm(absl::Duration delay, Then then) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const uint64_t id = next_++;
    auto waiting = std::make_unique<Waiting>();
    waiting->then = std::move(then);
    Waiting& armed = *waiting;
    waiting_.emplace(id, std::move(waiting));
    // The callback comes on another thread, never from inside Set or Cancel.
    armed.alarm.Set(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(delay),
                    [this, id](bool in_time) { Wake(id, in_time); });
  }

  void Wake(uint64_t id, bool in_time) {
    mu_.Lock();
    const auto at = waiting_.find(id);
    const std::unique_ptr<Waiting> waiting = std::move(at->second);
    waiting_.erase(at);
    mu_.Unlock();
    waiting->then(in_time);
  }

  core::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t next_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Waiting>> waiting_ ABSL_GUARDED_BY(mu_);
};

// What every call passes, and the answers that all of them share.
class Gate {
 public:
  explicit Gate(const ServicesContext* context) : context_(*context) {}

  const Limits& limits() const { return context_.limits; }
  Directory& directory() const { return *context_.directory; }
  void StopDelays() { delays_.Stop(); }
  void Charge(Rpc rpc, size_t asked_bytes, size_t told_bytes = 0) {
    context_.quota->Spend(context_.metrics->Charge(rpc, asked_bytes, told_bytes));
  }
  void Count(Rpc rpc, const absl::Status& status) { context_.metrics->Count(rpc, status.code()); }

  // Calls then(OK, end, late) when the call may be carried out, at once or after its delay, or
  // then(why not, OK, late). `then` is called once and answers the call, `late` after it has carried
  // it out: with `end`, if it worked.
  template <class Then>
  void Enter(Context* call, Rpc rpc, Then then) {
    constexpr absl::Duration kAtOnce = absl::ZeroDuration();
    if (absl::Status status = CheckToken(call); !status.ok()) return then(status, {}, kAtOnce);
    if (rpc < Rpc::kPing && !context_.quota->Allows()) return then(RateExceeded(), {}, kAtOnce);
    Verdict verdict;
    if (context_.faults->configured()) [[unlikely]]
      context_.faults->Roll(rpc, &verdict);
    ObeyHeaders(call, rpc, &verdict);
    if (verdict.delay <= kAtOnce) return Judge(call, verdict, kAtOnce, then);
    context_.metrics->fault_delays.Add();
    if (verdict.applied && !verdict.reset) return Judge(call, verdict, verdict.delay, then);
    delays_.Wait(verdict.delay, [this, call, verdict, then](bool in_time) mutable {
      if (!in_time) {
        verdict.error = absl::UnavailableError("the server is shutting down");
        verdict.applied = false;
      }
      Judge(call, verdict, absl::ZeroDuration(), then);
    });
  }

  // Runs `then` after the delay, or once the delays are stopped.
  void Wait(absl::Duration delay, std::function<void()> then) {
    delays_.Wait(delay, [then = std::move(then)](bool) { then(); });
  }

  // The cache that the call names.
  absl::StatusOr<Directory::StorePtr> FindStore(Context* call) const {
    const auto name = Header(call, "cache");
    if (!name || name->empty()) {
      return absl::InvalidArgumentError("the call has no metadata \"cache\" naming its cache");
    }
    if (Directory::StorePtr store = directory().Find(*name); store != nullptr) return store;
    if (!context_.create_unknown) return NoSuchCache(*name);
    return directory().FindOrCreate(*name);
  }

  // A unary call: work() fills the reply and returns its status.
  template <class Work>
  ServerUnaryReactor* Unary(Context* call, Rpc rpc, Work work) {
    ServerUnaryReactor* reactor = call->DefaultReactor();
    Enter(call, rpc,
          [this, call, rpc, reactor, work](absl::Status status, const absl::Status& end,
                                           absl::Duration late) {
            if (status.ok()) status = work();
            if (status.ok()) status = end;
            Count(rpc, status);
            if (late <= absl::ZeroDuration()) return reactor->Finish(ToGrpc(status, call));
            Wait(late, [call, reactor, status] { reactor->Finish(ToGrpc(status, call)); });
          });
    return reactor;
  }

  // A unary call on one cache: work(store).
  template <class Work>
  ServerUnaryReactor* OnStore(Context* call, Rpc rpc, Work work) {
    return Unary(call, rpc, [this, call, work]() -> absl::Status {
      absl::StatusOr<Directory::StorePtr> store = FindStore(call);
      if (!store.ok()) return std::move(store).status();
      return work(**store);
    });
  }

  // Says how a write came out. `*stored` is not set unless the status is OK.
  absl::Status Written(seg::StoreResult result, absl::string_view key, absl::string_view value,
                       bool* stored = nullptr) const {
    switch (result) {
      case seg::StoreResult::kStored:
      case seg::StoreResult::kNotStored:
        if (stored != nullptr) *stored = result == seg::StoreResult::kStored;
        return absl::OkStatus();
      case seg::StoreResult::kTooLarge:
        return ItemTooLarge(key.size() + value.size(), limits().item_bytes);
      case seg::StoreResult::kNoMemory:
        return OutOfMemory();
    }
    return absl::InternalError("unknown result of a store");
  }

 private:
  absl::Status CheckToken(Context* call) const {
    if (!context_.tokens->required()) return absl::OkStatus();
    const auto given = Header(call, "authorization");
    if (given && context_.tokens->Accept(*given)) return absl::OkStatus();
    return absl::UnauthenticatedError("the authorization of this call is not the server's token");
  }

  void ObeyHeaders(Context* call, Rpc rpc, Verdict* verdict) {
    const auto errors = Header(call, "error-rpcs");
    const auto delays = Header(call, "delay-rpcs");
    if (!errors && !delays) [[likely]]
      return;
    context_.faults->Obey(rpc,
                          {.session = Header(call, "request-id").value_or(""),
                           .return_error = Header(call, "return-error"),
                           .error_rpcs = errors,
                           .error_count = Header(call, "error-count"),
                           .delay_rpcs = delays,
                           .delay_ms = Header(call, "delay-ms"),
                           .delay_count = Header(call, "delay-count")},
                          verdict);
  }

  template <class Then>
  void Judge(Context* call, const Verdict& verdict, absl::Duration late, Then& then) {
    absl::Status fault = verdict.error;
    if (verdict.reset) {
      context_.metrics->fault_resets.Add();
      ResetConnection(call);
      fault = absl::UnavailableError("the connection was reset");  // Nobody will hear it.
    } else if (!fault.ok()) {
      context_.metrics->fault_errors.Add();
    }
    if (verdict.applied) return then(absl::OkStatus(), fault, late);
    then(fault, absl::OkStatus(), late);
  }

  void ResetConnection(Context* call) const {
    ResetConnections(call->peer(), context_.port, context_.unix_path);
  }

  const ServicesContext& context_;
  Delays delays_;
};

// A call that answers one message an item, in order: fill(i, reply) says what the i-th is. Then it
// ends with the status that Begin() was told.
template <class Reply>
class Stream final : public grpc::ServerWriteReactor<Reply> {
 public:
  using Fill = std::function<absl::Status(Store& store, int index, Reply* reply)>;

  // `gate` and `call` outlive the call.
  Stream(Gate* gate, Context* call, Rpc rpc) : gate_(gate), call_(call), rpc_(rpc) {}

  void Begin(Directory::StorePtr store, int count, Fill fill, absl::Status end) {
    store_ = std::move(store);
    count_ = count;
    fill_ = std::move(fill);
    end_ = std::move(end);
    Next();
  }
  void End(const absl::Status& status) {
    gate_->Count(rpc_, status);
    this->Finish(ToGrpc(status, call_));
  }

 private:
  void Next() {
    if (next_ == count_) return End(end_);
    reply_.Clear();
    if (const absl::Status status = fill_(*store_, next_, &reply_); !status.ok()) {
      return End(status);
    }
    ++next_;
    grpc::WriteOptions options;
    // Small replies share a packet. Not the first: it carries the headers, and gRPC 1.51 would wait
    // for those to leave while they wait for the hint to end.
    if (next_ > 1) options.set_buffer_hint();
    if (next_ < count_) {
      this->StartWrite(&reply_, options);
    } else {
      options.clear_buffer_hint();
      gate_->Count(rpc_, end_);
      this->StartWriteAndFinish(&reply_, options, ToGrpc(end_, call_));
    }
  }
  void OnWriteDone(bool ok) override {
    if (ok) return Next();
    End(absl::CancelledError("the client is gone"));
  }
  void OnDone() override { delete this; }

  Gate* const gate_;
  Context* const call_;
  const Rpc rpc_;
  Directory::StorePtr store_;
  Fill fill_;
  absl::Status end_;
  int count_ = 0;
  int next_ = 0;
  Reply reply_;
};

// Fills all replies now; the result hands them out.
template <class Reply>
typename Stream<Reply>::Fill FilledBefore(const Directory::StorePtr& store, int count,
                                          const typename Stream<Reply>::Fill& fill) {
  auto replies = std::make_shared<std::vector<Reply>>(count);
  auto statuses = std::make_shared<std::vector<absl::Status>>(count);
  for (int i = 0; i < count; ++i) (*statuses)[i] = fill(*store, i, &(*replies)[i]);
  return [replies, statuses](Store&, int i, Reply* reply) {
    *reply = std::move((*replies)[i]);
    return (*statuses)[i];
  };
}

// Enters and begins a stream of `count` replies; check(item) is asked about each item first, so
// that a bad request changes nothing.
template <class Reply>
grpc::ServerWriteReactor<Reply>* OpenStream(Gate* gate, Context* call, Rpc rpc, int count,
                                            std::function<absl::Status(int index)> check,
                                            typename Stream<Reply>::Fill fill) {
  auto* stream = new Stream<Reply>(gate, call, rpc);  // Deletes itself when the call is over.
  gate->Enter(call, rpc, [=](const absl::Status& admitted, const absl::Status& end,
                             absl::Duration late) {
    if (!admitted.ok()) return stream->End(admitted);
    absl::StatusOr<Directory::StorePtr> store = gate->FindStore(call);
    if (!store.ok()) return stream->End(store.status());
    for (int i = 0; i < count; ++i) {
      if (const absl::Status status = check(i); !status.ok()) return stream->End(status);
    }
    if (late <= absl::ZeroDuration()) return stream->Begin(*std::move(store), count, fill, end);
    gate->Wait(late, [stream, store = *store, count, end,
                      filled = FilledBefore<Reply>(*store, count, fill)] {
      stream->Begin(store, count, filled, end);
    });
  });
  return stream;
}

void FillGet(Store& store, absl::string_view key, pb::GetResponse* reply) {
  const Store::Found found = store.Get(key);
  reply->set_result(found.value ? pb::Hit : pb::Miss);
  if (found.value) reply->set_cache_body(found.value->data(), found.value->size());
}

// The rows of the service's two tables of conditions; nullopt if the request names none.
std::optional<Condition> ConditionOf(const pb::SetIfRequest& request) {
  using Against = Condition::Against;
  using Case = pb::SetIfRequest::ConditionCase;
  switch (request.condition_case()) {
    case Case::kPresent:
      return Condition{.if_equal = true, .if_different = true};
    case Case::kAbsent:
      return Condition{.if_absent = true};
    case Case::kEqual:
      return Condition{.if_equal = true,
                       .against = Against::kValue,
                       .operand = request.equal().value_to_check()};
    case Case::kNotEqual:
      return Condition{.if_absent = true,
                       .if_different = true,
                       .against = Against::kValue,
                       .operand = request.not_equal().value_to_check()};
    case Case::kPresentAndNotEqual:
      return Condition{.if_different = true,
                       .against = Against::kValue,
                       .operand = request.present_and_not_equal().value_to_check()};
    case Case::kAbsentOrEqual:
      return Condition{.if_absent = true,
                       .if_equal = true,
                       .against = Against::kValue,
                       .operand = request.absent_or_equal().value_to_check()};
    case Case::CONDITION_NOT_SET:
      break;
  }
  return std::nullopt;
}

std::optional<Condition> ConditionOf(const pb::SetIfHashRequest& request) {
  using Against = Condition::Against;
  using Case = pb::SetIfHashRequest::ConditionCase;
  switch (request.condition_case()) {
    case Case::kUnconditional:
      return Condition{.if_absent = true, .if_equal = true, .if_different = true};
    case Case::kPresentAndHashEqual:
      return Condition{.if_equal = true,
                       .against = Against::kHash,
                       .operand = request.present_and_hash_equal().hash_to_check()};
    case Case::kPresentAndNotHashEqual:
      return Condition{.if_different = true,
                       .against = Against::kHash,
                       .operand = request.present_and_not_hash_equal().hash_to_check()};
    case Case::kAbsentOrHashEqual:
      return Condition{.if_absent = true,
                       .if_equal = true,
                       .against = Against::kHash,
                       .operand = request.absent_or_hash_equal().hash_to_check()};
    case Case::kAbsentOrNotHashEqual:
      return Condition{.if_absent = true,
                       .if_different = true,
                       .against = Against::kHash,
                       .operand = request.absent_or_not_hash_equal().hash_to_check()};
    case Case::CONDITION_NOT_SET:
      break;
  }
  return std::nullopt;
}

absl::Status NoCondition() { return absl::InvalidArgumentError("the request has no condition"); }

class ScsService final : public pb::Scs::CallbackService {
 public:
  explicit ScsService(Gate* gate) : gate_(*gate) {}

  ServerUnaryReactor* Get(Context* call, const pb::GetRequest* request,
                          pb::GetResponse* reply) override {
    return gate_.OnStore(call, Rpc::kGet, [this, request, reply](Store& store) -> absl::Status {
      RETURN_IF_ERROR(gate_.limits().CheckKey(request->cache_key()));
      FillGet(store, request->cache_key(), reply);
      gate_.Charge(Rpc::kGet, request->cache_key().size(), reply->cache_body().size());
      return absl::OkStatus();
    });
  }

  ServerUnaryReactor* GetWithHash(Context* call, const pb::GetWithHashRequest* request,
                                  pb::GetWithHashResponse* reply) override {
    return gate_.OnStore(
        call, Rpc::kGetWithHash, [this, request, reply](Store& store) -> absl::Status {
          RETURN_IF_ERROR(gate_.limits().CheckKey(request->cache_key()));
          const Store::Found found = store.Get(request->cache_key());
          gate_.Charge(Rpc::kGetWithHash, request->cache_key().size(),
                       found.value ? found.value->size() : 0);
          if (!found.value) {
            reply->mutable_missing();
            return absl::OkStatus();
          }
          reply->mutable_found()->set_value(found.value->data(), found.value->size());
          reply->mutable_found()->set_hash(HashOf(*found.value));
          return absl::OkStatus();
        });
  }

  grpc::ServerWriteReactor<pb::GetResponse>* GetBatch(Context* call,
                                                      const pb::GetBatchRequest* request) override {
    return OpenStream<pb::GetResponse>(
        &gate_, call, Rpc::kGetBatch, request->items_size(),
        [this, request](int i) { return gate_.limits().CheckKey(request->items(i).cache_key()); },
        [this, request](Store& store, int i, pb::GetResponse* reply) {
          FillGet(store, request->items(i).cache_key(), reply);
          gate_.Charge(Rpc::kGetBatch, request->items(i).cache_key().size(),
                       reply->cache_body().size());
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* Set(Context* call, const pb::SetRequest* request,
                          pb::SetResponse* reply) override {
    return gate_.OnStore(call, Rpc::kSet, [this, request, reply](Store& store) -> absl::Status {
      RETURN_IF_ERROR(CheckItem(*request));
      return SetOne(Rpc::kSet, store, *request, reply);
    });
  }

  grpc::ServerWriteReactor<pb::SetResponse>* SetBatch(Context* call,
                                                      const pb::SetBatchRequest* request) override {
    return OpenStream<pb::SetResponse>(
        &gate_, call, Rpc::kSetBatch, request->items_size(),
        [this, request](int i) { return CheckItem(request->items(i)); },
        [this, request](Store& store, int i, pb::SetResponse* reply) {
          return SetOne(Rpc::kSetBatch, store, request->items(i), reply);
        });
  }

  ServerUnaryReactor* SetIf(Context* call, const pb::SetIfRequest* request,
                            pb::SetIfResponse* reply) override {
    return gate_.OnStore(call, Rpc::kSetIf, [this, request, reply](Store& store) -> absl::Status {
      const std::optional<Condition> condition = ConditionOf(*request);
      if (!condition) return NoCondition();
      return SetConditionally(Rpc::kSetIf, store, *request, *condition, reply);
    });
  }

  ServerUnaryReactor* SetIfNotExists(Context* call, const pb::SetIfNotExistsRequest* request,
                                     pb::SetIfNotExistsResponse* reply) override {
    return gate_.OnStore(
        call, Rpc::kSetIfNotExists, [this, request, reply](Store& store) -> absl::Status {
          return SetConditionally(Rpc::kSetIfNotExists, store, *request,
                                  Condition{.if_absent = true}, reply);
        });
  }

  ServerUnaryReactor* SetIfHash(Context* call, const pb::SetIfHashRequest* request,
                                pb::SetIfHashResponse* reply) override {
    return gate_.OnStore(call, Rpc::kSetIfHash,
                         [this, request, reply](Store& store) -> absl::Status {
                           const std::optional<Condition> condition = ConditionOf(*request);
                           if (!condition) return NoCondition();
                           RETURN_IF_ERROR(SetConditionally(Rpc::kSetIfHash, store, *request,
                                                            *condition, reply));
                           if (reply->has_stored()) {
                             reply->mutable_stored()->set_new_hash(HashOf(request->cache_body()));
                           }
                           return absl::OkStatus();
                         });
  }

  ServerUnaryReactor* Delete(Context* call, const pb::DeleteRequest* request,
                             pb::DeleteResponse*) override {
    return gate_.OnStore(call, Rpc::kDelete, [this, request](Store& store) -> absl::Status {
      RETURN_IF_ERROR(gate_.limits().CheckKey(request->cache_key()));
      store.Delete(request->cache_key());
      gate_.Charge(Rpc::kDelete, request->cache_key().size());
      return absl::OkStatus();
    });
  }

  ServerUnaryReactor* KeysExist(Context* call, const pb::KeysExistRequest* request,
                                pb::KeysExistResponse* reply) override {
    return gate_.OnStore(call, Rpc::kKeysExist,
                         [this, request, reply](Store& store) -> absl::Status {
                           for (const std::string& key : request->cache_keys()) {
                             RETURN_IF_ERROR(gate_.limits().CheckKey(key));
                             reply->add_exists(store.Peek(key).value.has_value());
                             gate_.Charge(Rpc::kKeysExist, key.size());
                           }
                           return absl::OkStatus();
                         });
  }

  ServerUnaryReactor* Increment(Context* call, const pb::IncrementRequest* request,
                                pb::IncrementResponse* reply) override {
    return gate_.OnStore(
        call, Rpc::kIncrement, [this, request, reply](Store& store) -> absl::Status {
          RETURN_IF_ERROR(CheckIncrement(*request));
          int64_t sum = 0;
          const Store::IncrementResult result =
              store.Increment(request->cache_key(), request->amount(),
                              static_cast<int64_t>(request->ttl_milliseconds()), &sum);
          reply->set_value(sum);
          RETURN_IF_ERROR(Incremented(result, *request));
          gate_.Charge(Rpc::kIncrement, request->cache_key().size());
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* UpdateTtl(Context* call, const pb::UpdateTtlRequest* request,
                                pb::UpdateTtlResponse* reply) override {
    return gate_.OnStore(
        call, Rpc::kUpdateTtl, [this, request, reply](Store& store) -> absl::Status {
          RETURN_IF_ERROR(gate_.limits().CheckKey(request->cache_key()));
          uint64_t ttl_ms = 0;
          Store::TtlRule rule{};
          if (!ReadTtlRule(*request, &ttl_ms, &rule)) {
            return absl::InvalidArgumentError("the request says no new TTL");
          }
          RETURN_IF_ERROR(gate_.limits().CheckNewTtl(ttl_ms));
          gate_.Charge(Rpc::kUpdateTtl, request->cache_key().size());
          FillTtlResult(store.UpdateTtl(request->cache_key(), static_cast<int64_t>(ttl_ms), rule),
                        reply);
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* ItemGetTtl(Context* call, const pb::ItemGetTtlRequest* request,
                                 pb::ItemGetTtlResponse* reply) override {
    return gate_.OnStore(call, Rpc::kItemGetTtl,
                         [this, request, reply](Store& store) -> absl::Status {
                           RETURN_IF_ERROR(gate_.limits().CheckKey(request->cache_key()));
                           gate_.Charge(Rpc::kItemGetTtl, request->cache_key().size());
                           const Store::Found found = store.Peek(request->cache_key());
                           if (found.value) {
                             reply->mutable_found()->set_remaining_ttl_millis(
                                 static_cast<uint64_t>(found.item.ttl_ms()));
                           } else {
                             reply->mutable_missing();
                           }
                           return absl::OkStatus();
                         });
  }

  ServerUnaryReactor* ItemGetType(Context* call, const pb::ItemGetTypeRequest* request,
                                  pb::ItemGetTypeResponse* reply) override {
    return gate_.OnStore(call, Rpc::kItemGetType,
                         [this, request, reply](Store& store) -> absl::Status {
                           RETURN_IF_ERROR(gate_.limits().CheckKey(request->cache_key()));
                           gate_.Charge(Rpc::kItemGetType, request->cache_key().size());
                           if (store.Peek(request->cache_key()).value) {
                             reply->mutable_found()->set_item_type(pb::ItemGetTypeResponse::SCALAR);
                           } else {
                             reply->mutable_missing();
                           }
                           return absl::OkStatus();
                         });
  }

 private:
  template <class Request>
  absl::Status CheckItem(const Request& request) const {
    return gate_.limits().CheckItem(request.cache_key(), request.cache_body(),
                                    request.ttl_milliseconds());
  }

  absl::Status SetOne(Rpc rpc, Store& store, const pb::SetRequest& request,
                      pb::SetResponse* reply) const {
    reply->set_result(pb::Ok);
    RETURN_IF_ERROR(gate_.Written(store.Set(request.cache_key(), request.cache_body(),
                                            static_cast<int64_t>(request.ttl_milliseconds())),
                                  request.cache_key(), request.cache_body()));
    gate_.Charge(rpc, request.cache_key().size() + request.cache_body().size());
    return absl::OkStatus();
  }

  template <class Request, class Reply>
  absl::Status SetConditionally(Rpc rpc, Store& store, const Request& request, const Condition& condition,
                                Reply* reply) const {
    RETURN_IF_ERROR(CheckItem(request));
    bool stored = false;
    RETURN_IF_ERROR(
        gate_.Written(store.SetIf(request.cache_key(), request.cache_body(),
                                  static_cast<int64_t>(request.ttl_milliseconds()), condition),
                      request.cache_key(), request.cache_body(), &stored));
    gate_.Charge(rpc, request.cache_key().size() + request.cache_body().size());
    if (stored) {
      reply->mutable_stored();
    } else {
      reply->mutable_not_stored();
    }
    return absl::OkStatus();
  }

  absl::Status CheckIncrement(const pb::IncrementRequest& request) const {
    RETURN_IF_ERROR(gate_.limits().CheckKey(request.cache_key()));
    return gate_.limits().CheckTtl(request.ttl_milliseconds());
  }

  absl::Status Incremented(Store::IncrementResult result,
                           const pb::IncrementRequest& request) const {
    switch (result) {
      case Store::IncrementResult::kDone:
        return absl::OkStatus();
      case Store::IncrementResult::kNotANumber:
        return absl::FailedPreconditionError("the item is not a decimal number of 64 bits");
      case Store::IncrementResult::kOverflow:
        return absl::FailedPreconditionError("the sum does not fit 64 bits");
      case Store::IncrementResult::kTooLarge:
        return ItemTooLarge(request.cache_key().size(), gate_.limits().item_bytes);
      case Store::IncrementResult::kNoMemory:
        return OutOfMemory();
    }
    return absl::InternalError("unknown result of an increment");
  }

  static bool ReadTtlRule(const pb::UpdateTtlRequest& request, uint64_t* ttl_ms,
                          Store::TtlRule* rule) {
    using Case = pb::UpdateTtlRequest::UpdateTtlCase;
    switch (request.update_ttl_case()) {
      case Case::kIncreaseToMilliseconds:
        *rule = Store::TtlRule::kIncrease;
        *ttl_ms = request.increase_to_milliseconds();
        return true;
      case Case::kDecreaseToMilliseconds:
        *rule = Store::TtlRule::kDecrease;
        *ttl_ms = request.decrease_to_milliseconds();
        return true;
      case Case::kOverwriteToMilliseconds:
        *rule = Store::TtlRule::kOverwrite;
        *ttl_ms = request.overwrite_to_milliseconds();
        return true;
      case Case::UPDATE_TTL_NOT_SET:
        break;
    }
    return false;
  }

  static void FillTtlResult(Store::TtlResult result, pb::UpdateTtlResponse* reply) {
    switch (result) {
      case Store::TtlResult::kSet:
        reply->mutable_set();
        break;
      case Store::TtlResult::kNotSet:
        reply->mutable_not_set();
        break;
      case Store::TtlResult::kMissing:
        reply->mutable_missing();
        break;
    }
  }

  Gate& gate_;
};

class PingService final : public pb::Ping::CallbackService {
 public:
  explicit PingService(Gate* gate) : gate_(*gate) {}

  ServerUnaryReactor* Ping(Context* call, const pb::PingRequest*, pb::PingResponse*) override {
    return gate_.Unary(call, Rpc::kPing, [] { return absl::OkStatus(); });
  }

 private:
  Gate& gate_;
};

class ControlService final : public control_client::ScsControl::CallbackService {
 public:
  explicit ControlService(Gate* gate) : gate_(*gate) {}

  ServerUnaryReactor* CreateCache(Context* call, const control_client::CreateCacheRequest* request,
                                  control_client::CreateCacheResponse*) override {
    return gate_.Unary(call, Rpc::kCreateCache,
                       [this, request] { return gate_.directory().Create(request->cache_name()); });
  }

  ServerUnaryReactor* DeleteCache(Context* call, const control_client::DeleteCacheRequest* request,
                                  control_client::DeleteCacheResponse*) override {
    return gate_.Unary(call, Rpc::kDeleteCache,
                       [this, request] { return gate_.directory().Delete(request->cache_name()); });
  }

  ServerUnaryReactor* FlushCache(Context* call, const control_client::FlushCacheRequest* request,
                                 control_client::FlushCacheResponse*) override {
    return gate_.Unary(call, Rpc::kFlushCache,
                       [this, request] { return gate_.directory().Flush(request->cache_name()); });
  }

  // Everything in one page: SDKs do not ask for a second.
  ServerUnaryReactor* ListCaches(Context* call, const control_client::ListCachesRequest*,
                                 control_client::ListCachesResponse* reply) override {
    return gate_.Unary(call, Rpc::kListCaches, [this, reply] {
      const Limits& limits = gate_.limits();
      for (const std::string& name : gate_.directory().Names()) {
        control_client::Cache* cache = reply->add_cache();
        cache->set_cache_name(name);
        cache->mutable_cache_limits()->set_max_item_size_kb(
            static_cast<uint32_t>(limits.item_bytes / 1024));
        cache->mutable_cache_limits()->set_max_ttl_seconds(
            static_cast<uint64_t>(limits.ttl_ms / 1000));
      }
      return absl::OkStatus();
    });
  }

 private:
  Gate& gate_;
};

class AllServices final : public Services {
 public:
  explicit AllServices(const ServicesContext* context) : gate_(context) {}

  std::vector<grpc::Service*> all() override { return {&scs_, &ping_, &control_}; }
  void StopDelays() override { gate_.StopDelays(); }

 private:
  Gate gate_;
  ScsService scs_{&gate_};
  PingService ping_{&gate_};
  ControlService control_{&gate_};
};

}  // namespace

std::unique_ptr<Services> Services::Create(const ServicesContext* context) {
  return std::make_unique<AllServices>(context);
}

}  // namespace cache::local
