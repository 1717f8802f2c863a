#include "proto/memcache/watch.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace proto::memcache {

namespace {

constexpr int64_t kRelativeSecMax = 2'592'000;  // As for an exptime, doc/protocol.txt.

// There is one class of items, and none where there is no item.
constexpr absl::string_view kClass = " clsid=1";
constexpr absl::string_view kNoClass = " clsid=0";

// What an answer to a store is called.
absl::string_view StatusWord(Status status) {
  switch (status) {
    case Status::kStored:
      return "stored";
    case Status::kNotStored:
      return "not_stored";
    case Status::kExists:
      return "exists";
    case Status::kNotFound:
      return "not_found";
    case Status::kTooLarge:
      return "too_large";
    case Status::kOutOfMemory:
      return "no_memory";
    default:
      return "error";  // No word of memcached's, which has no backend.
  }
}

// What was asked of a store.
absl::string_view StoreWord(const Request& req) {
  if (req.cas.has_value()) return "cas";
  switch (req.mode) {
    case StoreMode::kSet:
      return "set";
    case StoreMode::kAdd:
      return "add";
    case StoreMode::kReplace:
      return "replace";
    case StoreMode::kAppend:
      return "append";
    case StoreMode::kPrepend:
      return "prepend";
  }
  return "na";
}

bool Extends(const Request& req) {
  return req.mode == StoreMode::kAppend || req.mode == StoreMode::kPrepend;
}

// The life that a store asks for, in seconds: 0 without end, -1 none.
int64_t TtlOf(const Request& req, const core::Clock& clock) {
  const int64_t exptime = req.exptime.value_or(0);
  if (exptime == 0 || Extends(req)) return 0;  // Those leave it as it was, and so does memcached.
  const int64_t ttl = exptime <= kRelativeSecMax ? exptime : exptime - clock.WallSec();
  return ttl <= 0 ? -1 : ttl;
}

std::string EndpointOf(const core::Peer& peer) {
  return absl::StrCat(" rip=", peer.ip(), " rport=", peer.port(),
                      " transport=", peer.is_unix() ? "local" : "tcp");
}

absl::string_view ReasonWord(core::CloseReason reason) {
  switch (reason) {
    case core::CloseReason::kNormal:
      return "normal";
    case core::CloseReason::kError:
      return "error";
    case core::CloseReason::kSilence:
      return "idle_timeout";
    case core::CloseReason::kShutdown:
      return "shutdown";
  }
  return "error";
}

// Stands between a service and a session for one request. Owns itself: a Reply is sent or dropped
// exactly once, and either ends it.
class WatchedReply final : public core::ReplySink<Response> {
 public:
  WatchedReply(const Request& req, int fd, core::WatchDesk* desk, core::Reply<Response> reply)
      : desk_(*desk),
        reply_(std::move(reply)),
        fd_(fd),
        op_(req.op),
        verb_(req.verb),
        keys_(req.keys.begin(), req.keys.end()) {
    if (op_ != Op::kStore) return;
    word_ = StoreWord(req);
    ttl_sec_ = TtlOf(req, desk_.loop().clock());
    value_bytes_ = req.value.size();
  }

  void Deliver(core::SessionRef, uint64_t, Response&& rsp) override {
    const std::unique_ptr<WatchedReply> self(this);
    switch (op_) {
      case Op::kGet:
        WriteGets(rsp);
        break;
      case Op::kStore:
        WriteStore(rsp);
        break;
      default:
        WriteLookup(rsp);
    }
    std::move(reply_).Send(std::move(rsp));
  }
  void Abandon(core::SessionRef, uint64_t) override { delete this; }

 private:
  bool Watches(core::WatchKinds kind) const { return (desk_.kinds() & kind) != 0; }

  void WriteGet(absl::string_view key, absl::string_view status, size_t value_bytes) {
    line_ = "type=item_get key=";
    AppendUriEncoded(key, &line_);
    absl::StrAppend(&line_, " status=", status, status == "found" ? kClass : kNoClass,
                    " cfd=", fd_, " size=", value_bytes);
    desk_.Write(kWatchFetchers, line_);
  }

  // Items are the hits in the order asked.
  void WriteGets(const Response& rsp) {
    if (!Watches(kWatchFetchers)) return;
    auto item = rsp.items.begin();
    const bool answered = rsp.status == Status::kValues;
    for (const std::string& key : keys_) {
      if (item != rsp.items.end() && item->key == key) {
        WriteGet(key, "found", item->value.size());
        ++item;
      } else {
        WriteGet(key, answered ? "not_found" : "error", 0);
      }
    }
  }

  void WriteStore(const Response& rsp) {
    if (!Watches(kWatchMutations)) return;
    line_ = "type=item_store key=";
    AppendUriEncoded(keys_[0], &line_);
    const uint64_t bytes = rsp.status == Status::kTooLarge ? 0
                           : rsp.bytes != 0                ? rsp.bytes
                                                           : value_bytes_;
    absl::StrAppend(&line_, " status=", StatusWord(rsp.status), " cmd=", word_, " ttl=", ttl_sec_,
                    kClass, " cfd=", fd_, " size=", bytes);
    desk_.Write(kWatchMutations, line_);
  }

