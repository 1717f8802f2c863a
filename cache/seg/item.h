// One item as it lies in a segment.
//
//   +---------+-----------+---------+-------+-----+-------+---------+---------+
//   | word: 8 | key len 1 | flags 4 | cas 8 | key | value | to 4 n  | marks 4 |
//   +---------+-----------+---------+-------+-----+-------+---------+---------+
//                           if any   if named               to 8 n    if any
//                                    or moved
//   word:  63            26 25            3       2           1           0
//         [ deadline_ms:38 ][ value_bytes:23 ][ has_marks ][ has_flags ][ has_cas ]
//
// The overhead is 9 bytes, 13 with flags other than 0, 4 more with marks (marks.h), plus padding
// (3.5 bytes on average) and the 8-byte slot in the hash table. The paper needs 5, with a deadline
// per segment instead of one per item and 2^24 bytes for a value. Marks come last, so that they
// neither move the key nor need padding of their own.
//
// deadline_ms counts from the creation of the cache. All ones never comes; a deadline past 2^38 ms
// (8.7 years) is stored as that. The CAS token of an item that lies where it was written is where
// and when that was (see CasToken), so it costs nothing; an item that was moved, or whose writer
// named a token, carries it.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"
#include "cache/seg/marks.h"
#include "cache/seg/stream_copy.h"

namespace seg {

inline constexpr int kDeadlineBits = 38;
inline constexpr int kValueBits = 23;
inline constexpr int64_t kDeadlineNever = (int64_t{1} << kDeadlineBits) - 1;

// Whether what dies at `deadline_ms` still lives.
constexpr bool IsAlive(int64_t deadline_ms, int64_t now_ms) {
  return now_ms < deadline_ms || deadline_ms == kDeadlineNever;
}

inline constexpr size_t kItemAlign = 8;
inline constexpr size_t kSegmentBytesMax = size_t{1} << kValueBits;
inline constexpr int kItemBits = 3;  // has_marks, has_flags, has_cas.
static_assert(kDeadlineBits + kValueBits + kItemBits == 64);

// What is written to make an item.
struct ItemSpec {
  absl::string_view key;
  absl::string_view value;
  uint32_t flags = 0;
  uint64_t kept_cas = 0;  // The token to carry; 0: where the item lies is token enough.
  int64_t deadline_ms = kDeadlineNever;
  uint32_t marks = 0;  // A MarkWord; 0: none.
};

// A view of the item at an address. Copying it is free; the bytes belong to the segment.
class Item {
 public:
  static constexpr size_t kHeadBytes = 9;
  static constexpr size_t kFlagsBytes = 4;
  static constexpr size_t kCasBytes = 8;
  static constexpr size_t kMarksBytes = 4;
  static constexpr size_t kOverheadMax = kHeadBytes + kFlagsBytes + kCasBytes + kMarksBytes;

  explicit Item(char* at) : at_(at) {}

  // Bytes an item takes in a segment, padding included.
  static constexpr size_t BytesFor(size_t key, size_t value, bool has_flags, bool has_cas,
                                   bool has_marks = false) {
    return Padded(kHeadBytes + key + value,
                  (has_flags ? kFlagsBit : 0) | (has_cas ? kCasBit : 0) |
                      (has_marks ? kMarksBit : 0));
  }
  static size_t BytesFor(const ItemSpec& spec) {
    return Padded(kHeadBytes + spec.key.size() + spec.value.size(), BitsOf(spec));
  }

  // Fills BytesFor(spec) bytes. Nobody else may know of the place yet.
  void Write(const ItemSpec& spec) {
    const uint64_t bits = BitsOf(spec);
    Word().store((static_cast<uint64_t>(spec.deadline_ms) << kDeadlineAt) |
                     (uint64_t{spec.value.size()} << kItemBits) | bits,
                 std::memory_order_relaxed);
    at_[8] = static_cast<char>(spec.key.size());
    char* to = at_ + kHeadBytes;
    if (bits != 0) [[unlikely]] {
      if (spec.flags != 0) to = Put(to, &spec.flags, kFlagsBytes);
      if (spec.kept_cas != 0) to = Put(to, &spec.kept_cas, kCasBytes);
      if (spec.marks != 0) MarksAt(BytesFor(spec)).store(spec.marks, std::memory_order_relaxed);
    }
    to = Put(to, spec.key.data(), spec.key.size());
    if (spec.value.size() >= kStreamBytesMin) [[unlikely]] {
      StreamCopy(to, spec.value.data(), spec.value.size());
    } else {
      Put(to, spec.value.data(), spec.value.size());
    }
  }

