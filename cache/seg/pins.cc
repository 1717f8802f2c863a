// The numbers of threads, and the look at all cells. See pins.h.
#include "cache/seg/pins.h"

#include <array>
#include <bit>

namespace seg {
namespace {

// One number serves all caches of the process: a bitmap of those in use, and how far it ever got.
constinit std::array<std::atomic<uint64_t>, Pins::kThreadsMax / 64> taken{};
constinit std::atomic<int> ever_taken{0};

int Take() {
  for (size_t word = 0; word < taken.size(); ++word) {
    uint64_t bits = taken[word].load(std::memory_order_relaxed);
    while (~bits != 0) {
      const int bit = std::countr_one(bits);
      // Pairs with the release in Give(): what the last owner did happened before.
      if (!taken[word].compare_exchange_weak(bits, bits | uint64_t{1} << bit,
                                             std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
        continue;
      }
      const int slot = static_cast<int>(word) * 64 + bit;
      int ever = ever_taken.load(std::memory_order_seq_cst);
      // seq_cst: before this thread's first cell is published. Pairs with the load in Published().
      while (ever <= slot &&
             !ever_taken.compare_exchange_weak(ever, slot + 1, std::memory_order_seq_cst,
                                               std::memory_order_seq_cst)) {
      }
      return slot;
    }
  }
  return -1;
}

void Give(int slot) {
  taken[static_cast<size_t>(slot) / 64].fetch_and(~(uint64_t{1} << (slot % 64)),
                                                  std::memory_order_release);
}

struct Owner {
  int* slot = nullptr;
  ~Owner() {
    if (slot == nullptr) return;
    if (*slot >= 0) Give(*slot);
    *slot = -1;
  }
};

}  // namespace

int Pins::TakeSlot() {
  thread_local Owner owner;
  tls_slot_ = Take();
  owner.slot = &tls_slot_;
  return tls_slot_;
}

bool Pins::Published(uint32_t segment) const {
  const int lines = ever_taken.load(std::memory_order_seq_cst);
  for (int i = 0; i < lines; ++i) {
    for (const Cell& cell : lines_[i].cells) {
      if (cell.load(std::memory_order_seq_cst) == segment + 1) return true;
    }
  }
  return false;
}

}  // namespace seg
