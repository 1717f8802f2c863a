// memcached's counting rule: what incr and decr make of stored text. Pure functions; the answers of
// stock memcached are the table of the test.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/memcache/number.h"
#include "proto/memcache/request.h"

namespace proto::memcache {

// The number that `stored` spells, or nothing where memcached answers "non-numeric value". A NUL
// ends the text, as it does for memcached.
inline std::optional<uint64_t> ParseCounter(absl::string_view stored) {
  uint64_t number = 0;
  if (!ReadUnsigned(stored.substr(0, stored.find('\0')), &number)) return std::nullopt;
  return number;
}

// Whether memcached looks at the item's text at all. An item of more than half a slab page lies in
// pieces, and is "non-numeric" whatever it says, as an empty one is; both before tokens are compared.
// Probed on 1.6.18: "10" and spaces, 524,228 bytes under a one-byte key, can still be counted.
inline bool MayBeCounter(uint64_t key_bytes, uint64_t value_bytes, uint32_t flags) {
  constexpr uint64_t kPieceBytesMax = 512 * 1024;
  return value_bytes > 0 && ItemBytes(key_bytes, value_bytes, flags) <= kPieceBytesMax;
}

// incr wraps at 2^64; decr stops at 0.
inline uint64_t Count(uint64_t number, uint64_t delta, bool decrement) {
  if (!decrement) return number + delta;
  return delta > number ? 0 : number - delta;
}

// The bytes to store for `number` where `old_bytes` were stored: memcached overwrites in place and
// pads with spaces, so a counter never gets shorter ("10" decremented is "9 ").
inline std::string CounterText(uint64_t number, size_t old_bytes) {
  std::string text = absl::StrCat(number);
  if (text.size() < old_bytes) text.resize(old_bytes, ' ');
  return text;
}

}  // namespace proto::memcache
