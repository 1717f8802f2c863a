// The Segcache engine alone, called in this process: what a get and a set cost, and what a second
// thread brings.
//
//   engine_bench [--keys N] [--value-bytes B] [--heap BYTES] [--eviction NAME] [--ops N] [--rounds N]
//                [--threads N] [--only TEXT]
//
// Every row runs with one thread and with N in turn, `rounds` times; medians are printed. All sets
// have the same lifetime, so all writers work on one TTL bucket: the worst case for them. Keys are
// drawn before and spelled on the way, which the row "no engine" prices; cycles are net of it.
//
// A busy machine takes CPUs away, and threads that do not run at the same time do not get into each
// other's way either. So rounds are short, and those count in which every thread had its CPU for 95 %
// of the time; "clean" says how many did (0: the medians are of all rounds, and mean little).
// Two speed-ups: of the rate by the wall clock, and N x CPU time per operation alone / CPU time per
// operation together. Cycles are the time stamp counter's, which ticks at a fixed rate whatever the
// core does.
#include <pthread.h>
#include <time.h>
#include <x86intrin.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cache/seg/cache.h"
#include "tools/load/keys.h"

namespace {

using tools::load::KeyOrder;
using tools::load::KeySpace;
using tools::load::Random;

struct Options {
  uint64_t keys = 1'000'000;
  size_t value_bytes = 64;
  uint64_t heap_bytes = 512 << 20;
  std::string eviction = "s3fifo";
  int64_t ops = 100'000;  // A thread and round.
  int rounds = 21;
  int threads = 2;
  std::string only;         // Rows whose name holds this.
};

struct Row {
  std::string name;
  std::string order;
  uint64_t keys;
  double writes;  // Share of sets; negative: no call at all.
};

// One thread's part of a round.
struct Part {
  double wall_ns = 0;
  double cpu_ns = 0;
  uint64_t reads = 0;
  uint64_t hits = 0;
};

// All threads' of a round.
struct Sum {
  double per_second = 0;
  double cpu_ns = 0;   // Per operation.
  bool clean = true;   // No thread was kept off its CPU.
  uint64_t reads = 0;
  uint64_t hits = 0;
};

double ThreadCpuNs() {
  struct timespec used;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e9 + static_cast<double>(used.tv_nsec);
}

double WallNs() {
  return static_cast<double>(std::chrono::steady_clock::now().time_since_epoch() /
                             std::chrono::nanoseconds(1));
}

void PinTo(int cpu) {
  const unsigned cpus = std::max(1u, std::thread::hardware_concurrency());
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu) % cpus, &set);
  ::pthread_setaffinity_np(::pthread_self(), sizeof(set), &set);
}

// Ticks of the time stamp counter in a nanosecond.
double TicksPerNs() {
  const double wall = WallNs();
  const uint64_t ticks = __rdtsc();
  while (WallNs() - wall < 50e6) {
  }
  return static_cast<double>(__rdtsc() - ticks) / (WallNs() - wall);
}

