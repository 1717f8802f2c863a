// The plain spelling of get, gets and set, read in one pass: one space between words, digits for
// numbers, "\r\n" at the end. It is what client libraries send.
//
// Whatever is spelled otherwise, refused, or not all there is left to the long way round in
// text_parse.cc, which takes every line and decides what is wrong with it. So nothing is decided
// twice, and both ways agree on each line that this one takes (tests/proto/memcache holds them to
// it).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"
#include "proto/memcache/request.h"

namespace proto::memcache {

// Bytes at which a client's shortest useful line ends, and with which a word can be read at a time.
inline constexpr size_t kPlainBytesMin = 8;

namespace plain_internal {

// The first byte at or after `at` that is a space or a control character, or `end`. REQUIRES:
// kPlainBytesMin bytes before `end` may be read.
inline const char* WordEnd(const char* at, const char* end) {
  static_assert(std::endian::native == std::endian::little);
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kPastSpace = ' ' + 1;
  // A byte's top bit is set if the byte is below kPastSpace; of the bytes past the first such one
  // this may be wrong (Hacker's Delight, 2nd edition, section 6-1, "find first 0-byte").
  const auto below = [](uint64_t bytes) {
    return (bytes - kOnes * kPastSpace) & ~bytes & (kOnes * 0x80);
  };
  uint64_t bytes;
  for (; end - at >= 8; at += 8) {
    std::memcpy(&bytes, at, 8);
    if (const uint64_t found = below(bytes); found != 0) return at + std::countr_zero(found) / 8;
  }
  if (at == end) return end;
  // The last few bytes, with zeros behind them, where the word ends at the latest.
  std::memcpy(&bytes, end - 8, 8);
  bytes >>= 8 * (8 - (end - at));
  return at + std::countr_zero(below(bytes)) / 8;
}

// Reads one to nine digits at `at`, which fit 32 bits with a sign. Returns what follows, or null.
inline const char* ReadDigits(const char* at, const char* end, uint32_t* out) {
  constexpr ptrdiff_t kDigitsSafe = 9;
  const char* const begin = at;
  const char* const limit = end - at > kDigitsSafe ? at + kDigitsSafe + 1 : end;
  uint32_t value = 0;
  for (; at != limit; ++at) {
    const unsigned digit = static_cast<unsigned char>(*at) - '0';
    if (digit > 9) break;
    value = value * 10 + digit;
  }
  *out = value;
  return at == begin || at == limit ? nullptr : at;
}

inline bool IsLineEnd(const char* at, const char* end) {
  return end - at >= 2 && at[0] == '\r' && at[1] == '\n';
}

}  // namespace plain_internal

// The first key of a get or set that is plain so far; empty if there is none.
inline absl::string_view FirstPlainKey(absl::string_view in) {
  if (in.size() < kPlainBytesMin) return {};
  if (std::memcmp(in.data() + 1, "et ", 3) != 0 || (in[0] != 'g' && in[0] != 's')) return {};
  const char* const end = in.data() + in.size();
  const char* const key = in.data() + 4;
  const char* const word_end = plain_internal::WordEnd(key, end);
  const size_t n = word_end - key;
  return n <= kKeyBytesMax && word_end != end ? absl::string_view(key, n) : absl::string_view();
}

// Reads "<key>[ <key>]*\r\n" after the first `verb_bytes` of `in` ("get "), into req->keys. Returns the
// bytes of the line; 0 if it is not plain, or not all there. REQUIRES: in.size() >= kPlainBytesMin.
inline size_t ReadPlainKeys(absl::string_view in, size_t verb_bytes, Request* req) {
  const char* const end = in.data() + in.size();
  for (const char* at = in.data() + verb_bytes;;) {
    const char* const word_end = plain_internal::WordEnd(at, end);
    const size_t n = word_end - at;
    if (n == 0 || n > kKeyBytesMax || word_end == end) return 0;
    req->keys.push_back({at, n});
    if (*word_end != ' ') {
      return plain_internal::IsLineEnd(word_end, end) ? word_end + 2 - in.data() : 0;
    }
    at = word_end + 1;
  }
}

// Reads "<key> <flags> <exptime> <length>[ noreply]\r\n" after the first `verb_bytes` of `in` ("set ").
// Returns the bytes of the line; 0 as above. REQUIRES: as above.
inline size_t ReadPlainStore(absl::string_view in, size_t verb_bytes, Request* req,
                             uint32_t* value_bytes) {
  constexpr absl::string_view kNoreply = " noreply";
  const char* const end = in.data() + in.size();
  const char* const key = in.data() + verb_bytes;
  const char* at = plain_internal::WordEnd(key, end);
  const size_t n = at - key;
  if (n == 0 || n > kKeyBytesMax || at == end || *at != ' ') return 0;
  uint32_t flags = 0, exptime = 0;
  at = plain_internal::ReadDigits(at + 1, end, &flags);
  if (at == nullptr || *at != ' ') return 0;
  at = plain_internal::ReadDigits(at + 1, end, &exptime);
  if (at == nullptr || *at != ' ') return 0;
  at = plain_internal::ReadDigits(at + 1, end, value_bytes);
  if (at == nullptr) return 0;
  const bool noreply = static_cast<size_t>(end - at) > kNoreply.size() &&
                       std::memcmp(at, kNoreply.data(), kNoreply.size()) == 0;
  if (noreply) at += kNoreply.size();
  if (!plain_internal::IsLineEnd(at, end)) return 0;
  req->keys.push_back({key, n});
  req->flags = flags;
  req->exptime = exptime;
  req->noreply = noreply;
  return at + 2 - in.data();
}

}  // namespace proto::memcache
