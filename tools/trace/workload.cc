// Drawing requests. See workload.h. Distributions are our own, for the standard library's differ
// from one implementation to the next.
#include "tools/trace/workload.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "tools/trace/request.h"
#include "tools/zipf.h"

namespace trace {
namespace {

// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA'14).
uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}
double Uniform(uint64_t* state) {
  *state += 0x9e3779b97f4a7c15;
  return static_cast<double>(Mix(*state) >> 11) * 0x1p-53;
}

// memcached's item limit, less a key and a header.
constexpr double kValueBytesMax = 1e6;

}  // namespace

class Generator::Stream {
 public:
  Stream(const Tenant& tenant, size_t number, const Workload& workload, double share)
      : tenant_(tenant),
        letter_(static_cast<char>('a' + number % 26)),
        seed_(Mix(workload.seed * 1000 + number + 1)),
        state_(seed_),
        zipf_(tenant.keys, tenant.zipf_alpha),
        holder_(tenant.scans ? 0 : tenant.keys),
        next_key_(tenant.keys) {
    for (uint64_t i = 0; i < holder_.size(); ++i) holder_[i] = static_cast<uint32_t>(i);
    const double requests = share * static_cast<double>(workload.requests);
    renewals_per_request_ = tenant.renewed_per_hour * static_cast<double>(tenant.keys) *
                            static_cast<double>(workload.seconds) / 3600 / std::max(requests, 1.0);
  }

  void Next(int64_t second, size_t client, std::string* out) {
    const uint64_t key = tenant_.scans ? scanned_++ % tenant_.keys : NextByPopularity();
    uint64_t of_key = seed_ ^ Mix(key + 1);
    const double key_bytes = tenant_.key_bytes * (0.75 + 0.5 * Uniform(&of_key));
    // A log-normal value with the mean asked for (Box and Muller's normal).
    const double sigma = tenant_.value_spread;
    const double normal = std::sqrt(-2 * std::log(1 - Uniform(&of_key))) *
                          std::cos(2 * std::numbers::pi * Uniform(&of_key));
    const double value_bytes = tenant_.value_bytes * std::exp(sigma * normal - sigma * sigma / 2);
    const int64_t ttl = TtlFor(Uniform(&of_key));
    const double what = Uniform(&state_);
    const absl::string_view op = what < tenant_.set_share ? "set"
                                 : what < tenant_.set_share + tenant_.delete_share ? "delete"
                                                                                   : "get";
    const auto key_size = static_cast<uint32_t>(
        std::clamp(std::round(key_bytes), 8.0, static_cast<double>(kKeyBytesMax)));
    absl::StrAppend(out, second, ",", absl::string_view(&letter_, 1), key, ",", key_size, ",");
    absl::StrAppend(out, static_cast<int64_t>(std::clamp(value_bytes, 1.0, kValueBytesMax)), ",",
                    client, ",", op, ",", ttl, "\n");
  }

 private:
  uint64_t NextByPopularity() {
    for (renewals_due_ += renewals_per_request_; renewals_due_ >= 1; --renewals_due_) {
      const auto rank = static_cast<size_t>(Uniform(&state_) * static_cast<double>(holder_.size()));
      holder_[rank] = static_cast<uint32_t>(next_key_++);
    }
    return holder_[zipf_.Draw([this] { return Uniform(&state_); }) - 1];
  }
  int64_t TtlFor(double uniform) const {
    double sum = 0;
    for (const Tenant::Ttl& ttl : tenant_.ttls) sum += ttl.share;
    uniform *= sum;
    for (const Tenant::Ttl& ttl : tenant_.ttls) {
      uniform -= ttl.share;
      if (uniform < 0) return ttl.sec;
    }
    return tenant_.ttls.back().sec;
  }

  const Tenant tenant_;
  const char letter_;
  const uint64_t seed_;
  uint64_t state_;
  const tools::Zipf zipf_;
  std::vector<uint32_t> holder_;  // By rank: who has it.
  uint64_t next_key_;
  uint64_t scanned_ = 0;
  double renewals_per_request_ = 0;
  double renewals_due_ = 0;
};

Generator::Generator(const Workload& workload)
    : workload_(workload), state_(Mix(workload.seed ^ 0x5eed)) {
  double sum = 0;
  for (const Tenant& tenant : workload.tenants) sum += tenant.share;
  double so_far = 0;
  for (const Tenant& tenant : workload.tenants) {
    streams_.push_back(
        std::make_unique<Stream>(tenant, streams_.size(), workload_, tenant.share / sum));
    shares_.push_back(so_far += tenant.share / sum);
  }
}

Generator::~Generator() = default;

bool Generator::Next(std::string* out) {
  if (made_ == workload_.requests || streams_.empty()) return false;
  const auto second = static_cast<int64_t>(static_cast<double>(made_) *
                                           static_cast<double>(workload_.seconds) /
                                           static_cast<double>(workload_.requests));
  ++made_;
  const double uniform = Uniform(&state_);
  size_t i = 0;
  while (i + 1 < shares_.size() && uniform >= shares_[i]) ++i;
  streams_[i]->Next(second, i, out);
  return true;
}

}  // namespace trace