// What a thread will do: the number of a key, and in the lowest bit whether to write it.
std::vector<uint32_t> Draw(const Row& row, int thread) {
  constexpr size_t kDrawn = 1 << 20;  // Gone through in order: the prefetcher hides it.
  KeyOrder order = *KeyOrder::Parse(row.order, row.keys);
  Random random(static_cast<uint64_t>(thread) + 1);
  std::vector<uint32_t> out(kDrawn);
  for (uint32_t& one : out) {
    one = static_cast<uint32_t>(order.Next(random)) << 1 | (random.Unit() < row.writes ? 1 : 0);
  }
  return out;
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        keys_(*KeySpace::Create("key:", options.keys, tools::load::Numbers::Always(20))),
        value_(options.value_bytes, 'v') {}

  absl::Status Open() {
    config::Seg seg;
    seg.heap_size = options_.heap_bytes;
    const auto found = std::find(config::Seg::kEvictions.begin(), config::Seg::kEvictions.end(),
                                 options_.eviction);
    if (found == config::Seg::kEvictions.end()) {
      return absl::OutOfRangeError(absl::StrCat("--eviction: there is no ", options_.eviction));
    }
    seg.eviction = static_cast<config::Seg::Eviction>(found - config::Seg::kEvictions.begin());
    auto cache = seg::Cache::Create(seg, &clock_, &registry_, "bench");
    if (!cache.ok()) return cache.status();
    cache_ = *std::move(cache);
    return absl::OkStatus();
  }

  void Fill() {
    char key[KeySpace::kBytesMax];
    for (uint64_t i = 0; i < options_.keys; ++i) {
      cache_->Set({key, static_cast<size_t>(keys_.Write(i, key) - key)}, value_, 0, kTtlMs);
    }
  }

  // What each of the threads will do.
  using Drawn = std::vector<std::vector<uint32_t>>;
  Drawn DrawAll(const Row& row) const {
    Drawn out;
    for (int i = 0; i < options_.threads; ++i) out.push_back(Draw(row, i));
    return out;
  }

  Sum Round(const Row& row, const Drawn& drawn, int threads) {
    std::vector<Part> parts(threads);
    std::vector<std::thread> running;
    std::barrier start(threads);
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&, i] {
        PinTo(i);
        registry_.ClaimShard();
        Go(row, drawn[i], options_.ops / 10, &parts[i]);  // Warm.
        start.arrive_and_wait();
        parts[i] = Part();
        Go(row, drawn[i], options_.ops, &parts[i]);
      });
    }
    for (std::thread& thread : running) thread.join();
    Sum sum;
    for (const Part& part : parts) {
      sum.per_second += static_cast<double>(options_.ops) * 1e9 / part.wall_ns;
      sum.cpu_ns += part.cpu_ns / static_cast<double>(options_.ops) / threads;
      sum.clean = sum.clean && part.cpu_ns > 0.95 * part.wall_ns;
      sum.reads += part.reads;
      sum.hits += part.hits;
    }
    return sum;
  }

 private:
  static constexpr int64_t kTtlMs = 3'600'000;

  void Go(const Row& row, const std::vector<uint32_t>& drawn, int64_t ops, Part* part) {
    char key[KeySpace::kBytesMax];
    uint64_t seen = 0;
    uint64_t reads = 0, hits = 0;  // Here: the parts of two threads share a line.
    const double wall = WallNs();
    const double cpu = ThreadCpuNs();
    for (int64_t i = 0; i < ops; ++i) {
      const uint32_t what = drawn[static_cast<size_t>(i) & (drawn.size() - 1)];
      const absl::string_view spelled(key, keys_.Write(what >> 1, key) - key);
      if (row.writes < 0) {
        seen += static_cast<uint8_t>(spelled.back());
      } else if ((what & 1) != 0) {
        cache_->Set(spelled, value_, 0, kTtlMs);
      } else {
        const seg::ItemRef item = cache_->Get(spelled, seg::Token::kQuiet);
        ++reads;
        if (!item.found()) continue;
        ++hits;
        seen += static_cast<uint8_t>(item.value().back());
      }
    }
    part->cpu_ns = ThreadCpuNs() - cpu;
    part->wall_ns = WallNs() - wall;
    part->reads = reads;
    part->hits = hits;
    asm volatile("" : : "r"(seen));  // Keeps the reads of the values.
  }

  const Options options_;
  const KeySpace keys_;
  const std::string value_;
  const core::RealClock clock_;
  core::Registry registry_;
  std::unique_ptr<seg::Cache> cache_;
};

std::vector<Row> Rows(const Options& options) {
  std::vector<Row> rows = {{"no engine", "uniform", options.keys, -1}};
  struct Order {
    const char* name;
    const char* order;
    uint64_t keys;
  };
  for (const Order& order : {Order{"uniform", "uniform", options.keys},
                             Order{"zipf 0.99", "zipf:0.99", options.keys},
                             Order{"10 hot keys", "uniform", 10}}) {
    for (const double writes : {0.0, 1.0, 0.1, 0.5}) {
      const std::string mix = writes == 0   ? "get"
                              : writes == 1 ? "set"
                                            : absl::StrCat(100 - writes * 100, "/", writes * 100);
      rows.push_back({absl::StrCat(mix, ", ", order.name), order.order, order.keys, writes});
    }
  }
  return rows;
}

