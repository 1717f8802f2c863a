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
  if (file.empty()) {
    RETURN_IF_ERROR(memory.MapAnonymous());
  } else {
    ASSIGN_OR_RETURN(memory.file_, RestartFile::Open(file, plan));
    memory.plan_ = memory.file_->plan();
  }
  RETURN_IF_ERROR(memory.Wish(wishes));
  return memory;
}

// For the table, and what of the heap there is memory for.
absl::Status Memory::Wish(const PageWishes& wishes) {
  // Every request goes to a bucket anywhere in the table, which is soon touched all over. In pages of
  // 4 KB most of them miss the TLB, too: a set among a million keys costs 240 ns instead of 280
  // (engine_bench, AMD EPYC, a virtual machine, whose page tables are walked twice).
  if (file_ == nullptr) {
    RETURN_IF_ERROR(WishPages(table(), plan_.table_bytes(), {.huge_pages = true}));
  }
  if (file_ == nullptr || !file_->restored()) {
    return WishPages(table(), plan_.table_bytes() + plan_.heap_bytes(), wishes);
  }
  absl::Status status;
  file_->VisitAllocated([&](uint64_t from, uint64_t bytes) {
    if (status.ok()) status = WishPages(file_->data() + from, bytes, wishes);
  });
  return status;
}

absl::Status Memory::MapAnonymous() {
  const auto map = [this] {
    return Mapping::Create(plan_.table_bytes() + plan_.heap_span_bytes() + ReservedFor(plan_));
  };
  auto mapping = map();
  if (!mapping.ok() && plan_.heap.surplus != 0) {
    plan_.heap.surplus = 0;  // Where addresses are counted as memory.
    mapping = map();
  }
  if (!mapping.ok()) return mapping.status();
  mapping_ = *std::move(mapping);
  if (plan_.heap.surplus == 0) return absl::OkStatus();
  pages_ = AnonymousPages(heap(), plan_.heap_span_bytes());
  if (pages_ == nullptr) plan_.heap.surplus = 0;
  return absl::OkStatus();
}

HashTable::Memory Memory::ForTable() const {
  const uint64_t reserved = ReservedFor(plan_);
  return {table(), heap() + plan_.heap_span_bytes() + reserved, reserved,
          plan_.heap.shares ? plan_.heap.segment_bytes / 2 : 0};
}

HeapPlan Memory::ForHeap() const {
  HeapPlan plan = plan_.heap;
  plan.memory = heap();
  plan.pages = file_ != nullptr ? file_->heap_pages() : pages_.get();
  plan.ghost_memory = file_ != nullptr ? file_->ghosts() : nullptr;
  return plan;
}

}  // namespace seg
