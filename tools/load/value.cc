#include "tools/load/value.h"

#include <algorithm>
#include <cstring>

#include "core/base/hash.h"
#include "tools/load/random.h"

namespace tools::load {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr int kHashDigits = 6;
constexpr int kSaltDigits = 4;
constexpr int kLengthDigits = 4;
static_assert(kHashDigits + kSaltDigits + kLengthDigits == Values::kHeaderBytes);
constexpr char kStop = '.';  // Not of the alphabet, so no piece begins with it.

char* WriteDigits(uint64_t number, int digits, char* to) {
  for (int i = 0; i < digits; ++i) to[i] = kAlphabet[number >> (6 * i) & 63];
  return to + digits;
}

// Digits that are not of the alphabet make a number that fits nothing else.
uint64_t ReadDigits(const char* from, int digits) {
  uint64_t number = 0;
  for (int i = 0; i < digits; ++i) {
    const char c = from[i];
    uint64_t digit = 64;
    if (c >= 'A' && c <= 'Z') digit = c - 'A';
    if (c >= 'a' && c <= 'z') digit = c - 'a' + 26;
    if (c >= '0' && c <= '9') digit = c - '0' + 52;
    if (c == '-') digit = 62;
    if (c == '_') digit = 63;
    if (digit == 64) return UINT64_MAX;
    number |= digit << (6 * i);
  }
  return number;
}

}  // namespace

uint64_t HashOfKey(absl::string_view key) { return core::Hash64(key, 0); }

Values::Values() {
  Random random(1);
  text_.resize(kTextBytes);
  for (char& c : text_) c = kAlphabet[random.Below(64)];
}

char* Values::Write(uint64_t key_hash, uint32_t salt, size_t size, char* to) const {
  char* const end = to + size;
  if (size < kHeaderBytes) {
    char whole[kHeaderBytes];
    std::memset(whole, kStop, sizeof(whole));
    WriteDigits(key_hash, kHashDigits, WriteDigits(size, 1, whole + 1));
    std::memcpy(to, whole, size);
    return end;
  }
  salt &= (1 << 24) - 1;
  to = WriteDigits(key_hash, kHashDigits, to);
  to = WriteDigits(salt, kSaltDigits, to);
  to = WriteDigits(size, kLengthDigits, to);
  for (size_t place = PlaceOf(key_hash, salt); to < end; place = 0) {
    const size_t n = std::min<size_t>(end - to, kTextBytes - place);
    std::memcpy(to, text_.data() + place, n);
    to += n;
  }
  return end;
}

bool Values::CheckText(size_t place, absl::string_view text) const {
  for (; !text.empty(); place = 0) {
    const size_t n = std::min(text.size(), kTextBytes - place);
    if (std::memcmp(text.data(), text_.data() + place, n) != 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

bool Values::CheckSmall(uint64_t key_hash, absl::string_view value) const {
  char good[kHeaderBytes];
  Write(key_hash, 0, value.size(), good);
  return std::memcmp(value.data(), good, value.size()) == 0;
}

bool Values::Check(uint64_t key_hash, absl::string_view value) const {
  if (value.size() < kHeaderBytes) return CheckSmall(key_hash, value);
  while (!value.empty()) {
    if (value.size() < kHeaderBytes) return false;
    char hash[kHashDigits];
    WriteDigits(key_hash, kHashDigits, hash);
    if (std::memcmp(hash, value.data(), kHashDigits) != 0) return false;
    const uint64_t salt = ReadDigits(value.data() + kHashDigits, kSaltDigits);
    const uint64_t size = ReadDigits(value.data() + kHashDigits + kSaltDigits, kLengthDigits);
    if (salt == UINT64_MAX || size < kHeaderBytes || size > value.size()) return false;
    if (!CheckText(PlaceOf(key_hash, static_cast<uint32_t>(salt)),
                   value.substr(kHeaderBytes, size - kHeaderBytes))) {
      return false;
    }
    value.remove_prefix(size);
  }
  return true;
}

}  // namespace tools::load
