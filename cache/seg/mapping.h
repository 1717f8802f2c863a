// Memory straight from the kernel, given back when the object dies: zeroed, or a file's. Pages that
// are never touched cost nothing, and pages that are not needed any more can be given back before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"

namespace seg {

class Mapping {
 public:
  // RESOURCE_EXHAUSTED if the kernel has no `bytes` of address space.
  static absl::StatusOr<Mapping> Create(size_t bytes);
  // The first `bytes` of the file, shared: what is written is in the file. `fd` may be closed.
  static absl::StatusOr<Mapping> OfFile(int fd, size_t bytes);

  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping();

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  Mapping(char* data, size_t bytes) : data_(data), bytes_(bytes) {}

  char* data_ = nullptr;
  size_t bytes_ = 0;
};

// How the pages of a stretch of mapped memory shall come.
struct PageWishes {
  bool huge_pages = false;  // In pieces of 2 MB, where the kernel has them (and its settings let it).
  bool prefault = false;    // Now rather than at the first touch.
};
// RESOURCE_EXHAUSTED if the pages are to come now and there are not enough.
absl::Status WishPages(char* data, size_t bytes, const PageWishes& wishes);

// The pages of a stretch of memory: some are given back to the kernel, and asked for again. Any thread,
// but of one page one at a time.
class Pages {
 public:
  static constexpr size_t kBytes = 4096;

  virtual ~Pages() = default;
  // Gives back `bytes` from `from` on, which read as zeros afterwards. Returns false if the kernel says
  // no; then they are as they were. REQUIRES (here and below): whole pages, and nobody uses them.
  [[nodiscard]] virtual bool Release(size_t from, size_t bytes) = 0;
  // Whether what was given back comes again when it is written to. If not, Provide() is to be called
  // before, which returns false if there is no memory for it.
  virtual bool come_by_themselves() const = 0;
  [[nodiscard]] virtual bool Provide(size_t from, size_t bytes) = 0;
};

// Of private, anonymous memory, of which the last page is not in use yet; borrows it. From now on the
// kernel does not join its pages into huge ones, which would take again what was given back. Null if
// nothing can be given back: the kernel's pages are of another size, or they are locked.
std::unique_ptr<Pages> AnonymousPages(char* data, size_t bytes);

// Of a file's bytes from `begin` on, a whole number of pages from its start, mapped and shared. `fd` is
// borrowed. Null if the file system cannot make holes in a file or fill them. `unused`: where nothing
// is in the file, so that it can be tried.
std::unique_ptr<Pages> FilePages(int fd, uint64_t begin, uint64_t unused);

}  // namespace seg
