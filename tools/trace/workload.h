// What a synthetic trace is made of, and the making.
//
// A workload is the sum of tenants. A tenant has keys of Zipf popularity; each key has sizes and a
// TTL of its own, drawn once; now and then a key is renewed, that is, another one takes its rank and
// it is never asked for again. A scan asks for keys one after another, each as rarely as the next.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace trace {

struct Tenant {
  double share = 1;  // Of the workload's requests, relative to other tenants'.
  uint64_t keys = 100'000;
  double zipf_alpha = 1;
  double key_bytes = 40;  // Means. Keys spread evenly by a quarter around theirs ...
  double value_bytes = 200;
  double value_spread = 0.6;  // ... and values log-normally, with this sigma.
  struct Ttl {
    double share;
    int64_t sec;  // 0 = for ever.
  };
  std::vector<Ttl> ttls = {{1, 0}};
  double set_share = 0;  // Of the tenant's requests; what is neither set nor deleted is got.
  double delete_share = 0;
  double renewed_per_hour = 0;  // Keys, as a part of all.
  bool scans = false;           // Round and round instead of by popularity.
};

struct Workload {
  std::string name;
  std::string help;  // One sentence.
  std::vector<Tenant> tenants;
  uint64_t requests = 3'000'000;
  int64_t seconds = 10'800;
  uint64_t seed = 1;
};

// Named workloads; sources of their numbers are beside them.
absl::Span<const Workload> Presets();
// Null if there is none.
const Workload* FindPreset(absl::string_view name);

// Makes the lines of a workload, the same for the same workload on every run.
class Generator {
 public:
  explicit Generator(const Workload& workload);
  ~Generator();

  // Appends the next line to *out. False after the last.
  bool Next(std::string* out);

 private:
  class Stream;
  const Workload workload_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<double> shares_;  // Summed up.
  uint64_t state_;
  uint64_t made_ = 0;
};

}  // namespace trace
