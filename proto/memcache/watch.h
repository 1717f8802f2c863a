// memcached's `watch`: a connection that gets lines of what clients do, and the service that makes
// the lines.
//
//   watch [fetchers] [mutations] [evictions] [connevents] [deletions]      nothing said: fetchers
//
//   OK
//   ts=1796042834.252091 gid=25 type=item_get key=a status=found clsid=1 cfd=15 size=1
//   ... type=item_store key=a status=stored cmd=set ttl=100 clsid=1 cfd=15 size=3
//   ... type=deleted key=a cmd=delete clsid=1 size=3
//   ... type=eviction key=k0 fetch=no ttl=-1 la=12 clsid=1 size=1000
//   ... type=conn_new rip=127.0.0.1 rport=36502 transport=tcp cfd=12
//   ... type=conn_close rip=127.0.0.1 rport=36502 transport=tcp reason=normal cfd=12
//   skipped=17
//
// Fields, their order and their words are those of memcached 1.6.18 (1.6.45 for `deleted`), line ends
// lone \n. Keys are URI-encoded. README.md says what each line tells here, and where that is not what
// memcached tells.
//
// What stands before a service, the login of a client above all, is in no line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/base/clock.h"
#include "core/net/peer.h"
#include "core/net/reply.h"
#include "core/net/service.h"
#include "core/watch/hub.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"

namespace proto::memcache {

// Bits of core::WatchKinds.
enum WatchKind : core::WatchKinds {
  kWatchFetchers = 1 << 0,
  kWatchMutations = 1 << 1,
  kWatchEvictions = 1 << 2,
  kWatchConnEvents = 1 << 3,
  kWatchDeletions = 1 << 4,
};

// What the words after "watch" ask for; nothing if one of them is no kind. Kinds of memcached's that
// nothing here tells of (rawcmds, sysevents, proxyreqs, proxyevents, proxyuser) add none.
std::optional<core::WatchKinds> WatchKindsOf(absl::string_view words);

// Appends `key` with every byte but letters, digits and -._~ as %XX.
void AppendUriEncoded(absl::string_view key, std::string* out);

// One line each, from "type=" on.
std::string ConnNewLine(const core::Peer& peer, int fd);
std::string ConnCloseLine(const core::Peer& peer, int fd, core::CloseReason reason);
struct EvictedItem {
  absl::string_view key;
  size_t value_bytes = 0;
  bool fetched = false;
  int64_t ttl_sec = -1;  // Left; -1: it would never have ended.
  int64_t age_sec = 0;
};
std::string EvictionLine(const EvictedItem& item);

// Which kinds a request of `op` makes lines of.
constexpr core::WatchKinds WatchKindsOf(Op op) {
  switch (op) {
    case Op::kGet:
    case Op::kTouch:
    case Op::kArithmetic:
      return kWatchFetchers;
    case Op::kDelete:
      return kWatchFetchers | kWatchDeletions;
    case Op::kStore:
      return kWatchMutations;
    default:
      return 0;
  }
}

// Passes on what `reply` is sent and writes the lines of `req`, which came from descriptor `fd`, to
// `desk` before it. To be sent or dropped on the desk's thread, before the desk dies.
core::Reply<Response> WatchReply(const Request& req, int fd, core::WatchDesk* desk,
                                 core::Reply<Response> reply);

// A connection that watches.
class Watcher final : public core::WatchOutlet {
 public:
  // Answers `reply` as memcached does: OK and what is watched, or why not. Null if the connection goes
  // on without watching. `allowed`: otherwise nobody may watch, as with memcached's -W.
  static std::unique_ptr<Watcher> Admit(absl::string_view words, bool allowed, core::WatchDesk* desk,
                                        core::Reply<Response> reply);

  bool HasRoom() override { return reply_.unsent() == std::optional<size_t>(0); }
  void Send(std::string lines) override;
  // Hears nothing any more. Its reply is dropped with it, which is too early while the session lives.
  void Leave() { seat_ = core::WatchDesk::Seat(); }

 private:
  explicit Watcher(core::Reply<Response> reply) : reply_(std::move(reply)) {}

  core::Reply<Response> reply_;
  core::WatchDesk::Seat seat_;
};

// A service that lets clients watch what those of the service within do. One worker's.
template <class S>
class WithWatch {
 public:
  struct Connection {
    typename S::Connection within;
    core::Peer peer = {};
    int fd = -1;
    std::unique_ptr<Watcher> watcher = nullptr;
  };

  // `hub` and `loop` outlive the service; `arguments` make the service within.
  template <class... Arguments>
  WithWatch(core::WatchHub* hub, core::EventLoop* loop, bool allowed, Arguments&&... arguments)
      : desk_(hub, loop), allowed_(allowed), service_(std::forward<Arguments>(arguments)...) {}

  Connection Connect() { return {service_.Connect()}; }
  void Opened(Connection& connection, int fd) {
    if (!allowed_) return;
    connection.fd = fd;
    connection.peer = core::Peer(fd);
    if ((desk_.kinds() & kWatchConnEvents) == 0) return;
    desk_.Write(kWatchConnEvents, ConnNewLine(connection.peer, fd));
  }
  void Closed(Connection& connection, core::CloseReason reason) {
    if (connection.watcher != nullptr) connection.watcher->Leave();
    if ((desk_.kinds() & kWatchConnEvents) == 0) return;
    desk_.Write(kWatchConnEvents, ConnCloseLine(connection.peer, connection.fd, reason));
  }
  void Execute(Connection& connection, const Request& req, core::Reply<Response>&& reply) {
    if (desk_.kinds() != 0 || req.op == Op::kWatch) [[unlikely]] {
      if (!IsForService(connection, req, &reply)) return;
    }
    service_.Execute(connection.within, req, std::move(reply));
  }
  bool Foresee(const Request& req)
    requires requires(S s) { s.Foresee(req); }
  {
    return service_.Foresee(req);
  }
  void Foretell(absl::string_view key)
    requires requires(S s) { s.Foretell(key); }
  {
    service_.Foretell(key);
  }
  void EndTurn() {
    service_.EndTurn();
    desk_.EndTurn();
  }

  S& within() { return service_; }

 private:
  // Answers `watch`, which is not; lets watchers see what *reply will be sent of anything else. Apart,
  // so that Execute() stays small where nobody watches.
  [[gnu::noinline]] bool IsForService(Connection& connection, const Request& req,
                                      core::Reply<Response>* reply) {
    if (req.op == Op::kWatch) {
      connection.watcher = Watcher::Admit(req.argument, allowed_, &desk_, std::move(*reply));
      return false;
    }
    if ((WatchKindsOf(req.op) & desk_.kinds()) != 0) {
      *reply = WatchReply(req, connection.fd, &desk_, std::move(*reply));
    }
    return true;
  }

  core::WatchDesk desk_;
  const bool allowed_;
  S service_;
};

}  // namespace proto::memcache
