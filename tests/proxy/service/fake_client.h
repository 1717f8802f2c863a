// A Momento in memory whose answers come when the test says so, in the order it says, or fail.
//
// A call takes effect when it is delivered, or performed ahead of its answer, not when it is made: the
// freedom a real network has.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "proxy/momento/client.h"

namespace proxy::momento {

// How calls of one name are to fail.
struct Fault {
  Code code = Code::kUnavailable;
  int count = 1 << 30;       // So many times.
  bool applied = false;      // The call has its effect all the same.
  bool sent = true;
  std::string detail = {};
  int came = 0;              // GetBatch: so many keys are answered first.
};

class FakeClient final : public Client {
 public:
  struct Item {
    std::string value;
    int64_t dies_ms = 0;
  };

  explicit FakeClient(const core::Clock* clock) : clock_(clock) {}

  // --- What the test does ---
  std::map<std::string, Item> items;
  std::map<std::string, Fault> faults;   // By name of the call.
  std::vector<std::string> calls;        // "Get k", in the order made.
  std::vector<int64_t> waited_ms;        // Of each of them, before it was made.
  int flushes = 0;
  bool hide_ttl = false;                 // ItemGetTtl misses.
  int lose_races = 0;                    // So many conditional stores find another value.

  size_t pending() const { return pending_.size(); }
  // Performs and answers the call that is `index`th among the pending.
  void Deliver(size_t index = 0) {
    ASSERT_LT(index, pending_.size());
    auto run = std::move(pending_[index].run);
    delivering_ = pending_[index].origin;
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(index));
    run();
  }
  // Performs the call now; its answer takes its place among the pending and comes later.
  void Perform(size_t index = 0) {
    ASSERT_LT(index, pending_.size());
    if (pending_[index].performed) return;
    auto run = std::move(pending_[index].run);
    holding_ = true;
    run();
    holding_ = false;
    pending_[index] = {std::move(held_), true, pending_[index].origin};
  }
  // What a retry or a hedge would be told.
  bool AskForMore(const ExtraCall& call) {
    return observer_ == nullptr || observer_->AdmitExtra(call);
  }
  std::vector<std::string> TakeCalls() { return std::exchange(calls, {}); }
  static std::string HashOf(absl::string_view stored) { return absl::StrCat("#", stored); }
  int64_t TtlOf(const std::string& key) {
    Item* item = Find(key);
    return item == nullptr ? -1 : item->dies_ms - clock_->MonotonicMs();
  }

