#include "core/process/user.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace core {

namespace {

bool StaysAsItIs(const std::string& user) { return user.empty() || ::geteuid() != 0; }

absl::StatusOr<const struct passwd*> Find(const std::string& user) {
  uint32_t number = 0;
  const struct passwd* found = ::getpwnam(user.c_str());
  if (found == nullptr && absl::SimpleAtoi(user, &number)) found = ::getpwuid(number);
  if (found == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("server.user: there is no user \"", user, "\""));
  }
  return found;
}

}  // namespace

absl::Status BecomeUser(const std::string& user) {
  if (StaysAsItIs(user)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const struct passwd* const found, Find(user));
  // Groups first: a user that is not root may not change them.
  if (::initgroups(found->pw_name, found->pw_gid) != 0 || ::setgid(found->pw_gid) != 0 ||
      ::setuid(found->pw_uid) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("server.user: cannot become \"", user, "\": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::Status CheckUser(const std::string& user) {
  return StaysAsItIs(user) ? absl::OkStatus() : Find(user).status();
}

}  // namespace core
