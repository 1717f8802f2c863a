// [klog]: the command log, a line for every Nth command. Its lines: proto/memcache/klog.h.
#pragma once

#include "config/knob.h"

namespace config {

struct Klog {
  std::string file;                                   // Empty: off.
  uint32_t sample = 100;                              // Pelikan's, as are those below.
  uint64_t max_size = kGB;
  std::string backup;                                 // Empty: the file with ".old" after it.
  uint32_t queue_lines = 4096;                        // Of all workers.
  absl::Duration interval = absl::Milliseconds(100);  // What a crash may lose.

  bool enabled() const { return !file.empty() && sample > 0; }

  template <class V>
  void Visit(V& v) {
    v.Text("file", &file, "file to append to; empty means no command log");
    v.Int("sample", &sample, 0, 1u << 30, Live("every Nth command of a worker is logged; 0 means none"));
    v.Size("max_size", &max_size, 0, 1024 * kGB,
           "bytes at which the file is renamed to backup and begun anew; 0 means never");
    v.Text("backup", &backup,
           "name of the one file kept when max_size is reached; empty adds .old to file");
    v.Int("queue_lines", &queue_lines, 16, 1u << 20,
          "lines that may wait for the writer; more are dropped and counted");
    v.Duration("interval", &interval, absl::Milliseconds(1), absl::Seconds(10),
               "how often waiting lines are written");
  }
};

}  // namespace config
