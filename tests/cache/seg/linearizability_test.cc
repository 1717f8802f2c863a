// Many threads on few keys: everything that they see must fit one order of the operations on each
// key. The history of a run is checked afterwards; see history.h.
//
// Meanwhile other threads make trouble: they write and delete other keys in the same chains, so that
// slots move, and keep the heap so sparse that items are moved about all the time. With eviction
// off nothing may get lost; with eviction on an item may vanish, but not come back.
#include <atomic>
#include <cstring>
#include <ostream>
#include <random>
#include <thread>
#include <vector>

#include "absl/base/config.h"
#include "core/base/check.h"
#include "tests/cache/seg/engine.h"
#include "tests/cache/seg/history.h"

namespace seg {
namespace {

using Kind = Operation::Kind;
using Outcome = Operation::Outcome;

constexpr int kWorkers = 3;
constexpr int kKeys = 3;
#ifdef ABSL_HAVE_THREAD_SANITIZER
constexpr int kOps = 10'000;  // Slow, and meets more per operation.
#else
constexpr int kOps = 60'000;  // Of a worker.
#endif

// A number as a value: repeated, so that a value made of two shows.
std::string Spelled(uint64_t number) {
  const size_t times = 1 + number % 13;
  std::string value(times * sizeof(number), '\0');
  for (size_t i = 0; i < times; ++i) std::memcpy(&value[i * sizeof(number)], &number, sizeof(number));
  return value;
}
uint64_t Read(absl::string_view value) {
  uint64_t number = 0;
  CHECK(value.size() >= sizeof(number));
  std::memcpy(&number, value.data(), sizeof(number));
  EXPECT_EQ(value, Spelled(number)) << "torn";
  return number;
}

struct Shape {
  const char* name;
  uint64_t heap;
  uint64_t segment;
  uint32_t hash_power;
  config::Seg::Eviction eviction;
  int fillers;          // Other keys, a small and sparse part of the heap or more than it holds.
  size_t filler_bytes;  // At most.
  bool flushes;
  bool tracks = false;
};

// For messages.
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

using enum config::Seg::Eviction;

const Shape kShapes[] = {
    {"one_chain", 4 << 20, 4096, 3, kNone, 60, 100, false},
    {"moving", 32 * 4096, 4096, 0, kNone, 100, 700, false},
    {"moving_in_one_chain", 32 * 4096, 4096, 3, kNone, 100, 700, false},
    {"flushed", 32 * 4096, 4096, 4, kNone, 60, 300, true},
    {"evicted_fifo", 16 * 4096, 4096, 4, kFifo, 300, 700, false},
    {"evicted_merge", 16 * 4096, 4096, 0, kMerge, 300, 700, false},
    {"evicted_s3fifo", 16 * 4096, 4096, 0, kS3Fifo, 300, 700, true},
    // Segments with tails that are given back and come again.
    {"beside_tails", 16 * 32'768, 32'768, 0, kS3Fifo, 100, 32'000, true},
    {"beside_tails_that_stay", 64 * 32'768, 32'768, 4, kNone, 60, 32'000, false},
    {"beside_large_items", 2 << 20, 0, 0, kFifo, 200, 50'000, true},
    {"tracked", 32 * 4096, 4096, 0, kNone, 100, 700, false, true},
    {"tracked_evicted_merge", 16 * 4096, 4096, 4, kMerge, 300, 700, false, true},
};

class LinearizabilityTest : public EngineTest, public ::testing::WithParamInterface<Shape> {
 protected:
  void SetUp() override {
    config::Seg options;
    options.heap_size = GetParam().heap;
    options.segment_size = GetParam().segment;
    options.hash_power = GetParam().hash_power;
    options.eviction = GetParam().eviction;
    options.track_access = GetParam().tracks;
    Open(options);
  }

  // Long enough that none runs out, and of several TTL buckets, so that a touch moves the item.
  static int64_t SomeTtl(std::mt19937& rng) {
    return rng() % 3 == 0 ? kNever : int64_t{10'000'000} << rng() % 8;
  }

  // One that the engine gives nobody, and this test nobody else.
  static uint64_t NamedToken(const Operation& op) {
    return uint64_t{1} << 63 | op.called << 8 | static_cast<uint64_t>(op.thread);
  }

  static Outcome OutcomeOf(StoreResult result, Outcome not_stored) {
    if (result == StoreResult::kStored) return Outcome::kDone;
    return result == StoreResult::kNotStored ? not_stored : Outcome::kFailed;
  }

  void Apply(const std::string& key, Operation* op, std::mt19937& rng) {
    Update update;
    Outcome not_stored = Outcome::kMissing;
    // A failed attempt to store tells nothing about the item.
    const StoreResult result = cache_->Apply(
        key,
        [&](const ItemRef& found, Update* u) {
          const auto store = [&](uint64_t value) {
            u->action = Update::Action::kStore;
            u->value = Spelled(op->value = value);
            u->ttl_ms = SomeTtl(rng);
          };
          not_stored = Outcome::kMissing;  // May be asked again.
          op->value = 0;
          switch (op->kind) {
            case Kind::kAdd:
              not_stored = Outcome::kRefused;
              if (!found.found()) store(op->argument);
              break;
            case Kind::kCas:
              if (!found.found()) break;
              not_stored = Outcome::kRefused;
              if (found.cas() == op->compared) store(op->argument);
              if (op->argument % 2 == 0) u->cas = NamedToken(*op);
              break;
            case Kind::kIncr:
              if (found.found()) store(Read(found.value()) + 1);
              u->inherits_marks = true;
              break;
            case Kind::kAppend:
              if (found.found()) store(Read(found.value()) * 10 + op->argument);
              break;
            case Kind::kStale:
            case Kind::kWin: {
              const bool wins = op->kind == Kind::kWin;
              if (wins && found.found()) {
                not_stored = Outcome::kRefused;
                if (found.marks() != Marks{true, false}) break;
                not_stored = Outcome::kMissing;  // Evicted since.
              }
              u->action = op->argument % 2 == 0 ? Update::Action::kMark : Update::Action::kTouch;
              u->ttl_ms = SomeTtl(rng);
              u->marks = Marks{true, wins};
              break;
            }
            default:
              u->action = Update::Action::kTouch;
              u->ttl_ms = SomeTtl(rng);
          }
        },
        &update);
    op->outcome = OutcomeOf(result, not_stored);
    op->token = update.new_cas;
  }

  void Do(const std::string& key, Operation* op, std::mt19937& rng) {
    switch (op->kind) {
      case Kind::kGet: {
        const ItemRef found = cache_->Get(key, rng() % 2 == 0 ? Token::kTold : Token::kQuiet);
        op->outcome = found.found() ? Outcome::kDone : Outcome::kMissing;
        if (found.found()) op->value = Read(found.value());
        op->marks = found.marks();
        break;
      }
      case Kind::kSet:
        op->value = op->argument;
        op->outcome = OutcomeOf(cache_->Set(key, Spelled(op->argument), 0, SomeTtl(rng),
                                            rng() % 2 == 0 ? &op->token : nullptr),
                                Outcome::kFailed);
        break;
      case Kind::kDelete:
        op->outcome = cache_->Delete(key) ? Outcome::kDone : Outcome::kMissing;
        break;
      default:
        Apply(key, op, rng);
    }
  }

  // A get that asks for the token, to be compared with later.
  void Gets(const std::string& key, Operation* op) {
    const ItemRef found = cache_->Get(key, Token::kTold);
    op->outcome = found.found() ? Outcome::kDone : Outcome::kMissing;
    if (!found.found()) return;
    op->value = Read(found.value());
    op->token = found.cas();
    op->marks = found.marks();
  }

  Operation Timed(Operation op, auto work) {
    op.called = time_.fetch_add(1, std::memory_order_seq_cst);
    work(&op);
    op.returned = time_.fetch_add(1, std::memory_order_seq_cst);
    return op;
  }

  void Work(int thread, unsigned seed) {
    std::mt19937 rng(seed + static_cast<unsigned>(thread));
    uint64_t tokens[kKeys] = {};
    for (int i = 0; i < kOps; ++i) {
      const int k = static_cast<int>(rng() % kKeys);
      const std::string key = absl::StrCat("key", k);
      Operation op;
      op.thread = thread;
      const unsigned dice = rng() % 20;
      if (dice < 5) {
        op = Timed(op, [&](Operation* o) { Gets(key, o); });
        tokens[k] = op.token;
      } else {
        using enum Operation::Kind;
        constexpr Kind kKinds[] = {kGet,    kGet, kSet, kSet,    kAdd,   kCas,
                                   kCas,    kIncr, kAppend, kTouch, kDelete, kStale,
                                   kStale,  kWin,  kWin};
        op.kind = kKinds[dice - 5];
        op.argument = op.kind == kAppend ? rng() % 10 : uint64_t{rng()} << 8 | unsigned(thread);
        op.compared = tokens[k];
        op = Timed(op, [&](Operation* o) { Do(key, o, rng); });
        if (op.outcome == Outcome::kDone && op.token != 0) tokens[k] = op.token;
      }
      histories_[thread][k].push_back(op);
    }
  }

  // Until the workers are done.
  void MakeTrouble(unsigned seed) {
    std::mt19937 rng(seed + 1000);
    for (int i = 0; !done_.load(); ++i) {
      const std::string key = absl::StrCat("filler", rng() % static_cast<unsigned>(GetParam().fillers));
      if (rng() % 2 == 0) {
        cache_->Set(key, std::string(rng() % GetParam().filler_bytes, 'f'), 0, SomeTtl(rng));
      } else {
        cache_->Delete(key);
      }
      if (i % 64 == 0) cache_->Tick();
      if (GetParam().flushes && i % 200 == 0) {
        Operation op;
        op.kind = Kind::kFlush;
        op.thread = kWorkers;
        flushes_.push_back(Timed(op, [&](Operation*) { cache_->Flush(); }));
      }
    }
  }

  std::atomic<uint64_t> time_{1};
  std::atomic<bool> done_{false};
  std::vector<Operation> histories_[kWorkers][kKeys];
  std::vector<Operation> flushes_;
};

TEST_P(LinearizabilityTest, EveryKeysHistoryHasAnOrder) {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::vector<std::thread> workers;
  for (int t = 0; t < kWorkers; ++t) workers.emplace_back([this, t, seed] { Work(t, seed); });
  std::thread trouble([this, seed] { MakeTrouble(seed); });
  for (std::thread& worker : workers) worker.join();
  done_.store(true);
  trouble.join();
  for (int k = 0; k < kKeys; ++k) {
    std::vector<Operation> history = flushes_;
    for (auto& of_thread : histories_) {
      history.insert(history.end(), of_thread[k].begin(), of_thread[k].end());
    }
    EXPECT_EQ(Disagreement(history, GetParam().eviction != kNone), "") << "key" << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearizabilityTest, ::testing::ValuesIn(kShapes),
                         [](const auto& shape) { return std::string(shape.param.name); });

// --- The checker itself ---

Operation Op(Kind kind, int thread, uint64_t called, uint64_t returned, uint64_t argument = 0) {
  Operation op;
  op.kind = kind;
  op.thread = thread;
  op.called = called;
  op.returned = returned;
  op.argument = argument;
  op.value = argument;
  return op;
}
Operation Missing(Operation op) {
  op.outcome = Outcome::kMissing;
  return op;
}
Operation Saw(Operation op, uint64_t value, uint64_t token = 0) {
  op.value = value;
  op.token = token;
  return op;
}

TEST(HistoryTest, TakesOverlappingOperationsInAnyOrder) {
  for (const uint64_t seen : {1, 2}) {
    EXPECT_EQ(Disagreement({Op(Kind::kSet, 0, 1, 4, 1), Op(Kind::kSet, 1, 2, 3, 2),
                            Saw(Op(Kind::kGet, 2, 5, 6), seen)},
                           false),
              "");
  }
}

TEST(HistoryTest, RefusesWhatIsOld) {
  EXPECT_NE(Disagreement({Op(Kind::kSet, 0, 1, 2, 1), Op(Kind::kSet, 1, 3, 4, 2),
                          Saw(Op(Kind::kGet, 2, 5, 6), 1)},
                         true),
            "");
}

TEST(HistoryTest, RefusesAMissUnlessItMayForgetAndAResurrectionAlways) {
  const std::vector<Operation> miss = {Op(Kind::kSet, 0, 1, 2, 1),
                                       Missing(Op(Kind::kGet, 1, 3, 4))};
  EXPECT_NE(Disagreement(miss, false), "");
  EXPECT_EQ(Disagreement(miss, true), "");
  std::vector<Operation> back = miss;
  back.push_back(Saw(Op(Kind::kGet, 0, 5, 6), 1));
  EXPECT_NE(Disagreement(back, true), "");
}

TEST(HistoryTest, RefusesALostIncrement) {
  const Operation first = Saw(Op(Kind::kIncr, 1, 3, 6), 11);
  EXPECT_EQ(Disagreement({Op(Kind::kSet, 0, 1, 2, 10), first, Saw(Op(Kind::kIncr, 2, 4, 5), 12)},
                         false),
            "");
  EXPECT_NE(Disagreement({Op(Kind::kSet, 0, 1, 2, 10), first, Saw(Op(Kind::kIncr, 2, 4, 5), 11)},
                         false),
            "");
}

TEST(HistoryTest, HoldsTokensToTheirWrites) {
  const Operation gets = Saw(Op(Kind::kGet, 1, 3, 4), 1, 77);
  Operation cas = Op(Kind::kCas, 1, 7, 8, 5);
  cas.compared = 77;
  EXPECT_EQ(Disagreement({Op(Kind::kSet, 0, 1, 2, 1), gets, Op(Kind::kTouch, 2, 5, 6), cas}, false),
            "");
  // Another write of the same value has another token.
  EXPECT_NE(Disagreement({Op(Kind::kSet, 0, 1, 2, 1), gets, Op(Kind::kSet, 2, 5, 6, 1), cas}, false),
            "");
  cas.outcome = Outcome::kRefused;
  EXPECT_NE(Disagreement({Op(Kind::kSet, 0, 1, 2, 1), gets, Op(Kind::kTouch, 2, 5, 6), cas}, false),
            "");
}

TEST(HistoryTest, AllowsOneWinOfAStaleItem) {
  const std::vector<Operation> stale = {Op(Kind::kSet, 0, 1, 2, 1), Op(Kind::kStale, 0, 3, 4)};
  const auto with = [&](std::vector<Operation> more) {
    more.insert(more.begin(), stale.begin(), stale.end());
    return Disagreement(more, false);
  };
  Operation win = Op(Kind::kWin, 1, 5, 8);
  Operation other = Op(Kind::kWin, 2, 6, 7);
  EXPECT_NE(with({win, other}), "");
  other.outcome = Outcome::kRefused;
  EXPECT_EQ(with({win, other}), "");
  Operation get = Saw(Op(Kind::kGet, 2, 9, 10), 1);
  EXPECT_NE(with({win, get}), "");
  get.marks = {true, true};
  EXPECT_EQ(with({win, get}), "");
  win.outcome = Outcome::kRefused;
  EXPECT_NE(with({win}), "");
  // A set clears both, and there is nothing to be won.
  EXPECT_EQ(with({Op(Kind::kSet, 0, 11, 12, 2), Saw(Op(Kind::kGet, 1, 13, 14), 2)}), "");
  EXPECT_NE(with({Op(Kind::kSet, 0, 11, 12, 2), Op(Kind::kWin, 1, 13, 14)}), "");
}

TEST(HistoryTest, FollowsAnOperationThatHangsThroughManyOthers) {
  std::vector<Operation> history = {Op(Kind::kSet, 0, 1, 1'000'000, 7)};
  for (uint64_t i = 0; i < 1'000; ++i) {
    history.push_back(Op(Kind::kSet, 1, 10 * i + 2, 10 * i + 3, i + 100));
    history.push_back(Saw(Op(Kind::kGet, 2, 10 * i + 4, 10 * i + 5), i == 999 ? 7 : i + 100));
  }
  EXPECT_EQ(Disagreement(history, false), "");
  history.push_back(Saw(Op(Kind::kGet, 2, 20'000, 20'001), 100));
  EXPECT_NE(Disagreement(history, false), "");
}

}  // namespace
}  // namespace seg
