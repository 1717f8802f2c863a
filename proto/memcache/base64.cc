#include "proto/memcache/base64.h"

#include <array>
#include <cstdint>

namespace proto::memcache {

namespace {

constexpr absl::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr int8_t kNone = -1;

// The six bits of each byte. "=" has them, too: zeros, of which the padding is cut.
constexpr std::array<int8_t, 256> kBits = [] {
  std::array<int8_t, 256> bits{};
  bits.fill(kNone);
  for (size_t i = 0; i < kDigits.size(); ++i) {
    bits[static_cast<unsigned char>(kDigits[i])] = static_cast<int8_t>(i);
  }
  bits['='] = 0;
  return bits;
}();

}  // namespace

bool DecodeBase64(absl::string_view text, std::string* out) {
  out->clear();
  uint32_t group = 0;
  size_t count = 0;
  int padding = 0;
  bool ended = false;
  for (const char c : text) {
    const int8_t bits = kBits[static_cast<unsigned char>(c)];
    if (bits == kNone) continue;
    ++count;
    if (ended) continue;
    if (c == '=') ++padding;
    group = group << 6 | static_cast<uint32_t>(bits);
    if (count % 4 != 0) continue;
    if (padding > 2) return false;
    for (int i = 0; i < 3 - padding; ++i) {
      out->push_back(static_cast<char>(group >> (16 - 8 * i) & 0xff));
    }
    ended = padding > 0;
  }
  return count > 0 && count % 4 == 0;
}

}  // namespace proto::memcache
