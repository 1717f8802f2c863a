#include "core/process/notify.h"

#include <gtest/gtest.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/fd.h"

namespace core {
namespace {

// Listens as a service manager would; '@' begins an abstract name.
Fd Supervisor(const std::string& name) {
  Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())),
            0);
  setenv("NOTIFY_SOCKET", name.c_str(), 1);
  return fd;
}

std::string Receive(const Fd& fd) {
  char buffer[256];
  const ssize_t n = recv(fd.get(), buffer, sizeof(buffer), 0);
  return n < 0 ? "" : std::string(buffer, static_cast<size_t>(n));
}

class NotifyTest : public testing::Test {
 protected:
  void TearDown() override { unsetenv("NOTIFY_SOCKET"); }
};

TEST_F(NotifyTest, SendsToAPath) {
  const std::string path = absl::StrCat("/tmp/core_notify_test_", getpid());
  const Fd fd = Supervisor(path);
  NotifySupervisor("READY=1");
  EXPECT_EQ(Receive(fd), "READY=1");
  unlink(path.c_str());
}

TEST_F(NotifyTest, SendsToAnAbstractName) {
  const Fd fd = Supervisor(absl::StrCat("@core_notify_test_", getpid()));
  NotifySupervisor("STOPPING=1");
  EXPECT_EQ(Receive(fd), "STOPPING=1");
}

TEST_F(NotifyTest, DoesNothingWithoutASupervisor) {
  unsetenv("NOTIFY_SOCKET");
  NotifySupervisor("READY=1");
  for (const std::string& name : {std::string(), std::string("@"), std::string("relative"),
                                  std::string("/no/such/socket"), std::string(500, '/')}) {
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    NotifySupervisor("READY=1");
  }
}

}  // namespace
}  // namespace core
