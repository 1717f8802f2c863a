// One memcache request, whatever dialect it was spelled in.
//
// The fields are those of the meta protocol (memcached doc/protocol.txt, "Meta Commands"), which is
// the general form; classic text and binary verbs set a few of them. Services look at `op` and the
// fields, never at the dialect. Views point into the session's input and die when Execute returns.
#pragma once

#include <cstdint>
#include <optional>
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
};

// Who spells the answer.
enum class Dialect : uint8_t { kText, kBinary, kMeta };

// What a request has beside its keys. Plain data, so that a request is made fresh by a few stores.
struct RequestFields {
  Op op = Op::kNoop;
  StoreMode mode = StoreMode::kSet;
  bool decrement = false;  // kArithmetic: decr.
  // kStore in mode kSet: the value was longer than the limit and was swallowed. The item is to be
  // removed, as memcached does, and the answer is Status::kTooLarge.
  bool value_too_large = false;
  uint16_t want = kWantNothing;
  uint32_t flags = 0;

  absl::string_view value;  // kStore.
  // Seconds as the client wrote them (memcached's rule decides: 0 never, <= 30 days relative,
  // larger absolute, negative gone at once), cut to 32 bits as memcached does. Set for kStore,
  // kTouch, kFlushAll with a delay, and a kGet that also touches (gat, mg T).
  std::optional<int64_t> exptime;
  std::optional<uint64_t> cas;  // Store, delete or count only if the item's token is this one.
  uint64_t delta = 1;           // kArithmetic.
  // kArithmetic: where there is no item one of this number is made, which lives for initial_exptime.
  std::optional<uint64_t> initial;
  int64_t initial_exptime = 0;
  absl::string_view argument;   // kStats: the words after "stats"; kVerbosity: the level.

  // --- Asked by meta commands alone; the letter is the flag. ---
  // N of mg: where there is no item, make an empty one that lives so long, and win. Of ms in mode
  // append or prepend: where there is no item, store the value as one. (Of ma: `initial`.)
  std::optional<int64_t> vivify_exptime;
  // R of mg: win if the item has less than this many seconds left.
  std::optional<int64_t> recache_below_sec;
  std::optional<uint64_t> new_cas;  // E: the token of what is written, instead of one of our making.
  // I of ms: if `cas` is older than the item's token, store nonetheless, and mark the item stale.
  // I of md: mark it stale instead of deleting it, and give it a token anew.
  bool invalidate = false;
  bool drop_value = false;  // x of md: empty the item and clear its flags instead of deleting it.
  bool no_bump = false;     // u of mg: this access does not count.
  absl::string_view route;  // L: a hint for proxies.

  // --- How it was asked: for the codec and for counters; services answer alike either way. ---
  Verb verb = Verb::kNone;
  bool noreply = false;  // Binary: quiet, which silences success alone.
  Dialect dialect = Dialect::kText;
  uint8_t opcode = 0;   // Binary.
  uint32_t opaque = 0;  // Binary: the bytes that the answer repeats, as they came.
  absl::string_view rejection;  // With ParseStatus::kInvalid and kAnswered: the whole reply.
};

struct Request : RequestFields {
  // One for every op but kGet. Empty for ops without a key.
  std::vector<absl::string_view> keys;

  absl::string_view key() const { return keys.empty() ? absl::string_view() : keys[0]; }
  // Back to a fresh request, but for the memory that a list of keys has grown.
  void Clear();
};

inline void Request::Clear() {
  constexpr size_t kKeysKeptMax = 256;  // 4 KiB of views: enough for most, little to hold on to.
  static constexpr RequestFields kFresh{};
  static_cast<RequestFields&>(*this) = kFresh;
  keys.clear();
  if (keys.capacity() > kKeysKeptMax) [[unlikely]] keys.shrink_to_fit();
}

// What composing a reply needs to know of its request. Plain bytes; kept in the session's slot.
struct ReplyContext {
  Verb verb = Verb::kNone;
  bool noreply = false;
  uint16_t want = kWantNothing;
  Dialect dialect = Dialect::kText;
  uint8_t opcode = 0;
  uint32_t opaque = 0;
};

}  // namespace proto::memcache
