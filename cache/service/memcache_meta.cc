// What only meta commands ask: mg, me, and md that keeps the item.
#include <utility>

#include "cache/service/memcache_service.h"
#include "cache/service/terms.h"

namespace cache {

using seg::ItemRef;
using seg::StoreResult;
using seg::Update;

// An item as mg met it, and what mg made of it.
struct MemcacheService::Meeting {
  ItemRef found;
  Life touched;         // T.
  Life vivified;        // N.
  int64_t judged_ms = 0;  // R: win if less is left. 0 or less: it never is.

  bool other = false;  // The item is not what was found any more: nothing was done.
  bool made = false;
  bool won = false;
  seg::Marks marks;  // Before.
};

// --- mg ---

void MemcacheService::MetaGet(const Request& req, core::Reply<Response>&& reply) {
  Meeting met = Meet(req);
  const bool hit = met.found.found() || met.made;
  if (hit) {
    proto::memcache::Item& item = got_.items.emplace_back();
    item.key = req.key();
    item.flags = met.found.flags();
    if ((req.want & proto::memcache::kWantCas) != 0) item.cas = met.found.cas();
    if ((req.want & proto::memcache::kWantTtl) != 0) item.ttl_sec = WholeSeconds(ToldTtlMs(req, met));
    item.access_known = met.found.knows_uses();
    item.hit_before = met.found.was_hit();
    item.last_access_sec = static_cast<int32_t>(met.found.idle_sec());
    item.stale = met.marks.stale;
    item.win_taken = met.marks.won;
    item.won = met.won;
    item.unchanged = !met.made && req.cas.has_value() && *req.cas == met.found.cas();
    item.value = ForOutput(&met.found, /*one_of_many=*/false);
  }
  // As memcached: a miss is one of a get, with T or without.
  if (met.made && met.found.found()) metrics_.made.Add();
  if (met.won) metrics_.won.Add();
  (!hit ? metrics_.get_miss : req.exptime.has_value() ? metrics_.touch_hit : metrics_.get_hit).Add();
  std::move(reply).Send(std::move(got_));
  got_.items.clear();
}

// Finds the item, and does to exactly the write that it returns what the request asks for; if another
// write came between, looks again.
MemcacheService::Meeting MemcacheService::Meet(const Request& req) {
  Meeting met;
  if (req.exptime.has_value()) met.touched = LifeOf(req.exptime);
  if (req.vivify_exptime.has_value()) met.vivified = LifeOf(req.vivify_exptime);
  if (req.recache_below_sec.has_value() && *req.recache_below_sec > 0) {
    met.judged_ms = UntilMs(*req.recache_below_sec, shared_.clock());
  }
  const seg::Token token = TokenFor(req);
  const auto find = [&] { return req.no_bump ? cache_.Peek(req.key(), token) : cache_.Get(req.key(), token); };
  for (;;) {
    met.found = find();
    Update update;
    met.other = false;
    Decide(req, met.found, &met, &update);
    if (update.action == Update::Action::kKeep) return met;
    // Something is to be done: judged again, as one step with the doing.
    update = {};
    update.token = token;
    const StoreResult result = cache_.Apply(
        req.key(), [&](const ItemRef& now, Update* u) { Decide(req, now, &met, u); }, &update);
    if (met.other) continue;
    if (result == StoreResult::kNotStored && update.action != Update::Action::kKeep) continue;
    // What cannot be made was not found. What cannot be marked, because its segment has no room for
    // four bytes more, is won by everyone: rather too often than never.
    if (met.made && result != StoreResult::kStored) met.made = met.won = false;
    if (met.made) {
      met.found = find();
      if (!met.found.found()) met.made = met.won = false;  // Pushed out at once.
    }
    return met;
  }
}

// What to do about the item as it is `now`.
void MemcacheService::Decide(const Request& req, const ItemRef& now, Meeting* met,
                             Update* update) const {
  met->other = met->made = met->won = false;
  met->marks = {};
  if (!now.found()) {
    met->other = met->found.found();
    if (met->other || !req.vivify_exptime.has_value()) return;
    met->made = met->won = true;
    if (met->vivified.gone) return;  // As if it were there and gone again: everyone wins.
    update->action = Update::Action::kStore;
    update->ttl_ms = met->vivified.ttl_ms;
    update->marks = {.stale = false, .won = true};
    update->cas = req.new_cas.value_or(0);
    return;
  }
  met->other = !met->found.found() || now.cas() != met->found.cas();
  if (met->other) return;
  met->marks = now.marks();
  const bool touches = req.exptime.has_value();
  const int64_t judged_ttl_ms =
      touches && !req.old_ttl_judged ? met->touched.ttl_ms : now.ttl_ms();
  const bool ends_soon = judged_ttl_ms != seg::kNever && met->judged_ms > 0 &&
                         WholeSeconds(judged_ttl_ms) < WholeSeconds(met->judged_ms);
  met->won = !met->marks.won && (met->marks.stale || ends_soon);
  if (met->won) update->marks = {.stale = met->marks.stale, .won = true};
  if (touches) {
    update->action = met->touched.gone ? Update::Action::kDelete : Update::Action::kTouch;
    update->ttl_ms = met->touched.ttl_ms;
  } else if (met->won) {
    update->action = Update::Action::kMark;
  }
}

// What t tells.
int64_t MemcacheService::ToldTtlMs(const Request& req, const Meeting& met) const {
  if (met.made && req.old_ttl_told) return seg::kNever;
  if (!met.made && (!req.exptime.has_value() || req.old_ttl_told)) return met.found.ttl_ms();
  const Life& given = met.made ? met.vivified : met.touched;
  return given.gone ? 0 : given.ttl_ms;
}

// --- me ---

MemcacheService::Response MemcacheService::Debug(const Request& req) {
  metrics_.debug.Add();
  ItemRef found = cache_.Peek(req.key(), seg::Token::kTold);
  if (!found.found()) return Response(Status::kNotFound);
  Response rsp(Status::kDebug);
  proto::memcache::Item& item = rsp.items.emplace_back();
  item.key = req.key();
  item.flags = found.flags();
  item.cas = found.cas();
  item.ttl_sec = WholeSeconds(found.ttl_ms());
  item.access_known = found.knows_uses();
  item.hit_before = found.was_hit();
  item.last_access_sec = static_cast<int32_t>(found.idle_sec());
  item.value = found.TakeValue().Briefly();
  return rsp;
}

// --- md with I or x ---

MemcacheService::Response MemcacheService::MetaDelete(const Request& req) {
  Status status = Status::kNotFound;
  const Life life = LifeOf(req.exptime);
  Update update;
  update.token = seg::Token::kQuiet;
  const StoreResult result = cache_.Apply(
      req.key(),
      [&](const ItemRef& found, Update* u) {
        status = Status::kNotFound;
        if (!found.found()) return;
        if (req.cas.has_value() && *req.cas != found.cas()) return void(status = Status::kExists);
        status = Status::kDeleted;
        const bool given_life = req.exptime.has_value() || req.drop_value;
        u->action = given_life && life.gone ? Update::Action::kDelete : Update::Action::kStore;
        u->ttl_ms = given_life ? life.ttl_ms : found.ttl_ms();
        u->flags = req.drop_value ? req.flags : found.flags();
        u->value = req.drop_value ? std::string() : std::string(found.value());
        u->inherits_marks = !req.drop_value;
        // The next client is to win it, even if one has won it before.
        u->marks = {.stale = req.invalidate, .won = false};
        u->cas = req.new_cas.value_or(req.invalidate ? 0 : found.cas());  // 0: a new one.
      },
      &update);
  // As memcached: marking alone is no delete, but a token out of date is a miss.
  if (status != Status::kDeleted) metrics_.delete_miss.Add();
  if (status != Status::kDeleted) return Response(status);
  if (result == StoreResult::kTooLarge || result == StoreResult::kNoMemory) {
    return Response(Status::kOutOfMemory);
  }
  (req.invalidate ? metrics_.invalidated : metrics_.delete_hit).Add();
  return Response(status);
}

}  // namespace cache
