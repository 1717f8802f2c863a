// Reads of /proc/self and getrusage(2); a file that cannot be read counts as zero.

#include "core/metrics/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace core {

namespace {

std::string ReadFile(const char* path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

double CpuSeconds() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Field `index` (from 0) of a text of numbers between spaces.
double NumberAt(absl::string_view text, size_t index) {
  const std::vector<absl::string_view> fields = absl::StrSplit(text, ' ', absl::SkipWhitespace());
  double number = 0;
  if (index >= fields.size() || !absl::SimpleAtod(fields[index], &number)) return 0;
  return number;
}

// proc(5): /proc/self/statm is in pages; 0 is the total size, 1 the resident set.
double MemoryBytes(size_t field) {
  return NumberAt(ReadFile("/proc/self/statm"), field) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// proc(5): field `number` (from 1) of /proc/self/stat. The second is the name in parentheses, which
// may hold spaces, so counting starts behind the last ')'.
double StatField(size_t number) {
  const std::string text = ReadFile("/proc/self/stat");
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  return NumberAt(absl::string_view(text).substr(name_end + 1), number - 3);
}

double OpenFds() {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  int count = 0;
  while (const dirent* entry = readdir(dir)) count += entry->d_name[0] != '.';
  closedir(dir);
  return count - 1;  // Without the directory's own descriptor.
}

double MaxFds() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<double>(limit.rlim_cur) : 0;
}

// Boot time plus the start in clock ticks since boot (proc(5): field 22 of stat, btime of stat).
double StartTimeSeconds() {
  double boot = 0;
  for (absl::string_view line : absl::StrSplit(ReadFile("/proc/stat"), '\n')) {
    if (absl::ConsumePrefix(&line, "btime ")) boot = NumberAt(line, 0);
  }
  return boot + StatField(22) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

ProcessMetrics::ProcessMetrics(Registry* registry, std::string product, std::string version)
    : MetricGroup(registry, "process"),
      cpu_seconds(this, "cpu_seconds_total", "Processor time spent, user and system.", CpuSeconds),
      resident_memory_bytes(this, "resident_memory_bytes", "Memory in RAM.",
                            [] { return MemoryBytes(1); }),
      virtual_memory_bytes(this, "virtual_memory_bytes", "Address space in use.",
                           [] { return MemoryBytes(0); }),
      open_fds(this, "open_fds", "Open file descriptors.", OpenFds),
      max_fds(this, "max_fds", "Most file descriptors that may be open.", MaxFds),
      threads(this, "threads", "Threads of the process.", [] { return StatField(20); }),
      start_time_seconds(this, "start_time_seconds", "Start of the process since the Unix epoch.",
                         [start = StartTimeSeconds()] { return start; }),
      build_(registry, "", {{"product", std::move(product)}, {"version", std::move(version)}}),
      build_info(&build_, "build_info", "Always 1; the labels say what runs.", [] { return 1.0; }) {
}

}  // namespace core
