// Replays in this process, on the trace's clock: the engine and the simulators. A trace of hours
// takes a second or two.
#pragma once

#include "absl/status/statusor.h"
#include "config/seg.h"
#include "tools/trace/curve.h"
#include "tools/trace/recorded.h"
#include "tools/trace/simulator.h"

namespace trace {

// Replays through the engine with `options`, but for a heap of such a size that heap, index,
// headers and fingerprints together take `memory_bytes`. INVALID_ARGUMENT if that is too little.
// `heap_hint`, if not null, is the size to begin with, if it is not 0, and receives the one found:
// the next policy needs about the same.
absl::StatusOr<Point> ReplayEngine(const Recorded& trace, config::Seg options,
                                   uint64_t memory_bytes, uint64_t* heap_hint);

Point Simulate(const Recorded& trace, Simulator::Policy policy, uint64_t memory_bytes,
               uint64_t object_overhead = Simulator::kObjectOverhead);

}  // namespace trace
