// A cache that is saved and comes back, held against a std::map; and files that are not to be
// believed.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cache/seg/cache.h"
#include "core/base/hash.h"

namespace seg {
namespace {

// Two clocks that a restart and an operator move apart.
class TwoClocks final : public core::Clock {
 public:
  int64_t MonotonicNs() const override { return monotonic_ms * 1'000'000; }
  int64_t WallNs() const override { return wall_ms * 1'000'000; }
  void AdvanceMs(int64_t ms) {
    monotonic_ms += ms;
    wall_ms += ms;
  }
  int64_t monotonic_ms = 5'000;
  int64_t wall_ms = 1'700'000'000'000;
};

class RestartTest : public ::testing::Test {
 protected:
  // In memory, where there is such a place: what is saved is synced.
  RestartTest()
      : path_(absl::StrCat(access("/dev/shm", W_OK) == 0 ? "/dev/shm/" : ::testing::TempDir(),
                           "seg_restart_test_", getpid())) {
    options_.heap_size = 1 << 20;
    std::remove(path_.c_str());
  }
  ~RestartTest() override { std::remove(path_.c_str()); }

  absl::Status TryOpen() {
    cache_ = nullptr;
    registry_ = std::make_unique<core::Registry>();
    Lodging lodging;
    lodging.file = path_;
    auto cache = Cache::Create(options_, &clock_, registry_.get(), "restart", lodging);
    if (cache.ok()) cache_ = *std::move(cache);
    return cache.status();
  }
  void Open() {
    const absl::Status status = TryOpen();
    ASSERT_TRUE(status.ok()) << status;
  }
  void Close(int64_t note = 0) {
    const absl::Status status = cache_->Save(note, [] { return false; });
    ASSERT_TRUE(status.ok()) << status;
    cache_ = nullptr;
  }
  // Saved, away for that long by the wall, back; the monotonic clock of the new process is another.
  void Restart(int64_t away_ms = 0) {
    Close();
    clock_.monotonic_ms = 1 + static_cast<int64_t>(rng_() % 1'000'000);
    clock_.wall_ms += away_ms;
    Open();
    ASSERT_TRUE(cache_->arrival().restored) << cache_->arrival().refusal;
  }
  std::string Get(absl::string_view key) {
    const ItemRef found = cache_->Peek(key);
    return found.found() ? std::string(found.value()) : "(none)";
  }
  void Set(absl::string_view key, absl::string_view value, int64_t ttl_ms = kNever) {
    ASSERT_EQ(cache_->Set(key, value, 0, ttl_ms), StoreResult::kStored);
  }
  std::string ReadFile() {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void WriteFile(const std::string& content) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << content;
  }

