// Limits of control groups, as files of a folder that looks like theirs.
#include "config/memory_limit.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace config {
namespace {

class MemoryLimitTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "memory_limit.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = root_ + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  uint64_t Limit() { return MemoryLimit(root_ + "/cgroup", root_ + "/fs"); }
  // Of the machine: there is no group.
  uint64_t Machine() { return MemoryLimit(root_ + "/none", root_ + "/none"); }

  std::string root_;
};

TEST_F(MemoryLimitTest, IsTheMachinesWithoutGroups) {
  EXPECT_GT(Machine(), 1u << 20);
  Write("cgroup", "0::/\n");
  Write("fs/memory.max", "max\n");
  EXPECT_EQ(Limit(), Machine());
}

TEST_F(MemoryLimitTest, IsThatOfTheNearestGroupThatHasOne) {
  Write("cgroup", "12:memory:/old\n0::/system.slice/proxy.service\n");
  Write("fs/system.slice/proxy.service/memory.max", "1048576\n");
  Write("fs/system.slice/memory.max", "2097152\n");
  EXPECT_EQ(Limit(), 1048576u);
  Write("fs/system.slice/proxy.service/memory.max", "max\n");
  EXPECT_EQ(Limit(), 2097152u);
}

TEST_F(MemoryLimitTest, IsThatOfTheRootInAContainer) {
  Write("cgroup", "0::/\n");
  Write("fs/memory.max", "3145728\n");
  EXPECT_EQ(Limit(), 3145728u);
}

TEST_F(MemoryLimitTest, IsNeverMoreThanTheMachines) {
  Write("cgroup", "0::/\n");
  Write("fs/memory.max", "9223372036854771712\n");
  EXPECT_EQ(Limit(), Machine());
}

}  // namespace
}  // namespace config
