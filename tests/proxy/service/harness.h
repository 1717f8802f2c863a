// A ProxyService with a fake Momento, a manual clock and replies as text.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/numbers.h"
#include "core/base/clock.h"
#include "core/metrics/metrics.h"
#include "core/net/event_loop.h"
#include "core/net/service.h"
#include "proxy/service/service.h"
#include "proxy/translate/cas.h"
#include "tests/proxy/service/fake_client.h"

namespace proxy {

using proto::memcache::Op;
using proto::memcache::Request;
using proto::memcache::Response;
using proto::memcache::Status;
using proto::memcache::StoreMode;

// An item, or a count, as a meta answer tells it.
inline std::string MetaText(const Response& rsp, uint16_t want) {
  std::string out;
  const auto add = [&](bool said, absl::string_view letter, auto number) {
    if (said) absl::StrAppend(&out, " ", letter, number);
  };
  const bool debug = rsp.status == Status::kDebug;
  if (rsp.status == Status::kNumber || rsp.items.empty()) {
    absl::StrAppend(&out, rsp.number);
    add(rsp.cas != 0 && (want & proto::memcache::kWantCas), "c", rsp.cas);
    add((want & proto::memcache::kWantTtl) && rsp.ttl_sec >= 0, "t", rsp.ttl_sec);
    add(want & proto::memcache::kWantSize, "s", rsp.bytes);
    return out;
  }
  const proto::memcache::Item& item = rsp.items[0];
  absl::StrAppend(&out, debug ? "DEBUG " : "", item.key, "=", item.value.view());
  if (item.flags != 0) absl::StrAppend(&out, "/", item.flags);
  add((debug || (want & proto::memcache::kWantTtl)) && item.ttl_sec >= 0, "t", item.ttl_sec);
  add(debug || (want & proto::memcache::kWantCas), "c", item.cas);
  add(item.unchanged, "unchanged", "");
  add(item.stale, "X", "");
  add(item.won, "W", "");
  add(item.win_taken, "Z", "");
  return out;
}

// One line: items as "key=value/flags" (and "/cas" when `with_cas`), or the status in words.
inline std::string Text(const Response& rsp, bool with_cas = false) {
  switch (rsp.status) {
    case Status::kValues: {
      std::string out;
      for (const proto::memcache::Item& item : rsp.items) {
        absl::StrAppend(&out, out.empty() ? "" : " ", item.key, "=", item.value.view(), "/",
                        item.flags);
        if (with_cas) absl::StrAppend(&out, "/", item.cas);
      }
      return out.empty() ? "END" : out;
    }
    case Status::kStored: return "STORED";
    case Status::kNotStored: return "NOT_STORED";
    case Status::kExists: return "EXISTS";
    case Status::kNotFound: return "NOT_FOUND";
    case Status::kDeleted: return "DELETED";
    case Status::kTouched: return "TOUCHED";
    case Status::kOk: return "OK";
    case Status::kNumber: return absl::StrCat(rsp.number);
    case Status::kVersion: return absl::StrCat("VERSION ", rsp.text);
    case Status::kStats: return absl::StrCat("STATS ", rsp.stats.size());
    case Status::kDebug: return "DEBUG";
    case Status::kReset: return "RESET";
    case Status::kTooLarge: return "TOO_LARGE";
    case Status::kOutOfMemory: return "OUT_OF_MEMORY";
    case Status::kNonNumeric: return "NON_NUMERIC";
    case Status::kError: return "ERROR";
    case Status::kClientError: return absl::StrCat("CLIENT_ERROR ", rsp.text);
    case Status::kServerError: return absl::StrCat("SERVER_ERROR ", rsp.text);
    case Status::kRaw: return rsp.text;
  }
  return "?";
}

// Takes every reply down as text; a second reply to one request is a failure.
class TestSink final : public core::ReplySink<Response> {
 public:
  void Deliver(core::SessionRef session, uint64_t sequence, Response&& rsp) override {
    const uint32_t told = session.generation;
    const bool fresh = texts.emplace(sequence, told >= kMeta && TellsMore(rsp)
                                                   ? MetaText(rsp, wants[sequence])
                                                   : Text(rsp, told == kWithCas)).second;
    EXPECT_TRUE(fresh) << "answered twice: " << sequence;
  }
  void Abandon(core::SessionRef session, uint64_t sequence) override { ++abandoned; }

