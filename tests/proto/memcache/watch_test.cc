// The lines of `watch`: their shape, who gets them, and what memcached's words for kinds are. That the
// shapes are memcached's is proved by integration/watch_test.py.
#include "proto/memcache/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/memcache/text_codec.h"

namespace proto::memcache {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A client's session: takes whole answers and parts.
struct Session final : core::ReplySink<Response> {
  void Deliver(core::SessionRef, uint64_t, Response&& rsp) override {
    ++delivered;
    Compose(std::move(rsp));
  }
  void Abandon(core::SessionRef, uint64_t) override { ++abandoned; }
  void DeliverPart(core::SessionRef, uint64_t, Response&& rsp) override {
    ++parts;
    Compose(std::move(rsp));
  }
  std::optional<size_t> Unsent(core::SessionRef) override { return unsent; }
  void Compose(Response&& rsp) {
    core::OutBuffer out;
    TextCodec::Compose({}, std::move(rsp), &out);
    heard += out.ToString();
  }
  core::Reply<Response> reply() { return core::Reply<Response>(this, {}, 0); }

  int delivered = 0, abandoned = 0, parts = 0;
  std::optional<size_t> unsent = 0;
  std::string heard;
};

using Make = std::function<Response()>;

struct Answering {
  struct Connection {};
  explicit Answering(const Make* make) : make_(make) {}
  Connection Connect() { return {}; }
  void Execute(Connection&, const Request&, core::Reply<Response> reply) {
    if (*make_) std::move(reply).Send((*make_)());
  }
  void EndTurn() {}
  const Make* make_;
};

class WatchTest : public testing::Test {
 protected:
  using Service = WithWatch<Answering>;

  void Execute(Service::Connection& connection, absl::string_view wire, Session* session) {
    TextCodec codec({.item_bytes_max = 100});
    Request req;
    const auto result = codec.Parse(wire, &req);
    ASSERT_EQ(result.consumed, wire.size()) << wire;
    if (result.status != core::ParseStatus::kComplete) return;
    service_.Execute(connection, req, session->reply());
  }
  // What a watcher of `kinds` hears of `wire`, answered with what `make` makes; without time and number.
  std::vector<std::string> Hear(absl::string_view kinds, absl::string_view wire, Make make) {
    make_ = std::move(make);
    Session watching;
    Service::Connection watcher = service_.Connect(), client = service_.Connect();
    client.fd = 7;
    Execute(watcher, absl::StrCat("watch ", kinds, "\r\n"), &watching);
    EXPECT_EQ(watching.heard, "OK\r\n");
    watching.heard.clear();
    Execute(client, wire, &session_);
    loop_.RunOnce(0);
    service_.EndTurn();
    service_.Closed(watcher, core::CloseReason::kNormal);
    return Lines(watching.heard);
  }
  static std::vector<std::string> Lines(absl::string_view heard) {
    std::vector<std::string> lines;
    for (const absl::string_view line : absl::StrSplit(heard, '\n', absl::SkipEmpty())) {
      const size_t at = line.find(" type=");
      EXPECT_NE(at, absl::string_view::npos) << line;
      lines.emplace_back(line.substr(at + 1));
    }
    return lines;
  }