  // delete, touch, incr, decr, me: each looks its item up first.
  void WriteLookup(const Response& rsp) {
    const bool deleted = rsp.status == Status::kDeleted;
    const bool found = deleted || rsp.status == Status::kTouched || rsp.status == Status::kNumber ||
                       rsp.status == Status::kExists || rsp.status == Status::kNonNumeric ||
                       rsp.status == Status::kDebug;
    if (Watches(kWatchFetchers)) {
      const absl::string_view status =
          found ? "found" : rsp.status == Status::kNotFound ? "not_found" : "error";
      WriteGet(keys_[0], status, rsp.bytes);
    }
    if (!deleted || !Watches(kWatchDeletions)) return;
    line_ = "type=deleted key=";
    AppendUriEncoded(keys_[0], &line_);
    absl::StrAppend(&line_, " cmd=", VerbName(verb_), kClass, " size=", rsp.bytes);
    desk_.Write(kWatchDeletions, line_);
  }

  core::WatchDesk& desk_;
  core::Reply<Response> reply_;
  const int fd_;
  const Op op_;
  const Verb verb_;
  const std::vector<std::string> keys_;  // The request's views die before the answer comes.
  absl::string_view word_;               // Of a store.
  int64_t ttl_sec_ = 0;
  size_t value_bytes_ = 0;
  std::string line_;
};

}  // namespace

std::optional<core::WatchKinds> WatchKindsOf(absl::string_view words) {
  struct Word {
    absl::string_view text;
    core::WatchKinds kinds;
  };
  static constexpr Word kWords[] = {
      {"fetchers", kWatchFetchers},     {"mutations", kWatchMutations},
      {"evictions", kWatchEvictions},   {"connevents", kWatchConnEvents},
      {"deletions", kWatchDeletions},   {"rawcmds", 0},
      {"sysevents", 0},                 {"proxyreqs", 0},
      {"proxyevents", 0},               {"proxyuser", 0}};
  const std::vector<absl::string_view> said = absl::StrSplit(words, ' ', absl::SkipEmpty());
  if (said.empty()) return kWatchFetchers;
  core::WatchKinds kinds = 0;
  for (const absl::string_view one : said) {
    const Word* found = nullptr;
    for (const Word& word : kWords) {
      if (word.text == one) found = &word;
    }
    if (found == nullptr) return std::nullopt;
    kinds |= found->kinds;
  }
  return kinds;
}

void AppendUriEncoded(absl::string_view key, std::string* out) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '.' || c == '_' || c == '~') {
      out->push_back(c);
    } else {
      out->push_back('%');
      out->push_back(kDigits[byte >> 4]);
      out->push_back(kDigits[byte & 15]);
    }
  }
}

std::string ConnNewLine(const core::Peer& peer, int fd) {
  return absl::StrCat("type=conn_new", EndpointOf(peer), " cfd=", fd);
}

std::string ConnCloseLine(const core::Peer& peer, int fd, core::CloseReason reason) {
  return absl::StrCat("type=conn_close", EndpointOf(peer), " reason=", ReasonWord(reason),
                      " cfd=", fd);
}

std::string EvictionLine(const EvictedItem& item) {
  std::string line = "type=eviction key=";
  AppendUriEncoded(item.key, &line);
  absl::StrAppend(&line, " fetch=", item.fetched ? "yes" : "no", " ttl=", item.ttl_sec,
                  " la=", item.age_sec, kClass, " size=", item.value_bytes);
  return line;
}

core::Reply<Response> WatchReply(const Request& req, int fd, core::WatchDesk* desk,
                                 core::Reply<Response> reply) {
  return core::Reply<Response>(new WatchedReply(req, fd, desk, std::move(reply)), {}, 0);
}

std::unique_ptr<Watcher> Watcher::Admit(absl::string_view words, bool allowed,
                                        core::WatchDesk* desk, core::Reply<Response> reply) {
  if (!allowed) {
    std::move(reply).Send(Response::Text(Status::kClientError, "watch commands not allowed"));
    return nullptr;
  }
  const std::optional<core::WatchKinds> kinds = WatchKindsOf(words);
  if (!kinds.has_value()) {
    std::move(reply).Send(Response(Status::kError));
    return nullptr;
  }
  std::unique_ptr<Watcher> watcher(new Watcher(std::move(reply)));
  watcher->seat_ = desk->Join(*kinds, watcher.get());
  if (!watcher->seat_.taken()) {
    std::move(watcher->reply_)
        .Send(Response::Text(Status::kRaw, "WATCHER_TOO_MANY log watcher limit reached\r\n"));
    return nullptr;
  }
  watcher->reply_.SendPart(Response(Status::kOk));
  return watcher;
}

void Watcher::Send(std::string lines) {
  reply_.SendPart(Response::Text(Status::kRaw, std::move(lines)));
}

}  // namespace proto::memcache
