// memcached's commands, answered from Momento: the orchestrator of one cache on one worker.
//
// proxy/translate says what each command becomes; this says when. Within one connection, commands
// on the same key take effect in the order sent: readers of a key overlap, a writer is alone
// (key_lines.h), and flush_all waits for everything before it and holds everything after it. Commands
// on different keys run at once.
//
// Calls are shared where it costs nobody time. Keys of plain gets that arrive in one turn share
// GetBatch calls, plain sets SetBatch calls. A get of a key that another get is asking for takes that
// one's answer, on the same worker, unless a write of the key was acknowledged since that call left
// (write_marks.h), on whichever worker: nobody reads what was before a write of this process that
// he may know of. With consistent reads only calls that have not left are joined, so that
// this holds for writes from elsewhere too. Calls past half their deadline are not joined.
//
// With a near cache (near_cache.h) plain gets look there before they make a call, and all writes
// clear their key there before their first call leaves. gets, cas and gat ask Momento always.
//
// Every request is answered exactly once, whatever the backend does. A connection that closes takes
// nothing back: writes accepted from it run to their end. A command is one to three calls to the
// backend, or rounds of three, each under the client's own deadline; when a call times out, the
// commands that have waited a deadline behind it are answered with it instead of timing out one
// after the other.
//
// An mg may win an item: be the one client of the whole fleet that is to make it anew (wins.cc). It
// shares its read like any get, but what it is told of the win is never shared.
//
// What cannot be as in memcached, since Momento has no such calls:
//   * delete in exact mode asks and then deletes; another client's write may fall in between;
//   * append, prepend, incr and decr store with the time to live read a moment before, so a touch
//     that falls in between is undone;
//   * with balanced reads the service itself may answer a read with a value from just before a
//     write; reads = "consistent" buys read-your-writes.
//
// One thread: the loop's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/random/random.h"
#include "absl/strings/string_view.h"
#include "config/momento.h"
#include "config/server.h"
#include "core/net/event_loop.h"
#include "core/net/reply.h"
#include "core/net/timer.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"
#include "proxy/momento/client.h"
#include "proxy/service/metrics.h"
#include "proxy/service/near_cache.h"
#include "proxy/service/operation.h"
#include "proxy/service/pool.h"
#include "proxy/translate/envelope.h"
#include "proxy/translate/errors.h"
#include "proxy/translate/ttl.h"

namespace proxy {

// Answers "stats": gets the words after it. Called on the worker's thread; must not block.
using StatsSource = absl::AnyInvocable<proto::memcache::Response(absl::string_view argument)>;

class ProxyService {
 public:
  using Request = proto::memcache::Request;
  using Response = proto::memcache::Response;
  using Reply = MemcacheReply;

  // What a session holds of its connection. Move-only; may outlive the service.
  class Connection {
   public:
    Connection(Connection&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    Connection& operator=(Connection&& other) noexcept {
      std::swap(state_, other.state_);
      return *this;
    }
    ~Connection() {
      if (state_ != nullptr) Unreference(state_);
    }

   private:
    friend class ProxyService;
    explicit Connection(ConnectionState* state) : state_(state) { ++state_->references; }
    ConnectionState* state_;
  };

  // `client`, `loop` and `shared` outlive the service. Once the service is gone, `client` is only
  // to be destroyed, which drops the callbacks of the calls in flight: the loop no longer runs.
  ProxyService(momento::Client* client, const config::Cache& cache, const config::Server& server,
               core::EventLoop* loop, CacheShared* shared, StatsSource stats);
  ~ProxyService();
  ProxyService(const ProxyService&) = delete;
  ProxyService& operator=(const ProxyService&) = delete;

  Connection Connect() { return Connection(new ConnectionState()); }
  void Execute(Connection& connection, const Request& req, Reply reply);
  // Fetches the keys collected in the turn and lets the client send.
  void EndTurn();

  // Goes on with what is live in `cache` (config/momento.h). On the loop's thread.
  void Retune(const config::Cache& cache);

  // Whether clients may flush the cache.
  bool MayFlush() const { return cache_.flush_all; }

  // Drops the replies of what is under way, all that is told of it; then nothing but destruction may
  // follow. The loop does not run any more. For whoever destroys services and what their replies go
  // to in an order of his own.
  void Forsake();

  // Operations that have not ended.
  size_t in_flight() const { return operations_.used_count(); }

 private:
  friend struct Operation;
  struct FlushTimer final : core::Timer {
    explicit FlushTimer(ProxyService* s) : service(s) {}
    void OnTimer() override { service->OnFlushDue(); }
    ProxyService* service;
    uint64_t generation = 0;
  };

  static void Unreference(ConnectionState* state);
  int64_t DeadlineMs(config::Cache::Kind kind) const {
    return deadlines_ms_[static_cast<size_t>(kind)];
  }

  // --- service.cc: taking a command in, and ending it ---
  Operation* NewOperation(const Connection& connection, const Request& req, absl::string_view key);
  // Whether a value that long may come in now.
  bool TakeBytes(size_t bytes) {
    return bytes < ByteBudget::kCountedMin || shared_->bytes.Take(bytes);
  }
  void TakeGetMany(Connection& connection, const Request& req, Reply reply);
  void TakeFlush(Connection& connection, const Request& req, Reply reply);
  void Admit(Operation* op);
  void EnterLine(Operation* op);
  void Start(Operation* op);
  void Leave(Operation* op);
  void BeginWrite(Operation* op);
  void EndWrite(Operation* op);
  void FlushCache(momento::Callback<momento::DoneResult> done);
  void SendInGroups(std::vector<Operation*>* operations,
                    absl::FunctionRef<void(Operation* const* first, size_t count)> send);
  void RunHeld(ConnectionState* connection);
  void Keep(Operation* op);
  void Free(Operation* op);
  void Answer(Operation* op, Response rsp);
  void Fail(Operation* op, const momento::Error& error, translate::Intent intent);
  void Proceed(const Operation& before, Operation* ready);
  void EndLate();
  void OnFlushDue();

