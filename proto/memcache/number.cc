// The long way round for numbers that are not plain digits. See number.h.
#include "proto/memcache/number.h"

#include <limits>

namespace proto::memcache::number_internal {
namespace {

struct Parts {
  bool negative = false;
  uint64_t magnitude = 0;
};

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Splits white space, sign and digits. False if there are no digits, if the magnitude overflows 64
// bits, or if anything but white space follows the digits.
bool Split(absl::string_view token, Parts* parts) {
  size_t at = 0;
  while (at < token.size() && IsSpace(token[at])) ++at;
  if (at < token.size() && (token[at] == '+' || token[at] == '-')) {
    parts->negative = token[at] == '-';
    ++at;
  }
  const size_t first_digit = at;
  for (; at < token.size() && token[at] >= '0' && token[at] <= '9'; ++at) {
    const uint64_t digit = token[at] - '0';
    constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
    if (parts->magnitude > (kMax - digit) / 10) return false;
    parts->magnitude = parts->magnitude * 10 + digit;
  }
  return at > first_digit && (at == token.size() || IsSpace(token[at]));
}

}  // namespace

bool ReadUnsignedSlow(absl::string_view token, uint64_t* out) {
  Parts parts;
  if (!Split(token, &parts)) return false;
  const uint64_t value = parts.negative ? 0 - parts.magnitude : parts.magnitude;
  // memcached looks for a minus anywhere in the token, past the digits too, but only when the
  // result looks negative.
  if ((value >> 63) != 0 && token.find('-') != absl::string_view::npos) return false;
  *out = value;
  return true;
}

bool ReadSignedSlow(absl::string_view token, int64_t* out) {
  Parts parts;
  if (!Split(token, &parts)) return false;
  constexpr uint64_t kTop = uint64_t{1} << 63;
  if (parts.magnitude > (parts.negative ? kTop : kTop - 1)) return false;
  *out = static_cast<int64_t>(parts.negative ? 0 - parts.magnitude : parts.magnitude);
  return true;
}

}  // namespace proto::memcache::number_internal