  config::Seg options_;
  const std::string path_;
  TwoClocks clock_;
  std::mt19937 rng_{std::random_device{}()};
  std::unique_ptr<core::Registry> registry_;
  std::unique_ptr<Cache> cache_;
};

// --- What comes back ---

struct Shape {
  const char* name;
  uint64_t heap;
  uint64_t segment;
  uint32_t hash_power;
  config::Seg::Eviction eviction;
  int keys;
  size_t value_bytes_max;
  bool may_forget;
};

using enum config::Seg::Eviction;

const Shape kShapes[] = {
    {"roomy", 16 << 20, 16 << 10, 0, kS3Fifo, 500, 400, false},
    {"roomy_long_chains", 16 << 20, 16 << 10, 6, kFifo, 1500, 20, false},
    {"large_items", 32 << 20, 0, 0, kS3Fifo, 60, 300'000, false},
    {"tight", 256 << 10, 4 << 10, 0, kS3Fifo, 2000, 500, true},
    {"tight_large_items", 2 << 20, 0, 0, kMerge, 100, 60'000, true},
    {"tight_random", 256 << 10, 4 << 10, 0, kRandom, 2000, 500, true},
    {"tight_long_chains", 256 << 10, 4 << 10, 6, kFifo, 20'000, 8, true},
    {"no_eviction", 4 << 20, 4 << 10, 0, kNone, 300, 300, false},
    // Segments with holes.
    {"tails", 4 << 20, 32 << 10, 0, kS3Fifo, 400, 30'000, true},
    {"tails_and_large_items", 4 << 20, 0, 0, kFifo, 300, 70'000, true},
    {"tails_without_eviction", 8 << 20, 0, 0, kNone, 40, 70'000, false},
};

class RestartModelTest : public RestartTest, public ::testing::WithParamInterface<Shape> {
 protected:
  struct Entry {
    std::string value;
    uint32_t flags;
    uint64_t cas;  // 0: it was never told.
    int64_t dies_ms;  // By the wall; INT64_MAX: never.
    Marks marks = {};
    bool hit = false;
    int64_t used_ms = 0;  // By the wall.
  };

  void SetUp() override {
    const Shape& shape = GetParam();
    options_.heap_size = shape.heap;
    options_.segment_size = shape.segment;
    options_.hash_power = shape.hash_power;
    options_.eviction = shape.eviction;
    seed_ = std::random_device{}();
    rng_.seed(seed_);
    options_.track_access = seed_ % 2 == 0;
    Open();
  }
  bool IsLive(const Entry& entry) const { return clock_.wall_ms < entry.dies_ms; }

  void WriteSome(int writes) {
    const Shape& shape = GetParam();
    for (int i = 0; i < writes; ++i) {
      const std::string key =
          absl::StrCat("key", rng_() % static_cast<unsigned>(shape.keys));
      if (rng_() % 10 == 0) {
        cache_->Delete(key);
        model_.erase(key);
        continue;
      }
      if (rng_() % 3 == 0) {
        Use(key);
        continue;
      }
      Entry entry{std::string(rng_() % (shape.value_bytes_max + 1), static_cast<char>(rng_())),
                  static_cast<uint32_t>(rng_() % 3 * 7), 0, INT64_MAX};
      entry.used_ms = clock_.wall_ms;
      int64_t ttl_ms = kNever;
      if (rng_() % 2 == 0) {
        ttl_ms = 1 + static_cast<int64_t>(rng_() % 3'000'000);
        entry.dies_ms = clock_.wall_ms + ttl_ms;
      }
      const bool tells = rng_() % 2 == 0;
      ASSERT_EQ(cache_->Set(key, entry.value, entry.flags, ttl_ms, tells ? &entry.cas : nullptr),
                StoreResult::kStored);
      model_[key] = entry;
      if (rng_() % 20 == 0) clock_.AdvanceMs(static_cast<int64_t>(rng_() % 5000));
      if (rng_() % 100 == 0) cache_->Tick();
    }
  }
  // Reads an item, or marks it.
  void Use(const std::string& key) {
    const auto it = model_.find(key);
    if (rng_() % 2 == 0) {
      if (!cache_->Get(key).found()) return;
      it->second.hit = true;
      it->second.used_ms = clock_.wall_ms;
      return;
    }
    Update update;
    update.action = Update::Action::kMark;
    update.marks = Marks{rng_() % 2 == 0, rng_() % 2 == 0};
    if (cache_->Apply(key, [](const ItemRef&, Update*) {}, &update) == StoreResult::kStored) {
      it->second.marks = *update.marks;
    }
  }
  void Compare() {
    uint64_t live = 0;
    uint64_t found_live = 0;
    for (const auto& [key, entry] : model_) {
      const ItemRef found = cache_->Peek(key);
      live += IsLive(entry) ? 1 : 0;
      if (!found.found()) {
        ASSERT_TRUE(!IsLive(entry) || GetParam().may_forget) << "lost " << key;
        continue;
      }
      ++found_live;
      ASSERT_TRUE(IsLive(entry)) << "outlived itself: " << key;
      ASSERT_EQ(found.value(), entry.value);
      ASSERT_EQ(found.flags(), entry.flags);
      ASSERT_EQ(found.marks(), entry.marks);
      ASSERT_EQ(found.knows_uses(), options_.track_access);
      if (options_.track_access) {
        ASSERT_EQ(found.was_hit(), entry.hit);
        // To the second, which begins elsewhere on the cache's own clock.
        ASSERT_NEAR(static_cast<double>(found.idle_sec()),
                    static_cast<double>(clock_.wall_ms - entry.used_ms) / 1000, 1);
      }
      if (entry.cas != 0) {
        ASSERT_EQ(found.cas(), entry.cas);
      }
      ASSERT_EQ(found.ttl_ms(),
                entry.dies_ms == INT64_MAX ? kNever : entry.dies_ms - clock_.wall_ms);
    }
    EXPECT_GT(found_live, live / 10) << "a cache keeps something";
  }

  unsigned seed_ = 0;
  std::map<std::string, Entry> model_;
};

TEST_P(RestartModelTest, EverythingIsAsItWas) {
  const int writes = GetParam().value_bytes_max > 10'000 ? 300 : 4000;
  for (int round = 0; round < 4; ++round) {
    WriteSome(writes);
    const Cache::Stats before = cache_->GetStats();
    Restart(static_cast<int64_t>(rng_() % 200'000));
    const Cache::Stats after = cache_->GetStats();
    EXPECT_EQ(after.items, before.items);
    EXPECT_EQ(after.item_bytes, before.item_bytes);
    EXPECT_EQ(after.index_bytes, before.index_bytes);
    EXPECT_GE(after.segments_free, before.segments_free);
    Compare();
    if (HasFailure()) {
      ADD_FAILURE() << "seed " << seed_;
      return;
    }
  }
  cache_->Flush();
  model_.clear();
  Restart();
  EXPECT_EQ(cache_->GetStats().items, 0u);
  WriteSome(writes);
  Compare();
  // No segment has been lost on the way.
  cache_->Flush();
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
}

INSTANTIATE_TEST_SUITE_P(Shapes, RestartModelTest, ::testing::ValuesIn(kShapes),
                         [](const auto& shape) { return std::string(shape.param.name); });

TEST_F(RestartTest, TokensStayUniqueAndKeepMatching) {
  Open();
  std::map<uint64_t, int> seen;
  for (int round = 0; round < 5; ++round) {
    uint64_t kept = 0;
    cache_->Set("kept", "v", 0, kNever, &kept);
    for (int i = 0; i < 3000; ++i) {
      uint64_t cas = 0;
      ASSERT_EQ(cache_->Set("key", std::string(100, 'v'), 0, kNever, &cas), StoreResult::kStored);
      ++seen[cas];
    }
    cache_->Set("kept", "v", 0, kNever, &kept);
    ++seen[kept];
    Restart();
    EXPECT_EQ(cache_->Peek("kept").cas(), kept);
  }
  for (const auto& [cas, times] : seen) EXPECT_EQ(times, 1) << cas;
}

// The knob is about what is stored from now on.
TEST_F(RestartTest, UsesAreKnownOfItemsThatWereStoredWithTheKnob) {
  options_.track_access = true;
  Open();
  Set("with", "v");
  cache_->Get("with");
  options_.track_access = false;
  Restart(4'000);
  Set("without", "v");
  EXPECT_TRUE(cache_->Peek("with").was_hit());
  EXPECT_EQ(cache_->Get("with").idle_sec(), 4u);
  EXPECT_EQ(cache_->Get("with").idle_sec(), 0u);
  options_.track_access = true;
  Restart();
  cache_->Get("without");
  EXPECT_FALSE(cache_->Get("without").knows_uses());
  EXPECT_TRUE(cache_->Get("with").knows_uses());
  Set("without", "v");
  EXPECT_TRUE(cache_->Get("without").knows_uses());
}

TEST_F(RestartTest, NamedTokensComeBack) {
  Open();
  Update update;
  update.action = Update::Action::kStore;
  update.cas = ~uint64_t{0} - 1;
  ASSERT_EQ(cache_->Apply("key", [](const ItemRef&, Update*) {}, &update), StoreResult::kStored);
  Restart();
  EXPECT_EQ(cache_->Peek("key").cas(), ~uint64_t{0} - 1);
}

TEST_F(RestartTest, WhatWasForgottenIsNotRemembered) {
  Open();
  Set("before", "v");
  cache_->Flush();
  Set("after", "v");
  Set("deleted", "v");
  cache_->Delete("deleted");
  Restart();
  EXPECT_EQ(Get("before"), "(none)");
  EXPECT_EQ(Get("deleted"), "(none)");
  EXPECT_EQ(Get("after"), "v");
  cache_->Flush();
  Restart();
  EXPECT_EQ(Get("after"), "(none)");
}

TEST_F(RestartTest, LivesGoOnByTheWall) {
  Open();
  clock_.AdvanceMs(123'456);
  Set("key", "v", 10'000);
  Restart(9'999);
  EXPECT_EQ(cache_->arrival().away_ms, 9'999);
  EXPECT_EQ(cache_->Peek("key").ttl_ms(), 1);
  Restart(1);
  EXPECT_EQ(Get("key"), "(none)");
}

TEST_F(RestartTest, AWallThatWasSetBackLengthensNoLifeByMoreThanTheTimeAway) {
  Open();
  Set("key", "v", 10'000);
  clock_.AdvanceMs(2'000);
  Restart(-3'600'000);
  EXPECT_EQ(cache_->arrival().away_ms, 0);
  EXPECT_EQ(cache_->Peek("key").ttl_ms(), 8'000);
  clock_.AdvanceMs(8'000);
  EXPECT_EQ(Get("key"), "(none)");
}

TEST_F(RestartTest, TheNoteComesBack) {
  Open();
  EXPECT_FALSE(cache_->arrival().restored);
  EXPECT_EQ(cache_->arrival().refusal, "");
  Close(-77);
  Open();
  EXPECT_EQ(cache_->arrival().note, -77);
}

TEST_F(RestartTest, TheOldestStillGoesFirst) {
  options_.eviction = kFifo;
  options_.heap_size = 256 << 10;
  options_.segment_size = 8 << 10;
  Open();
  const std::string value(480, 'v');
  for (int i = 0; i < 400; ++i) Set(absl::StrCat("old", i), value);
  Restart();
  for (int i = 0; i < 200; ++i) Set(absl::StrCat("new", i), value);
  for (int i = 0; i < 80; ++i) EXPECT_FALSE(cache_->Peek(absl::StrCat("old", i)).found()) << i;
  for (int i = 320; i < 400; ++i) EXPECT_TRUE(cache_->Peek(absl::StrCat("old", i)).found()) << i;
}

// Items that were read stay as well as they would have without a restart in between.
TEST_F(RestartTest, UsesStillCount) {
  struct Left {
    int used = 0;
    int unused = 0;
  };
  const auto left = [&](bool restart) {
    options_.heap_size = 256 << 10;
    options_.segment_size = 8 << 10;
    Open();
    const std::string value(480, 'v');
    for (int i = 0; i < 400; ++i) Set(absl::StrCat("old", i), value);
    for (int i = 0; i < 40; ++i) cache_->Get(absl::StrCat("old", i));
    if (restart) Restart();
    for (int i = 0; i < 300; ++i) Set(absl::StrCat("new", i), value);
    Left found;
    for (int i = 0; i < 40; ++i) {
      found.used += Get(absl::StrCat("old", i)) != "(none)" ? 1 : 0;
      found.unused += Get(absl::StrCat("old", i + 100)) != "(none)" ? 1 : 0;
    }
    return found;
  };
  const Left straight = left(false);
  const Left restarted = left(true);
  // A segment may fall the other way, since the open ones are closed by a restart.
  constexpr int kItemsPerSegment = (8 << 10) / 490;
  EXPECT_GE(restarted.used, straight.used - kItemsPerSegment);
  EXPECT_GE(restarted.used, 20);
  EXPECT_LE(restarted.unused, straight.unused + 5);
}

TEST_F(RestartTest, AnotherPolicyMayTakeOver) {
  for (const auto eviction : {kFifo, kS3Fifo, kRandom, kMerge, kUtil, kNone, kCte, kS3Fifo}) {
    options_.eviction = eviction;
    Open();
    for (int i = 0; i < 100; ++i) Set(absl::StrCat("key", i), std::string(1000, 'v'));
    Close();
  }
  Open();
  EXPECT_EQ(cache_->GetStats().items, 100u);
}

// --- What the file takes ---

class HolesTest : public RestartTest {
 protected:
  HolesTest() { options_.heap_size = kHeapBytes; }
  static constexpr uint64_t kHeapBytes = 8 << 20;  // Segments of 64 KB.

  uint64_t FileBytes() const {
    struct stat stat {};
    EXPECT_EQ(::stat(path_.c_str(), &stat), 0);
    return static_cast<uint64_t>(stat.st_blocks) * 512;
  }
  static std::string ValueOf(int i, size_t bytes) {
    return std::string(bytes, static_cast<char>('a' + i % 26));
  }
  void SetSome(int from, int to, size_t bytes) {
    for (int i = from; i < to; ++i) Set(absl::StrCat("key", i), ValueOf(i, bytes));
  }
  int Found(int from, int to) {
    int found = 0;
    for (int i = from; i < to; ++i) {
      const std::string value = Get(absl::StrCat("key", i));
      if (value == "(none)") continue;
      EXPECT_EQ(value, ValueOf(i, value.size())) << i;
      ++found;
    }
    return found;
  }
};

TEST_F(HolesTest, ItTakesNoMoreThanAtTheStartWhateverItHolds) {
  Open();
  const uint64_t begun = FileBytes();
  ASSERT_GT(begun, kHeapBytes);
  ASSERT_LT(begun, kHeapBytes * 12 / 10);
  int next = 0;
  for (const size_t bytes : {36'000, 70'000, 100, 130'000, 40'000}) {
    for (int round = 0; round < 3; ++round) {
      const int fit = static_cast<int>(kHeapBytes / bytes);
      SetSome(next, next + fit, bytes);
      next += fit;
      ASSERT_LE(FileBytes(), begun) << bytes;
      if (bytes > 1000) {
        EXPECT_GT(Found(next - fit, next) * 100, fit * 88) << bytes;
      }
      const uint64_t items = cache_->GetStats().items;
      Restart();
      EXPECT_EQ(cache_->GetStats().items, items);
      ASSERT_LE(FileBytes(), begun) << bytes;
      if (bytes > 1000) {
        EXPECT_GT(Found(next - fit, next) * 100, fit * 88) << bytes;
      }
    }
  }
  cache_->Flush();
  Restart();
  cache_->Tick();
  EXPECT_EQ(cache_->GetStats().segments_free, cache_->GetStats().segments);
}

TEST_F(HolesTest, ACopyWithoutHolesGetsThemAndOneOfHolesIsFilled) {
  Open();
  const uint64_t begun = FileBytes();
  SetSome(0, 300, 40'000);
  const int found = Found(0, 300);
  ASSERT_GT(found, 150);
  Close();
  const uint64_t saved = FileBytes();
  const std::string content = ReadFile();
  ASSERT_GT(content.size(), begun + kHeapBytes / 2);
  WriteFile(content);
  ASSERT_GT(FileBytes(), begun + kHeapBytes / 2);
  Open();
  ASSERT_TRUE(cache_->arrival().restored) << cache_->arrival().refusal;
  EXPECT_LE(FileBytes(), saved + 4096);
  EXPECT_EQ(Found(0, 300), found);
  Close();
  {
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    const std::string nothing(4096, '\0');
    for (size_t at = 0; at < content.size(); at += 4096) {
      const std::string page = content.substr(at, 4096);
      if (page == nothing) {
        out.seekp(static_cast<std::streamoff>(page.size()), std::ios::cur);
      } else {
        out << page;
      }
    }
  }
  ASSERT_EQ(truncate(path_.c_str(), static_cast<off_t>(content.size())), 0);
  ASSERT_LT(FileBytes(), saved);
  Open();
  ASSERT_TRUE(cache_->arrival().restored) << cache_->arrival().refusal;
  EXPECT_GE(FileBytes(), saved);
  EXPECT_LE(FileBytes(), begun);
  EXPECT_EQ(Found(0, 300), found);
  SetSome(300, 600, 50'000);
  EXPECT_LE(FileBytes(), begun);
}

TEST_F(HolesTest, TheIndexGrowsBesideThem) {
  Open();
  const uint64_t begun = FileBytes();
  SetSome(0, 600, 40'000);
  const uint64_t segments = cache_->GetStats().segments;
  for (int i = 0; i < 300'000; ++i) Set(absl::StrCat("key", i), "a");
  EXPECT_LT(cache_->GetStats().segments, segments);
  EXPECT_LE(FileBytes(), begun);
  const uint64_t left = cache_->GetStats().segments;
  const uint64_t items = cache_->GetStats().items;
  Restart();
  EXPECT_EQ(cache_->GetStats().segments, left);
  EXPECT_EQ(cache_->GetStats().items, items);
  SetSome(0, 600, 40'000);
  EXPECT_LE(FileBytes(), begun);
  EXPECT_GT(Found(0, 600) * 40'000, static_cast<int>(cache_->GetStats().heap_bytes * 8 / 10));
}

// Prefaulting does not fill holes.
TEST_F(HolesTest, NothingIsTakenTwiceAtTheStart) {
  options_.prefault = true;
  Open();
  const uint64_t begun = FileBytes();
  SetSome(0, 300, 40'000);
  for (int i = 0; i < 3; ++i) {
    Restart();
    EXPECT_LE(FileBytes(), begun);
    EXPECT_GT(Found(0, 300), 150);
  }
}

// --- What does not ---

TEST_F(RestartTest, AProcessThatDiesLeavesNothing) {
  Open();
  Set("key", "v");
  Restart();
  Set("key", "newer");
  Open();  // The one before was not saved.
  EXPECT_FALSE(cache_->arrival().restored);
  EXPECT_NE(cache_->arrival().refusal.find("did not come to its end"), std::string::npos);
  EXPECT_EQ(Get("key"), "(none)");
  EXPECT_EQ(cache_->GetStats().items, 0u);
  Set("key", "again");
  Restart();
  EXPECT_EQ(Get("key"), "again");
}

TEST_F(RestartTest, ASaveThatIsCutShortLeavesNothing) {
  Open();
  Set("key", "v");
  EXPECT_EQ(cache_->Save(0, [] { return true; }).code(), absl::StatusCode::kCancelled);
  Open();
  EXPECT_FALSE(cache_->arrival().restored);
  EXPECT_EQ(Get("key"), "(none)");
}

TEST_F(RestartTest, OneCacheAFile) {
  Open();
  Set("key", "v");
  core::Registry other;
  Lodging lodging;
  lodging.file = path_;
  EXPECT_EQ(Cache::Create(options_, &clock_, &other, "other", lodging).status().code(),
            absl::StatusCode::kUnavailable);
  Restart();
  EXPECT_EQ(Get("key"), "v");
}

TEST_F(RestartTest, OtherFilesAreNotTouched) {
  const std::string contents[] = {"x", std::string(10'000, '\0'),
                                  "SegcachE" + std::string(10'000, 'x')};
  for (const std::string& content : contents) {
    WriteFile(content);
    EXPECT_EQ(TryOpen().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ReadFile(), content);
  }
}

class DamageTest : public RestartTest {
 protected:
  static constexpr size_t kHeaderBytes = 200;

  void SetUp() override {
    options_.heap_size = 256 << 10;
    Open();
    const unsigned seed = std::random_device{}();
    rng_.seed(seed);
    std::printf("seed %u\n", seed);
    for (int i = 0; i < 3000; ++i) {
      const std::string key = absl::StrCat("key", rng_() % 1000);
      const std::string value(rng_() % 200, static_cast<char>(rng_()));
      Set(key, value);
      model_[key] = value;
    }
    Close();
    whole_ = ReadFile();
  }
  // Opens `content`. Whatever is served must be what was stored, and all of it or nothing.
  void ExpectAllOrNothing(const std::string& content, bool nothing) {
    WriteFile(content);
    const absl::Status status = TryOpen();
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);  // It is not ours any more.
      return;
    }
    const bool restored = cache_->arrival().restored;
    EXPECT_EQ(restored, cache_->arrival().refusal.empty());
    EXPECT_FALSE(restored && nothing);
    EXPECT_TRUE(restored || cache_->GetStats().items == 0);
    for (const auto& [key, value] : model_) {
      const std::string found = Get(key);
      EXPECT_TRUE(found == "(none)" || (restored && found == value)) << key;
    }
  }
  static std::string WithBitFlipped(std::string content, size_t byte, unsigned bit) {
    content[byte] = static_cast<char>(content[byte] ^ (1 << bit));
    return content;
  }
  // The content of the file with a field of the header changed and the checksum made right.
  std::string WithField(size_t at, uint64_t n) const {
    std::string content = whole_;
    std::memcpy(&content[at], &n, sizeof(n));
    const uint64_t sum = core::Hash64({content.data() + 24, kHeaderBytes - 24}, 0);
    std::memcpy(&content[16], &sum, sizeof(sum));
    return content;
  }

  std::string whole_;
  std::map<std::string, std::string> model_;
};

TEST_F(DamageTest, TheWholeFileIsAccepted) {
  WriteFile(whole_);
  Open();
  EXPECT_TRUE(cache_->arrival().restored);
  EXPECT_GT(cache_->GetStats().items, 500u);
}

TEST_F(DamageTest, NoByteOfTheHeaderMayDiffer) {
  for (size_t byte = 0; byte < kHeaderBytes; ++byte) {
    ExpectAllOrNothing(WithBitFlipped(whole_, byte, rng_() % 8), true);
    ASSERT_FALSE(HasFailure()) << "byte " << byte;
  }
}

TEST_F(DamageTest, NoByteThatMattersMayDiffer) {
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    const size_t byte = rng_() % whole_.size();
    ExpectAllOrNothing(WithBitFlipped(whole_, byte, rng_() % 8), false);
    ASSERT_FALSE(HasFailure()) << "byte " << byte;
    refused += cache_ == nullptr || !cache_->arrival().restored ? 1 : 0;
  }
  EXPECT_GT(refused, 150);  // Most of the file is in use.
}

TEST_F(DamageTest, NoLengthButTheRightOneIsAccepted) {
  for (int i = 0; i < 40; ++i) {
    const size_t length = i == 0 ? whole_.size() - 1 : 1 + rng_() % (whole_.size() - 1);
    ExpectAllOrNothing(whole_.substr(0, length), true);
    ASSERT_FALSE(HasFailure()) << "length " << length;
  }
  ExpectAllOrNothing(whole_ + "x", true);
}

TEST_F(DamageTest, PiecesOfTwoSavesDoNotMakeOne) {
  WriteFile(whole_);
  Open();
  for (int i = 0; i < 1000; ++i) Set(absl::StrCat("key", i), absl::StrCat("later", i));
  Close();
  const std::string later = ReadFile();
  ASSERT_EQ(later.size(), whole_.size());
  for (int i = 0; i < 20; ++i) {
    const size_t cut = kHeaderBytes + rng_() % (whole_.size() - kHeaderBytes);
    if (whole_.substr(cut) == later.substr(cut)) continue;
    ExpectAllOrNothing(later.substr(0, cut) + whole_.substr(cut), false);
    ASSERT_TRUE(cache_->arrival().refusal.find("damaged") != std::string::npos ||
                cache_->arrival().restored);
    if (cache_->arrival().restored) {  // What differs is in no use.
      EXPECT_EQ(Get("key1"), "later1");
    }
  }
}

// A mistake of ours, or a forger who does sums: no read outside of the heap, no endless loop.
TEST_F(DamageTest, NumbersThatMakeNoSenseAreRefused) {
  constexpr size_t kOverflowTouched = 120, kFreeFirst = 128, kFreeCount = 136, kInService = 160;
  for (const size_t at : {kOverflowTouched, kFreeFirst, kFreeCount, kInService}) {
    for (const uint64_t n : {uint64_t{1} << 20, uint64_t{1} << 31, ~uint64_t{0}}) {
      ExpectAllOrNothing(WithField(at, n), true);
      ASSERT_FALSE(HasFailure()) << at << " " << n;
    }
  }
}

TEST_F(DamageTest, AnotherVersionAndAnotherLayoutAreRefused) {
  std::string other = whole_;
  ++other[8];
  ExpectAllOrNothing(other, true);
  EXPECT_NE(cache_->arrival().refusal.find("of version 5, and this is 4"), std::string::npos);
  for (const auto& change : {std::pair{&config::Seg::heap_size, uint64_t{512} << 10},
                             std::pair{&config::Seg::segment_size, uint64_t{4} << 10}}) {
    const config::Seg before = options_;
    options_.*change.first = change.second;
    ExpectAllOrNothing(whole_, true);
    EXPECT_NE(cache_->arrival().refusal.find("laid out for"), std::string::npos);
    options_ = before;
  }
}

}  // namespace
}  // namespace seg
