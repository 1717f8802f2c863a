// What a heap knows besides the bytes of its items, written down and taken up again. See
// segment_heap.h.
//
// Tails are sealed first: which threads share a shard is another matter next time. The half-empty
// segments that this leaves are joined when memory is short, like all sparse ones.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cache/seg/segment_heap.h"

namespace seg {

SegmentHeap::State SegmentHeap::Rest(SegmentRecord* records) {
  SealAllTails();
  core::MutexLock lock(mu_);
  std::fill_n(records, segment_count_, SegmentRecord());
  for (uint32_t id = 0; id < segment_count_; ++id) {
    const Segment& s = segments_[id];
    SegmentRecord& r = records[id];
    r.backed = s.backed;
    if (s.Is(SegmentState::kRetired)) r.state = static_cast<uint8_t>(SegmentState::kRetired);
    // What waits in limbo is empty, and its readers do not live on.
    if (!s.Is(SegmentState::kSealed) || s.live_items() == 0) continue;
    for (uint32_t part = id + 1; part < id + s.span; ++part) {
      records[part].state = static_cast<uint8_t>(SegmentState::kPart);
      records[part].first = id;
    }
    r.state = static_cast<uint8_t>(SegmentState::kSealed);
    r.span = s.span;
    r.sequence = s.sequence.load(std::memory_order_relaxed);
    r.death_ms = s.death_ms.load(std::memory_order_relaxed);
    r.opened_ms = s.opened_ms;
    r.gone = GoneCounts::Sum(s.gone, s.gone_columns);
    r.used_bytes = s.used_bytes.load(std::memory_order_relaxed);
    r.used_items = s.used_items.load(std::memory_order_relaxed);
    r.ttl_bucket = s.ttl_bucket;
    r.rank = static_cast<uint8_t>(s.rank);
  }
  uint32_t order = 0;
  policy_->InOrder([&](uint32_t id) { records[id].order = ++order; });
  return {floor(), next_sequence_, in_service_, has_evicted_.load(std::memory_order_relaxed)};
}

namespace {

// Whether a record can be of a heap like this one. Checksums have said that it is as it was written;
// this keeps a mistake of ours from becoming a read outside of the heap.
bool IsSane(const SegmentRecord& r, uint32_t id, const SegmentHeap::State& state,
            size_t segment_bytes, uint32_t span_max) {
  const bool in_service = id < state.in_service;
  if (r.backed > segment_bytes) return false;
  switch (static_cast<SegmentState>(r.state)) {
    case SegmentState::kFree:
      return in_service;
    case SegmentState::kRetired:
      return !in_service;
    case SegmentState::kPart:
      return in_service && r.first < id;
    case SegmentState::kSealed:
      return in_service && r.span >= 1 && r.span <= span_max && r.span <= state.in_service - id &&
             r.used_bytes <= r.span * segment_bytes && r.sequence != 0 &&
             r.sequence < state.next_sequence && r.ttl_bucket < kTtlBuckets && r.rank < kRanks;
    default:
      return false;
  }
}

// Whether the memory that segments have, in use or not, is what there is, and enough for what they hold.
// REQUIRES: the records are sane.
bool IsBacked(const SegmentRecord* records, uint32_t in_service, size_t segment_bytes,
              uint64_t bytes_max) {
  uint64_t backed = 0;
  for (uint32_t id = 0; id < in_service; ++id) {
    backed += records[id].backed;
    uint64_t left = records[id].used_bytes;  // 0 unless it is sealed.
    for (uint32_t part = id; left != 0; ++part) {
      const uint64_t here = std::min<uint64_t>(left, segment_bytes);
      if (records[part].backed < here) return false;
      left -= here;
    }
  }
  return backed <= bytes_max;
}

}  // namespace

absl::Status SegmentHeap::Resume(const State& state, const SegmentRecord* records) {
  core::MutexLock lock(mu_);
  const auto wrong = [](absl::string_view what, uint64_t n) {
    return absl::DataLossError(absl::StrCat("its ", what, " ", n, " makes no sense"));
  };
  if (state.in_service > segment_count_ || state.in_service < in_service_least_) {
    return wrong("number of segments", state.in_service);
  }
  for (uint32_t id = 0; id < segment_count_; ++id) {
    if (!IsSane(records[id], id, state, segment_bytes_, span_max_)) return wrong("segment", id);
  }
  const uint32_t paid = paid_ - (segment_count_ - state.in_service);
  if (!IsBacked(records, state.in_service, segment_bytes_, uint64_t{paid} * segment_bytes_)) {
    return wrong("memory of segments", paid);
  }
  free_ = bare_ = Queue();
  free_count_ = 0;
  free_backed_bytes_ = 0;
  floor_.store(state.floor, std::memory_order_seq_cst);
  next_sequence_ = state.next_sequence;
  in_service_ = state.in_service;
  paid_ = paid;
  has_evicted_.store(state.has_evicted, std::memory_order_relaxed);

  std::vector<uint32_t> in_use;
  for (uint32_t id = segment_count_; id-- > 0;) {
    Segment& s = segments_[id];
    const SegmentRecord& r = records[id];
    s.span = r.span;
    s.first = r.first;
    s.state.store(static_cast<SegmentState>(r.state), std::memory_order_seq_cst);
    s.listed = false;
    s.backed = r.backed;
    if (s.Is(SegmentState::kFree)) PushFree(id);
    if (s.Is(SegmentState::kPart) || s.Is(SegmentState::kSealed)) {
      Charge(id, s.backed);
      woken_ = std::max(woken_, id + 1);
    }
    if (!s.Is(SegmentState::kSealed)) continue;
    s.sequence.store(r.sequence, std::memory_order_relaxed);
    s.death_ms.store(r.death_ms, std::memory_order_relaxed);
    s.opened_ms = r.opened_ms;
    gone_.Set(id, r.gone);
    s.used_bytes.store(r.used_bytes, std::memory_order_relaxed);
    s.used_items.store(r.used_items, std::memory_order_relaxed);
    s.ttl_bucket = r.ttl_bucket;
    s.rank = static_cast<Rank>(r.rank);
    in_use.push_back(id);
  }
  std::sort(in_use.begin(), in_use.end(),
            [&](uint32_t a, uint32_t b) { return records[a].sequence < records[b].sequence; });
  for (const uint32_t id : in_use) Enqueue(id);
  std::stable_sort(in_use.begin(), in_use.end(),
                   [&](uint32_t a, uint32_t b) { return records[a].order < records[b].order; });
  for (const uint32_t id : in_use) policy_->Opened(id);
  return absl::OkStatus();
}

}  // namespace seg
