#include "config/units.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace config {
namespace {

struct SizeUnit {
  absl::string_view name;
  uint64_t bytes;
};

// Largest first, so that SpellSize() takes the first that divides.
constexpr std::array<SizeUnit, 4> kSizeUnits = {
    {{"TB", 1ull << 40}, {"GB", 1ull << 30}, {"MB", 1ull << 20}, {"KB", 1ull << 10}}};

std::optional<uint64_t> BytesPerUnit(absl::string_view unit) {
  if (unit.empty() || absl::EqualsIgnoreCase(unit, "B")) return 1;
  for (const SizeUnit& known : kSizeUnits) {
    const absl::string_view letter = known.name.substr(0, 1);
    if (absl::EqualsIgnoreCase(unit, known.name) || absl::EqualsIgnoreCase(unit, letter) ||
        absl::EqualsIgnoreCase(unit, absl::StrCat(letter, "iB"))) {
      return known.bytes;
    }
  }
  return std::nullopt;
}

// Takes leading decimal digits off `text`.
absl::string_view TakeDigits(absl::string_view* text) {
  size_t n = 0;
  while (n < text->size() && absl::ascii_isdigit((*text)[n])) ++n;
  const absl::string_view digits = text->substr(0, n);
  text->remove_prefix(n);
  return digits;
}

// 0.`digits` of `unit` bytes; empty when that is not a whole number of bytes.
std::optional<uint64_t> FractionOf(absl::string_view digits, uint64_t unit) {
  // Nine digits keep the product in 64 bits with room: 10^9 x 2^40 < 2^70 needs 128.
  if (digits.empty() || digits.size() > 9) return std::nullopt;
  uint64_t numerator = 0;
  if (!absl::SimpleAtoi(digits, &numerator)) return std::nullopt;
  uint64_t denominator = 1;
  for (size_t i = 0; i < digits.size(); ++i) denominator *= 10;
  const auto product = static_cast<unsigned __int128>(numerator) * unit;
  if (product % denominator != 0) return std::nullopt;
  return static_cast<uint64_t>(product / denominator);
}

struct DurationUnit {
  absl::string_view name;
  absl::Duration length;
};

const std::array<DurationUnit, 6>& DurationUnits() {
  static const std::array<DurationUnit, 6> units = {{{"h", absl::Hours(1)},
                                                     {"m", absl::Minutes(1)},
                                                     {"s", absl::Seconds(1)},
                                                     {"ms", absl::Milliseconds(1)},
                                                     {"us", absl::Microseconds(1)},
                                                     {"ns", absl::Nanoseconds(1)}}};
  return units;
}

}  // namespace

std::optional<uint64_t> ParseSize(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  const absl::string_view whole_digits = TakeDigits(&text);
  uint64_t whole = 0;
  if (!absl::SimpleAtoi(whole_digits, &whole)) return std::nullopt;
  absl::string_view fraction_digits;
  const bool has_fraction = absl::ConsumePrefix(&text, ".");
  if (has_fraction) fraction_digits = TakeDigits(&text);
  const std::optional<uint64_t> unit = BytesPerUnit(absl::StripLeadingAsciiWhitespace(text));
  if (!unit) return std::nullopt;

  uint64_t bytes = 0;
  if (__builtin_mul_overflow(whole, *unit, &bytes)) return std::nullopt;
  if (!has_fraction) return bytes;
  const std::optional<uint64_t> fraction = FractionOf(fraction_digits, *unit);
  if (!fraction || __builtin_add_overflow(bytes, *fraction, &bytes)) return std::nullopt;
  return bytes;
}

std::string SpellSize(uint64_t bytes) {
  for (const SizeUnit& unit : kSizeUnits) {
    if (bytes != 0 && bytes % unit.bytes == 0) return absl::StrCat(bytes / unit.bytes, unit.name);
  }
  return absl::StrCat(bytes, "B");
}

std::optional<absl::Duration> ParseDuration(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  absl::Duration parsed;
  if (text.empty() || !(absl::ascii_isdigit(text[0]) || text[0] == '.')) return std::nullopt;
  if (absl::EndsWith(text, "d")) {
    // Abseil stops at hours. A day is 24 of them here; calendars do not come into it.
    double days = 0;
    if (!absl::SimpleAtod(text.substr(0, text.size() - 1), &days)) return std::nullopt;
    parsed = days * absl::Hours(24);
  } else if (!absl::ParseDuration(text, &parsed)) {
    return std::nullopt;
  }
  if (parsed < absl::ZeroDuration() || parsed == absl::InfiniteDuration()) return std::nullopt;
  return parsed;
}

std::string SpellDuration(absl::Duration duration) {
  if (duration == absl::ZeroDuration()) return "0s";
  for (const DurationUnit& unit : DurationUnits()) {
    absl::Duration rest;
    const int64_t count = absl::IDivDuration(duration, unit.length, &rest);
    if (rest == absl::ZeroDuration()) return absl::StrCat(count, unit.name);
  }
  return absl::FormatDuration(duration);  // Finer than a nanosecond.
}

}  // namespace config
