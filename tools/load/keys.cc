#include "tools/load/keys.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tools::load {

absl::StatusOr<KeySpace> KeySpace::Create(absl::string_view prefix, uint64_t count,
                                          const Numbers& length) {
  if (count == 0 || count > kKeysMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected 1 to ", kKeysMax, " keys, got ", count));
  }
  for (const char c : prefix) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) {
      return absl::InvalidArgumentError("a key holds no spaces and no control characters");
    }
  }
  const size_t needed = prefix.size() + absl::StrCat(count - 1).size();
  if (length.min() < static_cast<int64_t>(needed) ||
      length.max() > static_cast<int64_t>(kBytesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " keys behind \"", prefix, "\" need a length from ", needed, " to ",
                     kBytesMax, ", got ", length.min(), " to ", length.max()));
  }
  if (!length.is_uniform()) {
    return absl::InvalidArgumentError("the length of a key is N or A-B");
  }
  KeySpace out;
  out.count_ = count;
  out.length_min_ = length.min();
  out.length_max_ = length.max();
  out.zeros_ = std::string(prefix);
  out.zeros_.resize(out.length_max_, '0');
  return out;
}

std::string KeySpace::Spell(uint64_t index) const {
  char key[kBytesMax];
  return std::string(key, Write(index, key) - key);
}

absl::StatusOr<KeyOrder> KeyOrder::Parse(absl::string_view text, uint64_t count) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  const auto fraction = [&](size_t i, double most) -> double {
    double value = 0;
    const bool good = absl::SimpleAtod(parts[i], &value) && value >= 0 && value <= most;
    return good ? value : -1;
  };
  if (parts[0] == "uniform" && parts.size() == 1) return KeyOrder(count, Even{});
  if (parts[0] == "sequential" && parts.size() == 1) return Sequential(count);
  if (parts[0] == "zipf" && parts.size() == 2) {
    // Past 20 the second key comes once in a million.
    if (const double alpha = fraction(1, 20); alpha >= 0) return KeyOrder(count, Zipf(count, alpha));
  }
  if (parts[0] == "hot" && parts.size() == 3) {
    const double keys = fraction(1, 1);
    const double share = fraction(2, 1);
    if (keys >= 0 && share >= 0) {
      const auto hot = static_cast<uint64_t>(keys * static_cast<double>(count));
      return KeyOrder(count, Hot{std::clamp<uint64_t>(hot, 1, count), share});
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "expected uniform, zipf:ALPHA, sequential or hot:KEYS:SHARE, got \"", text, "\""));
}

uint64_t KeyOrder::Next(Random& random) {
  if (std::holds_alternative<Even>(law_)) return random.Below(count_);
  if (const Zipf* const zipf = std::get_if<Zipf>(&law_)) return Strew(zipf->Draw([&random] { return random.Unit(); }) - 1);
  if (const Hot* const hot = std::get_if<Hot>(&law_)) {
    if (hot->keys == count_ || random.Unit() < hot->share) return Strew(random.Below(hot->keys));
    return Strew(hot->keys + random.Below(count_ - hot->keys));
  }
  const uint64_t index = next_++;
  if (next_ == count_) next_ = 0;
  return index;
}

}  // namespace tools::load
