// Whether what several threads saw of one key could have happened one after another.
//
// The history of a key is checked against a register with tokens and marks, by just-in-time linearization
// (Lowe, "Testing for linearizability", CCPE 2017): going through the calls and returns in their
// order, keep every possible state of the register together with which of the pending operations
// have taken effect in it. A thread has one operation pending at a time, so that is a bit a thread.
// When an operation returns, states in which it has not taken effect are continued, by letting
// pending operations take effect in any order, until it has; a history is right if some state is
// left. The check is exact: nothing right is refused and nothing wrong accepted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cache/seg/marks.h"

namespace seg {

struct Operation {
  enum class Kind : uint8_t {
    kGet,
    kSet,
    kAdd,
    kCas,
    kIncr,    // value + 1; keeps the marks
    kAppend,  // value * 10 + argument
    kTouch,
    kStale,   // Marks the item as stale and not won.
    kWin,     // Marks a stale item that is not won as won.
    kDelete,
    kFlush,
  };
  Kind kind = Kind::kGet;
  int thread = 0;
  // From a counter that all threads share.
  uint64_t called = 0;
  uint64_t returned = 0;

  uint64_t argument = 0;
  uint64_t compared = 0;  // kCas: the token that must be the item's.

  enum class Outcome : uint8_t {
    kDone,     // Found, stored, touched or deleted.
    kMissing,  // There was no item.
    kRefused,  // There was an item (kAdd), or one of another token (kCas) or not to be won (kWin).
    kFailed,   // No memory: nothing changed.
  };
  Outcome outcome = Outcome::kDone;
  uint64_t value = 0;  // If done: what was found, or is stored now.
  uint64_t token = 0;  // Of that; 0 if it was not told.
  Marks marks = {};    // kGet: of what was found.
};

// Empty if the history of a key is linearizable; else what was wrong first. With `may_forget` the
// item may vanish at any time, which is what eviction does.
std::string Disagreement(std::vector<Operation> history, bool may_forget);

}  // namespace seg
