// The property that fuzzing and the replay of seeds check: the outcomes of an input do not depend
// on how it was cut, and Parse never claims bytes it was not given (CodecDriver checks that).
#pragma once

#include <cstddef>

#include "core/base/check.h"
#include "tests/proto/memcache/codec_driver.h"

namespace proto::memcache {

// Aborts if the property fails. Longer inputs are only parsed whole: past this length memcached,
// and so the codec, may hang up on a line because its end has not arrived yet.
inline void CheckFragmentation(absl::string_view wire) {
  constexpr Limits kSmall{59 + 1 + 64};  // So that short inputs can hold values that are too large.
  const auto whole = OutcomesInSteps(wire, wire.size() + 1, false, kSmall);
  if (wire.size() > TextCodec::kUnfinishedLineBytesMax) return;
  CHECK(OutcomesInSteps(wire, 1, false, kSmall) == whole);
  CHECK(OutcomesInSteps(wire, 1, true, kSmall) == whole);
  CHECK(OutcomesInSteps(wire, 7, false, kSmall) == whole);
  // Every cut of a short input, some cuts of a longer one.
  constexpr size_t kCutsMax = 128;
  const size_t stride = wire.size() / kCutsMax + 1;
  for (size_t cut = stride; cut < wire.size(); cut += stride) {
    CHECK(OutcomesCutAt(wire, cut, kSmall) == whole);
  }
}

}  // namespace proto::memcache
