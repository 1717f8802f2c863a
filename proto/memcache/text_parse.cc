// The reading half of the text codec: a line into words, words into a request.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "proto/memcache/admin_words.h"
#include "proto/memcache/meta.h"
#include "proto/memcache/number.h"
#include "proto/memcache/text_codec.h"
#include "proto/memcache/text_line.h"
#include "proto/memcache/text_plain.h"

namespace proto::memcache {

using core::ParseResult;
using core::ParseStatus;

namespace {

constexpr absl::string_view kBadDeleteFormat =
    "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n";
constexpr absl::string_view kBadChunk = "CLIENT_ERROR bad data chunk\r\n";
constexpr absl::string_view kBadDelta = "CLIENT_ERROR invalid numeric delta argument\r\n";
constexpr absl::string_view kBadExptime = "CLIENT_ERROR invalid exptime argument\r\n";
constexpr absl::string_view kLineTooLong = "CLIENT_ERROR line too long\r\n";
constexpr absl::string_view kTooLarge = "SERVER_ERROR object too large for cache\r\n";
constexpr absl::string_view kNoreply = "noreply";

constexpr size_t kBlockEndBytes = 2;  // A block ends in \r\n; a lone \n will not do.
// Room that memcached leaves for the block's end in a signed 32-bit length.
constexpr int32_t kBlockBytesMax = std::numeric_limits<int32_t>::max() - kBlockEndBytes;
constexpr size_t kLeadingSpacesMax = 100;  // Before "get" on a line of many keys; proto_text.c.

// The command in a line: without its end, and only up to a NUL, where memcached's C string stops.
// The "\r" of an otherwise empty line stays, and is no command.
absl::string_view CommandOf(absl::string_view line) {
  line.remove_suffix(1);
  if (line.size() > 1 && line.back() == '\r') line.remove_suffix(1);
  const void* nul = line.empty() ? nullptr : std::memchr(line.data(), '\0', line.size());
  return nul == nullptr ? line : line.substr(0, static_cast<const char*>(nul) - line.data());
}

Verb VerbOf(absl::string_view word) {
  switch (word.size()) {
    case 2:
      if (word == "mg") return Verb::kMetaGet;
      if (word == "ms") return Verb::kMetaSet;
      if (word == "mn") return Verb::kMetaNoop;
      if (word == "md") return Verb::kMetaDelete;
      if (word == "ma") return Verb::kMetaArithmetic;
      if (word == "me") return Verb::kMetaDebug;
      break;
    case 3:
      if (word == "get") return Verb::kGet;
      if (word == "set") return Verb::kSet;
      if (word == "gat") return Verb::kGat;
      if (word == "add") return Verb::kAdd;
      if (word == "cas") return Verb::kCas;
      break;
    case 4:
      if (word == "gets") return Verb::kGets;
      if (word == "incr") return Verb::kIncr;
      if (word == "decr") return Verb::kDecr;
      if (word == "gats") return Verb::kGats;
      if (word == "bget") return Verb::kGet;  // An old spelling that memcached still takes.
      if (word == "quit") return Verb::kQuit;
      break;
    case 5:
      if (word == "touch") return Verb::kTouch;
      if (word == "stats") return Verb::kStats;
      break;
    default:
      if (word == "delete") return Verb::kDelete;
      if (word == "append") return Verb::kAppend;
      if (word == "prepend") return Verb::kPrepend;
      if (word == "replace") return Verb::kReplace;
      if (word == "version") return Verb::kVersion;
      if (word == "flush_all") return Verb::kFlushAll;
      if (word == "verbosity") return Verb::kVerbosity;
      break;
  }
  return Verb::kNone;
}

// Whether an unfinished line may go on past the usual bound: it is naming keys to get.
bool NamesKeys(absl::string_view in) {
  size_t spaces = 0;
  while (spaces < in.size() && in[spaces] == ' ') ++spaces;
  if (spaces > kLeadingSpacesMax) return false;
  in.remove_prefix(spaces);
  for (const absl::string_view verb : {"get ", "gets ", "gat ", "gats "}) {
    if (in.substr(0, verb.size()) == verb) return true;
  }
  return false;
}

ParseResult HangUp(absl::string_view reply, size_t consumed, Request* req) {
  req->rejection = reply;
  return {ParseStatus::kInvalid, consumed, 0, true};
}

// The words after the verb, for verbs with few. `count` stops one past what fits.
struct Words {
  static constexpr size_t kMax = 6;  // cas: key flags exptime length unique noreply.
  std::array<absl::string_view, kMax> word;
  size_t count = 0;

