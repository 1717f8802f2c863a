#include "core/process/user.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace core {

absl::Status BecomeUser(const std::string& user) {
  if (user.empty() || ::geteuid() != 0) return absl::OkStatus();
  uint32_t number = 0;
  const struct passwd* found = ::getpwnam(user.c_str());
  if (found == nullptr && absl::SimpleAtoi(user, &number)) found = ::getpwuid(number);
  if (found == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("server.user: there is no user \"", user, "\""));
  }
  // Groups first: a user that is not root may not change them.
  if (::initgroups(found->pw_name, found->pw_gid) != 0 || ::setgid(found->pw_gid) != 0 ||
      ::setuid(found->pw_uid) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("server.user: cannot become \"", user, "\": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace core
