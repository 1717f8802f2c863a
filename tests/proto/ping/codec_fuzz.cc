// libFuzzer: any bytes at all. What is parsed must not depend on how the input was cut, and Parse
// must not claim bytes it was not given.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/base/check.h"
#include "proto/ping/codec.h"

namespace {

using core::ParseStatus;

// One letter an outcome: P(ing), E(rror), C(lose), Q(uit).
std::string Outcomes(absl::string_view wire, size_t step) {
  proto::ping::Codec codec;
  proto::ping::Request request;
  std::string unread, outcomes;
  for (size_t at = 0; at < wire.size(); at += step) {
    const absl::string_view piece = wire.substr(at, step);
    unread.append(piece.data(), piece.size());
    while (!unread.empty()) {
      const core::ParseResult result = codec.Parse(unread, &request);
      CHECK(result.consumed <= unread.size());
      unread.erase(0, result.consumed);
      if (result.status == ParseStatus::kNeedMore) break;
      CHECK(result.consumed > 0);
      if (result.status == ParseStatus::kQuit) return outcomes + "Q";
      if (result.close) return outcomes + "C";
      outcomes += result.status == ParseStatus::kComplete ? "P" : "E";
    }
  }
  return outcomes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view wire(reinterpret_cast<const char*>(data), size);
  const std::string whole = Outcomes(wire, size + 1);
  CHECK(Outcomes(wire, 1) == whole);
  CHECK(Outcomes(wire, 7) == whole);
  return 0;
}
