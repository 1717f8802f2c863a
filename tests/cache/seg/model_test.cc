// The engine against a std::map, with a manual clock: it may forget what it evicts, it may never
// invent, resurrect or change. With a heap that holds everything it may not even forget.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cache/seg/cache.h"

namespace seg {
namespace {

constexpr int kOps = 40'000;
constexpr int kOpsWithLargeValues = 4'000;  // Most of the time goes into copying them.

struct Shape {
  std::string name;
  uint64_t heap;
  uint64_t segment;
  uint32_t hash_power;
  config::Seg::Eviction eviction;
  int keys;
  size_t value_bytes_max;
  bool may_forget;
  bool shares;
};

// For messages.
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

using enum config::Seg::Eviction;

// Every policy in every size of heap and segment: room for half of the items or less, for some, and
// for all of them.
std::vector<Shape> Shapes() {
  struct Size {
    const char* name;
    uint64_t heap;
    uint64_t segment;
    uint32_t hash_power;
    int keys;
    size_t value_bytes_max;
    bool is_roomy;
    bool shares = false;  // `heap` is for everything, and the index takes segments.
  };
  constexpr Size kSizes[] = {
      {"two_segments", 2 * 4096, 4096, 0, 20, 3000, false},
      {"tiny", 4 * 4096, 4096, 0, 100, 900, false},
      {"small", 16 * 4096, 4096, 4, 300, 700, false},
      {"tight", 256 << 10, 4 << 10, 0, 2000, 500, false},
      {"tight_large_segments", 256 << 10, 32 << 10, 0, 2000, 1000, false},
      // Segments of 8 KB, so that most items take several.
      {"large_items", 2 << 20, 0, 0, 100, 60'000, false},
      {"small_and_large_items", 1 << 20, 0, 5, 300, 20'000, false},
      // Up to two items a segment, of 32 KB; and such as need a segment and a little more.
      {"tails", 1 << 20, 32 << 10, 0, 100, 32'000, false},
      {"tails_and_large_items", 4 << 20, 0, 0, 200, 70'000, false},
      // Of 22 segments an item takes up to five.
      {"quarters", 176 << 10, 0, 0, 5, 40'000, false},
      {"shared_with_the_index", 600 << 10, 0, 6, 2000, 600, false, true},
      {"roomy", 64 << 20, 16 << 10, 0, 500, 400, true},
      {"roomy_one_bucket", 64 << 20, 16 << 10, 3, 200, 100, true},
      {"large_items_in_a_roomy_heap", 64 << 20, 0, 0, 60, 300'000, true},
  };
  std::vector<Shape> shapes;
  for (const Size& size : kSizes) {
    for (const auto eviction : {kNone, kRandom, kFifo, kCte, kUtil, kMerge, kS3Fifo}) {
      shapes.push_back({absl::StrCat(size.name, "_",
                                     config::Seg::kEvictions[static_cast<size_t>(eviction)]),
                        size.heap, size.segment, size.hash_power, eviction, size.keys,
                        size.value_bytes_max, !size.is_roomy && eviction != kNone, size.shares});
    }
  }
  return shapes;
}

class ModelTest : public ::testing::TestWithParam<Shape> {
 protected:
  struct Entry {
    std::string value;
    uint32_t flags;
    uint64_t cas;
    int64_t deadline_ms;  // INT64_MAX: never.
    Marks marks = {};
    bool hit = false;
    int64_t used_sec = 0;
  };

  void SetUp() override {
    shape_ = GetParam();
    // Another run of the same: --gtest_random_seed=N.
    const int asked = GTEST_FLAG_GET(random_seed);
    seed_ = asked != 0 ? static_cast<unsigned>(asked) : std::random_device{}() % 99'999 + 1;
    rng_.seed(seed_);
    config::Seg options;
    options.heap_size = shape_.heap;
    Lodging lodging;
    if (shape_.shares) {  // Besides, each processor has a shard.
      lodging.memory = shape_.heap + std::thread::hardware_concurrency() * (18 << 10);
    }
    options.segment_size = shape_.segment;
    options.hash_power = shape_.hash_power;
    options.eviction = shape_.eviction;
    options.track_access = tracks_ = seed_ % 2 == 0;
    began_ms_ = clock_.MonotonicMs();
    auto cache = Cache::Create(options, &clock_, &registry_, "model", lodging);
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
    segments_ = cache_->GetStats().segments;
  }

  int Below(int n) { return static_cast<int>(rng_() % static_cast<unsigned>(n)); }
  std::string Key() { return absl::StrCat("key-", Below(shape_.keys)); }
  std::string Value() {
    const size_t bytes = rng_() % (shape_.value_bytes_max + 1);
    std::string value(bytes, static_cast<char>(rng_()));
    for (size_t i = 0; i < bytes; i += 1 + i / 16) value[i] = static_cast<char>(rng_());
    return value;
  }
  int64_t Ttl() {
    switch (Below(5)) {
      case 0:
        return kNever;
      case 1:
        return 1 + Below(3'000);
      case 2:
        return 1 + Below(60'000);
      case 3:
        return 1 + Below(4'000'000);
      default:
        return 1 + int64_t{Below(1'000'000)} * 10'000;
    }
  }
  int64_t Deadline(int64_t ttl_ms) {
    return ttl_ms == kNever ? INT64_MAX : clock_.MonotonicMs() + ttl_ms;
  }
  int64_t NowSec() { return (clock_.MonotonicMs() - began_ms_) / 1000; }
  Marks SomeMarks() { return {Below(2) == 0, Below(2) == 0}; }
  // The live entry of the model, or null.
  Entry* Live(const std::string& key) {
    const auto it = model_.find(key);
    if (it == model_.end()) return nullptr;
    if (clock_.MonotonicMs() < it->second.deadline_ms) return &it->second;
    model_.erase(it);
    return nullptr;
  }

  // Holds what was found against the model.
  void Compare(const std::string& key, const ItemRef& found) {
    Entry* want = Live(key);
    if (!found.found()) {
      ASSERT_TRUE(want == nullptr || shape_.may_forget) << "lost " << key;
      model_.erase(key);
      return;
    }
    ASSERT_NE(want, nullptr) << "invented " << key;
    ASSERT_EQ(found.value(), want->value);
    ASSERT_EQ(found.flags(), want->flags);
    ASSERT_EQ(found.cas(), want->cas);
    const int64_t left = want->deadline_ms == INT64_MAX
                             ? kNever
                             : want->deadline_ms - clock_.MonotonicMs();
    ASSERT_EQ(found.ttl_ms(), left);
    ASSERT_EQ(found.marks(), want->marks);
    ASSERT_EQ(found.knows_uses(), tracks_);
    ASSERT_EQ(found.was_hit(), tracks_ && want->hit);
    ASSERT_EQ(found.idle_sec(), tracks_ ? NowSec() - want->used_sec : 0);
  }
  void DoGet() {
    const std::string key = Key();
    Compare(key, cache_->Get(key));
    if (Entry* const entry = Live(key); entry != nullptr) {
      entry->hit = true;
      entry->used_sec = NowSec();
    }
  }
  void ExpectStored(StoreResult result) {
    if (shape_.eviction == kNone && result == StoreResult::kNoMemory) return;
    ASSERT_EQ(result, StoreResult::kStored);
  }

  void DoSet() {
    const std::string key = Key(), value = Value();
    const uint32_t flags = Below(2) == 0 ? 0 : static_cast<uint32_t>(rng_());
    const int64_t ttl_ms = Ttl();
    uint64_t cas = 0;
    const StoreResult result = cache_->Set(key, value, flags, ttl_ms, &cas);
    ExpectStored(result);
    if (result == StoreResult::kStored) {
      model_[key] = {value, flags, cas, Deadline(ttl_ms), {}, false, NowSec()};
    }
  }
  void DoDelete() {
    const std::string key = Key();
    const bool was = cache_->Delete(key);
    Entry* want = Live(key);
    if (was) {
      ASSERT_NE(want, nullptr) << key;
    } else {
      ASSERT_TRUE(want == nullptr || shape_.may_forget) << key;
    }
    model_.erase(key);
  }
  void DoApply() {
    const std::string key = Key(), more = Value().substr(0, shape_.value_bytes_max / 4);
    const auto action = static_cast<Update::Action>(Below(5));
    const int64_t ttl_ms = Ttl();
    Update update;
    if (Below(2) == 0) update.marks = SomeMarks();
    update.inherits_marks = Below(2) == 0;
    if (Below(3) == 0) update.cas = uint64_t{1} << 63 | rng_();  // Not one of the engine's.
    const StoreResult result = cache_->Apply(
        key,
        [&](const ItemRef& found, Update* u) {
          Compare(key, found);
          u->action = action;
          u->ttl_ms = ttl_ms;
          u->flags = found.flags() + 1;
          u->value = more;
        },
        &update);
    Entry* had = Live(key);
    switch (action) {
      case Update::Action::kKeep:
        ASSERT_EQ(result, StoreResult::kNotStored);
        break;
      case Update::Action::kDelete:
        ASSERT_EQ(result, had != nullptr ? StoreResult::kStored : StoreResult::kNotStored);
        model_.erase(key);
        break;
      case Update::Action::kTouch:
        if (had == nullptr) {
          ASSERT_EQ(result, StoreResult::kNotStored);
        } else {
          ExpectStored(result);
          if (result == StoreResult::kStored) {
            had->deadline_ms = Deadline(ttl_ms);
            had->marks = update.marks.value_or(had->marks);
          }
        }
        break;
      case Update::Action::kMark:
        if (had == nullptr) {
          ASSERT_EQ(result, StoreResult::kNotStored);
        } else {
          ExpectStored(result);
          if (result == StoreResult::kStored) had->marks = update.marks.value_or(had->marks);
        }
        break;
      case Update::Action::kStore:
        ExpectStored(result);
        if (result == StoreResult::kStored) {
          const uint32_t flags = had != nullptr ? had->flags + 1 : 1;
          Entry next{more, flags, update.new_cas, Deadline(ttl_ms), {}, false, NowSec()};
          if (had != nullptr && update.inherits_marks) {
            next.marks = had->marks;
            next.hit = had->hit;
            next.used_sec = had->used_sec;
          }
          next.marks = update.marks.value_or(next.marks);
          if (update.cas != 0) {
            ASSERT_EQ(update.new_cas, update.cas);
          }
          model_[key] = next;
        }
        break;
    }
  }

  void Step() {
    const int dice = Below(1000);
    if (dice < 400) {
      DoGet();
    } else if (dice < 700) {
      DoSet();
    } else if (dice < 800) {
      DoDelete();
    } else if (dice < 930) {
      DoApply();
    } else if (dice < 995) {
      clock_.AdvanceMs(Below(3) == 0 ? Below(100'000) : Below(1'500));
    } else if (dice < 999) {
      cache_->Tick();
    } else if (Below(20) == 0) {
      cache_->Flush();
      model_.clear();
    }
  }

  // What the engine says it holds is what can be found.
  void CompareTotals() {
    cache_->Tick();
    uint64_t found = 0;
    for (int i = 0; i < shape_.keys; ++i) {
      if (cache_->Peek(absl::StrCat("key-", i)).found()) ++found;
    }
    // Items past their deadline stay until their whole segment is.
    ASSERT_GE(cache_->GetStats().items, found);
    ASSERT_LE(cache_->GetStats().items, static_cast<uint64_t>(shape_.keys));
  }

  Shape shape_;
  unsigned seed_ = 0;
  bool tracks_ = false;
  int64_t began_ms_ = 0;  // Of the cache.
  std::mt19937 rng_;
  core::ManualClock clock_;
  core::Registry registry_;
  std::unique_ptr<Cache> cache_;
  uint64_t segments_ = 0;  // At first.
  std::map<std::string, Entry> model_;
};

TEST_P(ModelTest, AgreesWithTheMap) {
  SCOPED_TRACE(absl::StrCat("seed ", seed_));
  std::printf("seed %u\n", seed_);
  std::fflush(stdout);  // A run that hangs tells it, too.
  const int ops = shape_.value_bytes_max > 10'000 ? kOpsWithLargeValues : kOps;
  for (int i = 0; i < ops && !HasFatalFailure(); ++i) Step();
  if (!HasFatalFailure()) CompareTotals();
  if (shape_.shares) {
    EXPECT_LT(cache_->GetStats().segments, segments_);
  }
  cache_->Flush();
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().items, 0u);
  EXPECT_EQ(cache_->GetStats().item_bytes, 0u);
  EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
}

INSTANTIATE_TEST_SUITE_P(Shapes, ModelTest, ::testing::ValuesIn(Shapes()),
                         [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace seg
