// The reading half of the binary codec.
#include <algorithm>
#include <array>

#include "proto/memcache/binary_codec.h"

namespace proto::memcache {

using binary::Code;
using binary::Header;
using binary::Opcode;
using core::ParseResult;
using core::ParseStatus;

namespace {

// Which lengths an opcode's packets have.
enum class Shape : uint8_t {
  kUnknown,
  kBare,      // No body.
  kKey,       // A key and nothing else.
  kExpiry,    // 4 bytes of extras and a key. memcached takes what follows them for another packet,
  kStat,      // here too: maybe a key, no extras.
  kStore,     // 8 bytes of extras, a key, a value.
  kExtend,    // A key and a value.
  kCount,     // 20 bytes of extras and a key.
  kFlush,     // Perhaps 4 bytes of extras.
  kLevel,     // 4 bytes of extras.
  kSasl,      // A key, which is the mechanism, and a value.
};

struct Meaning {
  Shape shape = Shape::kUnknown;
  Op op = Op::kNoop;
  Verb verb = Verb::kNone;
  bool quiet = false;
  StoreMode mode = StoreMode::kSet;
  uint16_t want = kWantNothing;
};

constexpr size_t kMechanismBytesMax = 32;  // MAX_SASL_MECH_LEN of memcached 1.6.

constexpr uint16_t kItem = kWantValue | kWantFlags | kWantCas | kWantCasAlong;
constexpr uint16_t kKeyed = kItem | kWantKey;
constexpr uint16_t kKeyedMiss = kKeyed | kWantMissKey;

constexpr std::array<Meaning, binary::kOpcodes> MakeMeanings() {
  std::array<Meaning, binary::kOpcodes> all{};
  const auto put = [&all](Opcode opcode, Meaning meaning) {
    all[static_cast<size_t>(opcode)] = meaning;
  };
  const auto both = [&put](Opcode loud, Opcode quiet, Meaning meaning) {
    put(loud, meaning);
    meaning.quiet = true;
    meaning.want &= static_cast<uint16_t>(~kWantMissKey);
    if (meaning.op != Op::kGet) meaning.want = kWantNothing;  // Nobody will be told.
    put(quiet, meaning);
  };
  using S = Shape;
  const auto store = [](Verb verb, StoreMode mode) {
    return Meaning{S::kStore, Op::kStore, verb, false, mode, kWantCas};
  };
  const auto extend = [](Verb verb, StoreMode mode) {
    return Meaning{S::kExtend, Op::kStore, verb, false, mode, kWantCas};
  };
  const auto plain = [](Shape shape, Op op, Verb verb, uint16_t want = kWantNothing) {
    return Meaning{shape, op, verb, false, StoreMode::kSet, want};
  };
  both(Opcode::kGet, Opcode::kGetQ, plain(S::kKey, Op::kGet, Verb::kGet, kItem));
  both(Opcode::kGetK, Opcode::kGetKQ, plain(S::kKey, Op::kGet, Verb::kGet, kKeyedMiss));
  both(Opcode::kGat, Opcode::kGatQ, plain(S::kExpiry, Op::kGet, Verb::kGat, kItem));
  both(Opcode::kGatK, Opcode::kGatKQ, plain(S::kExpiry, Op::kGet, Verb::kGat, kKeyedMiss));
  put(Opcode::kTouch, plain(S::kExpiry, Op::kTouch, Verb::kTouch, kWantFlags | kWantCas));
  both(Opcode::kSet, Opcode::kSetQ, store(Verb::kSet, StoreMode::kSet));
  both(Opcode::kAdd, Opcode::kAddQ, store(Verb::kAdd, StoreMode::kAdd));
  both(Opcode::kReplace, Opcode::kReplaceQ, store(Verb::kReplace, StoreMode::kReplace));
  both(Opcode::kAppend, Opcode::kAppendQ, extend(Verb::kAppend, StoreMode::kAppend));
  both(Opcode::kPrepend, Opcode::kPrependQ, extend(Verb::kPrepend, StoreMode::kPrepend));
  both(Opcode::kDelete, Opcode::kDeleteQ, plain(S::kKey, Op::kDelete, Verb::kDelete));
  both(Opcode::kIncrement, Opcode::kIncrementQ,
       plain(S::kCount, Op::kArithmetic, Verb::kIncr, kWantCas));
  both(Opcode::kDecrement, Opcode::kDecrementQ,
       plain(S::kCount, Op::kArithmetic, Verb::kDecr, kWantCas));
  both(Opcode::kFlush, Opcode::kFlushQ, plain(S::kFlush, Op::kFlushAll, Verb::kFlushAll));
  both(Opcode::kQuit, Opcode::kQuitQ, plain(S::kBare, Op::kNoop, Verb::kQuit));
  put(Opcode::kNoop, plain(S::kBare, Op::kNoop, Verb::kNone));
  put(Opcode::kVersion, plain(S::kBare, Op::kVersion, Verb::kVersion));
  put(Opcode::kStat, plain(S::kStat, Op::kStats, Verb::kStats));
  put(Opcode::kVerbosity, plain(S::kLevel, Op::kVerbosity, Verb::kVerbosity));
  put(Opcode::kSaslList, plain(S::kBare, Op::kNoop, Verb::kNone));
  put(Opcode::kSaslAuth, plain(S::kSasl, Op::kNoop, Verb::kNone));
  put(Opcode::kSaslStep, plain(S::kSasl, Op::kNoop, Verb::kNone));
  return all;
}

const Meaning& MeaningOf(uint8_t opcode) {
  static constexpr std::array<Meaning, binary::kOpcodes> kMeanings = MakeMeanings();
  static constexpr Meaning kUnknown{};
  return opcode < kMeanings.size() ? kMeanings[opcode] : kUnknown;
}

bool Fits(const Header& h, Shape shape) {
  const uint32_t value_bytes = h.body_bytes - h.extras_bytes - h.key_bytes;
  switch (shape) {
    case Shape::kBare: return h.body_bytes == 0;
    case Shape::kKey: return h.extras_bytes == 0 && h.key_bytes > 0 && value_bytes == 0;
    case Shape::kExpiry: return h.extras_bytes == 4 && h.key_bytes > 0;
    case Shape::kStat: return h.extras_bytes == 0;
    case Shape::kStore: return h.extras_bytes == 8 && h.key_bytes > 0;
    case Shape::kExtend:
    case Shape::kSasl: return h.extras_bytes == 0 && h.key_bytes > 0;
    case Shape::kCount: return h.extras_bytes == 20 && h.key_bytes > 0 && value_bytes == 0;
    case Shape::kFlush:
      return h.key_bytes == 0 && value_bytes == 0 && (h.extras_bytes == 0 || h.extras_bytes == 4);
    case Shape::kLevel: return h.body_bytes == 4 && h.extras_bytes == 4;
    case Shape::kUnknown: break;
  }
  return false;
}

bool IsSasl(uint8_t opcode) {
  return opcode >= static_cast<uint8_t>(Opcode::kSaslList) &&
         opcode <= static_cast<uint8_t>(Opcode::kSaslStep);
}

// Before they have said who they are.
bool MayStrangersSay(uint8_t opcode) {
  return IsSasl(opcode) || opcode == static_cast<uint8_t>(Opcode::kVersion);
}

ParseResult HangUp(absl::string_view in, Request* req) {
  req->rejection = {};
  return {ParseStatus::kInvalid, in.size(), 0, true};
}

// What every request of a packet has.
void Mark(const Header& h, const Meaning& meaning, Request* req) {
  req->dialect = Dialect::kBinary;
  req->opcode = h.opcode;
  req->opaque = h.opaque;
  req->op = meaning.op;
  req->verb = meaning.verb;
  req->mode = meaning.mode;
  req->noreply = meaning.quiet;
  req->want = meaning.want;
  if (h.cas != 0) req->cas = h.cas;
}

}  // namespace

ParseResult BinaryCodec::Parse(absl::string_view in, Request* req) {
  if (swallow_bytes_ > 0) return Swallow(in, 0, req);
  if (in.size() < need_) return {ParseStatus::kNeedMore, 0, need_};
  need_ = 0;
  req->Clear();
  if (in.size() < binary::kHeaderBytes) return Await(binary::kHeaderBytes);
  const Header h = Header::ReadFrom(in.data());
  if (h.magic != binary::kRequestMagic) return HangUp(in, req);
  if (in.size() < std::min(h.head_bytes(), kHeadBytesMax)) {
    return Await(std::min(h.head_bytes(), kHeadBytesMax));
  }
  if (h.head_bytes() > kHeadBytesMax) return HangUp(in, req);
  return ParsePacket(in, h, req);
}

ParseResult BinaryCodec::Await(size_t bytes) {
  need_ = bytes;
  return {ParseStatus::kNeedMore, 0, need_};
}

// REQUIRES: header, extras and key are there.
ParseResult BinaryCodec::ParsePacket(absl::string_view in, const Header& h, Request* req) {
  if (h.body_bytes < size_t{h.key_bytes} + h.extras_bytes) {
    return Refuse(h, Code::kUnknownCommand, in.size(), /*close=*/true, req);
  }
  if (login_ != nullptr && !login_->done() && !MayStrangersSay(h.opcode)) {
    return Refuse(h, Code::kAuthError, in.size(), /*close=*/true, req);
  }
  const Meaning& meaning = MeaningOf(h.opcode);
  if (h.key_bytes > kKeyBytesMax) {
    return Refuse(h, Code::kInvalid, in.size(), /*close=*/true, req);
  }
  if (meaning.shape == Shape::kUnknown) return BeginSwallow(in, h, Code::kUnknownCommand, req);
  if (!Fits(h, meaning.shape)) return Refuse(h, Code::kInvalid, in.size(), /*close=*/true, req);
  if (IsSasl(h.opcode)) return ParseSasl(in, h, req);
  Mark(h, meaning, req);
  return Fill(in, h, req);
}

// REQUIRES: what every request has is in *req; the lengths are right.
ParseResult BinaryCodec::Fill(absl::string_view in, const Header& h, Request* req) {
  const char* const extras = in.data() + binary::kHeaderBytes;
  const absl::string_view key(extras + h.extras_bytes, h.key_bytes);
  const ParseResult complete{ParseStatus::kComplete, h.head_bytes()};
  switch (req->op) {
    case Op::kStore:
      return FillStore(in, h, req);
    case Op::kArithmetic: {
      req->decrement = req->verb == Verb::kDecr;
      req->delta = binary::Read<uint64_t>(extras);
      const uint32_t expiry = binary::Read<uint32_t>(extras + 16);
      if (expiry == binary::kNeverCreate) break;
      req->initial = binary::Read<uint64_t>(extras + 8);
      req->initial_exptime = expiry;
      break;
    }
    case Op::kGet:
    case Op::kTouch:
      if (h.extras_bytes != 0) req->exptime = binary::Read<uint32_t>(extras);
      break;
    case Op::kFlushAll:
      if (h.extras_bytes != 0) req->exptime = binary::Read<uint32_t>(extras);
      return complete;
    case Op::kStats:
      req->argument = key;
      return complete;
    case Op::kNoop:
      if (req->verb == Verb::kQuit) {
        if (req->noreply) return {ParseStatus::kQuit, h.head_bytes()};
        return Answer(h, {}, h.head_bytes(), /*close=*/true, req);
      }
      return complete;
    case Op::kVersion:
    case Op::kVerbosity:
    case Op::kWatch:  // No packet asks for it.
      return complete;
    case Op::kDelete:
    case Op::kDebug:  // No packet asks for it.
      break;
  }
  req->keys.push_back(key);
  return complete;
}

// REQUIRES: the lengths are right.
ParseResult BinaryCodec::ParseSasl(absl::string_view in, const Header& h, Request* req) {
  if (login_ == nullptr) return BeginSwallow(in, h, Code::kUnknownCommand, req);
  const auto opcode = static_cast<Opcode>(h.opcode);
  if (opcode == Opcode::kSaslList) {
    login_->Forget();
    return Answer(h, "PLAIN", h.head_bytes(), /*close=*/false, req);
  }
  if (h.key_bytes > kMechanismBytesMax) return BeginSwallow(in, h, Code::kInvalid, req);
  const size_t all_bytes = binary::kHeaderBytes + size_t{h.body_bytes};
  if (all_bytes > kHeadBytesMax) {  // Nobody's password.
    login_->Forget();
    return BeginSwallow(in, h, Code::kAuthError, req);
  }
  if (in.size() < all_bytes) return Await(all_bytes);
  const absl::string_view mechanism = in.substr(binary::kHeaderBytes, h.key_bytes);
  const absl::string_view data = in.substr(h.head_bytes(), all_bytes - h.head_bytes());
  switch (opcode == Opcode::kSaslAuth ? login_->Start(mechanism, data) : login_->Step(data)) {
    case Login::Outcome::kWelcome:
      return Answer(h, "Authenticated", all_bytes, /*close=*/false, req);
    case Login::Outcome::kContinue:
      Reply(h, Code::kAuthContinue, {}, req);
      return {ParseStatus::kAnswered, all_bytes};
    case Login::Outcome::kRefused:
      return Refuse(h, Code::kAuthError, all_bytes, /*close=*/false, req);
    case Login::Outcome::kHangUp:
      break;
  }
  return Refuse(h, Code::kAuthError, in.size(), /*close=*/true, req);
}

// A store with a token is a cas, whatever else it was to depend on; append and prepend keep both.
ParseResult BinaryCodec::FillStore(absl::string_view in, const Header& h, Request* req) {
  if (h.extras_bytes != 0) {
    const char* const extras = in.data() + binary::kHeaderBytes;
    req->flags = binary::Read<uint32_t>(extras);
    req->exptime = binary::Read<uint32_t>(extras + 4);
    if (req->cas.has_value()) {
      req->verb = Verb::kCas;
      req->mode = StoreMode::kSet;
    }
  }
  const size_t all_bytes = binary::kHeaderBytes + size_t{h.body_bytes};
  const size_t value_bytes = all_bytes - h.head_bytes();
  if (ItemBytes(h.key_bytes, value_bytes, req->flags) > limits_.item_bytes_max) {
    return BeginSwallow(in, h, Code::kTooLarge, req);
  }
  if (in.size() < all_bytes) return Await(all_bytes);
  req->keys.push_back(in.substr(binary::kHeaderBytes + h.extras_bytes, h.key_bytes));
  req->value = in.substr(h.head_bytes(), value_bytes);
  return {ParseStatus::kComplete, all_bytes};
}

// Spells the whole reply, and leaves nothing in *req that would have it spelled again.
void BinaryCodec::Reply(const Header& h, Code code, absl::string_view text, Request* req) {
  req->Clear();
  const binary::ReplyHeader header{.opcode = h.opcode,
                                   .code = code,
                                   .opaque = h.opaque,
                                   .value_bytes = static_cast<uint32_t>(text.size())};
  reply_.resize(binary::kHeaderBytes);
  header.WriteTo(reply_.data());
  reply_.append(text.data(), text.size());
  req->rejection = reply_;
}

ParseResult BinaryCodec::Refuse(const Header& h, Code code, size_t consumed, bool close,
                                Request* req) {
  Reply(h, code, binary::TextOf(code), req);
  return {ParseStatus::kInvalid, consumed, 0, close};
}

ParseResult BinaryCodec::Answer(const Header& h, absl::string_view text, size_t consumed,
                                bool close, Request* req) {
  Reply(h, Code::kOk, text, req);
  return {ParseStatus::kAnswered, consumed, 0, close};
}

// Refuses once the rest of the packet has come. Keeps what that needs, for the packet is let go.
ParseResult BinaryCodec::BeginSwallow(absl::string_view in, const Header& h, Code code,
                                      Request* req) {
  swallow_ = h;
  swallow_code_ = code;
  swallow_bytes_ = binary::kHeaderBytes + size_t{h.body_bytes} - h.head_bytes();
  swallow_key_.assign(in.data() + binary::kHeaderBytes + h.extras_bytes, h.key_bytes);
  return Swallow(in, h.head_bytes(), req);
}

// Drops what is there of the value, after `already` bytes.
ParseResult BinaryCodec::Swallow(absl::string_view in, size_t already, Request* req) {
  const size_t dropped = std::min(in.size() - already, swallow_bytes_);
  swallow_bytes_ -= dropped;
  const size_t consumed = already + dropped;
  if (swallow_bytes_ > 0) return {ParseStatus::kNeedMore, consumed};
  req->Clear();
  const Meaning& meaning = MeaningOf(swallow_.opcode);
  if (swallow_code_ != Code::kTooLarge || meaning.shape != Shape::kStore ||
      meaning.mode != StoreMode::kSet) {
    return Refuse(swallow_, swallow_code_, consumed, /*close=*/false, req);
  }
  Mark(swallow_, meaning, req);
  req->cas.reset();  // memcached removes the item whatever its token.
  req->value_too_large = true;
  req->keys.push_back(swallow_key_);
  return {ParseStatus::kComplete, consumed};
}

}  // namespace proto::memcache