  void Prefetch() const { __builtin_prefetch(at_); }
  // Of a small item all, of a larger one the beginning; where it ends is not known yet.
  void PrefetchWhole() const {
    __builtin_prefetch(at_);
    __builtin_prefetch(at_ + 64);
  }
  absl::string_view key() const { return {at_ + KeyAt(word()), key_bytes()}; }
  absl::string_view value() const {
    const uint64_t w = word();
    return {at_ + KeyAt(w) + key_bytes(), ValueBytes(w)};
  }
  uint32_t flags() const { return extras().flags; }
  // The carried token, or 0 if there is none.
  uint64_t kept_cas() const { return extras().kept_cas; }
  // 0: none, and there never will be any in this place.
  uint32_t marks() const { return extras().marks; }
  // What a plain item has nothing of.
  struct Extras {
    uint32_t flags = 0;
    uint32_t marks = 0;
    uint64_t kept_cas = 0;
  };
  Extras extras() const {
    Extras extras;
    const uint64_t w = word();
    if ((w & kBits) == 0) [[likely]] return extras;
    const char* from = at_ + kHeadBytes;
    if ((w & kFlagsBit) != 0) {
      std::memcpy(&extras.flags, from, kFlagsBytes);
      from += kFlagsBytes;
    }
    if ((w & kCasBit) != 0) std::memcpy(&extras.kept_cas, from, kCasBytes);
    if ((w & kMarksBit) != 0) extras.marks = MarksAt(bytes()).load(std::memory_order_relaxed);
    return extras;
  }
  int64_t deadline_ms() const { return static_cast<int64_t>(word() >> kDeadlineAt); }
  size_t bytes() const {
    const uint64_t w = word();
    return Padded(kHeadBytes + key_bytes() + ValueBytes(w), w);
  }

  // The fields that may change in place. Readers may run beside it. Callers of the first serialise
  // among themselves.
  void set_deadline_ms(int64_t deadline_ms) {
    const uint64_t rest = word() & ((uint64_t{1} << kDeadlineAt) - 1);
    Word().store((static_cast<uint64_t>(deadline_ms) << kDeadlineAt) | rest,
                 std::memory_order_relaxed);
  }
  // `change(word)` is asked again if somebody else changed the marks meanwhile. REQUIRES: marks() != 0.
  template <class Change>
  void ChangeMarks(Change&& change) {
    const std::atomic_ref<uint32_t> marks = MarksAt(bytes());
    uint32_t before = marks.load(std::memory_order_relaxed);
    for (;;) {
      const uint32_t after = change(before) | MarkWord::kThere;
      if (after == before ||
          marks.compare_exchange_weak(before, after, std::memory_order_relaxed)) {
        return;
      }
    }
  }
  // Of the item that this one, which nobody knows yet, is a copy of: marks may have changed since.
  // Nothing happens if either has none.
  void TakeMarksOf(const Item& original) { TakeMarksOf(original, ~uint32_t{0}); }
  // The same of uses alone.
  void TakeUsesOf(const Item& original) { TakeMarksOf(original, ~MarkWord::kWriters); }

 private:
  static constexpr uint64_t kCasBit = 1, kFlagsBit = 2, kMarksBit = 4;
  static constexpr uint64_t kBits = kCasBit | kFlagsBit | kMarksBit;
  static constexpr int kDeadlineAt = kValueBits + kItemBits;

  // Most items are plain, so that is asked first and at once, here and in extras().
  static uint64_t BitsOf(const ItemSpec& spec) {
    if ((spec.flags | spec.marks | spec.kept_cas) == 0) [[likely]] return 0;
    return (spec.flags != 0 ? kFlagsBit : 0) | (spec.kept_cas != 0 ? kCasBit : 0) |
           (spec.marks != 0 ? kMarksBit : 0);
  }
  // `bytes` and what the bits of a word add to them, to the next multiple of kItemAlign.
  static constexpr size_t Padded(size_t bytes, uint64_t w) {
    static_assert(kCasBytes == kCasBit << 3 && kFlagsBytes == kFlagsBit << 1 &&
                  kMarksBytes == kMarksBit);
    if ((w & kBits) != 0) [[unlikely]] bytes += PartBytes(w) + (w & kMarksBit);
    return (bytes + kItemAlign - 1) & ~(kItemAlign - 1);
  }
  // Of flags and token.
  static constexpr size_t PartBytes(uint64_t w) {
    return ((w & kCasBit) << 3) + ((w & kFlagsBit) << 1);
  }
  static size_t ValueBytes(uint64_t word) {
    return (word >> kItemBits) & ((uint64_t{1} << kValueBits) - 1);
  }
  static size_t KeyAt(uint64_t word) { return kHeadBytes + PartBytes(word); }
  // Of an item that takes that many bytes; at a multiple of 4, as an atomic must.
  std::atomic_ref<uint32_t> MarksAt(size_t bytes) const {
    static_assert(kItemAlign % kMarksBytes == 0);
    return std::atomic_ref<uint32_t>(*reinterpret_cast<uint32_t*>(at_ + bytes - kMarksBytes));
  }
  void TakeMarksOf(const Item& original, uint32_t mask) {
    const uint32_t theirs = original.marks();
    if (theirs == 0 || marks() == 0) return;
    ChangeMarks([=](uint32_t own) { return (own & ~mask) | (theirs & mask); });
  }
  static char* Put(char* to, const void* from, size_t n) {
    if (n != 0) std::memcpy(to, from, n);
    return to + n;
  }
  // Relaxed everywhere: the item was published by the lock that put its slot into the table, and
  // deadline and marks are single fields that are right before and after a change.
  std::atomic_ref<uint64_t> Word() const {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(at_));
  }
  uint64_t word() const { return Word().load(std::memory_order_relaxed); }
  size_t key_bytes() const { return static_cast<uint8_t>(at_[8]); }

  char* at_;
};

}  // namespace seg
