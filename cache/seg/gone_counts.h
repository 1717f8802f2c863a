// How many items and bytes have left each segment.
//
// Whoever takes an item out of the index counts it here, often in a segment that another thread is
// writing to: of a hot key that all write, each replaces what another has just written. So threads
// are spread over columns, and a segment's count is the sum of its cells, one a column. Eight
// segments share the line of a column.
//
// Any thread may count and sum; a segment's cells are set while nothing of it is in the index.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "cache/seg/pins.h"

namespace seg {

class GoneCounts {
 public:
  // Items in the upper half, bytes in the lower.
  using Cell = std::atomic<uint64_t>;
  static constexpr uint64_t One(size_t bytes) { return (uint64_t{1} << 32) | bytes; }

  // More would make a sum cost more than the lines that change hands.
  static constexpr uint32_t kColumnsMax = 8;

  // For as many threads at once as there are `shards`.
  static uint32_t ColumnsFor(uint32_t shards) {
    return std::bit_ceil(std::clamp(shards, 1u, kColumnsMax));
  }
  GoneCounts(uint32_t segments, int shards)
      : columns_(ColumnsFor(static_cast<uint32_t>(shards))),
        lines_count_(size_t{(segments + kCellsPerLine - 1) / kCellsPerLine} * columns_),
        lines_(new Line[lines_count_]) {}

  uint32_t columns() const { return columns_; }
  // The first cell of `segment`; the next columns' are as far apart as lines are.
  Cell* CellsOf(uint32_t segment) {
    return &lines_[size_t{segment / kCellsPerLine} * columns_].cells[segment % kCellsPerLine];
  }
  // An item of `bytes` has left.
  void Add(uint32_t segment, size_t bytes) {
    // seq_cst: pairs with the load in Sum(), see Segment::Move().
    CellsOf(segment)[WriterColumn(columns_) * kCellsPerLine].fetch_add(One(bytes),
                                                                       std::memory_order_seq_cst);
  }
  static uint64_t Sum(const Cell* cells, uint32_t columns) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < columns; ++i) {
      sum += cells[i * kCellsPerLine].load(std::memory_order_seq_cst);
    }
    return sum;
  }
  void Set(uint32_t segment, uint64_t gone) {
    for (uint32_t i = 0; i < columns_; ++i) {
      CellsOf(segment)[i * kCellsPerLine].store(i == 0 ? gone : 0, std::memory_order_relaxed);
    }
  }
  size_t bytes() const { return lines_count_ * sizeof(Line); }

 private:
  static constexpr uint32_t kCellsPerLine = 8;
  struct alignas(64) Line {
    Cell cells[kCellsPerLine]{};
  };
  static_assert(sizeof(Line) == 64);

  const uint32_t columns_;
  const size_t lines_count_;
  const std::unique_ptr<Line[]> lines_;
};

}  // namespace seg
