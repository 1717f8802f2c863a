// One memcache request, whatever dialect it was spelled in.
//
// The fields are those of the meta protocol (memcached doc/protocol.txt, "Meta Commands"), which is
// the general form; classic text and binary verbs set a few of them. Services look at `op` and the
// fields, never at the dialect. Views point into the session's input and die when Execute returns.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/memcache/verb.h"

namespace proto::memcache {

inline constexpr size_t kKeyBytesMax = 250;  // memcached doc/protocol.txt, "Keys".

// The size of an item as memcached holds it against its limit (-I): 59 bytes beside key and value,
// four more for flags that are not 0. Probed on 1.6.18: the longest value of a one-byte key is
// 1,048,516 bytes.
constexpr uint64_t ItemBytes(size_t key_bytes, uint64_t value_bytes, uint32_t flags) {
  return 59 + key_bytes + value_bytes + (flags != 0 ? 4 : 0);
}

enum class Op : uint8_t {
  kGet,         // get gets gat gats; meta mg. Many keys are allowed.
  kStore,       // set add replace append prepend cas; meta ms.
  kDelete,      // delete; meta md.
  kArithmetic,  // incr decr; meta ma.
  kTouch,       // touch.
  kFlushAll,
  kVersion,
  kVerbosity,
  kStats,
  kNoop,   // Meta mn, binary NOOP.
  kDebug,  // Meta me: what is known of an item, without its value.
};

enum class StoreMode : uint8_t { kSet, kAdd, kReplace, kAppend, kPrepend };

// What the answer must carry beside its status; a set of bits.
enum Want : uint16_t {
  kWantNothing = 0,
  kWantValue = 1 << 0,
  kWantFlags = 1 << 1,
  kWantCas = 1 << 2,
  kWantTtl = 1 << 3,
  kWantSize = 1 << 4,
  kWantKey = 1 << 5,
  kWantHitBefore = 1 << 6,
  kWantLastAccess = 1 << 7,
  kWantMissKey = 1 << 8,  // Of a get that finds nothing, too: in Response::text.
  // With kWantCas of a get: not asked for, but every answer of the dialect has one. So the answer may
  // be shared and as old as any.
  kWantCasAlong = 1 << 9,
  // Every mg: whether the item is stale or its win taken is to be told, and who finds a stale item
  // that nobody makes anew wins it. Gets of other dialects see the value alone.
  kWantState = 1 << 10,
};

// Who spells the answer.
enum class Dialect : uint8_t { kText, kBinary, kMeta };

// What a request has beside its keys. Plain data, so that a request is made fresh by a few stores.
struct RequestFields {
  Op op = Op::kNoop;
  StoreMode mode = StoreMode::kSet;
  bool decrement = false;  // kArithmetic: decr.
  // kStore of set, and of ms in any mode: the value was longer than the limit and was swallowed. The
  // item is to be removed, as memcached does, and the answer is Status::kTooLarge.
  bool value_too_large = false;
  uint16_t want = kWantNothing;
  uint32_t flags = 0;

  absl::string_view value;  // kStore.
  // Seconds as the client wrote them (memcached's rule decides: 0 never, <= 30 days relative,
  // larger absolute, negative gone at once), cut to 32 bits as memcached does. Set for kStore,
  // kTouch, kFlushAll with a delay, and a kGet that also touches (gat, mg T). Of ma: a count that
  // succeeds gives the item this life. Of md with `invalidate`: likewise; with `drop_value`: as of a
  // store, that is, not given is never.
  std::optional<int64_t> exptime;
  // Store, delete or count only if the item's token is this one. Of mg: if it is, the client has the
  // value already, see Item::unchanged.
  std::optional<uint64_t> cas;
  uint64_t delta = 1;           // kArithmetic.
  // kArithmetic: where there is no item one of this number is made, which lives for initial_exptime.
  std::optional<uint64_t> initial;
  int64_t initial_exptime = 0;
  absl::string_view argument;   // kStats: the words after "stats"; kVerbosity: the level.

