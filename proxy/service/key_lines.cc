// See key_lines.h.
#include "proxy/service/key_lines.h"

#include "core/base/check.h"
#include "proxy/service/operation.h"

namespace proxy {

void OperationQueue::Push(Operation* operation) {
  operation->next = nullptr;
  if (tail_ == nullptr) {
    head_ = operation;
  } else {
    tail_->next = operation;
  }
  tail_ = operation;
}

Operation* OperationQueue::Pop() {
  Operation* operation = head_;
  head_ = operation->next;
  if (head_ == nullptr) tail_ = nullptr;
  operation->next = nullptr;
  return operation;
}

bool KeyLines::Line::Admits(const Operation* operation) const {
  return operation->exclusive ? running == 0 : !writing;
}

void KeyLines::Line::Admit(const Operation* operation) {
  ++running;
  writing = operation->exclusive;
}

bool KeyLines::Enter(Operation* operation) {
  Line& line = lines_[operation->key_hash];
  if (line.waiting.empty() && line.Admits(operation)) {
    line.Admit(operation);
    return true;
  }
  line.waiting.Push(operation);
  return false;
}

void KeyLines::Leave(Operation* operation, absl::FunctionRef<void(Operation*)> start) {
  const uint64_t hash = operation->key_hash;
  auto it = lines_.find(hash);
  CHECK(it != lines_.end() && it->second.running > 0);
  --it->second.running;
  it->second.writing = false;
  // Looked up again after every start: starting may have moved the table.
  for (; it != lines_.end(); it = lines_.find(hash)) {
    Line& line = it->second;
    if (line.waiting.empty() || !line.Admits(line.waiting.head())) break;
    Operation* ready = line.waiting.Pop();
    line.Admit(ready);
    start(ready);
  }
  if (it != lines_.end() && it->second.running == 0 && it->second.waiting.empty()) lines_.erase(it);
  if (lines_.empty() && lines_.capacity() > kIdleCapacityMax) lines_ = {};
}

}  // namespace proxy
