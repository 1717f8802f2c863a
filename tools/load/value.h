// What values hold, so that a reader can tell whether it got what was written.
//
//   6 bytes   hash of the key, 36 bits in base 64
//   4 bytes   salt of this write, 24 bits
//   4 bytes   length of the whole, 24 bits
//   ...       text, from a place that hash and salt choose
//
// append and prepend add pieces of the same form, so a value is one or more pieces. A value of
// another key, a cut one, and a mixture of two writes are all told apart from a good one. Fewer than
// 14 bytes are a stop, the length as one digit, as much of the hash as fits, and more stops.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace tools::load {

class Values {
 public:
  static constexpr size_t kHeaderBytes = 14;
  static constexpr size_t kBytesMax = (1 << 24) - 1;

  Values();

  // Writes a value of `size` bytes for the key of this hash, and returns the byte behind it.
  char* Write(uint64_t key_hash, uint32_t salt, size_t size, char* to) const;
  // Whether Write of this hash could have made `value`, piece by piece.
  bool Check(uint64_t key_hash, absl::string_view value) const;

 private:
  static constexpr size_t kTextBytes = 1 << 16;  // As many as PlaceOf has places.
  static size_t PlaceOf(uint64_t key_hash, uint32_t salt) {
    return ((key_hash ^ salt) * 0x9e3779b97f4a7c15) >> 48;
  }
  bool CheckText(size_t place, absl::string_view text) const;
  bool CheckSmall(uint64_t key_hash, absl::string_view value) const;

  std::string text_;  // kTextBytes of printable noise, the same in every run.
};

// The hash that values of `key` carry.
uint64_t HashOfKey(absl::string_view key);

}  // namespace tools::load
