#include "config/changes.h"

#include "absl/container/flat_hash_map.h"

namespace config {
namespace {

using ByPath = absl::flat_hash_map<absl::string_view, const Fields::Field*>;

ByPath Index(const Fields& fields) {
  ByPath index;
  for (const Fields::Field& field : fields.all()) index.emplace(field.path, &field);
  return index;
}

// Items of `these` that `those` does not have.
void Missing(const Fields& these, const Fields& those, absl::string_view what,
             std::vector<Change>* changes) {
  for (const std::string& item : these.items()) {
    const auto& others = those.items();
    if (std::find(others.begin(), others.end(), item) != others.end()) continue;
    changes->push_back({.path = absl::StrCat(item, " (", what, ")"), .before = "", .after = ""});
  }
}

}  // namespace

std::vector<Change> Differences(const Fields& before, const Fields& fresh) {
  std::vector<Change> changes;
  const ByPath old = Index(before);
  for (const Fields::Field& field : fresh.all()) {
    const auto found = old.find(field.path);
    if (found == old.end() || field.same(field.at, found->second->at)) continue;
    changes.push_back({field.path, found->second->printed, field.printed, field.live});
  }
  Missing(fresh, before, "new", &changes);
  Missing(before, fresh, "gone", &changes);
  return changes;
}

void TakeOver(const Fields& fresh, const Fields& into) {
  const ByPath to = Index(into);
  for (const Fields::Field& field : fresh.all()) {
    if (!field.live) continue;
    const auto found = to.find(field.path);
    if (found != to.end()) field.assign(found->second->at, field.at);
  }
}

}  // namespace config
