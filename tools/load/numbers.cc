#include "tools/load/numbers.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"

namespace tools::load {
namespace {

// The largest number a value's header can state (value.h).
constexpr int64_t kNumberMax = (1 << 24) - 1;

absl::Status Expected(absl::string_view what, absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", what, ", got \"", text, "\""));
}

absl::StatusOr<int64_t> Number(absl::string_view text) {
  int64_t value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < 0 || value > kNumberMax) {
    return Expected(absl::StrCat("a number from 0 to ", kNumberMax), text);
  }
  return value;
}

}  // namespace

Numbers Numbers::Always(int64_t value) {
  Numbers out;
  out.min_ = out.max_ = value;
  return out;
}

absl::StatusOr<Numbers> Numbers::Parse(absl::string_view text) {
  if (absl::StartsWith(text, "lognormal:")) return ParseLogNormal(text);
  if (absl::StrContains(text, ':')) return ParseWeighted(text);
  const std::vector<absl::string_view> ends = absl::StrSplit(text, absl::MaxSplits('-', 1));
  Numbers out;
  ASSIGN_OR_RETURN(out.min_, Number(ends.front()));
  ASSIGN_OR_RETURN(out.max_, Number(ends.back()));
  if (out.min_ > out.max_) return Expected("the smaller end first", text);
  return out;
}

absl::StatusOr<Numbers> Numbers::ParseLogNormal(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  int64_t median = 0;
  Numbers out;
  out.kind_ = Kind::kLogNormal;
  out.max_ = kNumberMax;
  if (parts.size() < 3 || parts.size() > 4 || !absl::SimpleAtoi(parts[1], &median) || median < 1 ||
      !absl::SimpleAtod(parts[2], &out.sigma_) || !(out.sigma_ >= 0 && out.sigma_ < 10)) {
    return Expected("lognormal:MEDIAN:SIGMA[:MAX]", text);
  }
  if (parts.size() == 4) {
    ASSIGN_OR_RETURN(out.max_, Number(parts[3]));
  }
  out.log_median_ = std::log(static_cast<double>(median));
  return out;
}

absl::StatusOr<Numbers> Numbers::ParseWeighted(absl::string_view text) {
  Numbers out;
  out.kind_ = Kind::kWeighted;
  out.min_ = kNumberMax;
  double total = 0;
  for (const absl::string_view item : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(item, ':');
    double weight = 0;
    if (parts.size() != 2 || !absl::SimpleAtod(parts[1], &weight) ||
        !(weight >= 0 && weight < 1e12)) {
      return Expected("NUMBER:WEIGHT,NUMBER:WEIGHT,...", text);
    }
    ASSIGN_OR_RETURN(const int64_t value, Number(parts[0]));
    out.min_ = std::min(out.min_, value);
    out.max_ = std::max(out.max_, value);
    out.choices_.push_back({value, total += weight});
  }
  if (total <= 0) return Expected("a weight above 0", text);
  for (Choice& choice : out.choices_) choice.up_to /= total;
  return out;
}

int64_t Numbers::PickOther(Random& random) const {
  if (kind_ == Kind::kLogNormal) {
    const double x = std::exp(log_median_ + sigma_ * random.Normal());
    return static_cast<int64_t>(std::min(x, static_cast<double>(max_)));
  }
  const double at = random.Unit();
  for (const Choice& choice : choices_) {
    if (at < choice.up_to) return choice.value;
  }
  return choices_.back().value;
}

}  // namespace tools::load
