// Who watches, and what: lines of what happens, from the workers where it happens to the connections
// that asked for them.
//
//   worker --Write--> its desk's block --end of the turn, or full--> a bounded mailbox a watcher
//                                                                      | its worker, when the watcher
//                                                                      v has taken what it got before
//                                                                    the watcher's connection
//
// While nobody watches a worker pays one relaxed load of kinds() for each thing that could be told.
// Nobody ever waits for a watcher: a line that does not fit its mailbox is skipped and counted, and
// the next line that fits comes after one that says "skipped=N". What a line says, and what kinds
// there are, is the protocol's to know.
//
// Lines of one worker are in order. Between workers, gid tells: it is a running number of the hub.
//
// Lock order: Hub::mu_ and the locks of the mailboxes are never held together, nor over a callback.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/base/mutex.h"
#include "core/net/event_loop.h"
#include "core/watch/metrics.h"

namespace core {

class WatchDesk;

// A set of kinds: bits that the protocol gives a meaning.
using WatchKinds = uint32_t;

// Where one watcher's lines go. On its worker's thread.
class WatchOutlet {
 public:
  // Whether everything given before was taken, so that more may come.
  virtual bool HasRoom() = 0;
  // Whole lines, their ends included; at most WatchHub::kMailboxBytesMax.
  virtual void Send(std::string lines) = 0;

 protected:
  ~WatchOutlet() = default;
};

// One a server. Outlives its desks. Any thread, unless said otherwise.
class WatchHub {
 public:
  static constexpr int kWatchersMax = 20;                     // As in memcached.
  static constexpr size_t kMailboxBytesMax = 256 * 1024;      // Its default watcher_logbuf_size.

  // `registry` outlives the hub.
  WatchHub(Registry* registry, Labels labels) : metrics_(registry, std::move(labels)) {}
  WatchHub(const WatchHub&) = delete;
  WatchHub& operator=(const WatchHub&) = delete;

  // What somebody watches; 0: nobody watches anything.
  WatchKinds kinds() const { return kinds_.load(std::memory_order_relaxed); }
  // The desk of the calling thread's loop; null if it is none of the workers'. Not while desks are
  // made or destroyed.
  WatchDesk* DeskHere() const;
  // For what happened where there is no desk.
  void CountLost() { metrics_.line_drop.Add(); }
  const WatchMetrics& metrics() const { return metrics_; }

 private:
  friend class WatchDesk;
  struct Line {
    WatchKinds kind = 0;
    size_t end = 0;  // Where it ends in its block.
    uint64_t gid = 0;
  };
  struct Mailbox {
    // Copy of `kinds`, for a look without the lock. 0 while it is nobody's.
    std::atomic<WatchKinds> watched{0};
    std::atomic<bool> filled{false};  // There is something in `lines`.
    Mutex mu;
    WatchKinds kinds ABSL_GUARDED_BY(mu) = 0;
    EventLoop* loop ABSL_GUARDED_BY(mu) = nullptr;  // Of its watcher.
    uint64_t since_gid ABSL_GUARDED_BY(mu) = 0;     // Lines before this are none of its.
    uint64_t skipped ABSL_GUARDED_BY(mu) = 0;
    std::string lines ABSL_GUARDED_BY(mu);
  };

  // A free mailbox, which is the caller's until Vacate(); -1: there is none.
  int Occupy(WatchKinds kinds, EventLoop* loop);
  void Vacate(int mailbox);
  uint64_t NextGid() { return gid_.fetch_add(1, std::memory_order_relaxed) + 1; }
  // Gives `block` to who watches any of `kinds`, those of its lines.
  void Deal(absl::string_view block, const std::vector<Line>& lines, WatchKinds kinds);
  void DealTo(Mailbox* mailbox, absl::string_view block, const std::vector<Line>& lines);
  std::string Collect(int mailbox);
  void SumKinds() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  WatchMetrics metrics_;
  std::vector<WatchDesk*> desks_;  // Changes only while no worker runs.
  // Of no other memory: a worker that sees it late tells a few events less or more.
  std::atomic<WatchKinds> kinds_{0};
  std::atomic<uint64_t> gid_{0};
  std::array<Mailbox, kWatchersMax> mailboxes_;
  Mutex mu_;
  // By mailbox, what its watcher asked for; kFree: nobody has it.
  static constexpr WatchKinds kFree = ~WatchKinds{0};
  std::array<WatchKinds, kWatchersMax> occupied_ ABSL_GUARDED_BY(mu_) = Free();
  static constexpr std::array<WatchKinds, kWatchersMax> Free() {
    std::array<WatchKinds, kWatchersMax> all{};
    all.fill(kFree);
    return all;
  }
};

// One worker's end: makes lines, and serves the watchers whose connections are the worker's. Made and
// destroyed by main while the loop stands still; otherwise its loop's thread.
class WatchDesk {
 public:
  static constexpr size_t kBlockBytesMax = 64 * 1024;  // memcached's default worker_logbuf_size.

  // A watcher for as long as it lives. Destroyed on the loop's thread, or by main when it stands still.
  class Seat {
   public:
    Seat() = default;
    Seat(Seat&& other) noexcept
        : desk_(std::exchange(other.desk_, nullptr)), mailbox_(other.mailbox_) {}
    Seat& operator=(Seat&& other) noexcept {
      std::swap(desk_, other.desk_);
      std::swap(mailbox_, other.mailbox_);
      return *this;
    }
    ~Seat() {
      if (desk_ != nullptr) desk_->Leave(mailbox_);
    }
    bool taken() const { return desk_ != nullptr; }

   private:
    friend class WatchDesk;
    Seat(WatchDesk* desk, int mailbox) : desk_(desk), mailbox_(mailbox) {}
    WatchDesk* desk_ = nullptr;
    int mailbox_ = 0;
  };

  // `hub` and `loop` outlive the desk.
  WatchDesk(WatchHub* hub, EventLoop* loop);
  ~WatchDesk();
  WatchDesk(const WatchDesk&) = delete;
  WatchDesk& operator=(const WatchDesk&) = delete;

  EventLoop& loop() const { return loop_; }
  WatchKinds kinds() const { return hub_.kinds(); }

  // Tells whoever watches `kind`, one bit: the time, a number and `what`, which has no line break.
  void Write(WatchKinds kind, absl::string_view what);
  // From now on lines of `kinds` go to `outlet`, which outlives the seat. Not taken(): too many watch.
  Seat Join(WatchKinds kinds, WatchOutlet* outlet);
  // At the end of every turn.
  void EndTurn() {
    if (!lines_.empty()) [[unlikely]] HandOver();
    if (!watchers_.empty()) [[unlikely]] Serve();
  }

 private:
  struct Watcher {
    int mailbox;
    WatchOutlet* outlet;
  };
  // Comes back to watchers that had no room.
  struct Again final : Timer {
    void OnTimer() override {}  // The end of the turn does it.
  };
  static constexpr int64_t kAgainMs = 20;

  void HandOver();
  void Serve();
  void Leave(int mailbox);

  WatchHub& hub_;
  EventLoop& loop_;
  std::string block_;
  std::vector<WatchHub::Line> lines_;  // Of block_.
  WatchKinds written_ = 0;             // What kinds they are.
  std::vector<Watcher> watchers_;
  Again again_;
};

}  // namespace core
