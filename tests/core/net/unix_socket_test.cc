// Unix sockets: their file, and what may be in its place. And who is at the other end of any socket.
#include "core/net/unix_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "core/net/listener.h"
#include "core/net/peer.h"
#include "client.h"

namespace core {
namespace {

using testing::HasSubstr;

class UnixSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/mp_unix_XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/s";
  }
  void TearDown() override {
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
  }
  bool Exists() const { return ::access(path_.c_str(), F_OK) == 0; }
  uint32_t Mode() const {
    struct stat there = {};
    return ::stat(path_.c_str(), &there) == 0 ? there.st_mode & 07777u : ~0u;
  }
  std::string Refusal() const {
    const auto listening = ListenUnix(path_, 0700, 8);
    return listening.ok() ? "" : std::string(listening.status().message());
  }

  std::string folder_, path_;
};

TEST_F(UnixSocketTest, HasTheModeThatIsAskedWhateverTheUmask) {
  for (const mode_t umask_then : {0777u, 0u, 022u}) {
    const mode_t before = ::umask(umask_then);
    for (const uint32_t mode : {0700u, 0770u, 0666u, 0777u}) {
      const auto listening = ListenUnix(path_, mode, 8);
      ASSERT_TRUE(listening.ok()) << listening.status();
      EXPECT_EQ(Mode(), mode);
      TestClient client(path_);
    }
    ::umask(before);
  }
}

TEST_F(UnixSocketTest, TheFileGoesWithTheSocket) {
  {
    const auto listening = ListenUnix(path_, 0700, 8);
    ASSERT_TRUE(listening.ok());
    EXPECT_TRUE(Exists());
  }
  EXPECT_FALSE(Exists());
}

TEST_F(UnixSocketTest, TheFileOfAnotherStays) {
  auto first = ListenUnix(path_, 0700, 8);
  ASSERT_TRUE(first.ok());
  first->fd.Close();  // As if the process had died; the next one takes over, a moment later.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto second = ListenUnix(path_, 0700, 8);
  ASSERT_TRUE(second.ok()) << second.status();
  first->file.reset();
  EXPECT_TRUE(Exists());
  TestClient client(path_);
}

TEST_F(UnixSocketTest, WhatADeadProcessLeftIsRemoved) {
  auto dead = ListenUnix(path_, 0700, 8);
  ASSERT_TRUE(dead.ok());
  dead->fd.Close();
  ASSERT_TRUE(Exists());
  EXPECT_EQ(Refusal(), "");
}

TEST_F(UnixSocketTest, ASocketInUseIsAnError) {
  const auto first = ListenUnix(path_, 0700, 8);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(Refusal(), "cannot listen on " + path_ + ": Address already in use");
  TestClient client(path_);  // It is still the first one's.
}

TEST_F(UnixSocketTest, OtherFilesAreLeftAlone) {
  std::ofstream(path_) << "precious";
  EXPECT_EQ(Refusal(), "cannot listen on " + path_ + ": a file that is no socket is there");
  std::string text;
  std::ifstream(path_) >> text;
  EXPECT_EQ(text, "precious");
}

TEST_F(UnixSocketTest, PathsThatCannotBe) {
  path_ = folder_ + "/" + std::string(108, 'x');
  EXPECT_THAT(Refusal(), HasSubstr("name too long"));
  path_ = folder_ + "/nowhere/s";
  EXPECT_THAT(Refusal(), HasSubstr("No such file or directory"));
}

TEST_F(UnixSocketTest, OneServerListensOnAllThatIsSaid) {
  config::Listener listen;
  listen.host = "127.0.0.1,127.0.0.2";
  listen.unix_socket = path_;
  const auto all = ListenOn(listen, 8);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->fds.size(), 3u);
  EXPECT_NE(all->port, 0);
  EXPECT_EQ(BoundPort(all->fds[0]), all->port);
  EXPECT_EQ(BoundPort(all->fds[1]), all->port);
  const std::string port = std::to_string(all->port);
  EXPECT_EQ(all->where, "127.0.0.1:" + port + " and 127.0.0.2:" + port + " and unix:" + path_);
  listen.tcp = false;
  listen.unix_socket += "2";
  const auto alone = ListenOn(listen, 8);
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ(alone->fds.size(), 1u);
  EXPECT_EQ(alone->port, 0);
}

// --- Who is at the other end ---

TEST(Peer, IsRememberedWhenTheConnectionIsGone) {
  for (const char* host : {"127.0.0.1", "::1"}) {
    const auto listening = Listen(host, 0, 1);
    if (!listening.ok()) continue;  // A machine without IPv6.
    const bool v6 = host[0] == ':';
    Fd client(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_storage address = {};
    socklen_t size = sizeof address;
    ASSERT_EQ(::getsockname(listening->get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    const uint16_t port = BoundPort(client);
    const Fd accepted(::accept(listening->get(), nullptr, nullptr));
    const Peer peer(accepted.get());
    const struct linger reset = {1, 0};
    ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    client.Close();
    EXPECT_EQ(peer.ip(), host);
    EXPECT_EQ(peer.port(), port);
    EXPECT_FALSE(peer.is_unix());
  }
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const Fd one(pair[0]), other(pair[1]);
  for (const Peer& peer : {Peer(one.get()), Peer()}) {
    EXPECT_TRUE(peer.is_unix());
    EXPECT_EQ(peer.ip(), "unix");
    EXPECT_EQ(peer.port(), 0);
  }
}

}  // namespace
}  // namespace core