  // How much an answer is to be told.
  static constexpr uint32_t kBare = 0;
  static constexpr uint32_t kWithCas = 1;
  static constexpr uint32_t kMeta = 2;
  static bool TellsMore(const Response& rsp) {
    return !rsp.items.empty() || rsp.status == Status::kNumber;
  }
  std::map<uint64_t, std::string> texts;
  std::map<uint64_t, uint16_t> wants;
  int abandoned = 0;
};

// --- Requests in words ---
// One whose keys are views, as all of these.
inline Request CopyOf(const Request& req) {
  Request copy;
  static_cast<proto::memcache::RequestFields&>(copy) = req;
  static_cast<proto::memcache::MetaFields&>(copy) = req;
  copy.keys = req.keys;
  return copy;
}
// One for tables of them.
struct KeptRequest {
  KeptRequest(Request r) : req(std::move(r)) {}
  KeptRequest(const KeptRequest& other) : req(CopyOf(other.req)) {}
  operator const Request&() const { return req; }
  Request req;
};

inline Request GetOf(std::initializer_list<absl::string_view> keys) {
  Request req;
  req.op = Op::kGet;
  req.want = proto::memcache::kWantValue | proto::memcache::kWantFlags;
  for (absl::string_view key : keys) req.keys.push_back(key);
  return req;
}
inline Request GetsOf(std::initializer_list<absl::string_view> keys) {
  Request req = GetOf(keys);
  req.want |= proto::memcache::kWantCas;
  return req;
}
inline Request GatOf(int64_t exptime, std::initializer_list<absl::string_view> keys) {
  Request req = GetOf(keys);
  req.exptime = exptime;
  return req;
}
inline Request StoreOf(StoreMode mode, absl::string_view key, absl::string_view value,
                       uint32_t flags = 0, int64_t exptime = 0) {
  Request req;
  req.op = Op::kStore;
  req.mode = mode;
  req.keys.push_back(key);
  req.value = value;
  req.flags = flags;
  req.exptime = exptime;
  return req;
}
inline Request SetOf(absl::string_view key, absl::string_view value, uint32_t flags = 0,
                     int64_t exptime = 0) {
  return StoreOf(StoreMode::kSet, key, value, flags, exptime);
}
inline Request CasOf(absl::string_view key, absl::string_view value, uint64_t token,
                     uint32_t flags = 0, int64_t exptime = 0) {
  Request req = SetOf(key, value, flags, exptime);
  req.cas = token;
  return req;
}
inline Request KeyOf(Op op, absl::string_view key) {
  Request req;
  req.op = op;
  req.keys.push_back(key);
  return req;
}
inline Request DeleteOf(absl::string_view key) { return KeyOf(Op::kDelete, key); }
inline Request TouchOf(absl::string_view key, int64_t exptime) {
  Request req = KeyOf(Op::kTouch, key);
  req.exptime = exptime;
  return req;
}
inline Request CountOf(absl::string_view key, uint64_t delta, bool decrement = false) {
  Request req = KeyOf(Op::kArithmetic, key);
  req.delta = delta;
  req.decrement = decrement;
  return req;
}
// As mg asks.
inline Request MetaGetOf(absl::string_view key, uint16_t want = 0) {
  Request req = GetOf({key});
  req.want |= static_cast<uint16_t>(want | proto::memcache::kWantState);
  return req;
}
inline Request VivifyOf(absl::string_view key, int64_t exptime = 30) {
  Request req = MetaGetOf(key);
  req.vivify_exptime = exptime;
  return req;
}
inline Request RecacheOf(absl::string_view key, int64_t below_sec) {
  Request req = MetaGetOf(key);
  req.recache_below_sec = below_sec;
  return req;
}
// ms and md with I.
inline Request InvalidatingOf(Request req) {
  req.invalidate = true;
  return req;
}
inline Request FlushOf(std::optional<int64_t> delay = std::nullopt) {
  Request req;
  req.op = Op::kFlushAll;
  req.exptime = delay;
  return req;
}

class ServiceTest : public testing::Test {
 protected:
  ServiceTest() {
    cache_.flush_all = true;
    cache_.default_ttl = absl::Seconds(60);
    cache_.update_attempts = 4;
  }
  ~ServiceTest() override {
    connection_.reset();
    if (service_ != nullptr) {
      EXPECT_EQ(service_->in_flight(), expected_in_flight_);
    }
    service_.reset();
    if (expected_in_flight_ == 0) {
      EXPECT_EQ(sink_.abandoned, 0);
    }
  }

