// Writes a synthetic trace in the layout of the public cache traces to standard output.
//
//   trace_gen --preset mixed --seed 7 --requests 1000000 > mixed7.csv
//   trace_gen --preset plain --keys 50000 --alpha 0.9 --ttl 60:0.5,3600:0.5 --set-share 0.1
//
// The same flags make the same bytes.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "tools/trace/workload.h"

namespace {

constexpr int kUsageError = 64;  // EX_USAGE of sysexits.h.

// What flags change of a preset: of every tenant, but for those that scan.
struct Changes {
  std::optional<double> alpha, key_bytes, value_bytes, value_spread, set_share, delete_share, renew;
  std::optional<uint64_t> keys;
  double keys_times = 1;
  std::string ttl;
};

// "60:0.5,3600:0.5"
bool ParseTtls(absl::string_view text, std::vector<trace::Tenant::Ttl>* ttls) {
  ttls->clear();
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> fields = absl::StrSplit(part, ':');
    trace::Tenant::Ttl ttl = {1, 0};
    if (!absl::SimpleAtoi(fields.first, &ttl.sec) || ttl.sec < 0 ||
        (!fields.second.empty() && !absl::SimpleAtod(fields.second, &ttl.share)) ||
        !(ttl.share > 0)) {
      return false;
    }
    ttls->push_back(ttl);
  }
  return true;
}

void Apply(const Changes& changes, trace::Tenant* tenant) {
  tenant->keys = changes.keys.value_or(std::max<uint64_t>(
      static_cast<uint64_t>(static_cast<double>(tenant->keys) * changes.keys_times), 1));
  if (tenant->scans) return;
  tenant->zipf_alpha = changes.alpha.value_or(tenant->zipf_alpha);
  tenant->key_bytes = changes.key_bytes.value_or(tenant->key_bytes);
  tenant->value_bytes = changes.value_bytes.value_or(tenant->value_bytes);
  tenant->value_spread = changes.value_spread.value_or(tenant->value_spread);
  tenant->set_share = changes.set_share.value_or(tenant->set_share);
  tenant->delete_share = changes.delete_share.value_or(tenant->delete_share);
  tenant->renewed_per_hour = changes.renew.value_or(tenant->renewed_per_hour);
}

bool Write(const trace::Workload& workload) {
  constexpr size_t kBlock = 1 << 16;
  trace::Generator generator(workload);
  std::string block;
  for (bool more = true; more;) {
    more = generator.Next(&block);
    if (block.size() < kBlock && more) continue;
    if (std::fwrite(block.data(), 1, block.size(), stdout) != block.size()) return false;
    block.clear();
  }
  return std::fflush(stdout) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes a synthetic cache trace.", "trace_gen");
  std::string preset = "mixed";
  bool list = false;
  Changes changes;
  std::optional<uint64_t> requests, seed;
  std::optional<int64_t> seconds;
  app.add_flag("--list", list, "print the presets");
  app.add_option("--preset", preset, "what to imitate, one of --list")->capture_default_str();
  app.add_option("--seed", seed, "of the random numbers; the same seed, the same trace");
  app.add_option("--requests", requests, "lines to write");
  app.add_option("--seconds", seconds, "the time they take");
  app.add_option("--keys", changes.keys, "of each tenant at any time")->check(CLI::Range(1u, 1u << 30));
  app.add_option("--keys-times", changes.keys_times, "the preset's keys, so many times")
      ->check(CLI::PositiveNumber);
  app.add_option("--alpha", changes.alpha, "of Zipf")->check(CLI::Range(0.0, 10.0));
  app.add_option("--key-bytes", changes.key_bytes, "mean")->check(CLI::Range(8, 200));
  app.add_option("--value-bytes", changes.value_bytes, "mean")->check(CLI::PositiveNumber);
  app.add_option("--value-spread", changes.value_spread, "sigma of the log-normal sizes")
      ->check(CLI::Range(0.0, 5.0));
  app.add_option("--ttl", changes.ttl, "seconds:share,... (0 = for ever)");
  app.add_option("--set-share", changes.set_share, "of the requests")->check(CLI::Range(0.0, 1.0));
  app.add_option("--delete-share", changes.delete_share, "of the requests")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--renew", changes.renew, "part of the keys that is renewed in an hour")
      ->check(CLI::NonNegativeNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageError;
  }
  if (list) {
    for (const trace::Workload& one : trace::Presets()) {
      std::printf("%-10s %s\n", one.name.c_str(), one.help.c_str());
    }
    return 0;
  }
  const trace::Workload* const found = trace::FindPreset(preset);
  if (found == nullptr) {
    std::fprintf(stderr, "trace_gen: --preset: %s is unknown; --list prints them\n",
                 preset.c_str());
    return kUsageError;
  }
  trace::Workload workload = *found;
  workload.requests = requests.value_or(workload.requests);
  workload.seconds = seconds.value_or(workload.seconds);
  workload.seed = seed.value_or(workload.seed);
  for (trace::Tenant& tenant : workload.tenants) {
    Apply(changes, &tenant);
    if (!changes.ttl.empty() && !ParseTtls(changes.ttl, &tenant.ttls)) {
      std::fprintf(stderr, "trace_gen: --ttl: %s is not seconds:share,...\n", changes.ttl.c_str());
      return kUsageError;
    }
  }
  if (Write(workload)) return 0;
  std::perror("trace_gen");
  return 1;
}
