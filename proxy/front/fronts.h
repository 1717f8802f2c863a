// The front of every [[cache]], in their order, and what is asked or told of all of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proxy/front/allowed.h"
#include "proxy/front/cache_front.h"

namespace proxy {

// Main thread, unless it says otherwise.
class Fronts {
 public:
  Fronts() = default;
  // Drops what is under way: before what answers it would reach. Workers stopped.
  ~Fronts();
  Fronts(const Fronts&) = delete;
  Fronts& operator=(const Fronts&) = delete;

  // One for each of `allowed`; on failure the ones before it stay. Once, workers not running.
  absl::Status Open(const FrontShared& shared, const std::vector<Allowed>& allowed);

  // As those of CacheFront. `allowed`: of the same caches as at Open().
  void LogPlaces() const;
  void Retune(const std::vector<Allowed>& allowed, const config::MomentoProxy& config);
  void ReadFilesAgain();
  void BeginDrain();
  bool idle() const;

  // UNAVAILABLE, and of which cache, if a worker has no connection to the service. Any thread.
  absl::Status Ready() const;
  // How each circuit breaker is, as the operator's text port tells it. Any thread.
  std::string BreakerText() const;

 private:
  CacheFront* Find(const std::string& cache_name) const;

  std::vector<std::unique_ptr<CacheFront>> all_;
};

}  // namespace proxy
