// A block of addresses, "10.0.0.0/8" or "fd00::/8", as an allow list names them.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace config {

// Both families as IPv6 has them: 10.0.0.0/8 is ::ffff:10.0.0.0/104, and is equal to it however it
// was written. A block of IPv6 that is wider than all of IPv4 in it ("::/0") means IPv6 alone.
struct Cidr {
  std::array<uint8_t, 16> address = {};
  int bits = 0;  // 0 to 128.
  bool v4 = false;

  // Whether `peer`, in the same form, is in the block.
  bool Contains(const std::array<uint8_t, 16>& peer) const;
};

// The bytes before an IPv4 address in its IPv6 form (RFC 4291, 2.5.5.2).
inline constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// An address with or without "/bits"; without, the one address. What is wrong with it, else: bits
// of the address past the prefix are taken for a slip, and the block that was probably meant is named.
absl::StatusOr<Cidr> ParseCidr(absl::string_view text);

}  // namespace config
