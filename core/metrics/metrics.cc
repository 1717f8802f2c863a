// Registration, shards and reading. The order of metrics is the order of registration.

#include "core/metrics/metrics.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace core {

namespace {

constexpr int kBuckets = static_cast<int>(kLatencyBoundsNs.size()) + 1;  // The last is +Inf.
constexpr int kHistogramCells = kBuckets + 1;                            // Then the sum.
constexpr int kNoCell = -1;  // Of a metric that a function reads.

uint64_t NextRegistryId() {
  static constinit std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

// A bug in the declaration of a metric ends the process at start, with the metric's name.
void CheckDeclaration(bool ok, absl::string_view name, absl::string_view what) {
  if (ok) return;
  std::fprintf(stderr, "metric \"%.*s\": %.*s\n", static_cast<int>(name.size()), name.data(),
               static_cast<int>(what.size()), what.data());
  std::abort();
}

// The Prometheus data model: [a-zA-Z_][a-zA-Z0-9_]*. (Colons are for recording rules.)
bool IsName(absl::string_view name) {
  if (name.empty() || absl::ascii_isdigit(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

void CheckLabels(absl::string_view name, const Labels& labels) {
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::string& label = labels[i].first;
    CheckDeclaration(IsName(label) && label != "le" && !absl::StartsWith(label, "__"), name,
                     absl::StrCat("bad label name \"", label, "\""));
    for (size_t j = 0; j < i; ++j) {
      CheckDeclaration(labels[j].first != label, name,
                       absl::StrCat("label \"", label, "\" given twice"));
    }
  }
}

// Tells two metrics of a family apart, whatever the order of their labels.
std::string Identity(absl::string_view name, Labels labels) {
  std::sort(labels.begin(), labels.end());
  std::string identity(name);
  for (const auto& [label, value] : labels) {
    absl::StrAppend(&identity, absl::string_view("\0", 1), label, absl::string_view("\0", 1),
                    value);
  }
  return identity;
}

}  // namespace

struct Registry::Entry {
  std::string name;
  absl::string_view help;
  MetricKind kind;
  Labels labels;
  int cell;
  absl::AnyInvocable<double() const> read;
};

// What registration looks at to refuse duplicates.
struct Registry::Index {
  struct Family {
    std::string help;
    MetricKind kind;
  };
  absl::flat_hash_map<std::string, Family> families;
  absl::flat_hash_set<std::string> identities;
};

// The cells of all threads, and which shards have no thread now.
class Registry::Shards {
 public:
  Shards() { at_[0].store(new MetricShard(), std::memory_order_relaxed); }
  ~Shards() {
    for (auto& shard : at_) delete shard.load(std::memory_order_relaxed);
  }
  Shards(const Shards&) = delete;
  Shards& operator=(const Shards&) = delete;

  MetricShard* shared() { return at_[0].load(std::memory_order_relaxed); }

  // A shard that no other thread writes, or null when all have owners. The lock orders the last add
  // of the former owner before the first of the new one.
  MetricShard* Claim() {
    MutexLock lock(mu_);
    if (!free_.empty()) {
      MetricShard* shard = free_.back();
      free_.pop_back();
      return shard;
    }
    if (made_ == kShardsMax) return nullptr;
    auto* shard = new MetricShard();
    at_[made_++].store(shard, std::memory_order_release);  // Pairs with the acquire in Sum().
    return shard;
  }

  void Release(MetricShard* shard) {
    MutexLock lock(mu_);
    free_.push_back(shard);
  }

  uint64_t Sum(int cell) const {
    uint64_t sum = 0;
    for (const auto& slot : at_) {
      const MetricShard* shard = slot.load(std::memory_order_acquire);  // Pairs with Claim().
      if (shard == nullptr) break;
      sum += shard->cells[cell].load(std::memory_order_relaxed);
    }
    return sum;
  }

  // The registry is gone; claims on these shards are worth nothing any more.
  void Close() { closed_.store(true, std::memory_order_relaxed); }
  bool closed() const { return closed_.load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<MetricShard*>, kShardsMax> at_{};
  std::atomic<bool> closed_{false};
  Mutex mu_;
  int made_ ABSL_GUARDED_BY(mu_) = 1;
  std::vector<MetricShard*> free_ ABSL_GUARDED_BY(mu_);
};

// The shards of the calling thread, one a registry. Given back when the thread ends.
struct Registry::Claims {
  struct Claim {
    uint64_t registry_id;
    std::shared_ptr<Shards> shards;
    MetricShard* shard;
  };
  std::vector<Claim> claims;

  static Claims& OfThisThread() {
    thread_local Claims mine;
    return mine;
  }

  ~Claims() {
    tls_metric_shard = {.thread_ended = true};
    for (Claim& claim : claims) claim.shards->Release(claim.shard);
  }

  MetricShard* Find(uint64_t registry_id) {
    for (Claim& claim : claims) {
      if (claim.registry_id == registry_id) return claim.shard;
    }
    return nullptr;
  }

  void DropClosed() {
    claims.erase(std::remove_if(claims.begin(), claims.end(),
                                [](const Claim& claim) { return claim.shards->closed(); }),
                 claims.end());
  }
};

Registry::Registry()
    : id_(NextRegistryId()),
      shards_(std::make_shared<Shards>()),
      index_(std::make_unique<Index>()) {}

Registry::~Registry() { shards_->Close(); }

void Registry::ClaimShard() {
  if (tls_metric_shard.thread_ended) return;
  Claims& mine = Claims::OfThisThread();
  mine.DropClosed();
  MetricShard* shard = mine.Find(id_);
  if (shard == nullptr) {
    shard = shards_->Claim();
    if (shard == nullptr) return;
    mine.claims.push_back({id_, shards_, shard});
  }
  tls_metric_shard = {.registry_id = id_, .shard = shard};
}

void Registry::AddSlow(int cell, uint64_t n) {
  MetricShard* own = tls_metric_shard.thread_ended ? nullptr : Claims::OfThisThread().Find(id_);
  if (own == nullptr) {
    shards_->shared()->cells[cell].fetch_add(n, std::memory_order_relaxed);
    return;
  }
  tls_metric_shard = {.registry_id = id_, .shard = own};
  AddTo(cell, n);
}

uint64_t Registry::Sum(int cell) const {
  CHECK(cell >= 0);
  return shards_->Sum(cell);
}

int Registry::Register(const MetricGroup& group, absl::string_view name, absl::string_view help,
                       MetricKind kind, Labels more, int cells,
                       absl::AnyInvocable<double() const> read) {
  std::string full =
      group.prefix_.empty() ? std::string(name) : absl::StrCat(group.prefix_, "_", name);
  Labels labels = group.labels_;
  labels.insert(labels.end(), std::make_move_iterator(more.begin()),
                std::make_move_iterator(more.end()));
  CheckDeclaration(IsName(full), full, "not a metric name");
  CheckDeclaration(!help.empty() && !absl::StrContains(help, '\n'), full, "no one-line sentence");
  CheckLabels(full, labels);

  MutexLock lock(mu_);
  CheckDeclaration(index_->identities.insert(Identity(full, labels)).second, full,
                   "registered twice with the same labels");
  const auto [family, is_new] =
      index_->families.try_emplace(full, Index::Family{std::string(help), kind});
  CheckDeclaration(is_new || (family->second.help == help && family->second.kind == kind), full,
                   "registered before with another sentence or kind");
  CheckDeclaration(cells_used_ + cells <= kCellsMax, full, "kCellsMax is too small");
  const int cell = cells == 0 ? kNoCell : cells_used_;
  cells_used_ += cells;
  entries_.push_back(std::make_unique<Entry>(
      Entry{std::move(full), help, kind, std::move(labels), cell, std::move(read)}));
  return cell;
}

Registry::Sample Registry::Read(const Entry& entry) const {
  Sample sample;
  sample.name = entry.name;
  sample.help = entry.help;
  sample.kind = entry.kind;
  sample.labels = &entry.labels;
  if (entry.read) {
    sample.value = entry.read();
  } else if (entry.kind == MetricKind::kGauge) {
    sample.value = static_cast<double>(static_cast<int64_t>(Sum(entry.cell)));
  } else if (entry.kind == MetricKind::kCounter) {
    sample.value = static_cast<double>(Sum(entry.cell));
  } else {
    sample.bucket_counts.reserve(kBuckets);
    for (int i = 0; i < kBuckets; ++i) {
      sample.bucket_counts.push_back(Sum(entry.cell + i));
      sample.count += sample.bucket_counts.back();
    }
    sample.sum = static_cast<double>(Sum(entry.cell + kBuckets)) / 1e9;
  }
  return sample;
}

void Registry::Visit(absl::FunctionRef<void(const Sample&)> visit) const {
  std::vector<const Entry*> entries;  // Entries stay where they are; no lock over the callbacks.
  {
    MutexLock lock(mu_);
    entries.reserve(entries_.size());
    for (const auto& entry : entries_) entries.push_back(entry.get());
  }
  for (const Entry* entry : entries) visit(Read(*entry));
}

Counter::Counter(MetricGroup* group, absl::string_view name, absl::string_view help, Labels more)
    : registry_(group->registry_),
      cell_(registry_->Register(*group, name, help, MetricKind::kCounter, std::move(more), 1, {})) {
}

Counter::Counter(MetricGroup* group, absl::string_view name, absl::string_view help,
                 absl::AnyInvocable<double() const> read, Labels more)
    : registry_(group->registry_),
      cell_(registry_->Register(*group, name, help, MetricKind::kCounter, std::move(more), 0,
                                std::move(read))) {}

Gauge::Gauge(MetricGroup* group, absl::string_view name, absl::string_view help, Labels more)
    : registry_(group->registry_),
      cell_(registry_->Register(*group, name, help, MetricKind::kGauge, std::move(more), 1, {})) {}

Gauge::Gauge(MetricGroup* group, absl::string_view name, absl::string_view help,
             absl::AnyInvocable<double() const> read, Labels more)
    : registry_(group->registry_),
      cell_(registry_->Register(*group, name, help, MetricKind::kGauge, std::move(more), 0,
                                std::move(read))) {}

Histogram::Histogram(MetricGroup* group, absl::string_view name, absl::string_view help,
                     Labels more)
    : registry_(group->registry_),
      cell_(registry_->Register(*group, name, help, MetricKind::kHistogram, std::move(more),
                                kHistogramCells, {})) {}

void Histogram::RecordNs(int64_t ns) {
  ns = std::max<int64_t>(ns, 0);
  // The first bound that is not below: bounds are inclusive, as Prometheus' "le" says.
  const auto bound = std::lower_bound(kLatencyBoundsNs.begin(), kLatencyBoundsNs.end(), ns);
  registry_->AddTo(cell_ + static_cast<int>(bound - kLatencyBoundsNs.begin()), 1);
  registry_->AddTo(cell_ + kBuckets, static_cast<uint64_t>(ns));
}

}  // namespace core
