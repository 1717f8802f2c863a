// mmap(2), without swap reserved for it.
#include "cache/seg/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace seg {
namespace {

absl::StatusOr<char*> Map(size_t bytes, int flags, int fd) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);
  if (at == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot map ", bytes, " bytes for the cache: ", std::strerror(errno)));
  }
  return static_cast<char*>(at);
}

}  // namespace

absl::StatusOr<Mapping> Mapping::Create(size_t bytes) {
  const auto at = Map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (!at.ok()) return at.status();
  return Mapping(*at, bytes);
}

absl::StatusOr<Mapping> Mapping::OfFile(int fd, size_t bytes) {
  const auto at = Map(bytes, MAP_SHARED, fd);
  if (!at.ok()) return at.status();
  return Mapping(*at, bytes);
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

absl::Status WishPages(char* data, size_t bytes, const PageWishes& wishes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data) & ~(page - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes + page - 1) & ~(page - 1);
  void* const at = reinterpret_cast<void*>(begin);
  // A kernel without huge pages says EINVAL, and small ones do as well.
  if (wishes.huge_pages) ::madvise(at, end - begin, MADV_HUGEPAGE);
  if (wishes.prefault && ::madvise(at, end - begin, MADV_POPULATE_WRITE) != 0) {
    if (errno != EINVAL) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot prefault ", bytes, " bytes for the cache: ", std::strerror(errno)));
    }
    // Before Linux 5.14: by touching them.
    for (uintptr_t p = begin; p < end; p += page) {
      volatile char* const byte = reinterpret_cast<volatile char*>(p);
      *byte = *byte;
    }
  }
  return absl::OkStatus();
}

namespace {

bool PagesAreOurs() { return ::sysconf(_SC_PAGESIZE) == static_cast<long>(Pages::kBytes); }

class PagesOfMemory final : public Pages {
 public:
  explicit PagesOfMemory(char* data) : data_(data) {}
  bool Release(size_t from, size_t bytes) override {
    return ::madvise(data_ + from, bytes, MADV_DONTNEED) == 0;
  }
  bool come_by_themselves() const override { return true; }
  bool Provide(size_t, size_t) override { return true; }

 private:
  char* const data_;
};

class PagesOfFile final : public Pages {
 public:
  PagesOfFile(int fd, uint64_t begin) : fd_(fd), begin_(begin) {}
  bool Release(size_t from, size_t bytes) override {
    return Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, bytes);
  }
  bool come_by_themselves() const override { return false; }
  bool Provide(size_t from, size_t bytes) override { return Allocate(0, from, bytes); }

 private:
  bool Allocate(int mode, size_t from, size_t bytes) const {
    int result = 0;
    do {
      result = ::fallocate(fd_, mode, static_cast<off_t>(begin_ + from), static_cast<off_t>(bytes));
    } while (result != 0 && errno == EINTR);
    return result == 0;
  }

  const int fd_;
  const uint64_t begin_;
};

}  // namespace

std::unique_ptr<Pages> AnonymousPages(char* data, size_t bytes) {
  if (!PagesAreOurs()) return nullptr;
  auto pages = std::make_unique<PagesOfMemory>(data);
  if (!pages->Release(bytes - Pages::kBytes, Pages::kBytes)) return nullptr;
  // A kernel without huge pages says EINVAL, and is right.
  ::madvise(data, bytes, MADV_NOHUGEPAGE);
  return pages;
}

std::unique_ptr<Pages> FilePages(int fd, uint64_t begin, uint64_t unused) {
  if (!PagesAreOurs()) return nullptr;
  if (!PagesOfFile(fd, unused).Release(0, Pages::kBytes)) return nullptr;
  return std::make_unique<PagesOfFile>(fd, begin);
}

}  // namespace seg
