// See memory.h.
#include "cache/seg/memory.h"

#include <utility>

#include "core/base/status.h"

namespace seg {
namespace {

uint64_t ReservedFor(const Plan& plan) {
  return plan.heap.shares ? 0 : HashTable::OverflowBytesFor(plan.items_max);
}

}  // namespace

absl::StatusOr<Memory> Memory::Create(const Plan& plan, const PageWishes& wishes,
                                      const std::string& file) {
  Memory memory(plan);
  const uint64_t bytes = plan.table_bytes() + plan.heap_bytes();
  if (file.empty()) {
    ASSIGN_OR_RETURN(memory.mapping_, Mapping::Create(bytes + ReservedFor(plan)));
  } else {
    ASSIGN_OR_RETURN(memory.file_, RestartFile::Open(file, plan));
  }
  RETURN_IF_ERROR(WishPages(memory.table(), bytes, wishes));
  return memory;
}

HashTable::Memory Memory::ForTable() const {
  const uint64_t reserved = ReservedFor(plan_);
  return {table(), heap() + plan_.heap_bytes() + reserved, reserved,
          plan_.heap.shares ? plan_.heap.segment_bytes / 2 : 0};
}

HeapPlan Memory::ForHeap() const {
  HeapPlan plan = plan_.heap;
  plan.memory = heap();
  plan.ghost_memory = file_ != nullptr ? file_->ghosts() : nullptr;
  return plan;
}

}  // namespace seg
