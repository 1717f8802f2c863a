// One server's part on one worker: its service object, its sessions, and the replies on their way
// to them. Everything here belongs to the worker's thread but Deliver, Abandon and the counts.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/server.h"
#include "core/base/mutex.h"
#include "core/net/metrics.h"
#include "core/net/peer.h"
#include "core/net/reply.h"
#include "core/net/service.h"
#include "core/net/session.h"
#include "core/net/tls_context.h"
#include "core/net/worker.h"

namespace core {

// Counts client connections over every server of the process. Any thread.
class ConnectionLimit {
 public:
  explicit ConnectionLimit(uint32_t max) : max_(max) {}
  bool Acquire() {
    if (open_.fetch_add(1, std::memory_order_relaxed) < max()) return true;
    Release();
    return false;
  }
  void Readmit() { open_.fetch_add(1, std::memory_order_relaxed); }
  void Release() { open_.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t open() const { return open_.load(std::memory_order_relaxed); }
  uint32_t max() const { return max_.load(std::memory_order_relaxed); }
  // Those that are open stay, however many.
  void set_max(uint32_t max) { max_.store(max, std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> max_;
  std::atomic<uint32_t> open_{0};
};

// Takes a connection to another process.
using GiveConnection = std::function<void(Fd fd, std::string unread)>;

template <class C, class S>
class Shard final : public ReplySink<typename C::Response> {
 public:
  using Response = typename C::Response;
  // Whether the service wants to know of requests before they are executed, and how many at a time
  // it does: enough for the loads of some to pass while others execute, few enough to stay in the
  // first-level cache.
  static constexpr bool kForesees =
      requires(S s, const typename C::Request& req) { s.Foresee(req); };
  static constexpr size_t kGroup = kForesees ? 8 : 1;
  struct Parsed {
    typename C::Request request;
    ParseResult result;
  };

  // Everything borrowed outlives the shard. Made and destroyed by main while the loop stands still.
  Shard(Worker* worker, const config::Server& limits, std::unique_ptr<S> service, C codec,
        NetMetrics* metrics, ConnectionLimit* connections)
      : worker_(*worker),
        limits_(limits),
        service_(std::move(service)),
        codec_(std::move(codec)),
        metrics_(*metrics),
        connections_(*connections) {
    worker_.loop.AddTurnEnd(EventLoop::Phase::kService, &collect_);
    worker_.loop.AddTurnEnd(EventLoop::Phase::kSession, &flush_);
    SweepIfNeeded();
  }
  ~Shard() {
    worker_.loop.RemoveTurnEnd(&collect_);
    worker_.loop.RemoveTurnEnd(&flush_);
    for (auto& session : sessions_) {
      if (session != nullptr) session->Close(CloseReason::kShutdown);
    }
    retired_.clear();
    service_.reset();  // While this sink still stands: a late reply finds no session and is dropped.
  }

  Worker& worker() { return worker_; }
  const config::Server& limits() const { return limits_; }
  S& service() { return *service_; }
  NetMetrics& metrics() { return metrics_; }
  // Other limits from now on, for open sessions too.
  void Retune(const config::Server& limits) {
    limits_ = limits;
    SweepIfNeeded();
  }
  // Where the requests of a group are parsed to, whatever the session. i < kGroup.
  Parsed& parsed(size_t i) { return parsed_[i]; }

  // Sessions open or being handed over. Any thread.
  int live() const { return live_.load(std::memory_order_relaxed); }
  // Announces a connection before it is posted here. Any thread.
  void Expect() { live_.fetch_add(1, std::memory_order_relaxed); }

  // Takes an announced connection over, with TLS if there is a `tls`. `unread`: what a process before
  // has read of it and not taken.
  void Adopt(Fd fd, TlsContext* tls, absl::string_view unread = {}) {
    std::unique_ptr<TlsStream> stream;
    if (tls != nullptr && (stream = tls->NewStream(fd.get(), &worker_)) == nullptr) {
      live_.fetch_sub(1, std::memory_order_relaxed);  // Out of memory: it is closed.
      connections_.Release();
      return;
    }
    uint32_t index = sessions_.size();
    if (free_.empty()) {
      sessions_.emplace_back();
      generations_.push_back(0);
    } else {
      index = free_.back();
      free_.pop_back();
    }
    const SessionRef ref{index, generations_[index]};
    C codec(codec_);
    if constexpr (requires { codec.SetPeer(std::string()); }) {
      if (codec.wants_peer()) codec.SetPeer(PeerAddress(fd.get()));
    }
    sessions_[index] = std::make_unique<Session<C, S>>(this, std::move(fd), std::move(stream), ref,
                                                       std::move(codec));
    metrics_.connection_open.Add(1);
    if (!unread.empty()) sessions_[index]->Feed(unread);
    if (draining_ && sessions_[index] != nullptr) sessions_[index]->BeginDrain();
  }

  // `give`, if given, outlives the shard and takes connections that are between two requests, with
  // what was read of the next one. Any thread may be in it.
  void BeginDrain(GiveConnection give = nullptr) {
    give_ = std::move(give);
    draining_ = true;
    for (size_t i = 0; i < sessions_.size(); ++i) {
      if (sessions_[i] != nullptr) sessions_[i]->BeginDrain();
    }
  }

  // --- For sessions. ---
  bool gives() const { return give_ != nullptr; }
  void Give(Fd fd, absl::string_view unread) {
    metrics_.connection_give.Add();
    give_(std::move(fd), std::string(unread));
  }
  void MakeDirty(Session<C, S>* session) { dirty_.push_back(session); }
  void MakeRunnable(SessionRef ref) {
    runnable_.push_back(ref);
    worker_.loop.KeepAwake();
  }
  void Retire(SessionRef ref) {
    retired_.push_back(std::move(sessions_[ref.index]));
    ++generations_[ref.index];
    free_.push_back(ref.index);
    live_.fetch_sub(1, std::memory_order_relaxed);
    connections_.Release();
    metrics_.connection_open.Add(-1);
  }

  // --- ReplySink: any thread. ---
  void Deliver(SessionRef ref, uint64_t sequence, Response&& rsp) override {
    if (!worker_.loop.InLoopThread()) return Post({ref, sequence, std::move(rsp)});
    if (Session<C, S>* session = Find(ref)) session->Deliver(sequence, std::move(rsp));
  }
  void Abandon(SessionRef ref, uint64_t sequence) override {
    if (!worker_.loop.InLoopThread()) return Post({ref, sequence, std::nullopt});
    Session<C, S>* session = Find(ref);
    if (session == nullptr) return;
    metrics_.reply_abandon.Add();
    session->Close(CloseReason::kError);
  }
  // --- ReplySink: the worker. ---
  void DeliverPart(SessionRef ref, uint64_t sequence, Response&& rsp) override {
    if (Session<C, S>* session = Find(ref)) session->DeliverPart(sequence, std::move(rsp));
  }
  std::optional<size_t> Unsent(SessionRef ref) override {
    const Session<C, S>* session = Find(ref);
    if (session == nullptr) return std::nullopt;
    return session->unsent_bytes();
  }

 private:
  static constexpr int64_t kSweepMs = 1000;

  struct Posted {
    SessionRef ref;
    uint64_t sequence;
    std::optional<Response> rsp;  // Absent: abandoned.
  };
  struct Collect final : TurnEnd {
    explicit Collect(Shard* owner) : shard(owner) {}
    void OnTurnEnd() override { shard->CollectTurn(); }
    Shard* shard;
  };
  struct FlushAll final : TurnEnd {
    explicit FlushAll(Shard* owner) : shard(owner) {}
    void OnTurnEnd() override { shard->FlushTurn(); }
    Shard* shard;
  };
  struct Sweep final : Timer {
    explicit Sweep(Shard* owner) : shard(owner) {}
    void OnTimer() override { shard->CloseSilent(); }
    Shard* shard;
  };

  Session<C, S>* Find(SessionRef ref) {
    if (ref.index >= sessions_.size() || generations_[ref.index] != ref.generation) return nullptr;
    return sessions_[ref.index].get();
  }

  void Post(Posted posted) {
    bool first;
    {
      MutexLock lock(mu_);
      first = posted_.empty();
      posted_.push_back(std::move(posted));
    }
    if (first) worker_.loop.Wake();
  }

  // Posted replies, sessions that have room again, then whatever the service collected.
  void CollectTurn() {
    std::vector<Posted> posted;
    {
      MutexLock lock(mu_);
      posted.swap(posted_);
    }
    for (Posted& one : posted) {
      if (one.rsp.has_value()) {
        Deliver(one.ref, one.sequence, std::move(*one.rsp));
      } else {
        Abandon(one.ref, one.sequence);
      }
    }
    resuming_.swap(runnable_);
    for (const SessionRef ref : resuming_) {
      if (Session<C, S>* session = Find(ref)) session->Resume();
    }
    resuming_.clear();
    service_->EndTurn();
  }

  void FlushTurn() {
    for (size_t i = 0; i < dirty_.size(); ++i) dirty_[i]->Flush();
    dirty_.clear();
    retired_.clear();
  }

  void SweepIfNeeded() {
    const bool needed = limits_.idle_timeout > absl::ZeroDuration() ||
                        limits_.stall_timeout > absl::ZeroDuration();
    if (needed && !sweep_.armed()) worker_.loop.Arm(&sweep_, kSweepMs);
  }

  // Closes who says nothing, and who takes nothing of what it asked for.
  void CloseSilent() {
    const int64_t now_ms = worker_.loop.now_ms();
    const int64_t idle_ms = absl::ToInt64Milliseconds(limits_.idle_timeout);
    const int64_t stall_ms = absl::ToInt64Milliseconds(limits_.stall_timeout);
    for (size_t i = 0; i < sessions_.size(); ++i) {
      Session<C, S>* session = sessions_[i].get();
      if (session == nullptr) continue;
      const int64_t silent_ms = now_ms - session->active_ms();
      if (idle_ms > 0 && session->idle() && silent_ms >= idle_ms) {
        metrics_.connection_idle.Add();
        session->Close(CloseReason::kSilence);
      } else if (stall_ms > 0 && session->unsent() && silent_ms >= stall_ms) {
        metrics_.connection_stall.Add();
        session->Close(CloseReason::kSilence);
      }
    }
    SweepIfNeeded();
  }

  Worker& worker_;
  config::Server limits_;
  std::unique_ptr<S> service_;
  const C codec_;  // Every session starts from a copy.
  NetMetrics& metrics_;
  ConnectionLimit& connections_;
  Collect collect_{this};
  FlushAll flush_{this};
  Sweep sweep_{this};
  std::array<Parsed, kGroup> parsed_;

  std::vector<std::unique_ptr<Session<C, S>>> sessions_;  // Index = SessionRef::index.
  std::vector<uint32_t> generations_;
  std::vector<uint32_t> free_;
  std::vector<std::unique_ptr<Session<C, S>>> retired_;  // Closed this turn; destroyed at its end.
  std::vector<Session<C, S>*> dirty_;
  std::vector<SessionRef> runnable_, resuming_;
  bool draining_ = false;
  GiveConnection give_;  // Null: connections are closed.
  std::atomic<int> live_{0};

  Mutex mu_;
  std::vector<Posted> posted_ ABSL_GUARDED_BY(mu_);
};

}  // namespace core
