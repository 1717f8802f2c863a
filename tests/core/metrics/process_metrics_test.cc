// The process's own figures, compared with what the test can find out by itself.

#include "core/metrics/process_metrics.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <map>
#include <vector>

#include "core/base/fd.h"

namespace core {
namespace {

std::map<std::string, double> Values(const Registry& registry) {
  std::map<std::string, double> values;
  registry.Visit([&](const Registry::Sample& sample) { values[sample.name] = sample.value; });
  return values;
}

TEST(ProcessMetrics, ReadsPlausibleValues) {
  Registry registry;
  ProcessMetrics metrics(&registry, "thing", "1.2.3");
  const auto values = Values(registry);
  EXPECT_GT(values.at("process_resident_memory_bytes"), 1 << 20);
  EXPECT_GT(values.at("process_virtual_memory_bytes"), values.at("process_resident_memory_bytes"));
  EXPECT_GE(values.at("process_threads"), 1);
  EXPECT_GE(values.at("process_max_fds"), values.at("process_open_fds"));
  const double age = static_cast<double>(time(nullptr)) - values.at("process_start_time_seconds");
  EXPECT_GT(age, -5);    // Boot time is rounded to seconds.
  EXPECT_LT(age, 3600);  // No test runs that long.
}

TEST(ProcessMetrics, CountsOpenDescriptors) {
  Registry registry;
  ProcessMetrics metrics(&registry, "thing", "1.2.3");
  const double before = Values(registry).at("process_open_fds");
  std::vector<Fd> fds;
  for (int i = 0; i < 5; ++i) fds.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(Values(registry).at("process_open_fds"), before + 5);
}

TEST(ProcessMetrics, CpuTimeGrowsWithWork) {
  Registry registry;
  ProcessMetrics metrics(&registry, "thing", "1.2.3");
  const double before = Values(registry).at("process_cpu_seconds_total");
  volatile uint64_t sink = 0;
  while (Values(registry).at("process_cpu_seconds_total") < before + 0.02) sink = sink + 1;
  SUCCEED();
}

TEST(ProcessMetrics, NamesTheBuild) {
  Registry registry;
  ProcessMetrics metrics(&registry, "thing", "1.2.3");
  const std::string text = registry.PrometheusText();
  EXPECT_THAT(text, testing::HasSubstr("build_info{product=\"thing\",version=\"1.2.3\"} 1\n"));
  EXPECT_THAT(text, testing::HasSubstr("# TYPE process_cpu_seconds_total counter\n"));
}

}  // namespace
}  // namespace core
