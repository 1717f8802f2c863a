// Segments that become overflow buckets of the index. See segment_heap.h.
//
// Overflow buckets are counted down from the end of the heap, so it is always the last segment in
// service that goes: it is emptied like any victim, zeroed, and told to the table. With it goes the
// memory for one: if the last segment is free because there are more of them than memory, something
// else is evicted. The table asks
// when less than half a segment is left, and is answered by whoever next looks for a segment; a
// writer that finds no overflow bucket all the same comes to MakeRoomInIndex().
#include <cstring>
#include <thread>

#include "cache/seg/segment_heap.h"

namespace seg {
namespace {

// A last segment is drained once, and sealed before if it is open; more only if others meddle.
constexpr int kRetireTries = 8;

}  // namespace

SegmentHeap::Claim SegmentHeap::ClaimLast(int64_t now_ms, bool* taken, Mercy* mercy, Held* held) {
  Reap();
  *mercy = evicts_ && FreeSegments() <= reserve_ ? Mercy::kUsed : Mercy::kAll;
  if (in_service_ <= in_service_least_) return {};
  const uint32_t last = in_service_ - 1;
  Segment& s = segments_[last];
  if (s.Is(SegmentState::kFree) && s.listed) {
    if (FreeSegments() == 0) return FindVictim(now_ms, held);
    TakeFree(last, static_cast<uint32_t>(segment_bytes_));
    *taken = true;
    return {};
  }
  const uint32_t owner = s.Is(SegmentState::kPart) ? s.first : last;
  const bool in_use =
      segments_[owner].Is(SegmentState::kOpen) || segments_[owner].Is(SegmentState::kSealed);
  if (!in_use || s.wanted) {
    held->briefly = true;  // Somebody is about to open it, or empties it.
    return {};
  }
  return MayGo(segments_[owner], held) ? ClaimFor(owner) : Claim{};
}

bool SegmentHeap::RetireLast(int64_t now_ms) {
  core::MutexLock one_at_a_time(retire_mu_);
  for (int tries = 0; tries < kRetireTries; ++tries) {
    bool taken = false;
    Mercy mercy;
    Held held;
    Claim claim;
    uint32_t last = 0;
    {
      core::MutexLock lock(mu_);
      claim = ClaimLast(now_ms, &taken, &mercy, &held);
      last = in_service_ - 1;
    }
    if (taken) return Retire(last);
    switch (claim.kind) {
      case Claim::Kind::kSeal:
        SealIfTail(claim);
        break;
      case Claim::Kind::kDrain:
        Drain(claim.segment, now_ms, mercy);
        break;
      case Claim::Kind::kSweep:  // Not what ClaimLast() claims.
      case Claim::Kind::kNothing:
        if (!held.briefly) return false;
        std::this_thread::yield();
    }
  }
  return false;
}

bool SegmentHeap::Retire(uint32_t last) {
  if (!PayForTaken(last)) return false;
  uint32_t backed = 0;
  {
    core::MutexLock lock(mu_);
    Segment& s = segments_[last];
    backed = s.backed;
    --in_transit_;
    Charge(last, 0);
    --paid_;
    s.Move(SegmentState::kRetired);
    in_service_ = last;
  }
  // Behind that it is zeroed when it comes.
  std::memset(memory_ + size_t{last} * segment_bytes_, 0, backed);
  table_->AddOverflow(segment_bytes_);
  return true;
}

SegmentHeap::Claim SegmentHeap::FindVictim(int64_t now_ms, Held* held) {
  Claim claim = FindDead(now_ms, held);
  if (claim.kind == Claim::Kind::kNothing) claim = FindEvictable(SegmentState::kSealed, held);
  if (claim.kind == Claim::Kind::kNothing) claim = FindEvictable(SegmentState::kOpen, held);
  return claim;
}

bool SegmentHeap::MakeRoomInIndex(int64_t now_ms) {
  if (RetireLast(now_ms)) return true;
  Claim claim;
  Held held;
  {
    core::MutexLock lock(mu_);
    claim = FindVictim(now_ms, &held);
  }
  if (claim.kind == Claim::Kind::kNothing) return false;
  if (claim.kind == Claim::Kind::kSeal) {
    SealIfTail(claim);
  } else {
    Drain(claim.segment, now_ms, Mercy::kNone);
  }
  return true;
}

}  // namespace seg
