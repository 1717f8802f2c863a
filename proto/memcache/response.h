// One memcache answer, before a dialect spells it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/base/bytes.h"

namespace proto::memcache {

enum class Status : uint8_t {
  kValues,  // Answer to kGet: `items` holds the hits in the order asked; may be empty. `text`: see
            // kWantMissKey.
  kStored,
  kNotStored,
  kExists,
  kNotFound,
  kDeleted,
  kTouched,
  kOk,
  kNumber,       // Answer to kArithmetic: `number`.
  kDebug,        // Answer to kDebug: `items` holds the item; kNotFound if there is none.
  kVersion,      // `text` is the version.
  kStats,        // `stats` holds name and value pairs, in order.
  kReset,        // Answer to "stats reset".
  kTooLarge,     // SERVER_ERROR object too large for cache.
  kOutOfMemory,  // SERVER_ERROR out of memory storing object.
  kNonNumeric,   // CLIENT_ERROR cannot increment or decrement non-numeric value.
  kError,        // ERROR.
  kClientError,  // CLIENT_ERROR `text`.
  kServerError,  // SERVER_ERROR `text`.
  kRaw,          // `text` is the reply itself, line end included (codec rejections).
};

// One hit of a get. `key` is a view: see core/net/codec.h for how long it must live.
struct Item {
  absl::string_view key;
  core::Bytes value;
  uint64_t cas = 0;
  uint32_t flags = 0;
  int32_t ttl_sec = -1;  // With kWantTtl: seconds left; -1 = never expires.

  // What meta commands tell of it beside.
  int32_t last_access_sec = 0;  // With kWantLastAccess: since the access before this one.
  bool hit_before : 1 = false;      // With kWantHitBefore: whether there was one.
  bool access_known : 1 = true;     // If not the answer is without these two.
  bool stale : 1 = false;           // X: marked so by an I.
  bool won : 1 = false;             // W: this client is to make the item anew.
  bool win_taken : 1 = false;       // Z: another client is at it.
  bool unchanged : 1 = false;       // Request::cas of a get is its token: the value is not sent.
};

// The answer to a get of many keys is in memory as a whole before its first byte is sent, so what it may
// take has a bound. Without it a line of 16 KB could ask for 8,000 values of 1 MB, and one of 16 MB for
// 8 million short ones. Past it the answer is SERVER_ERROR and this, memcached's words when it cannot
// hold an answer.
inline constexpr size_t kAnswerBytesMax = 64 << 20;
inline constexpr absl::string_view kAnswerTooLong = "out of memory writing get response";
// What one item takes of it: the Item, and what is spelled of it in the output.
inline constexpr size_t AnswerBytes(absl::string_view key, absl::string_view value) {
  constexpr size_t kNumbersBytes = 32;  // Flags, length and the words around them.
  return sizeof(Item) + kNumbersBytes + key.size() + value.size();
}

struct Response {
  Response() = default;
  explicit Response(Status s) : status(s) {}
  static Response Number(uint64_t n) {
    Response r(Status::kNumber);
    r.number = n;
    return r;
  }
  static Response Text(Status s, std::string text) {
    Response r(s);
    r.text = std::move(text);
    return r;
  }
  static Response AnswerTooLong() {
    return Text(Status::kServerError, std::string(kAnswerTooLong));
  }

  Status status = Status::kError;
  uint64_t number = 0;  // kNumber.
  uint64_t cas = 0;     // When it was wanted: of what was stored or counted, or is touched; 0 if nothing was.
  uint32_t flags = 0;   // kTouched, when wanted.
  int32_t ttl_sec = -1;  // Of what was stored or counted, with kWantTtl; -1 = never expires.
  // The length of the value that was stored, or that was found to be counted, touched or deleted; 0
  // where that is not known.
  uint64_t bytes = 0;
  std::vector<Item> items;
  std::string text;
  std::vector<std::pair<std::string, std::string>> stats;
};

}  // namespace proto::memcache
