#include "cache/local/directory.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cache/local/limits.h"
#include "core/base/status.h"

namespace cache::local {

absl::Status NoSuchCache(absl::string_view name) {
  return absl::NotFoundError(absl::StrCat("there is no cache named \"", name, "\""));
}

Directory::StorePtr Directory::Find(absl::string_view name) const {
  core::MutexLock lock(mu_);
  const auto at = stores_.find(name);
  return at == stores_.end() ? nullptr : at->second;
}

absl::StatusOr<Directory::StorePtr> Directory::CreateLocked(absl::string_view name) {
  RETURN_IF_ERROR(CheckCacheName(name));
  if (stores_.size() >= caches_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", stores_.size(), " caches, no more may be made"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Store> store, Store::Create(options_, clock_, name));
  StorePtr shared = std::move(store);
  stores_.emplace(name, shared);
  return shared;
}

absl::StatusOr<Directory::StorePtr> Directory::FindOrCreate(absl::string_view name) {
  core::MutexLock lock(mu_);
  const auto at = stores_.find(name);
  if (at != stores_.end()) return at->second;
  return CreateLocked(name);
}

absl::Status Directory::Create(absl::string_view name) {
  core::MutexLock lock(mu_);
  if (stores_.contains(name)) {
    return absl::AlreadyExistsError(absl::StrCat("cache \"", name, "\" exists already"));
  }
  return CreateLocked(name).status();
}

absl::Status Directory::Delete(absl::string_view name) {
  StorePtr last;  // A heap is unmapped outside the lock.
  core::MutexLock lock(mu_);
  const auto at = stores_.find(name);
  if (at == stores_.end()) return NoSuchCache(name);
  last = std::move(at->second);
  stores_.erase(at);
  return absl::OkStatus();
}

absl::Status Directory::Flush(absl::string_view name) {
  const StorePtr store = Find(name);
  if (store == nullptr) return NoSuchCache(name);
  store->Flush();
  return absl::OkStatus();
}

std::vector<std::string> Directory::Names() const {
  std::vector<std::string> names;
  {
    core::MutexLock lock(mu_);
    names.reserve(stores_.size());
    for (const auto& [name, store] : stores_) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void Directory::Clear() {
  decltype(stores_) gone;
  core::MutexLock lock(mu_);
  std::swap(gone, stores_);
}

std::vector<Directory::StorePtr> Directory::All() const {
  std::vector<StorePtr> all;
  core::MutexLock lock(mu_);
  all.reserve(stores_.size());
  for (const auto& [name, store] : stores_) all.push_back(store);
  return all;
}

void Directory::Tick() {
  for (const StorePtr& store : All()) store->Tick();
}

size_t Directory::size() const {
  core::MutexLock lock(mu_);
  return stores_.size();
}

seg::Cache::Stats Directory::SumStats() const {
  seg::Cache::Stats sum;
  for (const StorePtr& store : All()) {
    const seg::Cache::Stats one = store->GetStats();
    sum.items += one.items;
    sum.item_bytes += one.item_bytes;
    sum.heap_bytes += one.heap_bytes;
    sum.index_bytes += one.index_bytes;
    sum.evicted_items += one.evicted_items;
    sum.expired_items += one.expired_items;
  }
  return sum;
}

}  // namespace cache::local
