// What an item is marked with besides what was stored: one word, kept only by items that need it.
//
//   31       30       29     28       27     26            0
//   [ there ][ stale ][ won ][ named ][ hit ][ accessed_sec:27 ]
//
// `there` is always set, so that 0 says that an item has no marks. `named`: the writer chose the CAS
// token. `accessed_sec` is when the item was used last, or stored, counted from one second before the
// cache was created; 0: nobody keeps that, nor `hit`. It ends after 4.2 years, and stays there.
#pragma once

#include <algorithm>
#include <cstdint>

namespace seg {

// The marks that writers set.
struct Marks {
  bool stale = false;  // Somebody said that the value is out of date, without removing it.
  bool won = false;    // Somebody has undertaken to store a new one.

  bool operator==(const Marks&) const = default;
};

class MarkWord {
 public:
  static constexpr uint32_t kThere = uint32_t{1} << 31;
  static constexpr uint32_t kStale = uint32_t{1} << 30;
  static constexpr uint32_t kWon = uint32_t{1} << 29;
  static constexpr uint32_t kNamed = uint32_t{1} << 28;
  static constexpr uint32_t kHit = uint32_t{1} << 27;
  static constexpr uint32_t kAccessed = kHit - 1;
  static constexpr uint32_t kWriters = kThere | kStale | kWon | kNamed;  // The rest is the readers'.

  // Of an item that is stored now, and whose uses shall be known.
  static uint32_t Stored(int64_t now_ms) { return kThere | Second(now_ms); }
  // `word` of an item that is used now.
  static uint32_t Used(uint32_t word, int64_t now_ms) {
    return (word & kWriters) | kHit | Second(now_ms);
  }
  // `word`, which may be 0, with other marks. 0 if that says nothing.
  static uint32_t With(uint32_t word, Marks marks) {
    const uint32_t set = (marks.stale ? kStale : 0) | (marks.won ? kWon : 0);
    return Whole((word & ~(kStale | kWon)) | set);
  }
  // `word`, which may be 0, of an item whose token the writer chose, or did not.
  static uint32_t Named(uint32_t word, bool named) {
    return Whole((word & ~kNamed) | (named ? kNamed : 0));
  }
  static Marks Of(uint32_t word) { return {(word & kStale) != 0, (word & kWon) != 0}; }
  static bool IsNamed(uint32_t word) { return (word & kNamed) != 0; }
  static bool KnowsUses(uint32_t word) { return (word & kAccessed) != 0; }
  static uint32_t IdleSec(uint32_t word, int64_t now_ms) {
    const uint32_t now = Second(now_ms);
    return now - std::min(now, word & kAccessed);
  }

 private:
  static uint32_t Whole(uint32_t word) { return (word & ~kThere) == 0 ? 0 : word | kThere; }
  static uint32_t Second(int64_t now_ms) {
    return static_cast<uint32_t>(std::min<int64_t>(now_ms / 1000 + 1, kAccessed));
  }
};

}  // namespace seg
