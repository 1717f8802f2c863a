// The generator's dice: SplitMix64, one addition and a mix of bits per number (Steele, Lea, Flood:
// "Fast splittable pseudorandom number generators", OOPSLA'14). Equal seeds give equal runs.
#pragma once

#include <cmath>
#include <cstdint>

namespace tools::load {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // 0 .. bound - 1 by multiplication (Lemire's, without its rejection: the bias is bound / 2^64).
  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }
  // 0 included, 1 not.
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  // Mean 1: the gaps of a Poisson process.
  double Exponential() { return -std::log1p(-Unit()); }
  // Mean 0, deviation 1 (Box and Muller).
  double Normal() {
    constexpr double kTwoPi = 6.283185307179586;
    return std::sqrt(2 * Exponential()) * std::cos(kTwoPi * Unit());
  }

 private:
  uint64_t state_;
};

}  // namespace tools::load
