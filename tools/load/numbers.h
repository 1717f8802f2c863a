// Whole numbers as a flag describes them - sizes, lifetimes, lengths of keys:
//
//   100                      always
//   10-1000                  uniform, both ends included
//   lognormal:230:1.2        median 230, sigma 1.2 of the logarithm; lognormal:230:1.2:8000 cut at
//                            8000 (else at 16777215)
//   64:50,1024:30,8192:20    each with its weight
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/load/random.h"

namespace tools::load {

class Numbers {
 public:
  // INVALID_ARGUMENT says what was expected.
  static absl::StatusOr<Numbers> Parse(absl::string_view text);
  static Numbers Always(int64_t value);

  int64_t Pick(Random& random) const {
    if (kind_ == Kind::kUniform) {
      if (min_ == max_) return min_;
      return min_ + static_cast<int64_t>(random.Below(static_cast<uint64_t>(max_ - min_ + 1)));
    }
    return PickOther(random);
  }
  int64_t min() const { return min_; }
  int64_t max() const { return max_; }
  bool is_uniform() const { return kind_ == Kind::kUniform; }

 private:
  enum class Kind : uint8_t { kUniform, kLogNormal, kWeighted };
  struct Choice {
    int64_t value;
    double up_to;  // The share of this and all before it.
  };

  static absl::StatusOr<Numbers> ParseLogNormal(absl::string_view text);
  static absl::StatusOr<Numbers> ParseWeighted(absl::string_view text);
  int64_t PickOther(Random& random) const;

  Kind kind_ = Kind::kUniform;
  int64_t min_ = 0;
  int64_t max_ = 0;
  double log_median_ = 0;
  double sigma_ = 0;
  std::vector<Choice> choices_;
};

}  // namespace tools::load
