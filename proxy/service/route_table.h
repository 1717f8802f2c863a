// Which of a listener's caches has a key: the table behind [[cache.route]].
//
// Caches are numbered, the listener's own first (0), then those that routes lead to, in the order in
// which routes first name them. Prefixes are kept sorted, each knowing the longest other one that it
// begins with. The last one that is not past a key is the one that the key begins with, or else some
// prefix of it is: a binary search and a few steps up, without hashing, whatever the number of routes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "config/momento.h"

namespace proxy {

// Immutable; any thread.
class RouteTable {
 public:
  static constexpr size_t kOwn = 0;
  static constexpr size_t kNone = ~size_t{0};

  struct Choice {
    size_t cache = kOwn;  // kNone: no cache of this listener has the key.
    size_t strip = 0;     // Bytes at the front of the key that the cache is not told.
  };

  // The routes of a listener's entry, as config/validate.h lets them be.
  explicit RouteTable(const config::Cache& listener);

  // The cache_names, by number.
  const std::vector<std::string>& caches() const { return caches_; }
  // The number of the cache so called; kNone if the listener does not lead to it.
  size_t Find(absl::string_view cache_name) const;

  // Name and value of the lines of "stats routes": three a route, by prefix, and one for keys that
  // have none.
  std::vector<std::pair<std::string, std::string>> Stats() const;

  // The cache for `key`. A client that names one of the caches (`name` not empty) gets that one, with
  // the key as it is; a name that is none of theirs counts as none.
  Choice Choose(absl::string_view key, absl::string_view name = {}) const;

 private:
  static constexpr uint32_t kTop = ~uint32_t{0};
  struct Route {
    std::string prefix;
    uint32_t cache;
    bool strip;
    uint32_t up = kTop;  // The longest other one that this one begins with.
  };

  bool may_own_;
  std::vector<std::string> caches_;
  std::vector<Route> routes_;  // By prefix.
};

}  // namespace proxy
