// Miss ratios by cache and memory: what a replay finds out, as a table, as CSV and as a picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace trace {

struct Point {
  std::string cache;          // "segcache s3fifo", "clock"
  uint64_t memory_bytes = 0;  // What was asked for; 0 = as much as it takes.
  uint64_t used_bytes = 0;    // What it took at the end.
  uint64_t gets = 0;
  uint64_t misses = 0;
  uint64_t sets = 0;          // Fills included.
  uint64_t sets_refused = 0;
  uint64_t evicted = 0;
  double seconds = 0;         // Of this machine's time.

  double miss_ratio() const {
    return gets == 0 ? 0 : static_cast<double>(misses) / static_cast<double>(gets);
  }
};

// A row a cache, a column a memory; "!" marks refused sets. `floor` is the infinite cache.
std::string TableOf(const std::vector<Point>& points, const Point& floor);
// A line a point, under a header.
std::string CsvOf(absl::string_view trace, const std::vector<Point>& points, const Point& floor);
// Miss ratio over memory, a line a cache: a whole SVG file.
std::string SvgOf(absl::string_view title, const std::vector<Point>& points, const Point& floor);

}  // namespace trace
