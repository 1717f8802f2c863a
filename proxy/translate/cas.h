// memcached's 64-bit cas token, made of Momento's hash.
//
// The service's hash is opaque and of unknown length, so a token is a fold of it. The fold has a
// fixed seed: a token read through one worker or one proxy is honoured by every other. A client's
// token is compared with the fold of the item's present hash, and the store that follows names the
// whole hash, so a collision of folds can only cost a lost comparison of 1 in 2^64.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "core/base/hash.h"

namespace proxy::translate {

inline constexpr uint64_t kCasSeed = 0;  // Part of the contract between proxies: never changes.

// Never 0: memcached's clients read 0 as "no token".
inline uint64_t CasToken(absl::string_view hash) {
  const uint64_t fold = core::Hash64(hash, kCasSeed);
  return fold == 0 ? 1 : fold;
}

}  // namespace proxy::translate
