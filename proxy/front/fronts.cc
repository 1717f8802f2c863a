// See fronts.h.
#include "proxy/front/fronts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status.h"

namespace proxy {
namespace {

// The largest item that one of the caches behind a listener takes; one that takes less says so.
uint64_t ItemBytesMax(const std::vector<Allowed>& allowed, const config::Cache& listener) {
  uint64_t most = 0;
  for (const auto& [cache, limits] : allowed) {
    const std::string& name = cache.cache_name;
    const bool reached = name == listener.cache_name ||
                         std::any_of(listener.routes.begin(), listener.routes.end(),
                                     [&name](const auto& route) { return route.cache == name; });
    if (reached) most = std::max(most, limits.item_size_max);
  }
  return most;
}

}  // namespace

Fronts::~Fronts() {
  for (const auto& front : all_) front->Forsake();
}

absl::Status Fronts::Open(const FrontShared& shared, const std::vector<Allowed>& allowed) {
  for (const Allowed& one : allowed) {
    ASSIGN_OR_RETURN(std::unique_ptr<CacheFront> front,
                     CacheFront::Open(shared, one, ItemBytesMax(allowed, one.cache)));
    all_.push_back(std::move(front));
  }
  for (const auto& front : all_) {
    front->Lead([this](const std::string& name) { return Find(name); });
  }
  return absl::OkStatus();
}

CacheFront* Fronts::Find(const std::string& cache_name) const {
  const auto found = std::find_if(all_.begin(), all_.end(), [&cache_name](const auto& front) {
    return front->cache().cache_name == cache_name;
  });
  CHECK(found != all_.end());  // config/validate.h.
  return found->get();
}

void Fronts::LogPlaces() const {
  for (const auto& front : all_) front->LogPlace();
}

void Fronts::Retune(const std::vector<Allowed>& allowed, const config::MomentoProxy& config) {
  for (size_t i = 0; i < all_.size(); ++i) all_[i]->Retune(allowed[i], config);
}

void Fronts::ReadFilesAgain() {
  for (const auto& front : all_) front->ReadFilesAgain();
}

void Fronts::BeginDrain() {
  for (const auto& front : all_) front->BeginDrain();
}

bool Fronts::idle() const {
  return std::all_of(all_.begin(), all_.end(), [](const auto& front) { return front->idle(); });
}

absl::Status Fronts::Ready() const {
  for (const auto& front : all_) {
    const int without = front->workers_without_backend();
    if (without == 0) continue;
    return absl::UnavailableError(absl::StrCat("cache ", front->cache().cache_name, ": ", without,
                                               " workers have no connection to Momento"));
  }
  return absl::OkStatus();
}

std::string Fronts::BreakerText() const {
  std::string text;
  for (const auto& front : all_) {
    for (const auto& [name, value] : front->BreakerStats()) {
      absl::StrAppend(&text, "STAT ", front->cache().cache_name, ":", name, " ", value, "\r\n");
    }
  }
  return absl::StrCat(text, "END\r\n");
}

}  // namespace proxy
