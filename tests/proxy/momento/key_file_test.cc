// A key in a file, as it is written by hand and as Kubernetes mounts it.
#include "proxy/momento/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"

namespace proxy::momento {
namespace {

namespace fs = std::filesystem;

class KeyFileTest : public ::testing::Test {
 protected:
  KeyFileTest() {
    std::string name = ::testing::TempDir() + "/key_file_XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~KeyFileTest() override { fs::remove_all(folder_); }
  static void Write(const fs::path& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  absl::StatusOr<Secret> Read(const std::string& name) {
    return ReadKeyFile(folder_ / name, "momento.api_key_file");
  }
  fs::path folder_;
};

TEST_F(KeyFileTest, BlanksAroundTheKeyAreNotPartOfIt) {
  for (const char* text : {"key", "key\n", " \tkey\r\n\n"}) {
    Write(folder_ / "k", text);
    ASSERT_TRUE(Read("k").ok()) << Read("k").status();
    EXPECT_EQ(*Read("k"), "key");
  }
}

TEST_F(KeyFileTest, ALinkSwappedUnderTheDirectoryIsFollowed) {
  // What a kubelet does: ..data -> a folder of a time, key -> ..data/key, and then another folder.
  for (const char* version : {"..1", "..2"}) {
    fs::create_directory(folder_ / version);
    Write(folder_ / version / "key", version);
    fs::create_symlink(version, folder_ / "..tmp");
    fs::rename(folder_ / "..tmp", folder_ / "..data");
    if (!fs::is_symlink(folder_ / "key")) fs::create_symlink("..data/key", folder_ / "key");
    ASSERT_TRUE(Read("key").ok());
    EXPECT_EQ(*Read("key"), version);
  }
}

TEST_F(KeyFileTest, WhatIsNoKeyIsNamedByKnobAndFile) {
  Write(folder_ / "empty", " \n");
  Write(folder_ / "long", std::string(20'000, 'S'));
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  const std::pair<const char*, absl::StatusCode> cases[] = {
      {"gone", absl::StatusCode::kNotFound},
      {"empty", absl::StatusCode::kInvalidArgument},
      {"long", absl::StatusCode::kInvalidArgument},
      {"fifo", absl::StatusCode::kInvalidArgument},
      {".", absl::StatusCode::kInvalidArgument}};
  for (const auto& [name, code] : cases) {
    const absl::Status status = Read(name).status();
    EXPECT_EQ(status.code(), code) << name << status;
    EXPECT_TRUE(absl::StartsWith(status.message(), "momento.api_key_file: \"")) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), name)) << status;
    EXPECT_FALSE(absl::StrContains(status.message(), "SSSS"));
  }
}

TEST_F(KeyFileTest, AFileThatMayNotBeReadIsPermissionDenied) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  Write(folder_ / "k", "key");
  ::chmod((folder_ / "k").c_str(), 0);
  EXPECT_TRUE(absl::IsPermissionDenied(Read("k").status()));
}

TEST(Secret, LeavesNothingBehindWhenItMoves) {
  for (const size_t size : {size_t{5}, size_t{500}}) {  // In the object, and on the heap.
    Secret from(std::string(size, 's'));
    const char* bytes = from.view().data();
    Secret to = std::move(from);
    EXPECT_EQ(to, std::string(size, 's'));
    if (size < 10) {
      EXPECT_NE(std::string(bytes, size), std::string(size, 's'));
    }
    to = Secret("other");
    EXPECT_EQ(to, "other");
  }
}

}  // namespace
}  // namespace proxy::momento