  // --- The client ---
  void Get(absl::string_view key, Callback<GetResult> done) override {
    Make("Get", key, [this, key = std::string(key), done = std::move(done)]() mutable {
      Tell(std::move(done), Read("Get", key));
    });
  }
  void GetBatch(absl::Span<const absl::string_view> keys,
                Callback<std::vector<GetResult>> done) override {
    std::vector<std::string> own(keys.begin(), keys.end());
    std::string named = absl::StrCat(own.size(), ":");
    if (own.size() <= 8) {
      for (const std::string& key : own) absl::StrAppend(&named, " ", key);
    }
    Make("GetBatch", named, [this, own = std::move(own), done = std::move(done)]() mutable {
      std::vector<GetResult> results;
      if (const std::optional<Fault> fault = TakeFault("GetBatch")) {
        for (int i = 0; i < fault->came; ++i) results.push_back(Read("", own.at(i)));
        results.emplace_back().error = ErrorOf(*fault);
      } else {
        for (const std::string& key : own) results.push_back(Read("", key));
      }
      Tell(std::move(done), std::move(results));
    });
  }
  void GetWithHash(absl::string_view key, Callback<HashedGetResult> done) override {
    Make("GetWithHash", key, [this, key = std::string(key), done = std::move(done)]() mutable {
      GetResult got = Read("GetWithHash", key);
      HashedGetResult result;
      result.error = std::move(got.error);
      result.hit = got.hit;
      result.value = std::move(got.value);
      if (result.hit) result.hash = HashOf(result.value);
      Tell(std::move(done), std::move(result));
    });
  }
  void Set(absl::string_view key, absl::string_view prefix, absl::string_view body,
           uint64_t ttl_ms, Callback<StoreResult> done) override {
    MakeStore("Set", key, prefix, body, ttl_ms, [](const Item*) { return true; }, std::move(done));
  }
  void SetBatch(absl::Span<const StoreItem> given,
                Callback<std::vector<StoreResult>> done) override {
    struct Own {
      std::string key, value;
      uint64_t ttl_ms;
    };
    std::vector<Own> own;
    std::string named = absl::StrCat(given.size(), ":");
    for (const StoreItem& item : given) {
      EXPECT_GT(item.ttl_ms, 0u);
      own.push_back({std::string(item.key), absl::StrCat(item.prefix, item.body), item.ttl_ms});
      if (given.size() <= 8) absl::StrAppend(&named, " ", item.key);
    }
    Make("SetBatch", named, [this, own = std::move(own), done = std::move(done)]() mutable {
      const std::optional<Fault> fault = TakeFault("SetBatch");
      const size_t came = fault.has_value() ? static_cast<size_t>(fault->came) : own.size();
      std::vector<StoreResult> results;
      for (size_t i = 0; i < own.size(); ++i) {
        if (i >= came && !fault->applied) break;
        PutItem(own[i].key, own[i].value, own[i].ttl_ms);
        if (i < came) results.emplace_back().stored = true;
      }
      if (fault.has_value()) results.emplace_back().error = ErrorOf(*fault);
      Tell(std::move(done), std::move(results));
    });
  }
  void SetIf(absl::string_view key, absl::string_view prefix, absl::string_view body,
             uint64_t ttl_ms, Condition condition, Callback<StoreResult> done) override {
    MakeStore("SetIf", key, prefix, body, ttl_ms,
              [condition](const Item* item) {
                return (item != nullptr) == (condition == Condition::kPresent);
              },
              std::move(done));
  }
  void SetIfHash(absl::string_view key, absl::string_view prefix, absl::string_view body,
                 uint64_t ttl_ms, std::optional<absl::string_view> expected_hash,
                 Callback<StoreResult> done) override {
    std::optional<std::string> expected;
    if (expected_hash.has_value()) expected = std::string(*expected_hash);
    MakeStore("SetIfHash", key, prefix, body, ttl_ms,
              [this, expected](const Item* item) {
                if (!expected.has_value()) return true;
                if (lose_races > 0) {
                  --lose_races;
                  return false;
                }
                return item != nullptr && HashOf(item->value) == *expected;
              },
              std::move(done));
  }
  void Delete(absl::string_view key, Callback<DoneResult> done) override {
    Make("Delete", key, [this, key = std::string(key), done = std::move(done)]() mutable {
      DoneResult result;
      const std::optional<Fault> fault = TakeFault("Delete");
      if (fault.has_value()) result.error = ErrorOf(*fault);
      if (!fault.has_value() || fault->applied) items.erase(key);
      Tell(std::move(done), std::move(result));
    });
  }
  void KeyExists(absl::string_view key, Callback<FoundResult> done) override {
    Make("KeyExists", key, [this, key = std::string(key), done = std::move(done)]() mutable {
      FoundResult result;
      if (const std::optional<Fault> fault = TakeFault("KeyExists")) {
        result.error = ErrorOf(*fault);
      } else {
        result.found = Find(key) != nullptr;
      }
      Tell(std::move(done), std::move(result));
    });
  }
  void UpdateTtl(absl::string_view key, uint64_t ttl_ms, Callback<FoundResult> done) override {
    EXPECT_GT(ttl_ms, 0u);
    Make("UpdateTtl", key, [this, key = std::string(key), ttl_ms, done = std::move(done)]() mutable {
      FoundResult result;
      const std::optional<Fault> fault = TakeFault("UpdateTtl");
      if (fault.has_value()) result.error = ErrorOf(*fault);
      Item* item = Find(key);
      if (item != nullptr && (!fault.has_value() || fault->applied)) {
        item->dies_ms = clock_->MonotonicMs() + static_cast<int64_t>(ttl_ms);
        result.found = true;
      }
      Tell(std::move(done), std::move(result));
    });
  }
  void ItemGetTtl(absl::string_view key, Callback<TtlResult> done) override {
    Make("ItemGetTtl", key, [this, key = std::string(key), done = std::move(done)]() mutable {
      TtlResult result;
      if (const std::optional<Fault> fault = TakeFault("ItemGetTtl")) {
        result.error = ErrorOf(*fault);
      } else if (const Item* item = Find(key); item != nullptr && !hide_ttl) {
        result.found = true;
        result.ttl_ms = static_cast<uint64_t>(item->dies_ms - clock_->MonotonicMs());
      }
      Tell(std::move(done), std::move(result));
    });
  }
  void FlushCache(Callback<DoneResult> done) override {
    Make("FlushCache", "", [this, done = std::move(done)]() mutable {
      DoneResult result;
      if (const std::optional<Fault> fault = TakeFault("FlushCache")) {
        result.error = ErrorOf(*fault);
      } else {
        items.clear();
        ++flushes;
      }
      Tell(std::move(done), std::move(result));
    });
  }
  void Ping(Callback<DoneResult> done) override {
    Make("Ping", "", [this, done = std::move(done)]() mutable { Tell(std::move(done), DoneResult()); });
  }
  void Flush() override {}
  int ready_connections() const override { return ready; }
  int ready = 1;

