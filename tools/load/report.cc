#include "tools/load/report.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tools::load {
namespace {

struct Quantile {
  const char* name;
  double of_all;
};
constexpr Quantile kQuantiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};

double Us(int64_t ns) { return static_cast<double>(ns) / 1e3; }

double PerRequestUs(double cpu_seconds, uint64_t requests) {
  return requests == 0 ? 0 : cpu_seconds * 1e6 / static_cast<double>(requests);
}

nlohmann::json JsonOf(const Latencies& latencies) {
  nlohmann::json out = {{"count", latencies.count()}, {"mean_us", latencies.mean_ns() / 1e3}};
  for (const Quantile& quantile : kQuantiles) {
    out[absl::StrCat(quantile.name, "_us")] = Us(latencies.Quantile(quantile.of_all));
  }
  out["max_us"] = Us(latencies.max_ns());
  return out;
}

std::string LineOf(absl::string_view name, const Latencies& latencies) {
  std::string out = absl::StrFormat("  %-16s%12d%10.1f", name, latencies.count(),
                                    latencies.mean_ns() / 1e3);
  for (const Quantile& quantile : kQuantiles) {
    absl::StrAppendFormat(&out, "%10.1f", Us(latencies.Quantile(quantile.of_all)));
  }
  absl::StrAppendFormat(&out, "%10.1f\n", Us(latencies.max_ns()));
  return out;
}

std::string LoopOf(const Options& options) {
  if (!options.open_loop()) {
    return absl::StrFormat("closed loop, %d connections x %d in flight", options.connections,
                           options.depth);
  }
  return absl::StrFormat("open loop, %.0f/s %s over %d connections", options.rate,
                         options.even_arrivals ? "evenly" : "at random", options.connections);
}

std::string FaultsOf(const Totals& totals) {
  if (totals.Faults() == 0) return "faults    none\n";
  std::string out = "faults   ";
  for (size_t i = 0; i < totals.faults.size(); ++i) {
    if (totals.faults[i] > 0) absl::StrAppend(&out, " ", kFaultNames[i], " ", totals.faults[i]);
  }
  return absl::StrCat(out, "\n  the first: ", totals.first_fault, "\n");
}

}  // namespace

void Totals::AddCounts(const Tally& tally) {
  requests += tally.requests.Value();
  keys += tally.keys.Value();
  hits += tally.hits.Value();
  misses += tally.misses.Value();
  declined += tally.declined.Value();
  unsent += tally.unsent.Value();
  bytes_in += tally.bytes_in.Value();
  bytes_out += tally.bytes_out.Value();
  for (size_t i = 0; i < faults.size(); ++i) faults[i] += tally.faults[i].Value();
  for (size_t i = 0; i < latencies.size(); ++i) latencies[i].Add(tally.latencies[i]);
}

void Totals::Add(const Tally& tally) {
  AddCounts(tally);
  if (first_fault.empty()) first_fault = tally.first_fault;
}

uint64_t Totals::Faults() const {
  uint64_t sum = 0;
  for (const uint64_t n : faults) sum += n;
  return sum;
}

Latencies Totals::All() const {
  Latencies all;
  for (const Latencies& some : latencies) all.Add(some);
  return all;
}

std::string Text(const Options& options, const Report& report) {
  const Totals& t = report.totals;
  const uint64_t reads = t.hits + t.misses;
  std::string out = absl::StrFormat("%s, %d threads, %.2f s\n", LoopOf(options), options.threads,
                                    report.seconds);
  absl::StrAppendFormat(&out, "requests  %d, %.0f/s; keys %d, %.0f/s; MB/s in %.1f, out %.1f\n",
                        t.requests, t.requests / report.seconds, t.keys, t.keys / report.seconds,
                        t.bytes_in / report.seconds / 1e6, t.bytes_out / report.seconds / 1e6);
  absl::StrAppendFormat(&out, "reads     %d hits, %d misses, hit ratio %.4f; %d writes declined\n",
                        t.hits, t.misses, reads == 0 ? 0.0 : static_cast<double>(t.hits) / reads,
                        t.declined);
  if (t.unsent > 0) {
    absl::StrAppendFormat(&out, "unsent    %d requests were due and found no room\n", t.unsent);
  }
  absl::StrAppendFormat(&out, "latency us%20s%10s%10s%10s%10s%10s%10s%10s\n", "count", "mean", "p50",
                        "p90", "p99", "p99.9", "p99.99", "max");
  for (size_t i = 0; t.latencies.size() > 1 && i < t.latencies.size(); ++i) {
    if (t.latencies[i].count() == 0) continue;  // noreply has no latency.
    out += LineOf(options.mix.commands()[i].name(), t.latencies[i]);
  }
  out += LineOf("all", t.All());
  if (report.server_cpu_seconds) {
    absl::StrAppendFormat(
        &out, "server    %.3f us of CPU a request, %.3f a key, %.0f %% of a CPU; resident %.1f MB\n",
        PerRequestUs(*report.server_cpu_seconds, t.requests),
        PerRequestUs(*report.server_cpu_seconds, t.keys),
        *report.server_cpu_seconds / report.seconds * 100,
        static_cast<double>(report.server_resident_bytes.value_or(0)) / (1 << 20));
  }
  absl::StrAppendFormat(&out, "load_gen  %.3f us of CPU a request, %.0f %% of a CPU\n",
                        PerRequestUs(report.client_cpu_seconds, t.requests),
                        report.client_cpu_seconds / report.seconds * 100);
  return out + FaultsOf(t);
}

std::string Json(const Options& options, const Report& report) {
  const Totals& t = report.totals;
  nlohmann::json out = {{"loop", options.open_loop() ? "open" : "closed"},
                        {"seconds", report.seconds},
                        {"requests", t.requests},
                        {"keys", t.keys},
                        {"rate", t.requests / report.seconds},
                        {"hits", t.hits},
                        {"misses", t.misses},
                        {"declined", t.declined},
                        {"unsent", t.unsent},
                        {"bytes_in", t.bytes_in},
                        {"bytes_out", t.bytes_out},
                        {"client_cpu_us", PerRequestUs(report.client_cpu_seconds, t.requests)},
                        {"client_cpus", report.client_cpu_seconds / report.seconds},
                        {"latency", JsonOf(t.All())},
                        {"faults", nlohmann::json::object()},
                        {"first_fault", t.first_fault}};
  for (size_t i = 0; i < t.latencies.size(); ++i) {
    out["commands"][options.mix.commands()[i].name()] = JsonOf(t.latencies[i]);
  }
  for (size_t i = 0; i < t.faults.size(); ++i) {
    if (t.faults[i] > 0) out["faults"][std::string(kFaultNames[i])] = t.faults[i];
  }
  if (options.open_loop()) out["rate_asked"] = options.rate;
  if (report.server_cpu_seconds) {
    out["server_cpu_us"] = PerRequestUs(*report.server_cpu_seconds, t.requests);
    out["server_cpu_us_per_key"] = PerRequestUs(*report.server_cpu_seconds, t.keys);
    out["server_cpus"] = *report.server_cpu_seconds / report.seconds;
  }
  if (report.server_resident_bytes) out["server_resident_bytes"] = *report.server_resident_bytes;
  return out.dump() + "\n";
}

}  // namespace tools::load
