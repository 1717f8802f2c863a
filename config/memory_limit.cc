#include "config/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace config {
namespace {

// The line "0::/path" is that of version 2.
std::string GroupOf(const std::string& proc_cgroup) {
  std::ifstream in(proc_cgroup);
  std::string line;
  while (std::getline(in, line)) {
    absl::string_view path = line;
    if (absl::ConsumePrefix(&path, "0::")) return std::string(path);
  }
  return "";
}

}  // namespace

uint64_t MemoryLimit(const std::string& proc_cgroup, const std::string& cgroups) {
  uint64_t least = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                   static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  std::string group = GroupOf(proc_cgroup);
  for (;;) {
    std::ifstream in(cgroups + group + "/memory.max");
    std::string word;
    uint64_t bytes = 0;  // The word is "max" where there is no limit.
    if (in >> word && absl::SimpleAtoi(word, &bytes)) least = std::min(least, bytes);
    const size_t slash = group.rfind('/');
    if (slash == std::string::npos) return least;
    group.resize(slash);
  }
}

}  // namespace config
