#include "core/process/exit_code.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace core {
namespace {

TEST(ExitCode, FollowsSysexits) {
  EXPECT_EQ(ExitCode(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCode(absl::OutOfRangeError("--nonsense")), 64);
  EXPECT_EQ(ExitCode(absl::NotFoundError("config file")), 66);
  EXPECT_EQ(ExitCode(absl::UnavailableError("port taken")), 69);
  EXPECT_EQ(ExitCode(absl::InternalError("bug")), 70);
  EXPECT_EQ(ExitCode(absl::ResourceExhaustedError("threads")), 71);
  EXPECT_EQ(ExitCode(absl::UnauthenticatedError("no key")), 77);
  EXPECT_EQ(ExitCode(absl::PermissionDeniedError("mode")), 77);
  EXPECT_EQ(ExitCode(absl::InvalidArgumentError("seg.heap_size")), 78);
}

TEST(ExitCode, KnowsWhatOpenSays) {
  EXPECT_EQ(ExitCode(absl::ErrnoToStatus(ENOENT, "f")), 66);
  EXPECT_EQ(ExitCode(absl::ErrnoToStatus(EACCES, "f")), 77);
  EXPECT_EQ(ExitCode(absl::ErrnoToStatus(EMFILE, "f")), 71);
}

TEST(ExitCode, IsNeverZeroForAnError) {
  for (int code = 1; code <= 16; ++code) {
    EXPECT_NE(ExitCode(absl::Status(static_cast<absl::StatusCode>(code), "x")), 0) << code;
  }
}

}  // namespace
}  // namespace core
