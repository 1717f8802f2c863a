// One request of a trace, and the key that a replay makes of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/base/hash.h"

namespace trace {

// What a request does to a cache.
enum class Op : uint8_t {
  kGet,     // get, gets, gat: looks; a miss is filled if the size of the value is known.
  kSet,     // set, cas, replace, append, prepend: the key has the value afterwards.
  kAdd,     // add: the same, unless the key is there.
  kDelete,  // delete.
  kOther,   // incr, decr, touch and what is no command: skipped, counted.
};

inline constexpr int64_t kUnknownBytes = -1;

struct Request {
  int64_t second = 0;     // Of the trace's own time.
  absl::string_view key;  // An identifier; valid until the next request is read.
  uint32_t key_bytes = 0;
  int64_t value_bytes = 0;  // kUnknownBytes: a miss is not filled.
  Op op = Op::kGet;
  int64_t ttl_sec = 0;  // 0 = for ever.
};

// memcached's limit; traces do not have longer ones.
inline constexpr uint32_t kKeyBytesMax = 250;

// Writes to *key a key of `bytes` for the identifier `id`: the identifier, filled up with '.', or,
// where it is longer than the key, letters and digits that stand for it (a prefix would make
// different identifiers one key).
inline void MakeKey(absl::string_view id, uint32_t bytes, std::string* key) {
  static constexpr char kLetters[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  bytes = std::clamp(bytes, 1u, kKeyBytesMax);
  key->assign(bytes, '.');
  if (id.size() <= bytes) {
    std::copy(id.begin(), id.end(), key->begin());
    return;
  }
  for (uint32_t i = 0; i < bytes;) {
    uint64_t bits = core::Hash64(id, i);
    for (int n = 0; n < 10 && i < bytes; ++n, bits >>= 6) (*key)[i++] = kLetters[bits & 63];
  }
}

}  // namespace trace
