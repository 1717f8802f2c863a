// Words and numbers in and out of a buffer with room for them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"

namespace tools::load {

inline constexpr size_t kNumberBytes = 20;  // The digits of 2^64.

inline char* Put(absl::string_view text, char* to) {
  std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

inline char* PutNumber(uint64_t number, char* to) {
  char digits[kNumberBytes];
  char* at = digits + kNumberBytes;
  do {
    *--at = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number > 0);
  return Put(absl::string_view(at, digits + kNumberBytes - at), to);
}

// Reads digits at *text and steps over them and one space. False if there are none.
inline bool TakeNumber(absl::string_view* text, uint64_t* number) {
  size_t i = 0;
  *number = 0;
  while (i < text->size() && (*text)[i] >= '0' && (*text)[i] <= '9') {
    *number = *number * 10 + static_cast<uint64_t>((*text)[i++] - '0');
  }
  if (i == 0 || i > kNumberBytes) return false;
  if (i < text->size() && (*text)[i] != ' ') return false;
  text->remove_prefix(std::min(i + 1, text->size()));
  return true;
}

}  // namespace tools::load
