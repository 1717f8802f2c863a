// See history.h.
#include "tests/cache/seg/history.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"

namespace seg {
namespace {

constexpr int kThreadsMax = 32;

struct Register {
  bool present = false;
  uint64_t value = 0;
  uint64_t token = 0;  // 0: told to nobody yet.
  Marks marks = {};

  auto Tie() const { return std::tie(present, value, token, marks.stale, marks.won); }
  bool operator<(const Register& other) const { return Tie() < other.Tie(); }
};

// The register and which threads' pending operations have taken effect.
using Configuration = std::pair<Register, uint32_t>;

// The register after `op`, if `op` could have come back as it did.
std::optional<Register> After(const Register& before, const Operation& op) {
  using enum Operation::Kind;
  using enum Operation::Outcome;
  const auto same = [&](bool agrees) { return agrees ? std::optional(before) : std::nullopt; };
  const auto stored = [&](uint64_t value) -> std::optional<Register> {
    if (op.value != value) return std::nullopt;
    return Register{true, value, op.token, {}};
  };
  const auto marked = [&](Marks marks) -> std::optional<Register> {
    return Register{true, before.value, before.token, marks};
  };
  const bool done = op.outcome == kDone;
  if (op.outcome == kFailed) return before;
  switch (op.kind) {
    case kGet: {
      if (!done) return same(!before.present);
      if (!before.present || before.value != op.value || before.marks != op.marks) {
        return std::nullopt;
      }
      if (op.token == 0 || before.token == op.token) return before;
      if (before.token != 0) return std::nullopt;
      return Register{true, before.value, op.token, before.marks};
    }
    case kSet:
      return stored(op.argument);
    case kAdd:
      if (!done) return same(op.outcome == kRefused && before.present);
      return before.present ? std::nullopt : stored(op.argument);
    case kCas: {
      if (op.outcome == kMissing) return same(!before.present);
      if (!before.present) return std::nullopt;
      // A token that was not told yet is not the one that somebody has.
      const bool agrees = before.token != 0 && before.token == op.compared;
      if (!done) return same(!agrees);
      return agrees ? stored(op.argument) : std::nullopt;
    }
    case kIncr:
      if (!done) return same(!before.present);
      if (!before.present || op.value != before.value + 1) return std::nullopt;
      return Register{true, op.value, op.token, before.marks};
    case kAppend:
      if (!done) return same(!before.present);
      return before.present ? stored(before.value * 10 + op.argument) : std::nullopt;
    case kTouch:
      return same(done == before.present);
    case kStale:
      if (!done) return same(!before.present);
      return before.present ? marked({true, false}) : std::nullopt;
    case kWin: {
      if (op.outcome == kMissing) return same(!before.present);
      if (!before.present) return std::nullopt;
      const bool to_be_won = before.marks == Marks{true, false};
      if (!done) return same(!to_be_won);
      return to_be_won ? marked({true, true}) : std::nullopt;
    }
    case kDelete:
      if (done != before.present) return std::nullopt;
      return Register{};
    case kFlush:
      return Register{};
  }
  return std::nullopt;
}

class Checker {
 public:
  Checker(const std::vector<Operation>& history, bool may_forget)
      : history_(history), may_forget_(may_forget) {}

  std::string Run() {
    struct Event {
      uint64_t at;
      const Operation* op;
      bool is_return;
    };
    std::vector<Event> events;
    for (const Operation& op : history_) {
      CHECK(op.thread < kThreadsMax && op.called < op.returned);
      events.push_back({op.called, &op, false});
      events.push_back({op.returned, &op, true});
    }
    std::sort(events.begin(), events.end(),
              [](const Event& a, const Event& b) { return a.at < b.at; });
    std::set<Configuration> now = {{Register{}, 0}};
    for (const Event& event : events) {
      if (!event.is_return) {
        pending_[event.op->thread] = event.op;
        continue;
      }
      std::set<Configuration> next = UntilDone(now, event.op->thread);
      if (next.empty()) return Describe(*event.op, now);
      now = std::move(next);
      pending_[event.op->thread] = nullptr;
    }
    return "";
  }

 private:
  // All that can have become of `now` when the operation of `thread` has taken effect.
  std::set<Configuration> UntilDone(const std::set<Configuration>& now, int thread) const {
    const uint32_t bit = uint32_t{1} << thread;
    std::set<Configuration> seen = now;
    std::vector<Configuration> open(now.begin(), now.end());
    std::set<Configuration> done;
    const auto reach = [&](const Configuration& to) {
      if (seen.insert(to).second) open.push_back(to);
    };
    while (!open.empty()) {
      const Configuration from = open.back();
      open.pop_back();
      if ((from.second & bit) != 0) {
        done.insert({from.first, from.second & ~bit});
        continue;
      }
      if (may_forget_ && from.first.present) reach({Register{}, from.second});
      for (int t = 0; t < kThreadsMax; ++t) {
        if (pending_[t] == nullptr || (from.second >> t & 1) != 0) continue;
        const std::optional<Register> after = After(from.first, *pending_[t]);
        if (after.has_value()) reach({*after, from.second | uint32_t{1} << t});
      }
    }
    return done;
  }

  static std::string Describe(const Operation& op, const std::set<Configuration>& now) {
    static constexpr const char* kKinds[] = {"get",    "set",   "add",   "cas", "incr",  "append",
                                             "touch", "stale", "win", "delete", "flush"};
    static constexpr const char* kOutcomes[] = {"done", "missing", "refused", "failed"};
    std::string text = absl::StrCat(kKinds[static_cast<int>(op.kind)], " by thread ", op.thread,
                                    " at ", op.called, "..", op.returned, " was ",
                                    kOutcomes[static_cast<int>(op.outcome)], ", argument ",
                                    op.argument, ", value ", op.value, ", token ", op.token,
                                    ", compared ", op.compared, op.marks.stale ? ", stale" : "",
                                    op.marks.won ? ", won" : "", "; possible were:");
    for (const Configuration& c : now) {
      absl::StrAppend(&text, c.first.present
                                 ? absl::StrCat(" ", c.first.value, "/", c.first.token,
                                                c.first.marks.stale ? " stale" : "",
                                                c.first.marks.won ? " won" : "")
                                 : " none");
    }
    return text;
  }

  const std::vector<Operation>& history_;
  const bool may_forget_;
  const Operation* pending_[kThreadsMax] = {};
};

}  // namespace

std::string Disagreement(std::vector<Operation> history, bool may_forget) {
  return Checker(history, may_forget).Run();
}

}  // namespace seg
