// Table and CSV. See curve.h; the picture is in curve_svg.cc.
#include "tools/trace/curve.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/units.h"

namespace trace {
namespace {

std::vector<std::string> CachesOf(const std::vector<Point>& points) {
  std::vector<std::string> caches;
  for (const Point& point : points) {
    if (std::find(caches.begin(), caches.end(), point.cache) == caches.end()) {
      caches.push_back(point.cache);
    }
  }
  return caches;
}

}  // namespace

std::string TableOf(const std::vector<Point>& points, const Point& floor) {
  std::set<uint64_t> memories;
  for (const Point& point : points) memories.insert(point.memory_bytes);
  std::string table = absl::StrFormat("%-18s", "miss ratio");
  for (const uint64_t memory : memories) {
    absl::StrAppendFormat(&table, "%10s ", config::SpellSize(memory));
  }
  for (const std::string& cache : CachesOf(points)) {
    absl::StrAppendFormat(&table, "\n%-18s", cache);
    for (const uint64_t memory : memories) {
      const auto at = std::find_if(points.begin(), points.end(), [&](const Point& point) {
        return point.cache == cache && point.memory_bytes == memory;
      });
      if (at == points.end()) {
        absl::StrAppendFormat(&table, "%10s ", "-");
      } else {
        absl::StrAppendFormat(&table, "%10.4f%c", at->miss_ratio(),
                              at->sets_refused == 0 ? ' ' : '!');
      }
    }
  }
  absl::StrAppendFormat(&table, "\n%-18s%10.4f   in %s\n", "infinite", floor.miss_ratio(),
                        config::SpellSize(floor.used_bytes >> 20 << 20));
  return table;
}

std::string CsvOf(absl::string_view trace, const std::vector<Point>& points, const Point& floor) {
  std::string csv =
      "trace,cache,memory_bytes,used_bytes,gets,misses,miss_ratio,above_floor,sets,sets_refused,"
      "evicted,seconds\n";
  const auto add = [&](const Point& point) {
    absl::StrAppendFormat(&csv, "%s,%s,%d,%d,%d,%d,%.5f,%.5f,%d,%d,%d,%.2f\n", trace, point.cache,
                          point.memory_bytes, point.used_bytes, point.gets, point.misses,
                          point.miss_ratio(), point.miss_ratio() - floor.miss_ratio(), point.sets,
                          point.sets_refused, point.evicted, point.seconds);
  };
  for (const Point& point : points) add(point);
  add(floor);
  return csv;
}

}  // namespace trace
