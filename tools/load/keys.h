// Which keys there are, how they are spelled, and which one comes next.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/load/numbers.h"
#include "tools/load/random.h"
#include "tools/zipf.h"

namespace tools::load {

// Keys 0 .. count-1, spelled as a prefix, zeros and the number. A key's length is a function of its
// number, so every run and every thread spells it alike.
class KeySpace {
 public:
  static constexpr size_t kBytesMax = 250;  // memcached's limit.

  // INVALID_ARGUMENT if the numbers do not fit behind the prefix or a key passes 250 bytes.
  static absl::StatusOr<KeySpace> Create(absl::string_view prefix, uint64_t count,
                                         const Numbers& length);

  uint64_t count() const { return count_; }
  size_t bytes_max() const { return length_max_; }
  // Writes key `index` and returns the byte behind it. REQUIRES: bytes_max() bytes of room.
  char* Write(uint64_t index, char* to) const {
    std::memcpy(to, zeros_.data(), zeros_.size());
    char* const end = to + LengthOf(index);
    char* at = end;
    do {
      *--at = static_cast<char>('0' + index % 10);
      index /= 10;
    } while (index > 0);
    return end;
  }
  std::string Spell(uint64_t index) const;

 private:
  size_t LengthOf(uint64_t index) const {
    if (length_min_ == length_max_) return length_max_;
    Random random(index);
    return length_min_ + random.Below(length_max_ - length_min_ + 1);
  }

  uint64_t count_ = 0;
  std::string zeros_;  // The prefix and as many zeros as the longest key has.
  size_t length_min_ = 0;
  size_t length_max_ = 0;
};

//   uniform | zipf:ALPHA | sequential | hot:KEYS:SHARE
//
// hot:0.1:0.9 sends 90 % of the requests to 10 % of the keys. Popular keys are strewn over the
// numbers, so that their neighbourhood in a server's memory is not the order of popularity.
class KeyOrder {
 public:
  // INVALID_ARGUMENT says what was expected.
  static absl::StatusOr<KeyOrder> Parse(absl::string_view text, uint64_t count);
  static KeyOrder Sequential(uint64_t count) { return KeyOrder(count, InOrder{}); }

  // Where a sequential order goes on.
  void StartAt(uint64_t index) { next_ = index % count_; }
  uint64_t Next(Random& random);

 private:
  struct Even {};
  struct InOrder {};
  struct Hot {
    uint64_t keys;
    double share;
  };
  using Law = std::variant<Even, InOrder, Hot, Zipf>;

  KeyOrder(uint64_t count, Law law) : count_(count), law_(law) {}
  // Multiplying by a prime above every count is a bijection modulo any count.
  uint64_t Strew(uint64_t rank) const { return rank * 2'654'435'761 % count_; }

  uint64_t count_;
  Law law_;
  uint64_t next_ = 0;
};

inline constexpr uint64_t kKeysMax = 2'000'000'000;  // Below the prime of KeyOrder.

}  // namespace tools::load
