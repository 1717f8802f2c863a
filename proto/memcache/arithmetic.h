// memcached's counting rule: what incr and decr make of stored text. Pure functions; the answers of
// stock memcached are the table of the test.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/memcache/number.h"

namespace proto::memcache {

// The number that `stored` spells, or nothing where memcached answers "non-numeric value". A NUL
// ends the text, as it does for memcached.
inline std::optional<uint64_t> ParseCounter(absl::string_view stored) {
  uint64_t number = 0;
  if (!ReadUnsigned(stored.substr(0, stored.find('\0')), &number)) return std::nullopt;
  return number;
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
