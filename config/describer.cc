#include "config/describer.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace config {

std::string Table(const std::vector<Knob>& knobs) {
  int path = 0, type = 0, value = 0;
  for (const Knob& knob : knobs) {
    path = std::max(path, static_cast<int>(knob.path.size()));
    type = std::max(type, static_cast<int>(knob.type.size()));
    value = std::max(value, static_cast<int>(knob.default_value.size()));
  }
  std::string out;
  for (const Knob& knob : knobs) {
    absl::StrAppendFormat(&out, "%-*s  %-*s  %-*s  %-7s  %s\n", path, knob.path, type, knob.type,
                          value, knob.default_value, knob.live ? "live" : "restart",
                          knob.sentence);
  }
  return out;
}

}  // namespace config
