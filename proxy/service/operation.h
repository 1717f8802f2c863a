// One key's worth of a command under way, and what several of them share.
//
// A command on one key is one Operation, which holds the Reply. A get of many keys is one Operation
// a distinct key and a Gather that holds the Reply. Everything lives in the service's pools and is
// known to the client's callbacks by a plain pointer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "core/net/reply.h"
#include "core/net/timer.h"
#include "proto/memcache/request.h"
#include "proto/memcache/response.h"
#include "proxy/momento/client.h"
#include "proxy/service/key_lines.h"
#include "proxy/service/write_marks.h"
#include "proxy/translate/envelope.h"

namespace proxy {

class ProxyService;
struct Gather;
struct Operation;

using MemcacheReply = core::Reply<proto::memcache::Response>;

// The keys of one get: each is an Operation, of which this many take some 80 MB, and a part of a call.
// A line of 16 MB could name 2.5 million. Past it the answer is what one is that grows too long.
inline constexpr size_t kGetKeysMax = 64 * 1024;

// What one client connection has under way. Kept alive by the session's handle and by every
// operation of the connection, so that an accepted write runs on after a disconnect.
struct ConnectionState {
  KeyLines lines;
  OperationQueue held;         // Behind a flush_all: the flush itself first.
  uint32_t running = 0;        // Operations past `held`, waiting in `lines` or at the backend.
  bool flushing = false;       // The flush_all that everything in `held` waits for is running.
  uint32_t references = 0;
  // Gets that may win, as they were sent, until they are answered.
  Operation* first_get = nullptr;
  Operation* last_get = nullptr;
};

struct Operation final : core::Timer {
  // The pause before another round of an update is over.
  void OnTimer() override;
  // Back to nothing, keeping the memory of short strings.
  void Reset();
  // Takes the item that another get of its key was told, with bytes of its own. A win is never
  // shared: whoever comes after the winner sees it taken.
  void TakeAnswerOf(const Operation& other);
  // The state of what is stored, as far as the request gives it.
  std::optional<translate::ItemState> GivenState() const {
    if (!new_cas.has_value()) return std::nullopt;
    return translate::ItemState{.ranked = true, .token = *new_cas};
  }

  ProxyService* service = nullptr;
  ConnectionState* connection = nullptr;
  Operation* next = nullptr;  // In whichever OperationQueue holds it.
  Operation* pool_prev = nullptr;
  Operation* pool_next = nullptr;
  Operation* earlier_get = nullptr;  // In the connection's list.
  Operation* later_get = nullptr;

  // What was asked.
  proto::memcache::Op op = proto::memcache::Op::kNoop;
  proto::memcache::StoreMode mode = proto::memcache::StoreMode::kSet;
  bool decrement = false;
  bool value_too_large = false;
  bool exclusive = false;  // Writes, so it runs alone on its key.
  uint16_t want = 0;
  uint32_t flags = 0;
  std::optional<int64_t> exptime;
  std::optional<uint64_t> cas;
  uint64_t delta = 0;
  std::optional<uint64_t> initial;
  int64_t initial_exptime = 0;
  std::optional<int64_t> vivify_exptime;
  uint64_t recache_below_ms = 0;  // 0: not asked for.
  std::optional<uint64_t> new_cas;
  bool invalidate = false;
  bool drop_value = false;
  bool no_bump = false;
  bool old_ttl_told = false;
  bool old_ttl_judged = false;
  bool may_win = false;  // A get that wins the item if somebody has to make it anew (wins.cc).
  uint64_t key_hash = 0;
  std::string key;
  absl::string_view body;  // The value to store: in the request, or in `buffer` once kept.
  uint64_t counted_bytes = 0;  // Of the value, to be given back to the budget.
  std::string buffer;      // The kept value to store; or the stored bytes that were read.

  // Who is to be told: exactly one of the two.
  std::optional<MemcacheReply> reply;
  Gather* gather = nullptr;
  uint32_t askers = 1;  // Places of the key in the gather's command.

  // How far it is.
  bool hit = false;
  bool failed = false;
  bool gone = false;                 // The exptime says that the item is not to exist.
  uint32_t rounds = 0;               // Of read and conditional write.
  uint8_t answers_due = 0;           // Of the two reads of a round.
  uint64_t ttl_ms = 0;
  int64_t admitted_ms = 0;           // When the command came in.
  int64_t update_started_ms = 0;
  bool updating = false;             // Past its connection's line, in the worker's line of updates.
  bool timed_out = false;
  WriteMarks::Moment moment;         // Of the write's beginning; or before the get's call left.
  bool marked = false;               // A write that has begun there.
  bool stored = false;               // `body` is what the cache holds now, for `ttl_ms`.
  int64_t sent_ms = 0;               // When the get's or the write's first call was made.
  OperationQueue followers;          // Gets of the same key that take this one's answer.
  uint64_t number = 0;               // The new value of a counter.
  uint64_t value_bytes = 0;          // The length of what is stored.
  absl::string_view item_value;      // A hit: the tail of `buffer`.
  uint32_t item_flags = 0;
  uint64_t item_cas = 0;             // Of a hit, or of what is being stored.
  uint64_t item_ttl_ms = 0;          // Of a hit, where it was asked for.
  std::optional<translate::ItemState> item_state;  // Of a hit that has one.
  std::optional<translate::ItemState> new_state;   // Of what is being stored, if it has one.
  bool won = false;                  // Told to make the item anew.
  bool made = false;                 // The item is the placeholder that it made.
  bool gave_up = false;              // Lost too many races to try for the win again.
  momento::Error error;
  momento::HashedGetResult read;
  momento::TtlResult read_ttl;
  proto::memcache::Status after = proto::memcache::Status::kError;  // Once the delete is done.
};

// A get of many keys.
struct Gather {
  void Reset();

  std::optional<MemcacheReply> reply;
  std::vector<Operation*> asked;   // In the order of the command; a key named twice is there twice.
  std::vector<Operation*> owned;   // Each operation once.
  size_t due = 0;
  size_t answer_bytes = 0;         // Of the hits so far; past kAnswerBytesMax their values are let go.
  absl::flat_hash_map<absl::string_view, Operation*> by_key;
  Gather* pool_prev = nullptr;
  Gather* pool_next = nullptr;
};

// The keys of one GetBatch.
struct BatchCall {
  void Reset() { operations.clear(); }

  std::vector<Operation*> operations;
  BatchCall* pool_prev = nullptr;
  BatchCall* pool_next = nullptr;
};

}  // namespace proxy
