// [seg]: the Segcache engine.
#pragma once

#include <array>

#include "config/knob.h"

namespace config {

struct Seg {
  enum class Eviction : uint8_t { kNone, kFifo };
  static constexpr std::array<absl::string_view, 2> kEvictions = {"none", "fifo"};

  uint64_t heap_size = 64 * kMB;
  uint64_t segment_size = 1 * kMB;  // Also the largest item. Segcache's default.
  uint32_t hash_power = 0;          // 0: sized from the heap.
  Eviction eviction = Eviction::kFifo;

  template <class V>
  void Visit(V& v) {
    v.Size("heap_size", &heap_size, 256 * kKB, 1024 * kGB, "bytes of item storage");
    v.Size("segment_size", &segment_size, 4 * kKB, 8 * kMB,
           "bytes per segment; caps the size of an item");
    v.Int("hash_power", &hash_power, 0, 36,
          "log2 of the item slots in the hash table; 0 sizes it from heap_size");
    v.Choice("eviction", &eviction, kEvictions,
             "which segment gives way when the heap is full; none refuses writes instead");
  }
};

}  // namespace config