  // --- reads.cc ---
  void StartGet(Operation* op);
  void SendGets();
  bool AnswerNear(Operation* op);
  bool AnswerStale(Operation* op);
  uint64_t TokenOfCopy(const Operation& op) const;
  void KeepRead(const Operation& op);
  bool Join(Operation* op);
  void SendGroup(Operation* const* first, size_t count);
  void OnBatch(BatchCall* batch, std::vector<momento::GetResult> results);
  void OnGot(Operation* op, momento::GetResult result);
  void Land(Operation* op);
  void OnGotHashed(Operation* op, momento::HashedGetResult result);
  void ReadWithTtl(Operation* op);
  void OnReadWithTtl(Operation* op);
  void Arrive(Operation* op);
  void TakeStored(Operation* op, std::string stored);
  void TouchRead(Operation* op);
  void EndGet(Operation* op);
  void EndGather(Gather* gather);
  void EndDebug(Operation* op);
  void CountGet(const Operation& op);
  proto::memcache::Item ItemOf(Operation* op) const;

  // --- wins.cc: who is to make an item anew ---
  bool Contends(const Operation& op) const;
  void Contend(Operation* op);
  void ReadForWin(Operation* op);
  void TakeWin(Operation* op);
  void MakePlaceholder(Operation* op);
  void OnWinStored(Operation* op, momento::StoreResult result);
  void HandOver(Operation* op);
  void Enlist(Operation* op);
  void Delist(Operation* op);
  uint64_t FreshToken();

  // --- writes.cc ---
  void StartStore(Operation* op);
  void KeepForNear(Operation* op);
  void SendSets();
  void SendSetGroup(Operation* const* first, size_t count);
  void OnSetBatch(BatchCall* batch, std::vector<momento::StoreResult> results);
  void StartCas(Operation* op);
  void StartTouch(Operation* op);
  void StartDelete(Operation* op);
  translate::EnvelopePrefix Wrap(Operation* op, absl::string_view body, uint32_t flags);
  Response Told(const Operation& op, Response rsp) const;
  void Store(Operation* op, absl::string_view body, uint32_t flags,
             std::optional<absl::string_view> expected,
             momento::Callback<momento::StoreResult> done);
  void OnStored(Operation* op, momento::StoreResult result);
  void EndStored(Operation* op);
  void OnCasRead(Operation* op, momento::HashedGetResult found);
  void OnCasStored(Operation* op, momento::StoreResult result);
  void OnExists(Operation* op, momento::FoundResult result);
  void OnDeleteRead(Operation* op, momento::HashedGetResult found);
  void Delete(Operation* op, proto::memcache::Status after, bool must_succeed);
  void SetTtl(Operation* op);

  // --- updates.cc: append, prepend, incr, decr, ms I, md I and x ---
  void StartUpdate(Operation* op);
  void ReadForUpdate(Operation* op);
  void OnUpdateRead(Operation* op);
  void UpdateNothing(Operation* op);
  void Make(Operation* op, absl::string_view value, uint32_t flags, int64_t exptime);
  void StoreCount(Operation* op, const translate::Unwrapped& old);
  void StoreJoined(Operation* op, const translate::Unwrapped& old);
  void StoreLessened(Operation* op, const translate::Unwrapped& old);
  void MarkStale(Operation* op, bool win_taken);
  void StoreChanged(Operation* op, absl::string_view value, uint32_t flags);
  void OnUpdated(Operation* op, momento::StoreResult result);
  Response UpdatedResponse(const Operation& op) const;
  void RetryUpdate(Operation* op);
  bool StartNextRound(Operation* op);
  void FailUpdate(Operation* op, const momento::Error& error, translate::Intent intent);
  void EndUpdate(Operation* op, Response rsp);

  momento::Client* const client_;
  config::Cache cache_;
  translate::TtlRules ttl_rules_;
  const uint64_t item_bytes_max_;
  std::array<int64_t, config::Cache::kKinds> deadlines_ms_;
  core::EventLoop* const loop_;
  CacheShared* const shared_;
  NearCache* const near_;  // Null: off.
  StatsSource stats_;
  absl::InsecureBitGen random_;

  bool turn_open_ = false;  // EndTurn() is still to come in this turn.
  std::vector<Operation*> gets_;  // To be fetched at the end of the turn.
  std::vector<Operation*> timed_gets_;  // Of those, the ones that ask how long the item lives.
  std::vector<Operation*> sets_;  // Likewise, to be stored.
  // Of the call being made.
  std::vector<absl::string_view> batch_keys_;
  std::vector<translate::EnvelopePrefix> batch_prefixes_;
  std::vector<momento::StoreItem> batch_items_;
  // By FlightOf(), the get under way whose answer others may take.
  absl::flat_hash_map<uint64_t, Operation*> flights_;
  // Updates of one key from any connection of this worker go one after the other: they would only
  // make each other's conditional store fail.
  KeyLines updates_;
  // To be answered with a timeout without a call; see Proceed().
  std::vector<Operation*> late_;
  bool ending_late_ = false;
  FlushTimer flush_timer_{this};
  Pool<Operation> operations_;
  Pool<Gather> gathers_;
  Pool<BatchCall> batches_;
};

}  // namespace proxy