 private:
  void Make(absl::string_view name, absl::string_view what, absl::AnyInvocable<void()> run) {
    waited_ms.push_back(std::exchange(waited_ms_, 0));
    const int64_t waited = waited_ms.back();
    calls.push_back(what.empty() ? std::string(name) : absl::StrCat(name, " ", what));
    const bool data = name != "FlushCache" && name != "Ping";
    pending_.push_back({std::move(run), false, {clock_->MonotonicNs(), waited, data}});
  }

  template <class Result>
  void Tell(Callback<Result> done, Result result) {
    if (!holding_) return End(std::move(done), std::move(result));
    held_ = [this, done = std::move(done), result = std::move(result)]() mutable {
      End(std::move(done), std::move(result));
    };
  }
  template <class Result>
  void End(Callback<Result> done, Result result) {
    if (observer_ != nullptr && delivering_.data_plane) {
      observer_->OnCallEnded(HowOf(result), clock_->MonotonicNs() - delivering_.made_ns,
                             delivering_.waited_ms);
    }
    done(std::move(result));
  }
  template <class Result>
  static Error HowOf(const Result& result) { return result.error; }
  template <class One>
  static Error HowOf(const std::vector<One>& results) {
    return results.empty() ? Error() : results.back().error;
  }

  template <class Condition>
  void MakeStore(std::string name, absl::string_view key, absl::string_view prefix,
                 absl::string_view body, uint64_t ttl_ms, Condition condition,
                 Callback<StoreResult> done) {
    EXPECT_GT(ttl_ms, 0u);
    Make(name, key,
         [this, name, key = std::string(key), value = absl::StrCat(prefix, body), ttl_ms, condition,
          done = std::move(done)]() mutable {
           StoreResult result;
           const std::optional<Fault> fault = TakeFault(name);
           if (fault.has_value()) result.error = ErrorOf(*fault);
           if (!fault.has_value() || fault->applied) {
             result.stored = condition(Find(key));
             if (result.stored) {
               PutItem(key, value, ttl_ms);
               if (name == "SetIfHash") result.hash = HashOf(value);
             }
           }
           Tell(std::move(done), std::move(result));
         });
  }

  void PutItem(const std::string& key, const std::string& value, uint64_t ttl_ms) {
    items[key] = Item{value, clock_->MonotonicMs() + static_cast<int64_t>(ttl_ms)};
  }
  GetResult Read(const std::string& name, const std::string& key) {
    GetResult result;
    if (const std::optional<Fault> fault = TakeFault(name)) {
      result.error = ErrorOf(*fault);
    } else if (const Item* item = Find(key)) {
      result.hit = true;
      result.value = item->value;
    }
    return result;
  }
  Item* Find(const std::string& key) {
    auto it = items.find(key);
    if (it == items.end()) return nullptr;
    if (it->second.dies_ms <= clock_->MonotonicMs()) {
      items.erase(it);
      return nullptr;
    }
    return &it->second;
  }
  std::optional<Fault> TakeFault(const std::string& name) {
    auto it = faults.find(name);
    if (it == faults.end() || it->second.count == 0) return std::nullopt;
    --it->second.count;
    return it->second;
  }
  static Error ErrorOf(const Fault& fault) {
    Error error;
    error.code = fault.code;
    error.detail = fault.detail;
    error.message = "said by the backend\r\n";
    error.sent = fault.sent;
    return error;
  }

  const core::Clock* clock_;
  struct Origin {
    int64_t made_ns = 0;
    int64_t waited_ms = 0;
    bool data_plane = false;
  };
  struct Pending {
    absl::AnyInvocable<void()> run;
    bool performed;
    Origin origin;
  };
  Origin delivering_;
  std::deque<Pending> pending_;
  bool holding_ = false;
  absl::AnyInvocable<void()> held_;
};

}  // namespace proxy::momento
