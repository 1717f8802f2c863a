#include "core/process/exit_code.h"

#include <sysexits.h>

namespace core {

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return EX_OK;
    case absl::StatusCode::kOutOfRange:
      return EX_USAGE;
    case absl::StatusCode::kNotFound:
      return EX_NOINPUT;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return EX_UNAVAILABLE;
    case absl::StatusCode::kResourceExhausted:
      return EX_OSERR;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return EX_NOPERM;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
      return EX_CONFIG;
    default:
      return EX_SOFTWARE;
  }
}

}  // namespace core