  // The service, made at its first use so that a test can turn knobs before.
  ProxyService& service() {
    if (service_ == nullptr) {
      service_ = std::make_unique<ProxyService>(
          backend_, cache_, server_, &loop_, &shared_, [](absl::string_view argument) {
            Response rsp(argument == "reset" ? Status::kReset : Status::kStats);
            rsp.stats.emplace_back("pid", "1");
            return rsp;
          });
      connection_ = std::make_unique<ProxyService::Connection>(service_->Connect());
    }
    return *service_;
  }
  ProxyService::Connection& connection() {
    service();
    return *connection_;
  }

  // Executes and returns the number to ask the answer by.
  uint64_t Send(const Request& req) { return SendOn(connection(), req); }
  uint64_t SendOn(ProxyService::Connection& connection, const Request& req,
                  uint32_t told = TestSink::kBare) {
    const uint64_t sequence = next_sequence_++;
    sink_.wants[sequence] = req.want;
    // The request's bytes die as soon as Execute returns, as in a session.
    std::vector<std::unique_ptr<std::string>> bytes;
    const auto own = [&bytes](absl::string_view view) -> absl::string_view {
      bytes.push_back(std::make_unique<std::string>(view));
      return *bytes.back();
    };
    Request moved = CopyOf(req);
    for (absl::string_view& key : moved.keys) key = own(key);
    moved.value = own(moved.value);
    service().Execute(connection, moved,
                      MemcacheReply(&sink_, {1, told}, sequence));
    for (auto& text : bytes) std::fill(text->begin(), text->end(), '!');
    return sequence;
  }
  // Delivers everything that is due, oldest first, turn after turn.
  void Settle() {
    service().EndTurn();
    while (client_.pending() > 0) {
      client_.Deliver();
      service().EndTurn();
    }
  }
  // Lets time pass, timers included.
  void Pass(int64_t ms) {
    for (; ms > 0; ms -= std::min<int64_t>(ms, 1000)) {
      clock_.AdvanceMs(std::min<int64_t>(ms, 1000));
      loop_.RunOnce(0);
      if (service_ != nullptr) Settle();
    }
  }
  bool Answered(uint64_t sequence) const { return sink_.texts.count(sequence) == 1; }
  std::string Reply(uint64_t sequence) const {
    const auto it = sink_.texts.find(sequence);
    return it == sink_.texts.end() ? "(none)" : it->second;
  }
  // Sends, settles, answers.
  std::string Ask(const Request& req) {
    const uint64_t sequence = Send(req);
    Settle();
    return Reply(sequence);
  }
  std::vector<std::string> CallsOf(const Request& req) {
    client_.TakeCalls();
    Ask(req);
    return client_.TakeCalls();
  }
  void Put(const std::string& key, const std::string& stored, int64_t ttl_ms = 60'000) {
    client_.items[key] = {stored, clock_.MonotonicMs() + ttl_ms};
  }
  std::string StoredAt(const std::string& key) {
    const auto it = client_.items.find(key);
    return it == client_.items.end() ? "(none)" : it->second.value;
  }
  static uint64_t TokenOf(absl::string_view stored) {
    return translate::CasToken(stored);
  }
  Metrics& metrics() { return shared_.metrics; }
  void ExpectLookupsAddUp() {
    EXPECT_EQ(metrics().get.Value(), metrics().get_hit.Value() + metrics().get_miss.Value());
    EXPECT_EQ(metrics().touch.Value(), metrics().touch_hit.Value() + metrics().touch_miss.Value());
  }

  config::Cache cache_;
  config::Server server_;
  core::ManualClock clock_;
  core::EventLoop loop_{&clock_};
  core::Registry registry_;
  CacheShared shared_{&registry_};
  momento::FakeClient client_{&clock_};
  momento::Client* backend_ = &client_;  // What the service calls: `client_`, or what is before it.
  TestSink sink_;
  size_t expected_in_flight_ = 0;
  std::unique_ptr<ProxyService> service_;
  std::unique_ptr<ProxyService::Connection> connection_;
  uint64_t next_sequence_ = 0;
};

}  // namespace proxy
