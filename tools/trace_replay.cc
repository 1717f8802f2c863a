// Replays a trace of requests against a cache, reading through: what a get misses is set.
//
//   trace_replay TRACE --engine --memory 16MB,32MB --policy all --csv out.csv --svg out.svg
//   trace_replay TRACE --host 127.0.0.1 --port 11211 --time-scale 60
//
// TRACE is a file in the layout of the public cache traces or our command log, plain or zstd; "-" is
// standard input. README.md says what is measured and how.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <map>
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "config/units.h"
#include "core/base/status.h"
#include "tools/trace/curve.h"
#include "tools/trace/live.h"
#include "tools/trace/offline.h"
#include "tools/trace/reader.h"
#include "tools/trace/recorded.h"

namespace {

constexpr int kUsageError = 64;  // EX_USAGE of sysexits.h.

struct Options {
  std::string path;
  bool engine = false;
  std::string memory = "16MB,32MB,48MB,64MB";
  std::string policy = "s3fifo";
  std::string baselines = "all";
  uint64_t object_overhead = trace::Simulator::kObjectOverhead;
  std::string segment_size = "0";
  std::string csv;
  std::string svg;
  trace::LiveOptions live;
};

absl::StatusOr<std::vector<uint64_t>> SizesIn(absl::string_view list) {
  std::vector<uint64_t> sizes;
  for (const absl::string_view text : absl::StrSplit(list, ',', absl::SkipEmpty())) {
    const std::optional<uint64_t> bytes = config::ParseSize(text);
    if (!bytes.has_value() || *bytes == 0) {
      return absl::InvalidArgumentError(absl::StrCat("--memory: ", text, " is not a size"));
    }
    sizes.push_back(*bytes);
  }
  return sizes;
}

// The numbers of the names in `list`; "all" are those from `first` on.
template <size_t N>
absl::StatusOr<std::vector<size_t>> Choices(absl::string_view flag, absl::string_view list,
                                            const std::array<absl::string_view, N>& names,
                                            size_t first) {
  std::vector<size_t> chosen;
  for (size_t i = first; i < N && list == "all"; ++i) chosen.push_back(i);
  if (list == "all" || list == "none") return chosen;
  for (const absl::string_view text : absl::StrSplit(list, ',', absl::SkipEmpty())) {
    const auto at = std::find(names.begin(), names.end(), text);
    if (at == names.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, ": ", text, " is none of ", absl::StrJoin(names, ", ")));
    }
    chosen.push_back(static_cast<size_t>(at - names.begin()));
  }
  return chosen;
}

absl::Status WriteFile(const std::string& path, absl::string_view text) {
  if (path.empty()) return absl::OkStatus();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

absl::Status ReplayOffline(const Options& options) {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> sizes, SizesIn(options.memory));
  // All but "none", which refuses writes instead of evicting; it may be asked for by name.
  ASSIGN_OR_RETURN(const std::vector<size_t> policies,
                   Choices("--policy", options.policy, config::Seg::kEvictions, 1));
  // All but "infinite", which is the floor and always there.
  ASSIGN_OR_RETURN(const std::vector<size_t> baselines,
                   Choices("--baselines", options.baselines, trace::Simulator::kPolicies, 1));
  const std::optional<uint64_t> segment_bytes = config::ParseSize(options.segment_size);
  if (!segment_bytes.has_value()) {
    return absl::InvalidArgumentError("--segment-size: not a size");
  }
  ASSIGN_OR_RETURN(const trace::Recorded recorded, trace::Recorded::Read(options.path));
  std::fprintf(stderr, "%zu requests, %u keys, %llu lines skipped\n", recorded.requests.size(),
               recorded.keys(), static_cast<unsigned long long>(recorded.lines_skipped));
  const trace::Point floor = Simulate(recorded, trace::Simulator::Policy::kInfinite, 0);
  std::vector<trace::Point> points;
  std::map<uint64_t, uint64_t> heaps;  // By memory.
  for (const size_t policy : policies) {
    config::Seg seg;
    seg.eviction = static_cast<config::Seg::Eviction>(policy);
    seg.segment_size = *segment_bytes;
    for (const uint64_t memory : sizes) {
      ASSIGN_OR_RETURN(points.emplace_back(), ReplayEngine(recorded, seg, memory, &heaps[memory]));
    }
  }
  for (const size_t policy : baselines) {
    for (const uint64_t memory : sizes) {
      points.push_back(
          Simulate(recorded, static_cast<trace::Simulator::Policy>(policy), memory,
                   options.object_overhead));
    }
  }
  std::fputs(TableOf(points, floor).c_str(), stdout);
  RETURN_IF_ERROR(WriteFile(options.csv, CsvOf(options.path, points, floor)));
  return WriteFile(options.svg, SvgOf(options.path, points, floor));
}

absl::Status ReplayLive(const Options& options) {
  ASSIGN_OR_RETURN(trace::Reader reader, trace::Reader::Open(options.path));
  ASSIGN_OR_RETURN(const trace::LiveReport report, trace::ReplayLive(&reader, options.live));
  std::fputs(report.Text().c_str(), stdout);
  return WriteFile(options.csv, report.Csv(options.path));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Replays a cache trace against a server, or through the engine in this process.",
               "trace_replay");
  app.add_option("trace", options.path, "csv or klog, plain or zstd; - is standard input")
      ->required();
  app.add_option("--csv", options.csv, "write the figures there");
  app.add_flag("--engine", options.engine, "replay in process, on the trace's own clock");
  app.add_option("--memory", options.memory, "with --engine: sizes, all memory counted")
      ->capture_default_str();
  app.add_option("--policy", options.policy, "with --engine: eviction policies, or all, or none")
      ->capture_default_str();
  app.add_option("--baselines", options.baselines,
                 "with --engine: fifo, lru, clock, sieve, or all, or none")
      ->capture_default_str();
  app.add_option("--object-overhead", options.object_overhead,
                 "with --engine: bytes that baselines are charged for an object")
      ->capture_default_str();
  app.add_option("--segment-size", options.segment_size, "with --engine: 0 = sized from the heap")
      ->capture_default_str();
  app.add_option("--svg", options.svg, "with --engine: draw the curves there");
  app.add_option("--host", options.live.host, "an IPv4 address")->capture_default_str();
  app.add_option("--port", options.live.port, "of the server")->capture_default_str();
  app.add_option("--connections", options.live.connections, "connections to the server")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--depth", options.live.depth, "requests in flight on each connection")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_option("--time-scale", options.live.time_scale,
                 "seconds of the trace per second; 0 = as fast as possible")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--pid", options.live.pid,
                 "the server's process, for memory and CPU; 0 = as it says in stats")
      ->capture_default_str();
  app.add_option("--requests", options.live.requests_max, "stop after so many; 0 = all")
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageError;
  }
  const absl::Status status = options.engine ? ReplayOffline(options) : ReplayLive(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "trace_replay: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? kUsageError : 1;
}
