// [seg]: the Segcache engine.
#pragma once

#include <array>
#include <string>

#include "config/knob.h"

namespace config {

struct Seg {
  enum class Eviction : uint8_t { kNone, kRandom, kFifo, kCte, kUtil, kMerge, kS3Fifo };
  static constexpr std::array<absl::string_view, 7> kEvictions = {
      "none", "random", "fifo", "cte", "util", "merge", "s3fifo"};

  uint64_t heap_size = 64 * kMB;
  uint64_t segment_size = 0;  // 0: sized from the heap, and an item may take several.
  uint32_t hash_power = 0;          // 0: sized from the heap.
  Eviction eviction = Eviction::kS3Fifo;
  bool huge_pages = false;
  bool prefault = false;
  bool track_access = false;

  template <class V>
  void Visit(V& v) {
    v.Size("heap_size", &heap_size, 256 * kKB, 1024 * kGB, "bytes of item storage");
    v.Size("segment_size", &segment_size, 0, 8 * kMB,
           "bytes per segment, which caps the size of an item; 0 sizes segments from heap_size and "
           "lets an item take several");
    v.Int("hash_power", &hash_power, 0, 36,
          "log2 of the item slots in the hash table; 0 sizes it from heap_size");
    v.Choice("eviction", &eviction, kEvictions,
             "which segment gives way when the heap is full; none refuses writes instead");
    v.Bool("huge_pages", &huge_pages,
           "ask the kernel for huge pages (madvise) for items, too, not for the hash table alone; "
           "fewer misses of the TLB, memory comes in pieces of 2MB");
    v.Bool("prefault", &prefault,
           "take all memory at the start, so that no request waits for a page later");
    v.Bool("track_access", &track_access,
           "keep with every item whether and when it was read last, in 4 more bytes");
  }
};

// The same of a cache that has the process to itself: segcache.
struct MainSeg : Seg {
  uint64_t memory = 0;
  std::string restart_file;

  template <class V>
  void Visit(V& v) {
    v.Size("memory", &memory, 0, 1024 * kGB,
           "bytes of everything, instead of heap_size: items, index, 5MB for the process and 512KB "
           "for each worker; 0 leaves it to heap_size");
    Seg::Visit(v);
    v.Text("restart_file", &restart_file,
           "file that keeps the cache while the process is restarted, best on tmpfs "
           "(\"/dev/shm/segcache\"); empty keeps nothing");
  }
};

}  // namespace config
