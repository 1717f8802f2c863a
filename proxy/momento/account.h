// The credentials in use for an account, published to every worker's connections.
//
// One writer, the key watch, replaces them whole; readers notice by a number that costs a relaxed
// load a call, and take the new ones under a lock that only a change makes them touch.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "core/base/mutex.h"
#include "core/metrics/metrics.h"
#include "proxy/momento/credentials.h"

namespace proxy::momento {

// What is counted of an account's keys. One an account; shared by it and by the gauge, which the
// registry may read for longer than the account lives.
struct KeyMetrics : core::MetricGroup {
  // `account`: "momento", or "cache:" and the name of a cache that has its own.
  // `wall_s` tells Unix time.
  KeyMetrics(core::Registry* registry, absl::string_view account,
             absl::AnyInvocable<int64_t() const> wall_s);

  void SetExpiry(int64_t unix_s) { expires_at_s_->store(unix_s, std::memory_order_relaxed); }
  // Whether the file holds a key that is not the one in use.
  void SetPending(bool pending) { pending_->store(pending, std::memory_order_relaxed); }

  core::Counter accepted{this, "change_total", "New API keys found in the key file, by outcome.",
                         {{"outcome", "accepted"}}};
  core::Counter refused{this, "change_total", "New API keys found in the key file, by outcome.",
                        {{"outcome", "refused"}}};
  core::Counter unreadable{this, "file_unreadable_total",
                           "Times the key file was found missing, empty or unreadable."};
  core::Counter rejected{this, "rejected_call_total",
                         "Calls the service answered with UNAUTHENTICATED or PERMISSION_DENIED."};

 private:
  // Owned by this group and by the gauges below, read until the registry's end.
  std::shared_ptr<std::atomic<int64_t>> expires_at_s_ = std::make_shared<std::atomic<int64_t>>(0);
  std::shared_ptr<std::atomic<bool>> pending_ = std::make_shared<std::atomic<bool>>(false);
  core::Gauge expiry_;
  core::Gauge pending_gauge_;
};

class Account {
 public:
  // Owned by the account and by every pool that has taken them.
  using CredentialsPtr = std::shared_ptr<const Credentials>;

  // `metrics` outlives the account, or is null.
  Account(Credentials credentials, KeyMetrics* metrics);

  // A number that changes with the credentials. Any thread.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  // The credentials in use. Any thread.
  CredentialsPtr current() const {
    core::MutexLock lock(mu_);
    return current_;
  }
  // Puts others in use, for calls made from now on. Any thread.
  void Replace(Credentials credentials);

  // The service refused a call for its key. Any thread.
  void NoteRejected() {
    if (metrics_ != nullptr) metrics_->rejected.Add();
  }

 private:
  KeyMetrics* const metrics_;
  mutable core::Mutex mu_;
  CredentialsPtr current_ ABSL_GUARDED_BY(mu_);
  // Written after current_, with release; pairs with the acquire in generation().
  std::atomic<uint64_t> generation_{1};
};

// Takes `key` out of a text that somebody else wrote, such as an error of the service.
void Scrub(const Secret& key, std::string* text);

}  // namespace proxy::momento
