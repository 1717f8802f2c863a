#include "core/watch/hub.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace core {
namespace {

constexpr int64_t kMicros = 1'000'000;

// "skipped=18446744073709551615\n": what a mark takes at the most.
constexpr size_t kMarkBytesMax = 32;

}  // namespace

// --- The hub ---

WatchDesk* WatchHub::DeskHere() const {
  for (WatchDesk* desk : desks_) {
    if (desk->loop().InLoopThread()) return desk;
  }
  return nullptr;
}

void WatchHub::SumKinds() {
  WatchKinds all = 0;
  for (const WatchKinds kinds : occupied_) {
    if (kinds != kFree) all |= kinds;
  }
  kinds_.store(all, std::memory_order_relaxed);
}

int WatchHub::Occupy(WatchKinds kinds, EventLoop* loop) {
  int mailbox = 0;
  {
    MutexLock lock(mu_);
    const auto free = std::find(occupied_.begin(), occupied_.end(), kFree);
    if (free == occupied_.end()) return -1;
    *free = kinds;
    mailbox = static_cast<int>(free - occupied_.begin());
  }
  {
    Mailbox& box = mailboxes_[mailbox];
    MutexLock lock(box.mu);
    box.kinds = kinds;
    box.loop = loop;
    box.since_gid = gid_.load(std::memory_order_relaxed);
    box.watched.store(kinds, std::memory_order_relaxed);
  }
  MutexLock lock(mu_);
  SumKinds();
  return mailbox;
}

void WatchHub::Vacate(int mailbox) {
  {
    Mailbox& box = mailboxes_[mailbox];
    MutexLock lock(box.mu);
    box.kinds = 0;
    box.loop = nullptr;
    box.skipped = 0;
    box.lines = std::string();
    box.watched.store(0, std::memory_order_relaxed);
    box.filled.store(false, std::memory_order_relaxed);
  }
  MutexLock lock(mu_);
  occupied_[mailbox] = kFree;
  SumKinds();
}

void WatchHub::Deal(absl::string_view block, const std::vector<Line>& lines, WatchKinds kinds) {
  for (Mailbox& box : mailboxes_) {
    if ((box.watched.load(std::memory_order_relaxed) & kinds) != 0) DealTo(&box, block, lines);
  }
}

void WatchHub::DealTo(Mailbox* mailbox, absl::string_view block, const std::vector<Line>& lines) {
  uint64_t sent = 0, skipped = 0;
  EventLoop* wake = nullptr;
  {
    MutexLock lock(mailbox->mu);
    size_t begin = 0;
    for (const Line& line : lines) {
      const absl::string_view text = block.substr(begin, line.end - begin);
      begin = line.end;
      if ((line.kind & mailbox->kinds) == 0 || line.gid <= mailbox->since_gid) continue;
      if (mailbox->lines.size() + kMarkBytesMax + text.size() > kMailboxBytesMax) {
        ++skipped;
        continue;
      }
      if (mailbox->skipped + skipped != 0) {
        absl::StrAppend(&mailbox->lines, "skipped=", mailbox->skipped + skipped, "\n");
        mailbox->skipped = 0;
        metrics_.line_skip.Add(skipped);
        skipped = 0;
      }
      absl::StrAppend(&mailbox->lines, text);
      ++sent;
    }
    mailbox->skipped += skipped;
    // Pairs with nothing: what is in the mailbox is read under its lock.
    if (sent != 0 && !mailbox->filled.exchange(true, std::memory_order_relaxed)) {
      wake = mailbox->loop;
    }
  }
  metrics_.line_send.Add(sent);
  metrics_.line_skip.Add(skipped);
  if (wake != nullptr && !wake->InLoopThread()) wake->Wake();
}

std::string WatchHub::Collect(int mailbox) {
  Mailbox& box = mailboxes_[mailbox];
  std::string lines;
  MutexLock lock(box.mu);
  lines.swap(box.lines);
  box.filled.store(false, std::memory_order_relaxed);
  return lines;
}

// --- A desk ---

WatchDesk::WatchDesk(WatchHub* hub, EventLoop* loop) : hub_(*hub), loop_(*loop) {
  hub_.desks_.push_back(this);
}

WatchDesk::~WatchDesk() {
  DCHECK(watchers_.empty());
  hub_.desks_.erase(std::find(hub_.desks_.begin(), hub_.desks_.end(), this));
}

void WatchDesk::Write(WatchKinds kind, absl::string_view what) {
  // A line that is written by the end of a turn would otherwise wait for the next one.
  if (lines_.empty()) loop_.KeepAwake();
  const int64_t now_us = loop_.clock().WallNs() / 1000;
  const uint64_t gid = hub_.NextGid();
  absl::StrAppend(&block_, "ts=", now_us / kMicros, ".",
                  absl::Dec(now_us % kMicros, absl::kZeroPad6), " gid=", gid, " ");
  absl::StrAppend(&block_, what, "\n");
  lines_.push_back({kind, block_.size(), gid});
  written_ |= kind;
  hub_.metrics_.line_write.Add();
  if (block_.size() >= kBlockBytesMax) HandOver();
}

void WatchDesk::HandOver() {
  hub_.Deal(block_, lines_, written_);
  block_.clear();
  lines_.clear();
  written_ = 0;
  if (hub_.kinds() != 0) return;
  block_.shrink_to_fit();
  lines_.shrink_to_fit();
}

WatchDesk::Seat WatchDesk::Join(WatchKinds kinds, WatchOutlet* outlet) {
  const int mailbox = hub_.Occupy(kinds, &loop_);
  if (mailbox < 0) {
    hub_.metrics_.watcher_refuse.Add();
    return {};
  }
  watchers_.push_back({mailbox, outlet});
  hub_.metrics_.watcher.Add(1);
  return Seat(this, mailbox);
}

void WatchDesk::Leave(int mailbox) {
  const auto at = std::find_if(watchers_.begin(), watchers_.end(),
                               [=](const Watcher& one) { return one.mailbox == mailbox; });
  watchers_.erase(at);
  hub_.Vacate(mailbox);
  hub_.metrics_.watcher.Add(-1);
}

// Sending to a watcher may fail and be noticed later, but ends no seat.
void WatchDesk::Serve() {
  for (const Watcher& one : watchers_) {
    if (!hub_.mailboxes_[one.mailbox].filled.load(std::memory_order_relaxed)) continue;
    if (one.outlet->HasRoom()) {
      one.outlet->Send(hub_.Collect(one.mailbox));
    } else if (!again_.armed()) {
      loop_.Arm(&again_, kAgainMs);
    }
  }
}

}  // namespace core
