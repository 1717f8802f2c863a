// See routed_service.h.
#include "proxy/service/routed_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/check.h"

namespace proxy {

using proto::memcache::Dialect;
using proto::memcache::Item;
using proto::memcache::Op;
using proto::memcache::Response;
using proto::memcache::Status;

// --- Commands in.

void RoutedService::Lead(std::vector<ProxyService*> caches) {
  CHECK(caches.size() == table_.caches().size());
  caches_ = std::move(caches);
  given_.assign(caches_.size(), false);
}

// The one place that says which cache a command goes to.
RouteTable::Choice RoutedService::Choose(const Request& req, absl::string_view key) const {
  const bool named = req.dialect == Dialect::kMeta && route_flag_;
  return table_.Choose(key, named ? req.route : absl::string_view());
}

void RoutedService::TakeFields(const Request& req) {
  part_.Clear();
  static_cast<proto::memcache::RequestFields&>(part_) = req;
  if (req.dialect != Dialect::kMeta) return;
  static_cast<proto::memcache::MetaFields&>(part_) = req;
}

ProxyService::Connection& RoutedService::ConnectionTo(Connection& connection, size_t cache) {
  if (connection.of_.size() <= cache) connection.of_.resize(cache + 1);
  std::optional<ProxyService::Connection>& of = connection.of_[cache];
  if (!of.has_value()) of.emplace(caches_[cache]->Connect());
  return *of;
}

void RoutedService::Give(Connection& connection, size_t cache, const Request& req, Reply reply) {
  if (!given_[cache]) {
    given_[cache] = true;
    given_list_.push_back(cache);
  }
  caches_[cache]->Execute(ConnectionTo(connection, cache), req, std::move(reply));
}

void RoutedService::Refuse(Reply reply) {
  metrics_.refused.Add();
  std::move(reply).Send(Response::Text(Status::kServerError, "no route for this key"));
}

void RoutedService::Execute(Connection& connection, const Request& req, Reply reply) {
  switch (req.op) {
    case Op::kFlushAll: return TakeFlush(connection, req, std::move(reply));
    case Op::kStats: return TakeStats(connection, req, std::move(reply));
    default: break;
  }
  if (req.keys.empty()) return Give(connection, RouteTable::kOwn, req, std::move(reply));
  if (req.keys.size() == 1) return TakeOne(connection, req, std::move(reply));
  TakeMany(connection, req, std::move(reply));
}

void RoutedService::EndTurn() {
  for (const size_t cache : given_list_) {
    given_[cache] = false;
    if (cache != RouteTable::kOwn) caches_[cache]->EndTurn();
  }
  given_list_.clear();
  caches_[RouteTable::kOwn]->EndTurn();
}

void RoutedService::TakeOne(Connection& connection, const Request& req, Reply reply) {
  const RouteTable::Choice choice = Choose(req, req.key());
  if (choice.cache == RouteTable::kNone) return Refuse(std::move(reply));
  if (choice.strip == 0) return Give(connection, choice.cache, req, std::move(reply));
  TakeFields(req);
  part_.keys.assign(1, req.key().substr(choice.strip));
  // Nothing else is answered with keys.
  if (req.op != Op::kGet) return Give(connection, choice.cache, part_, std::move(reply));
  choices_.assign(1, choice);
  Merge* merge = NewMerge(req, std::move(reply));
  merge->due = 1;
  Give(connection, choice.cache, part_, Reply(merge, {}, choice.cache));
}

void RoutedService::TakeMany(Connection& connection, const Request& req, Reply reply) {
  if (req.keys.size() > kGetKeysMax) return std::move(reply).Send(Response::AnswerTooLong());
  choices_.clear();
  asked_.clear();
  bool strips = false;
  for (const absl::string_view key : req.keys) {
    const RouteTable::Choice choice = Choose(req, key);
    if (choice.cache == RouteTable::kNone) return Refuse(std::move(reply));
    strips = strips || choice.strip > 0;
    choices_.push_back(choice);
    if (std::find(asked_.begin(), asked_.end(), choice.cache) == asked_.end()) {
      asked_.push_back(choice.cache);
    }
  }
  if (asked_.size() == 1 && !strips) return Give(connection, asked_[0], req, std::move(reply));
  if (asked_.size() > 1) metrics_.spread.Add();
  Merge* merge = NewMerge(req, std::move(reply));
  merge->due = asked_.size();
  merge->held.reserve(asked_.size());
  TakeFields(req);
  for (const size_t cache : asked_) {
    part_.keys.clear();
    for (size_t i = 0; i < choices_.size(); ++i) {
      if (choices_[i].cache == cache) part_.keys.push_back(req.keys[i].substr(choices_[i].strip));
    }
    // The last one may end the merge.
    Give(connection, cache, part_, Reply(merge, {}, cache));
  }
  part_.Clear();  // Lets a long list of keys go.
}

RoutedService::Merge* RoutedService::NewMerge(const Request& req, Reply reply) {
  Merge* merge = merges_.Take();
  merge->service = this;
  merge->reply.emplace(std::move(reply));
  merge->is_get = req.op == Op::kGet;
  merge->tells_misses = (req.want & proto::memcache::kWantMissKey) != 0;
  if (!merge->is_get) return merge;
  for (size_t i = 0; i < req.keys.size(); ++i) {
    const absl::string_view key = req.keys[i];
    merge->places.push_back({.cache = choices_[i].cache,
                             .strip = choices_[i].strip,
                             .key_at = merge->keys.size(),
                             .key_size = key.size(),
                             .item = {}});
    merge->keys.append(key.data(), key.size());
  }
  return merge;
}

void RoutedService::TakeFlush(Connection& connection, const Request& req, Reply reply) {
  asked_.clear();
  for (size_t cache = 0; cache < caches_.size(); ++cache) {
    if (caches_[cache]->MayFlush()) asked_.push_back(cache);
  }
  if (asked_.size() < 2) {  // Without any the own one says that it may not.
    return Give(connection, asked_.empty() ? RouteTable::kOwn : asked_[0], req, std::move(reply));
  }
  Merge* merge = NewMerge(req, std::move(reply));
  merge->due = asked_.size();
  for (const size_t cache : asked_) Give(connection, cache, req, Reply(merge, {}, cache));
}

void RoutedService::TakeStats(Connection& connection, const Request& req, Reply reply) {
  absl::string_view rest = req.argument;
  if (rest == "routes") {
    Response rsp(Status::kStats);
    rsp.stats = table_.Stats();
    return std::move(reply).Send(std::move(rsp));
  }
  if (!absl::ConsumePrefix(&rest, "cache ")) {
    return Give(connection, RouteTable::kOwn, req, std::move(reply));
  }
  const size_t end = std::min(rest.find(' '), rest.size());
  const size_t cache = table_.Find(rest.substr(0, end));
  if (cache == RouteTable::kNone) {
    return std::move(reply).Send(Response::Text(Status::kClientError, "no such cache here"));
  }
  rest.remove_prefix(std::min(end + 1, rest.size()));
  TakeFields(req);
  part_.argument = rest;
  Give(connection, cache, part_, std::move(reply));
}

// --- Answers out.

void RoutedService::Merge::Reset() {
  service = nullptr;
  reply.reset();
  is_get = tells_misses = abandoned = false;
  due = 0;
  // A huge command must not leave huge tables behind.
  constexpr size_t kKept = 64;
  constexpr size_t kKeptBytes = 4096;
  if (places.capacity() > kKept) places = std::vector<Place>();
  if (keys.capacity() > kKeptBytes) keys = std::string();
  places.clear();
  keys.clear();
  held.clear();
  failure.reset();
}

void RoutedService::Merge::Deliver(core::SessionRef, uint64_t cache, Response&& rsp) {
  if (places.size() == 1) {
    MakeWhole(&rsp);
    return End(std::move(rsp));
  }
  if (!is_get) {
    if (rsp.status != Status::kOk) TakeFailure(cache, &rsp);
  } else if (rsp.status == Status::kValues) {
    TakeItems(cache, &rsp);
  } else {
    const auto first = std::find_if(places.begin(), places.end(), [cache](const Place& place) {
      return place.cache == cache;
    });
    TakeFailure(static_cast<size_t>(first - places.begin()), &rsp);
  }
  Count();
}

void RoutedService::Merge::Abandon(core::SessionRef, uint64_t) {
  abandoned = true;
  Count();
}

void RoutedService::Merge::MakeWhole(Response* rsp) const {
  for (Item& item : rsp->items) item.key = keys;
  if (tells_misses && rsp->status == Status::kValues && rsp->items.empty()) rsp->text = keys;
}

void RoutedService::Merge::TakeFailure(size_t rank, Response* rsp) {
  if (failure.has_value() && failure_rank < rank) return;
  failure_rank = rank;
  failure.emplace(std::move(*rsp));
}

// The items are the hits of the part in the order it asked. They die with the part's answer, unless
// it is the last one; short values are borrowed until then and copied.
void RoutedService::Merge::TakeItems(size_t cache, Response* rsp) {
  const bool last = due == 1;
  std::string* copies = nullptr;
  if (!last) {
    size_t bytes = 0;
    for (const Item& item : rsp->items) bytes += item.value.borrowed() ? item.value.size() : 0;
    copies = &held.emplace_back();
    copies->reserve(bytes);  // So that it stays where it is.
  }
  size_t next = 0;
  for (Place& place : places) {
    if (next == rsp->items.size()) break;
    Item& item = rsp->items[next];
    const absl::string_view key = KeyOf(place);
    if (place.cache != cache || item.key != key.substr(place.strip)) continue;
    ++next;
    if (!last && item.value.borrowed()) {
      const size_t at = copies->size();
      copies->append(item.value.view().data(), item.value.size());
      item.value = core::Bytes::Borrowed(absl::string_view(*copies).substr(at));
    }
    item.key = key;
    place.item = std::move(item);
    place.hit = true;
  }
}

void RoutedService::Merge::Count() {
  if (--due > 0) return;
  if (!abandoned) return End(Answer());
  service->merges_.Put(this);  // Its reply is abandoned with it.
}

void RoutedService::Merge::End(Response&& rsp) {
  std::move(*reply).Send(std::move(rsp));
  service->merges_.Put(this);
}

Response RoutedService::Merge::Answer() {
  if (failure.has_value()) return std::move(*failure);
  if (!is_get) return Response(Status::kOk);
  Response rsp(Status::kValues);
  for (Place& place : places) {
    if (place.hit) rsp.items.push_back(std::move(place.item));
  }
  return rsp;
}

}  // namespace proxy
