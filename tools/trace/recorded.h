// A whole trace in memory, for replays that go through it many times: 32 bytes a request, and every
// identifier once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/trace/request.h"

namespace trace {

struct Recorded {
  struct One {
    int64_t second;
    int64_t ttl_sec;
    uint32_t key;  // A number of this trace: 0 .. keys - 1.
    int32_t value_bytes;
    uint8_t key_bytes;
    Op op;
  };

  // Reads a file to its end; the errors of Reader.
  static absl::StatusOr<Recorded> Read(const std::string& path);

  // The identifier of key number `key`.
  absl::string_view IdOf(uint32_t key) const {
    return absl::string_view(text).substr(ends[key], ends[key + 1] - ends[key]);
  }
  uint32_t keys() const { return static_cast<uint32_t>(ends.size() - 1); }

  std::vector<One> requests;
  std::string text;
  std::vector<size_t> ends = {0};
  uint64_t lines_skipped = 0;
};

}  // namespace trace
