#include "config/names.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace config {

size_t EditDistance(absl::string_view a, absl::string_view b) {
  // Optimal string alignment: rows of the usual table, three of them alive for the swap.
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string Nearest(absl::string_view key, const std::vector<std::string>& here,
                    const std::vector<std::string>& everywhere) {
  // A third of the letters may be wrong; one always may.
  size_t best = std::max<size_t>(1, key.size() / 3) + 1;
  std::string nearest;
  for (const std::string& name : here) {
    const size_t distance = EditDistance(key, name);
    if (distance < best && distance < name.size()) {
      best = distance;
      nearest = name;
    }
  }
  if (!nearest.empty()) return nearest;
  for (const std::string& path : everywhere) {
    if (absl::EndsWith(path, "." + std::string(key))) return path;
  }
  return nearest;
}

}  // namespace config