  // --- How it was asked: for the codec and for counters; services answer alike either way. ---
  Verb verb = Verb::kNone;
  bool noreply = false;  // Binary: quiet, which silences success alone.
  Dialect dialect = Dialect::kText;
  uint8_t opcode = 0;   // Binary.
  // Binary: the bytes that the answer repeats, as they came. Meta: which flags it returns (meta.h).
  uint32_t opaque = 0;
  absl::string_view rejection;  // With ParseStatus::kInvalid and kAnswered: the whole reply.
};

// What meta commands alone ask; the letter is the flag. Untouched by the other dialects.
struct MetaFields {
  // N of mg: where there is no item, make an empty one that lives so long, and win. Of ms in mode
  // append or prepend: where there is no item, store the value as one. (Of ma: `initial`.)
  std::optional<int64_t> vivify_exptime;
  // R of mg: win if the item has less than this many seconds left. As the client wrote it: longer than
  // 30 days is a time, as for exptime; nothing is less than 0 or a negative number.
  std::optional<int64_t> recache_below_sec;
  std::optional<uint64_t> new_cas;  // E: the token of what is written, instead of one of our making.
  // I of ms, with `cas` and in mode set or replace: if `cas` is older than the item's token, store
  // nonetheless, and mark the item stale; life and win of the old item stay.
  // I of md: mark it stale instead of deleting it, and give it a token anew.
  bool invalidate = false;
  // x of md: empty the item and set its flags to `flags` instead of deleting it. It keeps its token,
  // if `new_cas` and `invalidate` give it no other.
  bool drop_value = false;
  bool no_bump = false;     // u of mg: this access does not count.
  // Flags take effect in the order written. t before T (or before N alone): tell what was left before
  // this request, -1 of an item that it made. R before T: judge that time.
  bool old_ttl_told = false;
  bool old_ttl_judged = false;
  absl::string_view route;  // L: a hint for proxies.

  // --- The codec's own: what the reply repeats, see ReplyContext. ---
  absl::string_view opaque_token;  // O, with the letter.
  bool base64_key = false;         // b.
};

struct Request : RequestFields, MetaFields {
  // One for every op but kGet. Empty for ops without a key.
  std::vector<absl::string_view> keys;

  absl::string_view key() const { return keys.empty() ? absl::string_view() : keys[0]; }
  // Makes `key` one of `keys` that is no view of the input.
  void AddOwnedKey(absl::string_view key) {
    if (owned_key_ == nullptr) owned_key_ = std::make_unique<std::string>();
    owned_key_->assign(key.data(), key.size());
    keys.push_back(*owned_key_);
  }
  // Back to a fresh request, but for the memory that keys have grown.
  void Clear();

 private:
  std::unique_ptr<std::string> owned_key_;  // At a place of its own, so that moving it moves no key.
};

inline void Request::Clear() {
  constexpr size_t kKeysKeptMax = 256;  // 4 KiB of views: enough for most, little to hold on to.
  static constexpr RequestFields kFresh{};
  if (dialect == Dialect::kMeta) [[unlikely]] {
    static constexpr MetaFields kFreshMeta{};
    static_cast<MetaFields&>(*this) = kFreshMeta;
  }
  static_cast<RequestFields&>(*this) = kFresh;
  keys.clear();
  if (keys.capacity() > kKeysKeptMax) [[unlikely]] keys.shrink_to_fit();
}

// What the reply to a meta command repeats of it, as it is spelled there.
struct MetaEcho {
  std::string opaque;  // "Oabc".
  std::string key;     // In base64 if it came so.
  bool base64 = false;
  uint32_t value_bytes = 0;  // Of a store.
};

// What composing a reply needs to know of its request. Kept in the session's slot.
struct ReplyContext {
  Verb verb = Verb::kNone;
  bool noreply = false;
  uint16_t want = kWantNothing;
  Dialect dialect = Dialect::kText;
  uint8_t opcode = 0;
  uint32_t opaque = 0;
  MetaEcho* echo = nullptr;  // Null if nothing.

  // Frees what is owned. By whoever holds the context last, once: this is plain data, which costs a
  // request that has none of it nothing.
  void Release() {
    if (echo != nullptr) [[unlikely]] Free();
  }

 private:
  void Free();
};

}  // namespace proto::memcache
