// Numbers 1 .. n, k with a probability proportional to k^-alpha.
//
// Rejection-inversion (Hörmann, Derflinger: "Rejection-inversion to generate variates from monotone
// discrete distributions", ACM TOMACS 1996): no table, about 1.1 tries, any alpha >= 0.
#pragma once

#include <cmath>
#include <cstdint>

namespace tools {

class Zipf {
 public:
  // REQUIRES: n >= 1, alpha >= 0.
  Zipf(uint64_t n, double alpha)
      : n_(n),
        alpha_(alpha),
        first_(Integral(1.5) - 1),
        last_(Integral(static_cast<double>(n) + 0.5)),
        shortcut_(2 - Inverse(Integral(2.5) - std::pow(2, -alpha))) {}

  // `uniform()` draws from [0, 1).
  template <class Uniform>
  uint64_t Draw(Uniform&& uniform) const {
    for (;;) {
      const double u = last_ + uniform() * (first_ - last_);
      const double x = Inverse(u);
      auto k = static_cast<uint64_t>(x + 0.5);
      k = k < 1 ? 1 : k > n_ ? n_ : k;
      const auto at = static_cast<double>(k);
      if (at - x <= shortcut_ || u >= Integral(at + 0.5) - std::pow(at, -alpha_)) return k;
    }
  }

 private:
  // Of x^-alpha, from 1; written so that alpha = 1 is no special case.
  double Integral(double x) const {
    const double log_x = std::log(x);
    return Ratio1((1 - alpha_) * log_x) * log_x;
  }
  double Inverse(double y) const {
    double t = y * (1 - alpha_);
    if (t < -1) t = -1;  // Rounding.
    return std::exp(Ratio2(t) * y);
  }
  // (e^x - 1) / x and log(1 + x) / x, also near 0.
  static double Ratio1(double x) {
    return std::abs(x) > 1e-8 ? std::expm1(x) / x : 1 + x / 2;
  }
  static double Ratio2(double x) {
    return std::abs(x) > 1e-8 ? std::log1p(x) / x : 1 - x / 2;
  }

  const uint64_t n_;
  const double alpha_;
  const double first_;
  const double last_;
  const double shortcut_;
};

}  // namespace tools