  explicit Words(absl::string_view rest) {
    for (absl::string_view next = NextWord(&rest); !next.empty(); next = NextWord(&rest)) {
      if (count == kMax) {
        ++count;
        return;
      }
      word[count++] = next;
    }
  }
  bool Between(size_t least, size_t most) const { return count >= least && count <= most; }
  // Whether the last word asks for silence.
  bool noreply() const { return count > 0 && count <= kMax && word[count - 1] == kNoreply; }
};

StoreMode ModeOf(Verb verb) {
  switch (verb) {
    case Verb::kAdd:
      return StoreMode::kAdd;
    case Verb::kReplace:
      return StoreMode::kReplace;
    case Verb::kAppend:
      return StoreMode::kAppend;
    case Verb::kPrepend:
      return StoreMode::kPrepend;
    default:
      return StoreMode::kSet;
  }
}

uint16_t WantOf(Verb get) {
  const bool cas = get == Verb::kGets || get == Verb::kGats;
  return kWantValue | kWantFlags | kWantKey | (cas ? kWantCas : kWantNothing);
}

// A get or gets whose keys are in *req.
ParseResult PlainGet(Verb verb, size_t line_bytes, Request* req) {
  req->op = Op::kGet;
  req->verb = verb;
  req->want = WantOf(verb);
  return Complete(line_bytes);
}

// The parsers below get what follows the verb on the line, and the length of the whole line.

// get, gets: <key>+.   gat, gats: <exptime> <key>*, where no key at all finds nothing.
ParseResult ParseGet(absl::string_view rest, size_t line_bytes, Request* req) {
  req->op = Op::kGet;
  req->want = WantOf(req->verb);
  absl::string_view word = NextWord(&rest);
  if (word.empty()) return Reject(kErrorLine, line_bytes, req);
  if (req->verb == Verb::kGat || req->verb == Verb::kGats) {
    int32_t exptime = 0;
    if (!ReadSigned32(word, &exptime)) return Reject(kBadExptime, line_bytes, req);
    req->exptime = exptime;
    word = NextWord(&rest);
  }
  for (; !word.empty(); word = NextWord(&rest)) {
    if (word.size() > kKeyBytesMax) return Reject(kBadFormatLine, line_bytes, req);
    req->keys.push_back(word);
  }
  return Complete(line_bytes);
}

// delete: <key> [0] [noreply]. The zero is a relic that memcached still takes.
ParseResult ParseDelete(absl::string_view rest, size_t line_bytes, Request* req) {
  const Words words(rest);
  if (!words.Between(1, 3)) return Reject(kErrorLine, line_bytes, req);
  req->op = Op::kDelete;
  req->noreply = words.count > 1 && words.noreply();
  const size_t zeros = words.count - 1 - (req->noreply ? 1 : 0);
  if (zeros > 1 || (zeros == 1 && words.word[1] != "0")) {
    return Reject(kBadDeleteFormat, line_bytes, req);
  }
  if (words.word[0].size() > kKeyBytesMax) return Reject(kBadFormatLine, line_bytes, req);
  req->keys.push_back(words.word[0]);
  return Complete(line_bytes);
}

// incr, decr: <key> <delta> [noreply].
ParseResult ParseArithmetic(absl::string_view rest, size_t line_bytes, Request* req) {
  const Words words(rest);
  if (!words.Between(2, 3)) return Reject(kErrorLine, line_bytes, req);
  req->op = Op::kArithmetic;
  req->decrement = req->verb == Verb::kDecr;
  req->noreply = words.noreply();
  if (words.word[0].size() > kKeyBytesMax) return Reject(kBadFormatLine, line_bytes, req);
  if (!ReadUnsigned(words.word[1], &req->delta)) return Reject(kBadDelta, line_bytes, req);
  req->keys.push_back(words.word[0]);
  return Complete(line_bytes);
}

// touch: <key> <exptime> [noreply].
ParseResult ParseTouch(absl::string_view rest, size_t line_bytes, Request* req) {
  const Words words(rest);
  if (!words.Between(2, 3)) return Reject(kErrorLine, line_bytes, req);
  req->op = Op::kTouch;
  req->noreply = words.noreply();
  if (words.word[0].size() > kKeyBytesMax) return Reject(kBadFormatLine, line_bytes, req);
  int32_t exptime = 0;
  if (!ReadSigned32(words.word[1], &exptime)) return Reject(kBadExptime, line_bytes, req);
  req->exptime = exptime;
  req->keys.push_back(words.word[0]);
  return Complete(line_bytes);
}

// flush_all: [delay] [noreply].
ParseResult ParseFlushAll(absl::string_view rest, size_t line_bytes, Request* req) {
  const Words words(rest);
  if (words.count > 2) return Reject(kErrorLine, line_bytes, req);
  req->op = Op::kFlushAll;
  req->noreply = words.noreply();
  if (words.count == (req->noreply ? 1u : 0u)) return Complete(line_bytes);
  int32_t delay = 0;
  if (!ReadSigned32(words.word[0], &delay)) return Reject(kBadExptime, line_bytes, req);
  req->exptime = delay;
  return Complete(line_bytes);
}

// verbosity: <level> [noreply], or noreply alone, which does nothing.
ParseResult ParseVerbosity(absl::string_view rest, size_t line_bytes, Request* req) {
  const Words words(rest);
  if (!words.Between(1, 2)) return Reject(kErrorLine, line_bytes, req);
  req->op = Op::kVerbosity;
  req->noreply = words.noreply();
  if (words.count == 1 && req->noreply) return Complete(line_bytes);
  uint32_t level = 0;
  if (!ReadUnsigned32(words.word[0], &level)) return Reject(kBadFormatLine, line_bytes, req);
  req->argument = words.word[0];
  return Complete(line_bytes);
}

// stats: any words, which are the service's to know.
ParseResult ParseStats(absl::string_view rest, size_t line_bytes, Request* req) {
  req->op = Op::kStats;
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  while (!rest.empty() && rest.back() == ' ') rest.remove_suffix(1);
  req->argument = rest;
  return Complete(line_bytes);
}

}  // namespace

ParseResult TextCodec::Parse(absl::string_view in, Request* req) {
  if (swallow_bytes_ > 0) return Swallow(in, 0, req);
  if (in.size() < need_) return {ParseStatus::kNeedMore, 0, need_};
  need_ = 0;
  req->Clear();
  // A line whose end was missed before has been looked at by the long way, and goes on there.
  if (in.size() >= kPlainBytesMin && line_.fresh()) {
    if (std::memcmp(in.data(), "get ", 4) == 0) {
      if (const size_t n = ReadPlainKeys(in, 4, req)) return PlainGet(Verb::kGet, n, req);
    } else if (std::memcmp(in.data(), "set ", 4) == 0) {
      uint32_t value_bytes = 0;
      if (const size_t n = ReadPlainStore(in, 4, req, &value_bytes)) {
        req->op = Op::kStore;
        req->verb = Verb::kSet;
        return ParseBlock(in, n, value_bytes, req);
      }
    } else if (std::memcmp(in.data(), "gets ", 5) == 0) {
      if (const size_t n = ReadPlainKeys(in, 5, req)) return PlainGet(Verb::kGets, n, req);
    }
    req->keys.clear();
  }
  const size_t line_bytes = line_.Find(in);
  if (line_bytes == 0) return AwaitLineEnd(in, req);
  if (line_bytes > kLineBytesMax && !NamesKeys(in)) return HangUp({}, line_bytes, req);
  return ParseLine(in, line_bytes, req);
}

ParseResult TextCodec::AwaitLineEnd(absl::string_view in, Request* req) {
  if (in.size() <= kUnfinishedLineBytesMax) return {ParseStatus::kNeedMore};
  if (!NamesKeys(in)) return HangUp({}, in.size(), req);
  if (in.size() > kGetLineBytesMax) return HangUp(kLineTooLong, in.size(), req);
  return {ParseStatus::kNeedMore};
}

ParseResult TextCodec::ParseLine(absl::string_view in, size_t line_bytes, Request* req) {
  absl::string_view rest = CommandOf(in.substr(0, line_bytes));
  const absl::string_view word = NextWord(&rest);
  req->verb = VerbOf(word);
  switch (req->verb) {
    case Verb::kGet:
    case Verb::kGets:
    case Verb::kGat:
    case Verb::kGats:
      return ParseGet(rest, line_bytes, req);
    case Verb::kSet:
    case Verb::kAdd:
    case Verb::kReplace:
    case Verb::kAppend:
    case Verb::kPrepend:
    case Verb::kCas:
      return ParseStore(in, line_bytes, rest, req);
    case Verb::kDelete:
      return ParseDelete(rest, line_bytes, req);
    case Verb::kIncr:
    case Verb::kDecr:
      return ParseArithmetic(rest, line_bytes, req);
    case Verb::kTouch:
      return ParseTouch(rest, line_bytes, req);
    case Verb::kFlushAll:
      return ParseFlushAll(rest, line_bytes, req);
    case Verb::kVerbosity:
      return ParseVerbosity(rest, line_bytes, req);
    case Verb::kStats:
      return ParseStats(rest, line_bytes, req);
    case Verb::kVersion:
      req->op = Op::kVersion;
      return Complete(line_bytes);
    case Verb::kQuit:
      return {ParseStatus::kQuit, line_bytes};
    case Verb::kMetaGet:
    case Verb::kMetaSet:
    case Verb::kMetaDelete:
    case Verb::kMetaArithmetic:
    case Verb::kMetaNoop:
    case Verb::kMetaDebug:
      return ParseMeta(in, line_bytes, rest, req);
    case Verb::kNone:
      break;
  }
  return Reject(AnswerToAdmin(word, rest), line_bytes, req);
}

// set add replace append prepend: <key> <flags> <exptime> <length> [noreply].
// cas: <key> <flags> <exptime> <length> <unique> [noreply].
// A line that is refused has no block: what follows it is read as the next command.
ParseResult TextCodec::ParseStore(absl::string_view in, size_t line_bytes, absl::string_view rest,
                                  Request* req) {
  const Words words(rest);
  const size_t least = req->verb == Verb::kCas ? 5 : 4;
  if (!words.Between(least, least + 1)) return Reject(kErrorLine, line_bytes, req);
  req->op = Op::kStore;
  req->mode = ModeOf(req->verb);
  req->noreply = words.noreply();
  int32_t exptime = 0;
  int32_t length = 0;
  if (words.word[0].size() > kKeyBytesMax || !ReadUnsigned32(words.word[1], &req->flags) ||
      !ReadSigned32(words.word[2], &exptime) || !ReadSigned32(words.word[3], &length)) {
    return Reject(kBadFormatLine, line_bytes, req);
  }
  if (req->verb == Verb::kCas) {
    uint64_t unique = 0;
    if (!ReadUnsigned(words.word[4], &unique)) return Reject(kBadFormatLine, line_bytes, req);
    req->cas = unique;
  }
  if (length < 0 || length > kBlockBytesMax) return Reject(kBadFormatLine, line_bytes, req);
  req->exptime = exptime;
  req->keys.push_back(words.word[0]);
  return ParseBlock(in, line_bytes, length, req);
}

// The block of an ms that is refused for its flags is there nonetheless.
ParseResult TextCodec::ParseMeta(absl::string_view in, size_t line_bytes, absl::string_view rest,
                                 Request* req) {
  const MetaLine line = ParseMetaLine(rest, req);
  if (line.refusal.empty()) {
    return line.has_block ? ParseBlock(in, line_bytes, line.block_bytes, req)
                          : Complete(line_bytes);
  }
  if (!line.has_block) return Reject(line.refusal, line_bytes, req);
  swallow_refusal_ = line.refusal;
  return BeginSwallow(in, line_bytes, size_t{line.block_bytes} + kBlockEndBytes, req);
}

// What follows the line of a store.
ParseResult TextCodec::ParseBlock(absl::string_view in, size_t line_bytes, size_t value_bytes,
                                  Request* req) {
  if (ItemBytes(req->key().size(), value_bytes, req->flags) > limits_.item_bytes_max) {
    const bool removes = req->verb == Verb::kSet || req->verb == Verb::kMetaSet;
    swallow_refusal_ = removes ? absl::string_view() : kTooLarge;
    return BeginSwallow(in, line_bytes, value_bytes + kBlockEndBytes, req);
  }
  const size_t all_bytes = line_bytes + value_bytes + kBlockEndBytes;
  if (in.size() < all_bytes) {
    need_ = all_bytes;
    return {ParseStatus::kNeedMore, 0, need_};
  }
  req->value = in.substr(line_bytes, value_bytes);
  if (std::memcmp(in.data() + line_bytes + value_bytes, "\r\n", kBlockEndBytes) != 0) {
    return Reject(kBadChunk, all_bytes, req);
  }
  return Complete(all_bytes);
}

// Keeps what the end of the swallowing needs, for the line itself is let go.
ParseResult TextCodec::BeginSwallow(absl::string_view in, size_t line_bytes, size_t block_bytes,
                                    Request* req) {
  swallow_bytes_ = block_bytes;
  swallow_verb_ = req->verb;
  swallow_noreply_ = req->noreply;
  swallow_key_.assign(req->key().data(), req->key().size());
  return Swallow(in, line_bytes, req);
}

// Drops what is there of the block, after `already` bytes of the line.
ParseResult TextCodec::Swallow(absl::string_view in, size_t already, Request* req) {
  const size_t dropped = std::min(in.size() - already, swallow_bytes_);
  swallow_bytes_ -= dropped;
  const size_t consumed = already + dropped;
  if (swallow_bytes_ > 0) return {ParseStatus::kNeedMore, consumed};
  req->Clear();
  req->op = Op::kStore;
  req->verb = swallow_verb_;
  req->dialect = swallow_verb_ == Verb::kMetaSet ? Dialect::kMeta : Dialect::kText;
  req->noreply = swallow_noreply_;
  if (!swallow_refusal_.empty()) return Reject(swallow_refusal_, consumed, req);
  req->value_too_large = true;
  req->AddOwnedKey(swallow_key_);
  return Complete(consumed);
}

}  // namespace proto::memcache
