// What a start needs from the machine besides the configuration, looked at without a start: for
// --check, which refuses in the same words.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "config/listeners.h"

namespace core {

// The first of what a start as this user would end with, or OK: `user` that is not known, a file of
// users that cannot be used, a host that is not found (which may take a while).
absl::Status CheckStart(const std::string& user,
                        const std::vector<config::PlacedListener>& listeners);

}  // namespace core
