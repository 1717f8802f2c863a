// Who the process runs as.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace core {

// Becomes `user` (a name, or a number) and its groups if the process is root's; else, or if `user` is
// empty, changes nothing, as memcached's -u. INVALID_ARGUMENT for a user that is not known.
// REQUIRES: no other thread has been started.
absl::Status BecomeUser(const std::string& user);

// What BecomeUser() would say of a user that is not known; becomes nobody.
absl::Status CheckUser(const std::string& user);

}  // namespace core
