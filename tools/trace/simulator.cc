// One list, five ways to choose from it. See simulator.h.
#include "tools/trace/simulator.h"

namespace trace {

Simulator::Simulator(Policy policy, uint64_t capacity_bytes, uint32_t keys,
                     uint64_t object_overhead)
    : policy_(policy),
      capacity_(policy == Policy::kInfinite ? UINT64_MAX : capacity_bytes),
      object_overhead_(object_overhead),
      ring_(keys),
      objects_(size_t{keys} + 1),
      hand_(keys) {
  objects_[ring_].newer = objects_[ring_].older = ring_;
}

void Simulator::AdvanceTo(int64_t second) {
  now_ = second;
  while (!deaths_.empty() && deaths_.top().first <= second) {
    const auto [deadline, key] = deaths_.top();
    deaths_.pop();
    // Unless it was written again since.
    if (Has(key) && objects_[key].deadline == deadline) Delete(key);
  }
}

bool Simulator::Get(uint32_t key) {
  if (!Has(key)) return false;
  Use(key);
  return true;
}

bool Simulator::Set(uint32_t key, uint64_t bytes, int64_t ttl_sec) {
  const uint64_t charged = bytes + object_overhead_;
  if (charged > capacity_) {
    Delete(key);
    return false;
  }
  Object& object = objects_[key];
  if (Has(key)) {
    used_ -= object.charged;
    Use(key);
  } else {
    object.visited = false;
    PushNewest(key);
  }
  used_ += object.charged = charged;
  object.deadline = ttl_sec == 0 ? kForEver : now_ + ttl_sec;
  if (ttl_sec != 0) deaths_.push({object.deadline, key});
  MakeRoom();
  return true;
}

void Simulator::Delete(uint32_t key) {
  if (!Has(key)) return;
  Unlink(key);
  used_ -= objects_[key].charged;
  objects_[key].charged = 0;
}

void Simulator::PushNewest(uint32_t key) {
  const uint32_t newest = objects_[ring_].older;
  objects_[key].newer = ring_;
  objects_[key].older = newest;
  objects_[newest].newer = key;
  objects_[ring_].older = key;
}

void Simulator::Unlink(uint32_t key) {
  Object& object = objects_[key];
  if (hand_ == key) hand_ = object.newer;
  objects_[object.newer].older = object.older;
  objects_[object.older].newer = object.newer;
}

void Simulator::Use(uint32_t key) {
  objects_[key].visited = true;
  if (policy_ != Policy::kLru) return;
  Unlink(key);
  PushNewest(key);
}

uint32_t Simulator::Victim() {
  if (policy_ == Policy::kClock) {
    for (;;) {
      const uint32_t oldest = objects_[ring_].newer;
      if (!objects_[oldest].visited) return oldest;
      objects_[oldest].visited = false;
      Unlink(oldest);
      PushNewest(oldest);
    }
  }
  if (policy_ == Policy::kSieve) {
    for (;;) {
      if (hand_ == ring_) hand_ = objects_[ring_].newer;
      if (!objects_[hand_].visited) return hand_;
      objects_[hand_].visited = false;
      hand_ = objects_[hand_].newer;
    }
  }
  return objects_[ring_].newer;
}

void Simulator::MakeRoom() {
  while (used_ > capacity_) Delete(Victim());
}

}  // namespace trace
