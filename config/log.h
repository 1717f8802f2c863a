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
  // Past it the oldest waiting line is dropped and counted. The queue takes 400 bytes a line, used
  // or not.
  uint32_t queue_lines = 512;

  template <class V>
  void Visit(V& v) {
    v.Choice("level", &level, kLevels, Live("least severe level that is written"));
    v.Text("file", &file, Live("file to append to; empty means stderr"));
    v.Size("max_size", &max_size, 0, 1024 * kGB,
           Live("bytes at which the file is renamed to backup and begun anew; 0 means never"));
    v.Text("backup", &backup,
           Live("name of the one file kept when max_size is reached; empty adds .old to file"));
    v.Int("queue_lines", &queue_lines, 16, 1u << 20,
          "lines that may wait for the writer before the oldest is dropped");
  }
};

}  // namespace config
