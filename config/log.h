// [log]: where diagnostics go.
#pragma once

#include <array>

#include "config/knob.h"

namespace config {

struct Log {
  enum class Level : uint8_t { kTrace, kDebug, kInfo, kWarning, kError };
  static constexpr std::array<absl::string_view, 5> kLevels = {"trace", "debug", "info", "warning",
                                                               "error"};
  Level level = Level::kInfo;
  std::string file;             // Empty: stderr.
  uint64_t max_size = 0;        // 0: the file is never rotated here.
  std::string backup;           // Empty: the file with ".old" after it.
  uint32_t queue_lines = 4096;  // Past it the oldest waiting line is dropped and counted.

  template <class V>
  void Visit(V& v) {
    v.Choice("level", &level, kLevels, "least severe level that is written");
    v.Text("file", &file, "file to append to; empty means stderr");
    v.Size("max_size", &max_size, 0, 1024 * kGB,
           "bytes at which the file is renamed to backup and begun anew; 0 means never");
    v.Text("backup", &backup,
           "name of the one file kept when max_size is reached; empty adds .old to file");
    v.Int("queue_lines", &queue_lines, 16, 1u << 20,
          "lines that may wait for the writer before the oldest is dropped");
  }
};

}  // namespace config
