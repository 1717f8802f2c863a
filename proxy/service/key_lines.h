// Who may work on which key: readers together, a writer alone, first come first served.
//
// Keys are told apart by a 64-bit hash. Two keys of one hash only wait for each other without need.
// A line exists while somebody works on its key or waits for it, so an idle object owns next to
// nothing. One thread.
#pragma once

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace proxy {

struct Operation;

// A queue through Operation::next; owns nothing.
class OperationQueue {
 public:
  bool empty() const { return head_ == nullptr; }
  Operation* head() const { return head_; }
  void Push(Operation* operation);
  Operation* Pop();

 private:
  Operation* head_ = nullptr;
  Operation* tail_ = nullptr;
};

class KeyLines {
 public:
  // Whether the operation may start now. Otherwise it is queued, and Leave() will start it.
  bool Enter(Operation* operation);
  // The operation's work on its key is done: takes it off the line, then calls `start` for every
  // operation that may run now. `start` may call Enter().
  void Leave(Operation* operation, absl::FunctionRef<void(Operation*)> start);

  bool empty() const { return lines_.empty(); }

 private:
  struct Line {
    uint32_t running = 0;
    bool writing = false;
    OperationQueue waiting;

    bool Admits(const Operation* operation) const;
    void Admit(const Operation* operation);
  };
  static constexpr size_t kIdleCapacityMax = 64;  // x 40 bytes: what an idle connection may keep.

  absl::flat_hash_map<uint64_t, Line> lines_;
};

}  // namespace proxy
