// Bytes and durations as an operator writes them: "64MB", "200ms". What Spell writes, Parse reads
// back to the same value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace config {

// A decimal number and a unit: B, KB, MB, GB, TB (powers of 1024, as memcached counts), the same
// spelled KiB ... TiB or K ... T, in any case; no unit means bytes. "1.5MB" is accepted, "1.3B",
// being no whole byte, is not. Empty when it is not a size or does not fit 64 bits.
std::optional<uint64_t> ParseSize(absl::string_view text);
// The largest unit that divides `bytes`: "64MB", "1536KB", "100B".
std::string SpellSize(uint64_t bytes);

// A number and a unit, ns us ms s m h d, or several: "200ms", "1.5s", "1h30m", "7d". Empty when it
// is not a duration, has no unit ("0" is fine), is negative or infinite.
std::optional<absl::Duration> ParseDuration(absl::string_view text);
// The largest unit, h or smaller, that divides `duration`: "90m", "1500ms", "0s".
// REQUIRES: `duration` is finite and not negative.
std::string SpellDuration(absl::Duration duration);

}  // namespace config
