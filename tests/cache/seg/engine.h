// One engine, its clock and its registry, with the calls that tests make all the time.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cache/seg/cache.h"

namespace seg {

class EngineTest : public ::testing::Test {
 protected:
  void Open(const config::Seg& options) {
    auto cache = Cache::Create(options, &clock_, &registry_, absl::StrCat("test", ++opened_));
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
  }
  void Open(uint64_t heap, uint64_t segment,
            config::Seg::Eviction eviction = config::Seg::Eviction::kFifo) {
    config::Seg options;
    options.heap_size = heap;
    options.segment_size = segment;
    options.eviction = eviction;
    Open(options);
  }

  // The value, or "(none)". Does not count as a use.
  std::string Get(absl::string_view key) {
    const ItemRef found = cache_->Peek(key);
    return found.found() ? std::string(found.value()) : "(none)";
  }
  bool Has(absl::string_view key) { return cache_->Peek(key).found(); }
  StoreResult Set(absl::string_view key, absl::string_view value, int64_t ttl_ms = kNever) {
    return cache_->Set(key, value, 0, ttl_ms);
  }
  // Calls `meanwhile()` when the item has been looked up and nothing is decided yet.
  template <class Meanwhile>
  StoreResult Touch(absl::string_view key, int64_t ttl_ms, Meanwhile meanwhile) {
    Update update;
    return cache_->Apply(
        key,
        [&](const ItemRef&, Update* u) {
          u->action = Update::Action::kTouch;
          u->ttl_ms = ttl_ms;
          meanwhile();
        },
        &update);
  }
  StoreResult Touch(absl::string_view key, int64_t ttl_ms) {
    return Touch(key, ttl_ms, [] {});
  }

  core::ManualClock clock_;
  core::Registry registry_;
  int opened_ = 0;  // Names of caches must differ within a registry.
  std::unique_ptr<Cache> cache_;
};

// Every policy, by the names that the configuration has for them.
inline auto EveryEviction() {
  using enum config::Seg::Eviction;
  return ::testing::Values(kNone, kRandom, kFifo, kCte, kUtil, kMerge, kS3Fifo);
}
inline auto EveryEvictionThatEvicts() {
  using enum config::Seg::Eviction;
  return ::testing::Values(kRandom, kFifo, kCte, kUtil, kMerge, kS3Fifo);
}
inline std::string NameOf(const ::testing::TestParamInfo<config::Seg::Eviction>& info) {
  return std::string(config::Seg::kEvictions[static_cast<size_t>(info.param)]);
}

}  // namespace seg