  core::ManualClock clock_;
  core::Registry registry_;
  core::WatchHub hub_{&registry_, {}};
  core::EventLoop loop_{&clock_};
  Make make_;
  Session session_;
  Service service_{&hub_, &loop_, true, &make_};
};

template <Status kStatus>
Response With() { return Response(kStatus); }

Response FoundB() {
  Response rsp(Status::kValues);
  Item item;
  item.key = "b";
  item.value = core::Bytes(std::string("12345"));
  rsp.items.push_back(std::move(item));
  return rsp;
}

TEST_F(WatchTest, FetchersHearOfEveryKey) {
  EXPECT_THAT(Hear("", "get a b c\r\n", FoundB),
              ElementsAre("type=item_get key=a status=not_found clsid=0 cfd=7 size=0",
                          "type=item_get key=b status=found clsid=1 cfd=7 size=5",
                          "type=item_get key=c status=not_found clsid=0 cfd=7 size=0"));
  EXPECT_EQ(session_.heard, "VALUE b 0 5\r\n12345\r\nEND\r\n");
  EXPECT_THAT(Hear("fetchers", "gats 5 b\r\n", FoundB),
              ElementsAre("type=item_get key=b status=found clsid=1 cfd=7 size=5"));
  EXPECT_THAT(Hear("fetchers", "get b\r\n", [] { return Response::Text(Status::kServerError, "x"); }),
              ElementsAre("type=item_get key=b status=error clsid=0 cfd=7 size=0"));
}

TEST_F(WatchTest, FetchersHearOfWhatLooksAnItemUp) {
  const auto touched = [] {
    Response rsp(Status::kTouched);
    rsp.bytes = 9;
    return rsp;
  };
  EXPECT_THAT(Hear("fetchers", "touch k 5\r\n", touched),
              ElementsAre("type=item_get key=k status=found clsid=1 cfd=7 size=9"));
  EXPECT_THAT(Hear("fetchers", "incr k 5\r\n", With<Status::kNotFound>),
              ElementsAre("type=item_get key=k status=not_found clsid=0 cfd=7 size=0"));
  EXPECT_THAT(Hear("fetchers", "decr k 5 noreply\r\n", With<Status::kNonNumeric>),
              ElementsAre("type=item_get key=k status=found clsid=1 cfd=7 size=0"));
  EXPECT_THAT(Hear("fetchers", "delete k\r\n", With<Status::kDeleted>),
              ElementsAre("type=item_get key=k status=found clsid=1 cfd=7 size=0"));
  EXPECT_THAT(Hear("fetchers", "set k 0 0 1\r\nx\r\n", With<Status::kStored>), IsEmpty());
}

TEST_F(WatchTest, MutationsHearOfEveryStore) {
  EXPECT_THAT(Hear("mutations", "set k 7 60 3\r\nabc\r\n", With<Status::kStored>),
              ElementsAre("type=item_store key=k status=stored cmd=set ttl=60 clsid=1 cfd=7 size=3"));
  EXPECT_THAT(Hear("mutations", "set k 7 -1 3 noreply\r\nabc\r\n", With<Status::kStored>),
              ElementsAre("type=item_store key=k status=stored cmd=set ttl=-1 clsid=1 cfd=7 size=3"));
  const int64_t later = clock_.WallSec() + 90;
  EXPECT_THAT(Hear("mutations", absl::StrCat("add k 0 ", later, " 0\r\n\r\n"), With<Status::kNotStored>),
              ElementsAre("type=item_store key=k status=not_stored cmd=add ttl=90 clsid=1 cfd=7 size=0"));
  EXPECT_THAT(Hear("mutations", "cas k 0 0 1 99\r\nx\r\n", With<Status::kExists>),
              ElementsAre("type=item_store key=k status=exists cmd=cas ttl=0 clsid=1 cfd=7 size=1"));
  EXPECT_THAT(Hear("mutations", "cas k 0 0 1 99\r\nx\r\n", With<Status::kNotFound>),
              ElementsAre("type=item_store key=k status=not_found cmd=cas ttl=0 clsid=1 cfd=7 size=1"));
  EXPECT_THAT(Hear("mutations", "replace k 0 0 1\r\nx\r\n", With<Status::kOutOfMemory>),
              ElementsAre("type=item_store key=k status=no_memory cmd=replace ttl=0 clsid=1 cfd=7 size=1"));
  EXPECT_THAT(Hear("mutations", "prepend k 0 0 1\r\nx\r\n",
                   [] { return Response::Text(Status::kServerError, "busy"); }),
              ElementsAre("type=item_store key=k status=error cmd=prepend ttl=0 clsid=1 cfd=7 size=1"));
  const auto longer = [] {
    Response rsp(Status::kStored);
    rsp.bytes = 12;
    return rsp;
  };
  EXPECT_THAT(Hear("mutations", "append k 0 50 1\r\nx\r\n", longer),
              ElementsAre("type=item_store key=k status=stored cmd=append ttl=0 clsid=1 cfd=7 size=12"));
  EXPECT_THAT(Hear("mutations", "set k 0 0 200\r\n" + std::string(200, 'x') + "\r\n", With<Status::kTooLarge>),
              ElementsAre("type=item_store key=k status=too_large cmd=set ttl=0 clsid=1 cfd=7 size=0"));
}

TEST_F(WatchTest, DeletionsHearOfWhatIsGone) {
  const auto gone = [] {
    Response rsp(Status::kDeleted);
    rsp.bytes = 4;
    return rsp;
  };
  EXPECT_THAT(Hear("deletions", "delete k\r\n", gone),
              ElementsAre("type=deleted key=k cmd=delete clsid=1 size=4"));
  EXPECT_THAT(Hear("deletions", "delete k\r\n", With<Status::kNotFound>), IsEmpty());
  EXPECT_THAT(Hear("deletions fetchers", "delete k\r\n", gone),
              ElementsAre("type=item_get key=k status=found clsid=1 cfd=7 size=4",
                          "type=deleted key=k cmd=delete clsid=1 size=4"));
}

TEST_F(WatchTest, NobodyHearsOfOtherCommandsOrOfAnswersThatNeverCame) {
  const std::string all = "fetchers mutations evictions deletions";
  for (const char* line : {"version\r\n", "stats\r\n", "flush_all\r\n", "verbosity 1\r\n", "nonsense\r\n"}) {
    EXPECT_THAT(Hear(all, line, With<Status::kOk>), IsEmpty()) << line;
  }
  EXPECT_THAT(Hear(all, "get k\r\n", nullptr), IsEmpty());
  EXPECT_EQ(session_.abandoned, 1);
}

TEST_F(WatchTest, KeysAreUriEncoded) {
  EXPECT_THAT(Hear("deletions", "delete aZ09-._~%&=\"\x01\xc3\xa9/\r\n", With<Status::kDeleted>),
              ElementsAre("type=deleted key=aZ09-._~%25%26%3D%22%01%C3%A9%2F cmd=delete clsid=1 size=0"));
  std::string all, encoded;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  AppendUriEncoded(all, &encoded);
  EXPECT_EQ(encoded.size(), 66u + 3 * (256 - 66));
}

TEST_F(WatchTest, ConnectionsComeAndGo) {
  make_ = nullptr;
  Session watching;
  Service::Connection watcher = service_.Connect();
  Execute(watcher, "watch connevents\r\n", &watching);
  watching.heard.clear();
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  for (const auto reason : {core::CloseReason::kNormal, core::CloseReason::kError,
                            core::CloseReason::kSilence, core::CloseReason::kShutdown}) {
    Service::Connection client = service_.Connect();
    service_.Opened(client, pair[0]);
    service_.Closed(client, reason);
  }
  ::close(pair[0]);
  ::close(pair[1]);
  service_.EndTurn();
  const std::string opened = absl::StrCat("type=conn_new rip=unix rport=0 transport=local cfd=", pair[0]);
  const auto closed = [&](const char* why) {
    return absl::StrCat("type=conn_close rip=unix rport=0 transport=local reason=", why, " cfd=", pair[0]);
  };
  EXPECT_THAT(Lines(watching.heard),
              ElementsAre(opened, closed("normal"), opened, closed("error"), opened,
                          closed("idle_timeout"), opened, closed("shutdown")));
}

TEST_F(WatchTest, AnEvictionHasItsLine) {
  EXPECT_EQ(EvictionLine({.key = "a b", .value_bytes = 10, .fetched = true, .ttl_sec = -1, .age_sec = 3}),
            "type=eviction key=a%20b fetch=yes ttl=-1 la=3 clsid=1 size=10");
  EXPECT_EQ(EvictionLine({.key = "k", .value_bytes = 0, .fetched = false, .ttl_sec = 60, .age_sec = 0}),
            "type=eviction key=k fetch=no ttl=60 la=0 clsid=1 size=0");
}

TEST_F(WatchTest, TheWordsAreMemcacheds) {
  EXPECT_EQ(WatchKindsOf(""), kWatchFetchers);
  EXPECT_EQ(WatchKindsOf("  mutations   evictions "), kWatchMutations | kWatchEvictions);
  EXPECT_EQ(WatchKindsOf("fetchers fetchers connevents deletions"),
            kWatchFetchers | kWatchConnEvents | kWatchDeletions);
  for (const char* silent : {"rawcmds", "sysevents", "proxyreqs", "proxyevents", "proxyuser"}) {
    EXPECT_EQ(WatchKindsOf(silent), 0u) << silent;
  }
  for (const char* unknown : {"all", "Fetchers", "fetchers bogus", "bogus fetchers", "noreply"}) {
    EXPECT_EQ(WatchKindsOf(unknown), std::nullopt) << unknown;
  }
}

TEST_F(WatchTest, RefusalsLeaveTheConnectionAlone) {
  Session session;
  Service::Connection connection = service_.Connect();
  Execute(connection, "watch all\r\n", &session);
  EXPECT_EQ(std::exchange(session.heard, ""), "ERROR\r\n");
  {
    Service closed(&hub_, &loop_, /*allowed=*/false, &make_);
    Service::Connection other = closed.Connect();
    Request req;
    TextCodec codec;
    codec.Parse("watch all\r\n", &req);
    closed.Execute(other, req, session.reply());
    EXPECT_EQ(std::exchange(session.heard, ""), "CLIENT_ERROR watch commands not allowed\r\n");
  }
  std::vector<Session> sessions(core::WatchHub::kWatchersMax);
  std::vector<Service::Connection> watchers(core::WatchHub::kWatchersMax);
  for (int i = 0; i < core::WatchHub::kWatchersMax; ++i) Execute(watchers[i], "watch\r\n", &sessions[i]);
  Execute(connection, "watch\r\n", &session);
  EXPECT_EQ(session.heard, "WATCHER_TOO_MANY log watcher limit reached\r\n");
  EXPECT_EQ(session.parts, 0);
  EXPECT_EQ(session.delivered, 3);
}

TEST_F(WatchTest, AWatcherThatHasNotTakenEverythingGetsNoMore) {
  make_ = With<Status::kDeleted>;
  Session watching;
  Service::Connection watcher = service_.Connect(), client = service_.Connect();
  Execute(watcher, "watch deletions\r\n", &watching);
  watching.heard.clear();
  watching.unsent = 1;
  for (int i = 0; i < 3; ++i) {
    Execute(client, "delete k\r\n", &session_);
    service_.EndTurn();
  }
  EXPECT_EQ(watching.heard, "");
  EXPECT_EQ(session_.delivered, 3);
  watching.unsent = 0;
  service_.EndTurn();
  EXPECT_EQ(Lines(watching.heard).size(), 3u);
  EXPECT_EQ(watching.parts, 2);
}

// Its reply is still held by the connection, which dies a moment later.
TEST_F(WatchTest, AClosedWatcherIsCountedNoMore) {
  Session watching;
  {
    Service::Connection watcher = service_.Connect();
    Execute(watcher, "watch\r\n", &watching);
    EXPECT_EQ(hub_.kinds(), kWatchFetchers);
    service_.Closed(watcher, core::CloseReason::kNormal);
    EXPECT_EQ(hub_.kinds(), 0u);
    EXPECT_EQ(watching.abandoned, 0);
  }
  EXPECT_EQ(watching.abandoned, 1);
}

}  // namespace
}  // namespace proto::memcache
