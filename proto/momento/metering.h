// What Momento counts of a call: operations, one for every 1,024 bytes of each item in a request or
// its answer, at least one an item; SetIf counts twice. An item is its key and its value.
// https://docs.momentohq.com (operations); SetIfHash is not among those that count twice, and what a
// consistent read counts is told differently in different places, so it is counted apart and once.
#pragma once

#include <cstdint>

namespace proto::momento {

inline constexpr uint64_t kOperationBytes = 1024;
inline constexpr uint64_t kSetIfFactor = 2;

constexpr uint64_t OperationsOf(uint64_t item_bytes) {
  return item_bytes <= kOperationBytes ? 1 : (item_bytes + kOperationBytes - 1) / kOperationBytes;
}

}  // namespace proto::momento
