// What was only read is given back, and is there again when it is read again.
#include "core/process/startup_pages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace core {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kPages = 64;

// A file of kPages pages, page i filled with 'a' + i % 26, mapped privately and read.
class StartupPagesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/startup_pages_test.XXXXXX";
    const int fd = mkstemp(path);
    ASSERT_GE(fd, 0);
    unlink(path);
    for (size_t i = 0; i < kPages; ++i) {
      const std::string page(kPage, Letter(i));
      ASSERT_EQ(write(fd, page.data(), kPage), static_cast<ssize_t>(kPage));
    }
    at_ = static_cast<char*>(
        mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    close(fd);
    ASSERT_NE(at_, MAP_FAILED);
  }
  void TearDown() override { munmap(at_, kPages * kPage); }

  static char Letter(size_t page) { return static_cast<char>('a' + page % 26); }
  char* page(size_t i) const { return at_ + i * kPage; }
  void Seal() const { ASSERT_EQ(mprotect(at_, kPages * kPage, PROT_READ), 0); }
  void ReadAll() const {
    for (size_t i = 0; i < kPages; ++i) ASSERT_EQ(*page(i), Letter(i)) << i;
  }
  size_t Resident() const {
    // Of this process, unlike mincore(2), which tells of the page cache.
    size_t resident = 0;
    const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; i < kPages; ++i) {
      uint64_t entry = 0;
      const auto offset =
          static_cast<off_t>(reinterpret_cast<uintptr_t>(page(i)) / kPage * sizeof(entry));
      if (pread(fd, &entry, sizeof(entry), offset) != sizeof(entry)) break;
      resident += entry >> 63;
    }
    close(fd);
    return resident;
  }

  char* at_ = nullptr;
};

TEST_F(StartupPagesTest, WhatWasOnlyReadIsGivenBackAndComesAgain) {
  Seal();
  ReadAll();
  ASSERT_EQ(Resident(), kPages);
  ReleaseStartupPages();
  EXPECT_EQ(Resident(), 0u);
  ReadAll();
}

TEST_F(StartupPagesTest, WhatWasWrittenStays) {
  *page(7) = '!';  // As relocation writes into what is read-only afterwards.
  Seal();
  ReleaseStartupPages();
  EXPECT_EQ(*page(7), '!');
}

TEST_F(StartupPagesTest, WhatMayBeWrittenStays) {
  *page(3) = '?';
  ReleaseStartupPages();
  EXPECT_EQ(*page(3), '?');
}

}  // namespace
}  // namespace core
