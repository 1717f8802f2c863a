// Numbers as memcached reads them: C's strtol family in base ten, so a sign, white space around the
// digits and (after white space) any rest of the token are allowed, and a number that fits 64 bits
// but not the 32 it is kept in loses its upper half. Each case was checked against
// memcached 1.6.18.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace proto::memcache {

namespace number_internal {
bool ReadUnsignedSlow(absl::string_view token, uint64_t* out);
bool ReadSignedSlow(absl::string_view token, int64_t* out);

// One to eighteen digits and nothing else, which cannot overflow: what real clients send.
inline bool ReadPlain(absl::string_view token, uint64_t* out) {
  constexpr size_t kDigitsSafe = 18;
  if (token.empty() || token.size() > kDigitsSafe) return false;
  uint64_t value = 0;
  for (const char c : token) {
    const unsigned digit = static_cast<unsigned char>(c) - '0';
    if (digit > 9) return false;
    value = value * 10 + digit;
  }
  *out = value;
  return true;
}
}  // namespace number_internal

// Reads a 64-bit unsigned number (delta, cas token, the value that incr finds). Returns false, *out
// untouched, if `token` is none. A minus sign negates modulo 2^64 and is refused if the result has
// the top bit set.
inline bool ReadUnsigned(absl::string_view token, uint64_t* out) {
  return number_internal::ReadPlain(token, out) || number_internal::ReadUnsignedSlow(token, out);
}

// The same, cut to 32 bits (flags, verbosity).
inline bool ReadUnsigned32(absl::string_view token, uint32_t* out) {
  uint64_t wide = 0;
  if (!ReadUnsigned(token, &wide)) return false;
  *out = static_cast<uint32_t>(wide);
  return true;
}

// Reads a 64-bit signed number and keeps its low 32 bits as a signed number (exptime, length).
inline bool ReadSigned32(absl::string_view token, int32_t* out) {
  uint64_t plain = 0;
  if (number_internal::ReadPlain(token, &plain)) {
    *out = static_cast<int32_t>(static_cast<uint32_t>(plain));
    return true;
  }
  int64_t wide = 0;
  if (!number_internal::ReadSignedSlow(token, &wide)) return false;
  *out = static_cast<int32_t>(static_cast<uint32_t>(wide));
  return true;
}

}  // namespace proto::memcache
