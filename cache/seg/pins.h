// Which segments are being read: hazard pointers (Michael, IEEE TPDS 2004) with segments for objects.
//
// A reader publishes the segment that it is about to read in a cell of its own thread's line, and
// then looks again whether the index still points there. Whoever reclaims a segment first takes its
// items out of the index, and then looks at all cells: either the reader sees the index changed, or
// the reclaimer sees the cell. No line is written by two threads; a read costs one ordered store.
//
// A thread has sixteen cells. What does not find a free one (more views held than that, or more
// threads than lines), and what shall be handed to another thread, is counted in the segment
// instead (`pins`), by the same rule: count, then look again.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace seg {

class Pins {
 public:
  static constexpr int kThreadsMax = 256;
  static constexpr int kCellsPerThread = 16;
  using Cell = std::atomic<uint32_t>;  // 0 = free, else 1 + the segment.

  Pins() : lines_(new Line[kThreadsMax]) {}

  // Publishes `segment`, or returns null if the caller must count it instead. The cell may be
  // cleared by any thread.
  Cell* Publish(uint32_t segment) {
    const int thread = ThreadSlot();
    if (thread < 0) return nullptr;
    for (Cell& cell : lines_[thread].cells) {
      // Pairs with Clear() by another thread: what it read is read before Published() sees `segment`.
      if (cell.load(std::memory_order_acquire) != 0) continue;
      // seq_cst: before the second look at the index. Pairs with Published().
      cell.store(segment + 1, std::memory_order_seq_cst);
      return &cell;
    }
    return nullptr;
  }
  // Pairs with the load in Published(): the bytes were read before they are reused.
  static void Clear(Cell* cell) { cell->store(0, std::memory_order_release); }

  // Whether any thread has published `segment`. REQUIRES: the index no longer points there, if the
  // answer "no" is to hold.
  bool Published(uint32_t segment) const;

 private:
  struct alignas(64) Line {
    Cell cells[kCellsPerThread]{};
  };
  static_assert(sizeof(Line) == 64);

  // A number unique among living threads; -1 if there are too many.
  static int ThreadSlot() {
    const int slot = tls_slot_;
    return slot != kNotAsked ? slot : TakeSlot();
  }
  static int TakeSlot();

  static constexpr int kNotAsked = -2;
  // Plain data without a destructor, so that it can be read at any point of a thread's end.
  static inline constinit thread_local int tls_slot_ = kNotAsked;

  friend int WriterShard(int shards);
  friend uint32_t WriterColumn(uint32_t columns);

  const std::unique_ptr<Line[]> lines_;
};

// 0 .. shards - 1, the same for one thread at all times, and evenly spread over threads.
inline int WriterShard(int shards) {
  const int slot = Pins::ThreadSlot();
  return slot < 0 ? 0 : slot % shards;
}
// The same for a power of two.
inline uint32_t WriterColumn(uint32_t columns) {
  return static_cast<uint32_t>(Pins::ThreadSlot()) & (columns - 1);
}

}  // namespace seg
