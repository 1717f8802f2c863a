// The reading half: flags into the fields of a request.
#include <bitset>
#include <limits>
#include <optional>

#include "proto/memcache/base64.h"
#include "proto/memcache/meta.h"
#include "proto/memcache/number.h"
#include "proto/memcache/text_line.h"

namespace proto::memcache {

namespace {

constexpr absl::string_view kBadToken = "CLIENT_ERROR bad token in command line format\r\n";
constexpr absl::string_view kBadKey = "CLIENT_ERROR error decoding key\r\n";
constexpr absl::string_view kDuplicate = "CLIENT_ERROR duplicate flag\r\n";
constexpr absl::string_view kUnknown = "CLIENT_ERROR invalid flag\r\n";
constexpr absl::string_view kBadFlag = "CLIENT_ERROR invalid or duplicate flag\r\n";  // Of md and ma.
constexpr absl::string_view kBadMode = "CLIENT_ERROR incorrect length for M token\r\n";
constexpr absl::string_view kBadStoreMode = "CLIENT_ERROR invalid mode for ms M token\r\n";
constexpr absl::string_view kBadCountMode = "CLIENT_ERROR invalid mode for ma M token\r\n";
constexpr absl::string_view kBadInitial = "CLIENT_ERROR invalid numeric initial value\r\n";
constexpr absl::string_view kBadDelta = "CLIENT_ERROR invalid numeric delta value\r\n";
constexpr absl::string_view kOpaqueTooLong = "CLIENT_ERROR opaque token too long\r\n";
constexpr absl::string_view kTooManyOfGet = "CLIENT_ERROR options flags are too long\r\n";
constexpr absl::string_view kTooMany = "CLIENT_ERROR options flags too long\r\n";

constexpr size_t kFlagsMax = 17;             // memcached 1.6: 20 words, verb, key and the end among them.
constexpr size_t kOpaqueTokenBytesMax = 32;  // With its letter.
constexpr unsigned char kFlagEnd = 127;      // Bytes from here are no flags.
// Room that memcached leaves for the block's end in a signed 32-bit length.
constexpr int32_t kBlockBytesMax = std::numeric_limits<int32_t>::max() - 2;

// Of kReturnFlags, those that the command returns.
absl::string_view ReturnedBy(Verb verb) {
  switch (verb) {
    case Verb::kMetaGet: return kReturnFlags;
    case Verb::kMetaSet: return "kOsc";
    case Verb::kMetaDelete: return "kO";
    default: return "kOtc";
  }
}

// The flags of one line, as they were written.
class Flags {
 public:
  // Reads all of `rest`; each may be wrong in its own way, and what is said is the last of these, as
  // in memcached, but a flag that comes again or is unknown ends the reading.
  void Read(absl::string_view rest, absl::string_view key, Request* req);

  absl::string_view refusal;
  bool invalidate = false;  // I.
  bool drop_value = false;  // x.
  char mode = 0;            // M.
  uint64_t initial = 0;     // J.
  std::optional<int64_t> touch, vivify;  // T, N.
  int touch_at = 0, vivify_at = 0, recache_at = 0, ttl_at = 0;  // Where T N R t stand; 0 = nowhere.

