// Who is to make an item anew: mg with N or R, and mg of a stale item.
//
// An item that is not there (N), has little time left (R) or is stale is to be made by one client of
// the fleet, whichever of its proxies it talks to; the others use what there is, or wait. What
// decides is Momento, by one conditional store: of an empty placeholder if there is no item, of the
// same item with the win taken if its hash is still the one that was read. Its token and life stay.
// Who stored has won; who did not reads again, and sees the win taken.
//
// Gets that arrive together share one read, and the first of them in order contends for all; the
// others are told that its win is taken, as they would be by a read that comes just after.
//
// Gets of one connection that only read run side by side, so a later one may be the one that has won
// while an earlier one is not answered yet. The win is then the earlier one's: it is handed the item.
//
// If the store fails, so does the get: a client that sees a miss makes the item, so that a win whose
// answer was lost costs a second making and not a wait for nobody.
#include <algorithm>

#include "proxy/service/service.h"
#include "proxy/translate/cas.h"

namespace proxy {

using translate::ItemState;

// Whether the get is to try for the win, after what was read. A win that is taken is nobody else's.
bool ProxyService::Contends(const Operation& op) const {
  if (!op.may_win) [[likely]] return false;
  if (op.failed || op.gave_up || op.won) return false;
  if (!op.hit) return op.vivify_exptime.has_value();
  if (op.item_state.has_value()) {
    if (op.item_state->win_taken) return false;
    if (op.item_state->stale) return true;
  }
  if (op.recache_below_ms == 0) return false;
  uint64_t left_ms = op.item_ttl_ms;
  if (op.exptime.has_value() && !op.old_ttl_judged) {
    left_ms = translate::TtlOf(*op.exptime, ttl_rules_, loop_->clock().WallNs()).ms;
  }
  // In whole seconds, as clients count: stored for 30, an item has not less than 30 left at once.
  constexpr uint64_t kMsPerSec = 1000;
  return static_cast<uint64_t>(translate::SecondsOf(left_ms)) * kMsPerSec < op.recache_below_ms;
}

void ProxyService::Contend(Operation* op) {
  BeginWrite(op);
  if (!turn_open_) loop_->KeepAwake();
  if (op->rounds == 0) op->update_started_ms = loop_->now_ms();
  if (!op->hit) return MakePlaceholder(op);
  if (op->read.hash.empty()) return ReadForWin(op);
  TakeWin(op);
}

void ProxyService::ReadForWin(Operation* op) {
  if (!turn_open_) loop_->KeepAwake();
  ReadWithTtl(op);
}

// REQUIRES: what is in the operation was read with the hash and the life.
void ProxyService::TakeWin(Operation* op) {
  ItemState state = op->item_state.value_or(ItemState{.token = op->item_cas});
  state.win_taken = true;
  const translate::EnvelopePrefix prefix = translate::WrapWithState(state, op->item_flags);
  client_->SetIfHash(op->key, prefix.view(), op->item_value,
                     std::clamp<uint64_t>(op->item_ttl_ms, 1, ttl_rules_.max_ms),
                     absl::string_view(op->read.hash), [op, state](momento::StoreResult result) {
                       if (result.stored) op->item_state = state;
                       op->service->OnWinStored(op, std::move(result));
                     });
}

// The item is empty until the winner stores it, for every dialect.
void ProxyService::MakePlaceholder(Operation* op) {
  const ItemState state{.win_taken = true,
                        .ranked = op->new_cas.has_value(),
                        .token = op->new_cas.value_or(FreshToken())};
  const translate::Ttl ttl =
      translate::TtlOf(*op->vivify_exptime, ttl_rules_, loop_->clock().WallNs());
  if (ttl.clamped) shared_->metrics.ttl_clamped.Add();
  const auto done = [op, state, ttl](momento::StoreResult result) {
    if (result.stored) {
      op->hit = op->made = true;
      op->item_value = absl::string_view();
      op->item_flags = 0;
      op->item_cas = state.token;
      op->item_state = state;
      op->item_ttl_ms = ttl.gone ? 0 : ttl.ms;
    }
    op->service->OnWinStored(op, std::move(result));
  };
  const translate::EnvelopePrefix prefix = translate::WrapWithState(state, /*flags=*/0);
  client_->SetIf(op->key, prefix.view(), absl::string_view(), ttl.ms, momento::Condition::kAbsent,
                 done);
}

void ProxyService::OnWinStored(Operation* op, momento::StoreResult result) {
  Metrics& metrics = shared_->metrics;
  op->read.hash.clear();
  if (op->won) return Arrive(op);  // It has been handed the item meanwhile.
  if (!result.error.ok()) {
    op->hit = false;
    op->failed = true;
    op->error = std::move(result.error);
    return Arrive(op);
  }
  if (result.stored) {
    op->won = true;
    (op->made ? metrics.win_absent : op->item_state->stale ? metrics.win_stale : metrics.win_recache)
        .Add();
    HandOver(op);
    return Arrive(op);
  }
  // Somebody else has won, or stored, or deleted.
  ++op->rounds;
  if (StartNextRound(op)) return;
  // There is an item whenever a placeholder was refused, though reads may not know of it yet: what
  // others make, the client is to wait for.
  op->gave_up = true;
  if (!op->hit) {
    op->hit = true;
    op->item_value = absl::string_view();
    op->item_state = ItemState{.win_taken = true};
  }
  Arrive(op);
}

// Gives the item that `op` has won to the first get of its key and connection that waits for an answer.
void ProxyService::HandOver(Operation* op) {
  Operation* first = op->connection->first_get;
  while (first != op && first->key != op->key) first = first->later_get;
  if (first == op) return;
  first->TakeAnswerOf(*op);
  first->won = true;
  op->won = false;
}

void ProxyService::Enlist(Operation* op) {
  ConnectionState* connection = op->connection;
  op->earlier_get = connection->last_get;
  (op->earlier_get != nullptr ? op->earlier_get->later_get : connection->first_get) = op;
  connection->last_get = op;
}

void ProxyService::Delist(Operation* op) {
  ConnectionState* connection = op->connection;
  (op->earlier_get != nullptr ? op->earlier_get->later_get : connection->first_get) = op->later_get;
  (op->later_get != nullptr ? op->later_get->earlier_get : connection->last_get) = op->earlier_get;
}

uint64_t ProxyService::FreshToken() { return absl::Uniform<uint64_t>(random_) | 1; }

}  // namespace proxy
