// madvise(2), guided by the mappings in /proc/self/smaps (proc(5)).
//
// MADV_DONTNEED forgets a private mapping's own pages. A mapping of a file that is read-only and has
// no anonymous page has none of its own, so what comes back is what was there; relocated constants,
// which are read-only too, are anonymous and left alone.
#include "core/process/startup_pages.h"

#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <vector>

namespace core {

namespace {

struct Range {
  uintptr_t begin;
  uintptr_t end;
};

// Read-only mappings of files, of which no page has been written since.
std::vector<Range> UnwrittenFiles(FILE* smaps) {
  std::vector<Range> unwritten;
  char line[512];
  Range current{};
  bool is_candidate = false;
  while (fgets(line, sizeof(line), smaps) != nullptr) {
    Range range{};
    char mode[5] = {};
    char path[2] = {};
    unsigned long kilobytes = 0;
    const int fields = sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %1s", &range.begin,
                              &range.end, mode, path);
    if (fields >= 3) {
      current = range;
      is_candidate = fields == 4 && path[0] == '/' && mode[0] == 'r' && mode[1] == '-' &&
                     mode[3] == 'p';
    } else if (is_candidate && sscanf(line, "Anonymous: %lu kB", &kilobytes) == 1 &&
               kilobytes == 0) {
      unwritten.push_back(current);
    }
  }
  return unwritten;
}

}  // namespace

void ReleaseStartupPages() {
  FILE* const smaps = fopen("/proc/self/smaps", "re");
  if (smaps == nullptr) return;
  const std::vector<Range> ranges = UnwrittenFiles(smaps);
  fclose(smaps);
  for (const Range& range : ranges) {
    // A refusal costs nothing but the memory.
    (void)madvise(reinterpret_cast<void*>(range.begin), range.end - range.begin, MADV_DONTNEED);
  }
}

}  // namespace core
