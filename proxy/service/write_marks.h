// Which keys are being written, as all workers of one cache see it: what tells whether the answer to
// a read begun some time ago may still be shown to others, or be kept.
//
// A key falls into one of kStripes words; one more word stands for the whole cache (flush_all, and
// another process that serves the same clients while one hands over to the other).
//
//    63                24 23        0
//   [ changes           ][ writers ]     a write that begins: + one of each
//                                        a write that ends:   - a writer, + a change
//
// A write begins before its first call leaves and ends before the client hears of it. Take the
// moment of a read before its call leaves. Then
//   * if the moment is the same later on, and not one in which every key is written, no write of the
//     key was acknowledged meanwhile: whoever asks now may be given the answer (one flight for many
//     gets);
//   * if besides nobody was writing in that moment, no write of this process overlapped the read or
//     came after it: the answer may be kept (near_cache.h).
// A write's own moment is that of its beginning, itself included: if it was the only writer then and
// the moment is the same when it was acknowledged, what it stored is what the cache holds.
//
// Keys that share a word only make each other less lucky. Changes wrap after 2^40, which would have
// to happen within one read to matter. Any thread; no locks. Begin and End are sequentially
// consistent so that a Now() under one of the engine's locks agrees with who took that lock when.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace proxy {

class WriteMarks {
 public:
  struct Moment {
    uint64_t key = 0;
    uint64_t all = 0;
    bool operator==(const Moment&) const = default;
    uint64_t writers() const { return (key & kWriters) + (all & kWriters); }
    // Every key may be written now, by somebody whose writes do not change the moment.
    bool all_written() const { return (all & kWriters) != 0; }
  };

  WriteMarks() : words_(new std::atomic<uint64_t>[kStripes]()) {}

  Moment Now(uint64_t key_hash) const {
    return {Word(key_hash).load(std::memory_order_seq_cst), all_.load(std::memory_order_seq_cst)};
  }
  // The moment just after it began.
  Moment Begin(uint64_t key_hash) {
    return {Word(key_hash).fetch_add(kBegun, std::memory_order_seq_cst) + kBegun,
            all_.load(std::memory_order_seq_cst)};
  }
  void End(uint64_t key_hash) { Word(key_hash).fetch_add(kEnded, std::memory_order_seq_cst); }
  // The same for every key at once.
  void BeginAll() { all_.fetch_add(kBegun, std::memory_order_seq_cst); }
  void EndAll() { all_.fetch_add(kEnded, std::memory_order_seq_cst); }

 private:
  static constexpr uint64_t kOneChange = uint64_t{1} << 24;  // More writes under way: impossible.
  static constexpr uint64_t kWriters = kOneChange - 1;
  static constexpr uint64_t kBegun = kOneChange + 1;
  static constexpr uint64_t kEnded = kOneChange - 1;
  // With a hundred writes under way a word is shared with one of them by less than 1 in 100; 128 KiB.
  static constexpr uint64_t kStripes = 16384;

  std::atomic<uint64_t>& Word(uint64_t key_hash) const { return words_[key_hash % kStripes]; }

  const std::unique_ptr<std::atomic<uint64_t>[]> words_;
  std::atomic<uint64_t> all_{0};
};

}  // namespace proxy
