// What a load found, as text for people and as one line of JSON for programs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/histogram.h"
#include "tools/load/options.h"
#include "tools/load/tally.h"

namespace tools::load {

struct Totals {
  uint64_t requests = 0, keys = 0, hits = 0, misses = 0, declined = 0, unsent = 0;
  uint64_t bytes_in = 0, bytes_out = 0;
  std::array<uint64_t, kFaultNames.size()> faults = {};
  std::string first_fault;
  std::vector<Latencies> latencies;  // One for each command of the mix.

  explicit Totals(size_t commands) : latencies(commands) {}
  void Add(const Tally& tally);
  // Everything but first_fault, which belongs to the worker until it was joined.
  void AddCounts(const Tally& tally);
  uint64_t Faults() const;
  Latencies All() const;
};

struct Report {
  double seconds = 0;
  Totals totals{0};
  double client_cpu_seconds = 0;
  std::optional<double> server_cpu_seconds;
  std::optional<uint64_t> server_resident_bytes;
};

std::string Text(const Options& options, const Report& report);
std::string Json(const Options& options, const Report& report);

}  // namespace tools::load
