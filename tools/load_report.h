// What both load generators measure and how they say it: one line of `name=value` pairs that
// bench_proxy.py reads.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace tools {

inline double CpuSeconds() {
  struct rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// Prints requests (keys answered), errors, rate, this process's CPU per request, and latency.
inline void Report(uint64_t requests, uint64_t errors, double seconds, double cpu_seconds,
                   std::vector<int64_t>* latency_ns) {
  const auto percentile_us = [&](double p) {
    if (latency_ns->empty()) return 0.0;
    const size_t i = std::min(latency_ns->size() - 1, static_cast<size_t>(p * latency_ns->size()));
    std::nth_element(latency_ns->begin(), latency_ns->begin() + i, latency_ns->end());
    return (*latency_ns)[i] / 1e3;
  };
  std::printf("requests=%llu errors=%llu seconds=%.3f rate=%.0f cpu_us=%.3f p50_us=%.1f p99_us=%.1f\n",
              static_cast<unsigned long long>(requests), static_cast<unsigned long long>(errors),
              seconds, requests / seconds, cpu_seconds * 1e6 / requests, percentile_us(0.5),
              percentile_us(0.99));
}

}  // namespace tools
