// The calls that momento_local answers, by number and by the kebab-case names that fault injection
// and metrics use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace cache::local {

enum class Rpc : uint8_t {
  kGet,
  kGetWithHash,
  kGetBatch,
  kSet,
  kSetBatch,
  kSetIf,
  kSetIfHash,
  kSetIfNotExists,
  kDelete,
  kKeysExist,
  kIncrement,
  kUpdateTtl,
  kItemGetTtl,
  kItemGetType,
  kPing,
  kCreateCache,
  kDeleteCache,
  kListCaches,
  kFlushCache,
};

inline constexpr std::array<absl::string_view, 19> kRpcNames = {
    "get",          "get-with-hash", "get-batch",         "set",           "set-batch",
    "set-if",       "set-if-hash",   "set-if-not-exists", "delete",        "keys-exist",
    "increment",    "update-ttl",    "item-get-ttl",      "item-get-type", "ping",
    "create-cache", "delete-cache",  "list-caches",       "flush-cache"};
inline constexpr size_t kRpcs = kRpcNames.size();
static_assert(static_cast<size_t>(Rpc::kFlushCache) + 1 == kRpcs);

constexpr absl::string_view NameOf(Rpc rpc) { return kRpcNames[static_cast<size_t>(rpc)]; }

}  // namespace cache::local
