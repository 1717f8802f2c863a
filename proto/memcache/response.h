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

  Status status = Status::kError;
  uint64_t number = 0;  // kNumber.
  uint64_t cas = 0;     // When it was wanted: of what was stored or counted, or is touched; 0 if nothing was.
  uint32_t flags = 0;   // kTouched, when wanted.
  int32_t ttl_sec = -1;  // Of what was stored or counted, with kWantTtl; -1 = never expires.
  uint64_t bytes = 0;    // The length of the value of what was stored, with kWantSize.
  std::vector<Item> items;
  std::string text;
  std::vector<std::pair<std::string, std::string>> stats;
};

}  // namespace proto::memcache