 private:
  void ReadOne(absl::string_view word, absl::string_view key, int at, Request* req);
  void Refuse(absl::string_view with) { refusal = with; }
  // `token` as seconds.
  std::optional<int64_t> Seconds(absl::string_view token) {
    int32_t seconds = 0;
    if (ReadSigned32(token, &seconds)) return seconds;
    Refuse(kBadToken);
    return std::nullopt;
  }
  // `token` as a number without a sign; `refusal_of` says that it is none.
  std::optional<uint64_t> Number(absl::string_view token, absl::string_view refusal_of) {
    uint64_t number = 0;
    if (ReadUnsigned(token, &number)) return number;
    Refuse(refusal_of);
    return std::nullopt;
  }
};

void Flags::Read(absl::string_view rest, absl::string_view key, Request* req) {
  const absl::string_view returned = ReturnedBy(req->verb);
  std::bitset<kFlagEnd> seen;
  int at = 0;
  int shift = 0;
  for (absl::string_view word = NextWord(&rest); !word.empty(); word = NextWord(&rest)) {
    const auto letter = static_cast<unsigned char>(word[0]);
    if (letter >= kFlagEnd || seen[letter]) return Refuse(kDuplicate);
    seen.set(letter);
    ReadOne(word, key, ++at, req);
    if (refusal == kUnknown) return;
    if (returned.find(word[0]) != absl::string_view::npos) {
      req->opaque |= static_cast<uint32_t>(kReturnFlags.find(word[0]) + 1) << shift;
      shift += kReturnFlagBits;
    }
  }
}

void Flags::ReadOne(absl::string_view word, absl::string_view key, int at, Request* req) {
  const absl::string_view token = word.substr(1);
  switch (word[0]) {
    case 'b': {
      std::string decoded;
      if (!DecodeBase64(key, &decoded)) return Refuse(kBadKey);
      req->base64_key = true;
      return req->AddOwnedKey(decoded);
    }
    case 'v': req->want |= kWantValue; return;
    case 'k': req->want |= kWantKey; return;
    case 's': req->want |= kWantSize; return;
    case 'c': req->want |= kWantCas; return;
    case 'f': req->want |= kWantFlags; return;
    case 'h': req->want |= kWantHitBefore; return;
    case 'l': req->want |= kWantLastAccess; return;
    case 't':
      req->want |= kWantTtl;
      ttl_at = at;
      return;
    case 'u': req->no_bump = true; return;
    case 'q': req->noreply = true; return;
    case 'O': req->opaque_token = word; return;
    case 'L': req->route = token; return;
    case 'P': return;
    case 'I': invalidate = true; return;
    case 'x': drop_value = true; return;
    case 'N':
      vivify = Seconds(token);
      vivify_at = at;
      return;
    case 'T':
      touch = Seconds(token);
      touch_at = at;
      return;
    case 'R':
      req->recache_below_sec = Seconds(token);
      recache_at = at;
      return;
    case 'C': req->cas = Number(token, kBadToken); return;
    case 'E': req->new_cas = Number(token, kBadToken); return;
    case 'D': req->delta = Number(token, kBadDelta).value_or(0); return;
    case 'J': initial = Number(token, kBadInitial).value_or(0); return;
    case 'F':
      // memcached has no words of its own for this one, so that another's stand.
      if (!ReadUnsigned32(token, &req->flags) && refusal.empty()) Refuse(kBadFormatLine);
      return;
    case 'M':
      if (token.size() != 1) return Refuse(kBadMode);
      mode = token[0];
      return;
    default: return Refuse(kUnknown);
  }
}

bool MoreWordsThan(size_t most, absl::string_view rest) {
  if (rest.size() < 2 * most) return false;  // Each has a space before it.
  size_t count = 0;
  while (!NextWord(&rest).empty()) ++count;
  return count > most;
}

// What an item is to live for that is made because there was none: N, or T if it comes later.
std::optional<int64_t> LifeOfMade(const Flags& flags) {
  if (!flags.vivify.has_value()) return std::nullopt;
  return flags.touch_at > flags.vivify_at ? flags.touch : flags.vivify;
}

// Whether t is about the time before T, or N if it is alone.
bool OldTtlTold(const Flags& flags) {
  const int set_at = flags.touch_at > 0 ? flags.touch_at : flags.vivify_at;
  return flags.ttl_at > 0 && flags.ttl_at < set_at;
}

// --- What the flags mean to each command; the result is a refusal, or empty. ---

absl::string_view TakeGet(const Flags& flags, Request* req) {
  req->op = Op::kGet;
  req->want |= kWantState;
  req->exptime = flags.touch;
  req->vivify_exptime = LifeOfMade(flags);
  req->old_ttl_told = OldTtlTold(flags);
  req->old_ttl_judged = flags.recache_at > 0 && flags.recache_at < flags.touch_at;
  return {};
}

absl::string_view TakeStore(const Flags& flags, Request* req) {
  req->op = Op::kStore;
  switch (flags.mode) {
    case 0:
    case 'S': req->mode = StoreMode::kSet; break;
    case 'E': req->mode = StoreMode::kAdd; break;
    case 'A': req->mode = StoreMode::kAppend; break;
    case 'P': req->mode = StoreMode::kPrepend; break;
    case 'R': req->mode = StoreMode::kReplace; break;
    default: return kBadStoreMode;
  }
  const bool extends = req->mode == StoreMode::kAppend || req->mode == StoreMode::kPrepend;
  req->exptime = flags.touch.value_or(0);
  if (extends) req->vivify_exptime = flags.vivify;
  // As memcached has it, an add asks for no token, and 0 is none to append to.
  if (req->mode == StoreMode::kAdd || (extends && req->cas == 0)) req->cas.reset();
  req->invalidate = flags.invalidate && req->cas.value_or(0) != 0 && !extends;
  return {};
}

absl::string_view TakeDelete(const Flags& flags, Request* req) {
  req->op = Op::kDelete;
  req->invalidate = flags.invalidate;
  req->drop_value = flags.drop_value;
  if (flags.invalidate || flags.drop_value) req->exptime = flags.touch;
  return {};
}

absl::string_view TakeArithmetic(const Flags& flags, Request* req) {
  req->op = Op::kArithmetic;
  switch (flags.mode) {
    case 0:
    case 'I':
    case '+': break;
    case 'D':
    case '-': req->decrement = true; break;
    default: return kBadCountMode;
  }
  req->exptime = flags.touch;
  if (flags.vivify.has_value()) {
    req->initial = flags.initial;
    req->initial_exptime = *LifeOfMade(flags);
  }
  req->old_ttl_told = OldTtlTold(flags);
  if (req->cas == 0) req->cas.reset();  // No token, for memcached.
  return {};
}

absl::string_view Take(const Flags& flags, Request* req) {
  switch (req->verb) {
    case Verb::kMetaGet: return TakeGet(flags, req);
    case Verb::kMetaSet: return TakeStore(flags, req);
    case Verb::kMetaDelete: return TakeDelete(flags, req);
    default: return TakeArithmetic(flags, req);
  }
}

// mg md ma, and ms behind its length: <flag>*.
absl::string_view ParseFlags(absl::string_view key, absl::string_view rest, Request* req) {
  Flags flags;
  flags.Read(rest, key, req);
  if (!flags.refusal.empty()) {
    const bool strict = req->verb == Verb::kMetaGet || req->verb == Verb::kMetaSet;
    return strict ? flags.refusal : kBadFlag;
  }
  if (!req->base64_key) req->keys.push_back(key);
  if (const absl::string_view refusal = Take(flags, req); !refusal.empty()) return refusal;
  if (req->opaque_token.size() > kOpaqueTokenBytesMax) return kOpaqueTooLong;
  return {};
}

MetaLine Refused(absl::string_view refusal) { return {.refusal = refusal}; }

// me: <key> [b].
MetaLine ParseDebug(absl::string_view rest, Request* req) {
  const absl::string_view key = NextWord(&rest);
  if (key.empty() || key.size() > kKeyBytesMax) return Refused(kBadFormatLine);
  req->op = Op::kDebug;
  req->want = kWantKey;
  req->base64_key = NextWord(&rest) == "b";
  if (!req->base64_key) {
    req->keys.push_back(key);
    return {};
  }
  std::string decoded;
  if (!DecodeBase64(key, &decoded)) return Refused(kBadFormatLine);
  req->AddOwnedKey(decoded);
  return {};
}

// ms: <key> <bytes> <flag>*.
MetaLine ParseStore(absl::string_view key, absl::string_view rest, Request* req) {
  const absl::string_view length = NextWord(&rest);
  if (length.empty()) return Refused(kBadFormatLine);
  if (MoreWordsThan(kFlagsMax - 1, rest)) return Refused(kTooMany);
  int32_t bytes = 0;
  if (!ReadSigned32(length, &bytes) || bytes < 0 || bytes > kBlockBytesMax) {
    return Refused(kBadFormatLine);
  }
  return {.refusal = ParseFlags(key, rest, req),
          .has_block = true,
          .block_bytes = static_cast<uint32_t>(bytes)};
}

}  // namespace

MetaLine ParseMetaLine(absl::string_view rest, Request* req) {
  req->dialect = Dialect::kMeta;
  if (req->verb == Verb::kMetaNoop) {
    req->op = Op::kNoop;
    return {};
  }
  if (req->verb == Verb::kMetaDebug) return ParseDebug(rest, req);
  const absl::string_view key = NextWord(&rest);
  if (key.empty()) return Refused(kErrorLine);
  if (key.size() > kKeyBytesMax) return Refused(kBadFormatLine);
  if (req->verb == Verb::kMetaSet) return ParseStore(key, rest, req);
  if (MoreWordsThan(kFlagsMax, rest)) {
    return Refused(req->verb == Verb::kMetaGet ? kTooManyOfGet : kTooMany);
  }
  return Refused(ParseFlags(key, rest, req));
}

}  // namespace proto::memcache