// The rounds of a row, with one thread and with all.
struct Pair {
  Sum one, all;
};

// The clean pairs, or all if none is.
std::vector<Pair> Measure(const Options& options, const Row& row, Bench* bench, size_t* clean) {
  std::vector<Pair> all, good;
  const Bench::Drawn drawn = bench->DrawAll(row);
  for (int i = 0; i < options.rounds; ++i) {
    const Sum one = bench->Round(row, drawn, 1);
    all.push_back({one, bench->Round(row, drawn, options.threads)});
    if (all.back().one.clean && all.back().all.clean) good.push_back(all.back());
  }
  *clean = good.size();
  return good.empty() ? all : good;
}

// The median of what `of` says about each pair.
template <class Of>
double Median(const std::vector<Pair>& pairs, Of of) {
  std::vector<double> values;
  for (const Pair& pair : pairs) values.push_back(of(pair));
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void PrintHeader(const Options& options, double ticks_per_ns) {
  const std::string n = absl::StrCat(options.threads);
  std::printf("%llu keys of 20 bytes, values of %zu, heap %llu MB, %s; medians of %d rounds of %lld; "
              "%.2f ticks/ns\n%-20s%12s%12s%10s%10s%10s%10s%8s%8s%7s\n",
              static_cast<unsigned long long>(options.keys), options.value_bytes,
              static_cast<unsigned long long>(options.heap_bytes >> 20), options.eviction.c_str(),
              options.rounds, static_cast<long long>(options.ops), ticks_per_ns, "", "ops/s 1",
              ("ops/s " + n).c_str(), "cpu ns 1", ("cpu ns " + n).c_str(), "cycles 1", "by wall",
              "by CPU", "hits", "clean");
}

void Run(const Options& options, Bench* bench) {
  const double ticks_per_ns = TicksPerNs();
  PrintHeader(options, ticks_per_ns);
  double idle_ns = 0;
  for (const Row& row : Rows(options)) {
    const bool idle = row.writes < 0;
    if (!idle && !absl::StrContains(row.name, options.only)) continue;
    size_t clean = 0;
    const std::vector<Pair> pairs = Measure(options, row, bench, &clean);
    const double one_ns = Median(pairs, [](const Pair& p) { return p.one.cpu_ns; });
    if (idle) idle_ns = one_ns;
    const Sum& last = pairs.back().all;
    std::printf("%-20s%12.0f%12.0f%10.1f%10.1f%10.0f%10.2f%8.2f%8.4f%7zu\n", row.name.c_str(),
                Median(pairs, [](const Pair& p) { return p.one.per_second; }),
                Median(pairs, [](const Pair& p) { return p.all.per_second; }), one_ns,
                Median(pairs, [](const Pair& p) { return p.all.cpu_ns; }),
                (one_ns - (idle ? 0 : idle_ns)) * ticks_per_ns,
                Median(pairs, [](const Pair& p) { return p.all.per_second / p.one.per_second; }),
                Median(pairs, [&](const Pair& p) {
                  return options.threads * p.one.cpu_ns / p.all.cpu_ns;
                }),
                last.reads == 0 ? 0 : static_cast<double>(last.hits) / static_cast<double>(last.reads),
                clean);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("The Segcache engine alone, in process.", "engine_bench");
  app.add_option("--keys", options.keys, "how many keys")->check(CLI::Range(10, 1'000'000'000));
  app.add_option("--value-bytes", options.value_bytes, "bytes of a value")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--heap", options.heap_bytes, "bytes of the heap")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--eviction", options.eviction, "policy");
  app.add_option("--ops", options.ops, "operations of a thread in a round")
      ->check(CLI::PositiveNumber);
  app.add_option("--rounds", options.rounds, "rounds of each row")->check(CLI::PositiveNumber);
  app.add_option("--threads", options.threads, "threads beside one")->check(CLI::Range(1, 128));
  app.add_option("--only", options.only, "rows whose name holds this");
  CLI11_PARSE(app, argc, argv);
  Bench bench(options);
  if (const absl::Status status = bench.Open(); !status.ok()) {
    std::fprintf(stderr, "engine_bench: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  bench.Fill();
  Run(options, &bench);
}
