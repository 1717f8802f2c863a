#include "core/process/reload.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace core {

size_t LogChanges(const std::vector<config::Change>& changes, Log* log) {
  std::vector<std::string> waiting;
  for (const config::Change& change : changes) {
    if (change.live) {
      log->Info("configuration: %s: %s -> %s", change.path, change.before, change.after);
    } else {
      waiting.push_back(change.path);
    }
  }
  if (!waiting.empty()) {
    log->Warning("configuration: changed, but needs a restart: %s", absl::StrJoin(waiting, ", "));
  }
  if (changes.empty()) log->Info("configuration: read again, nothing changed");
  return waiting.size();
}

}  // namespace core
