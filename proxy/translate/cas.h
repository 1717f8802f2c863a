// memcached's 64-bit cas token, made of the bytes that Momento holds.
//
// Momento's own hash is of the same bytes (proto/momento), but only GetWithHash and SetIfHash tell it.
// A token of our own comes with every read and every write, batches included, at no call more. It has
// a fixed seed: a token told by one worker or one proxy is honoured by every other. A cas reads the
// item with its hash, compares the token of what it read, and the store that follows names the whole
// hash, so a collision of tokens can only cost a lost comparison of 1 in 2^64.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "core/base/hash.h"

namespace proxy::translate {

inline constexpr uint64_t kCasSeed = 0;  // Part of the contract between proxies: never changes.

// Of stored bytes, envelope included. Never 0: memcached's clients read 0 as "no token".
inline uint64_t CasToken(absl::string_view stored) {
  const uint64_t token = core::Hash64(stored, kCasSeed);
  return token == 0 ? 1 : token;
}

// The same of bytes that are stored in two parts.
uint64_t CasToken(absl::string_view prefix, absl::string_view body);

}  // namespace proxy::translate
