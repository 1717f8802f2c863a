// See cidr.h.
#include "config/cidr.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace config {
namespace {

constexpr int kMappedBits = 96;

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(what); }

bool IsMapped(const std::array<uint8_t, 16>& address) {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.begin());
}

// The address as written, which may be of either family.
std::optional<Cidr> ParseAddress(const std::string& text) {
  Cidr cidr;
  cidr.bits = 128;
  if (::inet_pton(AF_INET6, text.c_str(), cidr.address.data()) == 1) return cidr;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), cidr.address.begin());
  cidr.v4 = ::inet_pton(AF_INET, text.c_str(), cidr.address.data() + kMappedPrefix.size()) == 1;
  if (!cidr.v4) return std::nullopt;
  return cidr;
}

// Clears the bits of `address` from `bits` on. Whether one was set.
bool ClearPast(int bits, std::array<uint8_t, 16>* address) {
  bool any = false;
  for (int i = bits; i < 128; ++i) {
    uint8_t& byte = (*address)[static_cast<size_t>(i) / 8];
    const auto mask = static_cast<uint8_t>(0x80 >> (i % 8));
    any |= (byte & mask) != 0;
    byte = static_cast<uint8_t>(byte & ~mask);
  }
  return any;
}

std::string Spell(const Cidr& cidr) {
  char text[INET6_ADDRSTRLEN];
  if (cidr.v4) {
    ::inet_ntop(AF_INET, cidr.address.data() + kMappedPrefix.size(), text, sizeof(text));
    return absl::StrCat(text, "/", cidr.bits - kMappedBits);
  }
  ::inet_ntop(AF_INET6, cidr.address.data(), text, sizeof(text));
  return absl::StrCat(text, "/", cidr.bits);
}

}  // namespace

bool Cidr::Contains(const std::array<uint8_t, 16>& peer) const {
  if (v4 != IsMapped(peer)) return false;
  const size_t whole = static_cast<size_t>(bits) / 8;
  if (std::memcmp(address.data(), peer.data(), whole) != 0) return false;
  const int rest = bits % 8;
  return rest == 0 || ((address[whole] ^ peer[whole]) >> (8 - rest)) == 0;
}

absl::StatusOr<Cidr> ParseCidr(absl::string_view text) {
  const size_t slash = text.find('/');
  const std::string quoted = absl::StrCat("\"", absl::CEscape(text), "\"");
  std::optional<Cidr> cidr = ParseAddress(std::string(text.substr(0, slash)));
  if (!cidr) {
    return Bad(absl::StrCat("expected addresses such as \"10.0.0.0/8\" or \"::1\", got ", quoted));
  }
  if (slash != absl::string_view::npos) {
    const absl::string_view digits = text.substr(slash + 1);
    const int bits_max = cidr->v4 ? 32 : 128;
    int bits = 0;
    const bool plain = digits.size() <= 3 && digits.find_first_not_of("0123456789") ==
                                                 absl::string_view::npos;
    if (!plain || !absl::SimpleAtoi(digits, &bits) || bits > bits_max) {
      return Bad(absl::StrCat("expected 0 to ", bits_max, " after the slash, got ", quoted));
    }
    cidr->bits = bits + (cidr->v4 ? kMappedBits : 0);
  }
  if (cidr->bits >= kMappedBits && IsMapped(cidr->address)) cidr->v4 = true;
  if (ClearPast(cidr->bits, &cidr->address)) {
    return Bad(absl::StrCat(quoted, " has bits set after the prefix; did you mean \"",
                            Spell(*cidr), "\"?"));
  }
  return *cidr;
}

}  // namespace config
