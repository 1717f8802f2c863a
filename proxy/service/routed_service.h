// One listener for several caches: every command goes to the cache that has its key (route_table.h).
//
//   session -> RoutedService -> ProxyService of the listener's own cache
//                     \______-> ProxyService of another [[cache]], on the same worker
//
// It owns the table and nothing else. Each cache answers as if it had been asked on a port of its own:
// its order of commands on a key, shared calls, near cache, guard, retries and counters are its, and
// one that fails does so alone.
//
//   * A command on one key is passed on as it is, to be answered straight to the session.
//   * With a prefix stripped the cache sees the rest of the key. Two keys never become one item
//     (config/validate.h), so the order of commands on a key is that of the cache's lines.
//   * A get whose keys several caches have becomes one get for each of them, so each batches its own;
//     the answers are put together in the order of the command. If a cache answers its part with an
//     error (get_error = "error") the command is answered with it, of several the one whose key came
//     first.
//   * A get with a key that nobody has (no_route = "error") is refused as a whole, and no call made.
//   * flush_all is one of every cache of the listener that allows it; it is done when all are. The
//     first failure in the order of the caches is the answer. It is refused if no cache allows it.
//   * "stats routes" tells the table, "stats cache NAME ..." what that cache answers to the rest.
//
// A client may name a cache itself, with the L flag of meta commands: that one gets the key as it is.
// A name that is no cache of the listener says nothing, as in memcached.
//
// Whoever has a ReplySink here (a Merge) answers the session once all parts have, on the worker's
// thread. One thread: the loop's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/net/reply.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"
#include "proxy/service/metrics.h"
#include "proxy/service/pool.h"
#include "proxy/service/route_table.h"
#include "proxy/service/service.h"

namespace proxy {

class RoutedService {
 public:
  using Request = proto::memcache::Request;
  using Response = proto::memcache::Response;
  using Reply = MemcacheReply;

  // What a session holds: its connection to each cache it has asked something.
  class Connection {
   private:
    friend class RoutedService;
    std::vector<std::optional<ProxyService::Connection>> of_;  // By cache.
  };

  // Table and metrics outlive the service. `route_flag`: whether L is heard.
  RoutedService(const RouteTable* table, RouteMetrics* metrics, bool route_flag)
      : table_(*table), metrics_(*metrics), route_flag_(route_flag) {}
  RoutedService(const RoutedService&) = delete;
  RoutedService& operator=(const RoutedService&) = delete;

  // The services of this worker, one a cache of the table, in its order. Before anything else; they
  // live until no request is under way.
  void Lead(std::vector<ProxyService*> caches);

  Connection Connect() { return {}; }
  void Execute(Connection& connection, const Request& req, Reply reply);
  // Ends the turn of every cache that was given something in it, and of the listener's own.
  void EndTurn();

  // Commands whose answer is being put together.
  size_t merging() const { return merges_.used_count(); }

 private:
  struct Merge;
  // A key of a get, and what was found.
  struct Place {
    size_t cache;
    size_t strip;
    size_t key_at;  // In the merge's `keys`.
    size_t key_size;
    bool hit = false;
    proto::memcache::Item item;
  };

  RouteTable::Choice Choose(const Request& req, absl::string_view key) const;
  // Makes part_ ask what `req` asks, but of no key.
  void TakeFields(const Request& req);
  ProxyService::Connection& ConnectionTo(Connection& connection, size_t cache);
  void Give(Connection& connection, size_t cache, const Request& req, Reply reply);
  void Refuse(Reply reply);
  void TakeOne(Connection& connection, const Request& req, Reply reply);
  void TakeMany(Connection& connection, const Request& req, Reply reply);
  void TakeFlush(Connection& connection, const Request& req, Reply reply);
  void TakeStats(Connection& connection, const Request& req, Reply reply);
  // A merge of a get, with a place for each key.
  Merge* NewMerge(const Request& req, Reply reply);

  const RouteTable& table_;
  RouteMetrics& metrics_;
  const bool route_flag_;
  std::vector<ProxyService*> caches_;
  std::vector<bool> given_;        // By cache: something, in this turn.
  std::vector<size_t> given_list_;
  std::vector<RouteTable::Choice> choices_;  // Of the keys of the get being taken.
  std::vector<size_t> asked_;                // The caches it goes to.
  Request part_;                             // What one of them is asked.
  Pool<Merge> merges_;
};

// A command of which several caches answer a part, or one whose answer needs its keys whole again.
struct RoutedService::Merge final : public core::ReplySink<Response> {
  // `cache`: whose answer it is.
  void Deliver(core::SessionRef, uint64_t cache, Response&& rsp) override;
  void Abandon(core::SessionRef, uint64_t cache) override;
  void Reset();

  absl::string_view KeyOf(const Place& place) const {
    return absl::string_view(keys).substr(place.key_at, place.key_size);
  }
  // The answer to the only key there is: as it came, but for the key.
  void MakeWhole(Response* rsp) const;
  void TakeItems(size_t cache, Response* rsp);
  void TakeFailure(size_t rank, Response* rsp);
  // One part fewer to wait for; the last one answers, and ends the merge.
  void Count();
  void End(Response&& rsp);
  Response Answer();

  RoutedService* service = nullptr;
  std::optional<Reply> reply;
  bool is_get = false;
  bool tells_misses = false;  // kWantMissKey.
  bool abandoned = false;
  size_t due = 0;
  std::string keys;                // One after the other.
  std::vector<Place> places;       // In the order of the command.
  std::vector<std::string> held;   // Values that outlive the part's answer, a string a part.
  std::optional<Response> failure;
  size_t failure_rank = 0;         // The lowest counts.
  Merge* pool_prev = nullptr;
  Merge* pool_next = nullptr;
};

}  // namespace proxy
