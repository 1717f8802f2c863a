// Which caches exist, by name.
//
// A call takes its cache out with Find and keeps it until it has answered, so DeleteCache never
// waits for a call and never pulls a heap from under one; the last of them frees it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cache/local/store.h"
#include "config/seg.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace cache::local {

// Any thread.
class Directory {
 public:
  // Owned by the directory until DeleteCache and by every call under way in it.
  using StorePtr = std::shared_ptr<Store>;

  // `clock` outlives the directory.
  Directory(const config::Seg& options, const core::Clock* clock, size_t caches_max)
      : options_(options), clock_(clock), caches_max_(caches_max) {}

  // Null if there is none.
  StorePtr Find(absl::string_view name) const;
  // The cache of that name, made if need be. INVALID_ARGUMENT, RESOURCE_EXHAUSTED as Create.
  absl::StatusOr<StorePtr> FindOrCreate(absl::string_view name);
  // ALREADY_EXISTS; INVALID_ARGUMENT for a bad name; RESOURCE_EXHAUSTED past the maximum.
  absl::Status Create(absl::string_view name);
  // NOT_FOUND.
  absl::Status Delete(absl::string_view name);
  // NOT_FOUND.
  absl::Status Flush(absl::string_view name);
  // In order.
  std::vector<std::string> Names() const;
  // Deletes all.
  void Clear();

  // Reclaims expired items everywhere; once a second.
  void Tick();
  size_t size() const;
  // Summed over all caches.
  seg::Cache::Stats SumStats() const;

 private:
  std::vector<StorePtr> All() const;
  absl::StatusOr<StorePtr> CreateLocked(absl::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const config::Seg options_;
  const core::Clock* const clock_;
  const size_t caches_max_;

  mutable core::Mutex mu_;
  absl::flat_hash_map<std::string, StorePtr> stores_ ABSL_GUARDED_BY(mu_);
};

// NOT_FOUND: what every call in a cache that is not there answers.
absl::Status NoSuchCache(absl::string_view name);

}  // namespace cache::local
