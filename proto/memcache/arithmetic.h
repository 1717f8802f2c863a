// memcached's counting rule: what incr and decr make of stored text.
//
// The stored bytes are read as a C program reads them: memcached hands them to strtoull, so leading
// white space and a sign are accepted, the number may be followed by white space and then anything,
// and a NUL ends the text. What it refuses is listed in the test beside its answers. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace proto::memcache {

namespace internal {

inline bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
inline bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace internal

// The number that `stored` spells, or nothing where memcached answers "non-numeric value".
inline std::optional<uint64_t> ParseCounter(absl::string_view stored) {
  const absl::string_view text = stored.substr(0, stored.find('\0'));
  size_t at = 0;
  while (at < text.size() && internal::IsSpace(text[at])) ++at;
  bool negative = false;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) negative = text[at++] == '-';
  const size_t first = at;
  uint64_t number = 0;
  for (; at < text.size() && internal::IsDigit(text[at]); ++at) {
    if (__builtin_mul_overflow(number, uint64_t{10}, &number)) return std::nullopt;
    const uint64_t digit = static_cast<uint64_t>(text[at] - '0');
    if (__builtin_add_overflow(number, digit, &number)) return std::nullopt;
  }
  if (at == first) return std::nullopt;
  if (at < text.size() && !internal::IsSpace(text[at])) return std::nullopt;
  if (negative) number = 0 - number;
  // A minus sign is looked for, anywhere, only when the result has its top bit set.
  if (number >> 63 != 0 && text.find('-') != absl::string_view::npos) return std::nullopt;
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
