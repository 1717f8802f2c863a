// One item as it lies in a segment.
//
//   +-------------------------------+-----------+---------+-------+-----+-------+---------+
//   | word: 8                       | key len 1 | flags 4 | cas 8 | key | value | to 8 n  |
//   +-------------------------------+-----------+---------+-------+-----+-------+---------+
//                                                 if any    if moved
//   word:  63            25 24            2    1          0
//         [ deadline_ms:39 ][ value_bytes:23 ][ has_flags ][ has_cas ]
//
// The overhead is 9 bytes, 13 with flags other than 0, plus padding (3.5 bytes on average) and the
// 8-byte slot in the hash table. The paper needs 5, with a deadline per segment instead of one per
// item and 2^24 bytes for a value.
//
// deadline_ms counts from the creation of the cache. All ones never comes; a deadline past 2^39 ms
// (17 years) is stored as that. The CAS token of an item that lies where it was written is where
// and when that was (see CasToken), so it costs nothing; an item that was moved carries it.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"

namespace seg {

inline constexpr int kDeadlineBits = 39;
inline constexpr int kValueBits = 23;
inline constexpr int64_t kDeadlineNever = (int64_t{1} << kDeadlineBits) - 1;

// Whether what dies at `deadline_ms` still lives.
constexpr bool IsAlive(int64_t deadline_ms, int64_t now_ms) {
  return now_ms < deadline_ms || deadline_ms == kDeadlineNever;
}

inline constexpr size_t kItemAlign = 8;
inline constexpr size_t kSegmentBytesMax = size_t{1} << kValueBits;
static_assert(kDeadlineBits + kValueBits + 2 == 64);

// What is written to make an item.
struct ItemSpec {
  absl::string_view key;
  absl::string_view value;
  uint32_t flags = 0;
  uint64_t kept_cas = 0;  // The token of an item that is being moved; 0 for a new one.
  int64_t deadline_ms = kDeadlineNever;
};

// A view of the item at an address. Copying it is free; the bytes belong to the segment.
class Item {
 public:
  static constexpr size_t kHeadBytes = 9;
  static constexpr size_t kFlagsBytes = 4;
  static constexpr size_t kCasBytes = 8;
  static constexpr size_t kOverheadMax = kHeadBytes + kFlagsBytes + kCasBytes;

  explicit Item(char* at) : at_(at) {}

  // Bytes an item takes in a segment, padding included.
  static constexpr size_t BytesFor(size_t key, size_t value, bool has_flags, bool has_cas) {
    const size_t n =
        kHeadBytes + (has_flags ? kFlagsBytes : 0) + (has_cas ? kCasBytes : 0) + key + value;
    return (n + kItemAlign - 1) & ~(kItemAlign - 1);
  }
  static size_t BytesFor(const ItemSpec& spec) {
    return BytesFor(spec.key.size(), spec.value.size(), spec.flags != 0, spec.kept_cas != 0);
  }

  // Fills BytesFor(spec) bytes. Nobody else may know of the place yet.
  void Write(const ItemSpec& spec) {
    const bool has_flags = spec.flags != 0;
    const bool has_cas = spec.kept_cas != 0;
    Word().store((static_cast<uint64_t>(spec.deadline_ms) << (kValueBits + 2)) |
                     (uint64_t{spec.value.size()} << 2) | (uint64_t{has_flags} << 1) |
                     uint64_t{has_cas},
                 std::memory_order_relaxed);
    at_[8] = static_cast<char>(spec.key.size());
    char* to = at_ + kHeadBytes;
    if (has_flags) to = Put(to, &spec.flags, kFlagsBytes);
    if (has_cas) to = Put(to, &spec.kept_cas, kCasBytes);
    to = Put(to, spec.key.data(), spec.key.size());
    Put(to, spec.value.data(), spec.value.size());
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
  uint32_t flags() const {
    uint32_t flags = 0;
    if (HasFlags(word())) std::memcpy(&flags, at_ + kHeadBytes, kFlagsBytes);
    return flags;
  }
  // The carried token, or 0 if the item lies where it was written.
  uint64_t kept_cas() const {
    uint64_t cas = 0;
    const uint64_t w = word();
    if (HasCas(w)) {
      std::memcpy(&cas, at_ + kHeadBytes + (HasFlags(w) ? kFlagsBytes : 0), kCasBytes);
    }
    return cas;
  }
  int64_t deadline_ms() const { return static_cast<int64_t>(word() >> (kValueBits + 2)); }
  size_t bytes() const {
    const uint64_t w = word();
    return BytesFor(key_bytes(), ValueBytes(w), HasFlags(w), HasCas(w));
  }

  // Changes the one field that may change in place. Callers of this serialise among themselves;
  // readers may run beside it.
  void set_deadline_ms(int64_t deadline_ms) {
    const uint64_t rest = word() & ((uint64_t{1} << (kValueBits + 2)) - 1);
    Word().store((static_cast<uint64_t>(deadline_ms) << (kValueBits + 2)) | rest,
                 std::memory_order_relaxed);
  }

 private:
  static bool HasCas(uint64_t word) { return (word & 1) != 0; }
  static bool HasFlags(uint64_t word) { return (word & 2) != 0; }
  static size_t ValueBytes(uint64_t word) {
    return (word >> 2) & ((uint64_t{1} << kValueBits) - 1);
  }
  static size_t KeyAt(uint64_t word) {
    return kHeadBytes + (HasFlags(word) ? kFlagsBytes : 0) + (HasCas(word) ? kCasBytes : 0);
  }
  static char* Put(char* to, const void* from, size_t n) {
    if (n != 0) std::memcpy(to, from, n);
    return to + n;
  }
  // Relaxed everywhere: the item was published by the lock that put its slot into the table, and
  // the deadline is a single field that is right before and after a change.
  std::atomic_ref<uint64_t> Word() const {
    return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(at_));
  }
  uint64_t word() const { return Word().load(std::memory_order_relaxed); }
  size_t key_bytes() const { return static_cast<uint8_t>(at_[8]); }

  char* at_;
};

}  // namespace seg
