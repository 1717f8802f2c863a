// Workloads with a name.
//
// "cluster N" is a row of the statistics that were published with the traces of Yang, Yue, Vigfusson:
// "A large scale analysis of hundreds of in-memory cache clusters at Twitter", OSDI'20
// (github.com/twitter/cache-trace, stat/2020Mar.md): mean key and value sizes, common TTLs, shares of
// operations and Zipf alpha are that row's. It says nothing of how sizes spread, of how fast keys are
// renewed, or of how many there are; those are ours: sigma 0.6, and so many keys that one part of
// them fits 32 to 128 MB and another does not. TTLs that the row has by the hundred
// ("7.5h:0.08, 7.4h:0.07, ...") are given as three.
#include <algorithm>

#include "tools/trace/workload.h"

namespace trace {
namespace {

constexpr int64_t kHour = 3600, kDay = 86400;

std::vector<Workload> Make() {
  const Tenant cluster4 = {.keys = 200'000, .zipf_alpha = 1.1004, .key_bytes = 67,
                           .value_bytes = 2439,
                           .ttls = {{0.39, 60}, {0.24, 300}, {0.13, kHour}, {0.12, 600},
                                    {0.09, 4 * kHour}, {0.03, kDay}},
                           .set_share = 0.07, .renewed_per_hour = 0.2};
  const Tenant cluster7 = {.keys = 100'000, .zipf_alpha = 1.0666, .key_bytes = 17,
                           .value_bytes = 1936,
                           .ttls = {{0.35, 6000}, {0.4, 6500}, {0.25, 7000}},
                           .set_share = 0.18, .renewed_per_hour = 0.1};
  const Tenant cluster12 = {.keys = 2'000'000, .zipf_alpha = 0.3048, .key_bytes = 44,
                            .value_bytes = 1030, .ttls = {{0.98, 300}, {0.02, 299}},
                            .set_share = 0.8};
  const Tenant cluster14 = {.keys = 300'000, .zipf_alpha = 1.2959, .key_bytes = 96,
                            .value_bytes = 414, .ttls = {{1, kDay}}, .set_share = 0.13,
                            .delete_share = 0.22, .renewed_per_hour = 0.2};
  const Tenant cluster19 = {.keys = 400'000, .zipf_alpha = 0.735, .key_bytes = 42,
                            .value_bytes = 101,
                            .ttls = {{0.3, 24'000}, {0.4, 25'500}, {0.3, 27'000}},
                            .set_share = 0.25, .renewed_per_hour = 0.1};
  const Tenant cluster26 = {.keys = 200'000, .zipf_alpha = 0.6299, .key_bytes = 122,
                            .value_bytes = 1745,
                            .ttls = {{0.67, 60}, {0.10, 120}, {0.09, 360}, {0.06, 600},
                                     {0.03, 660}, {0.02, 180}},
                            .set_share = 0.29};
  const Tenant cluster27 = {.keys = 400'000, .zipf_alpha = 1.065, .key_bytes = 66,
                            .value_bytes = 8,
                            .ttls = {{0.28, 8'000'000}, {0.25, kDay}, {0.20, kHour},
                                     {0.18, 4 * kHour}, {0.06, 6 * kHour}, {0.02, 12 * kHour}},
                            .set_share = 0.15, .renewed_per_hour = 0.2};
  const Tenant cluster29 = {.keys = 150'000, .zipf_alpha = 1.2323, .key_bytes = 36,
                            .value_bytes = 799, .ttls = {{0.67, kHour}, {0.33, 2 * kHour}},
                            .set_share = 0.13, .renewed_per_hour = 0.5};
  const Tenant cluster34 = {.keys = 300'000, .zipf_alpha = 1.1401, .key_bytes = 33,
                            .value_bytes = 322,
                            .ttls = {{0.3, 35'000}, {0.4, 38'000}, {0.3, 40'000}},
                            .set_share = 0.06, .renewed_per_hour = 0.2};
  // Memcached's own habit: small values, no TTL. Popularity of the paper's median cluster.
  const Tenant lasting = {.keys = 500'000, .zipf_alpha = 1.0, .key_bytes = 38, .value_bytes = 230};
  Tenant scan = {.share = 0.2, .keys = 1'000'000, .key_bytes = 38, .value_bytes = 230};
  scan.scans = true;

  const auto shared = [](Tenant tenant, double share) {
    tenant.share = share;
    return tenant;
  };
  return {
      {.name = "mixed",
       .help = "clusters 14, 19, 27, 29 and 34 in one cache: small values, TTLs 1 h to 92 days",
       .tenants = {shared(cluster14, 2), cluster19, shared(cluster27, 2), shared(cluster29, 2),
                   shared(cluster34, 3)}},
      {.name = "many_ttls",
       .help = "clusters 4, 26, 27 and 29: a dozen TTLs from a minute to months side by side",
       .tenants = {cluster4, cluster26, shared(cluster27, 3), shared(cluster29, 2)}},
      {.name = "short",
       .help = "clusters 4 and 26 with values of a tenth: most items live for minutes",
       .tenants = {[&] { Tenant t = cluster4; t.value_bytes /= 10; return t; }(),
                   [&] { Tenant t = cluster26; t.value_bytes /= 10; return t; }()},
       .seconds = 7200},
      {.name = "large", .help = "clusters 4 and 7: values of two kilobytes and more",
       .tenants = {cluster4, cluster7}, .requests = 1'500'000},
      {.name = "flat", .help = "cluster 19: Zipf 0.735, hardly anything is hot",
       .tenants = {cluster19}},
      {.name = "writes", .help = "clusters 12 and 34: most writes are never read",
       .tenants = {cluster12, shared(cluster34, 3)}, .requests = 2'000'000},
      {.name = "lasting", .help = "no TTL, Zipf 1, 38-byte keys and 230-byte values",
       .tenants = {lasting}},
      {.name = "scan", .help = "lasting, and a sixth of the requests scan a million other keys",
       .tenants = {lasting, scan}},
      {.name = "plain", .help = "one tenant, to be shaped by flags", .tenants = {Tenant()}},
  };
}

}  // namespace

absl::Span<const Workload> Presets() {
  static const std::vector<Workload>* const presets = new std::vector<Workload>(Make());
  return *presets;
}

const Workload* FindPreset(absl::string_view name) {
  for (const Workload& preset : Presets()) {
    if (preset.name == name) return &preset;
  }
  return nullptr;
}

}  // namespace trace
