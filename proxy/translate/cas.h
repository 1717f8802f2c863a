// memcached's 64-bit cas token: the one that the item's envelope carries, or else one made of the
// bytes that Momento holds.
//
// Momento's own hash is of the same bytes (proto/momento), but only GetWithHash and SetIfHash tell it.
// A token of our own comes with every read and every write, batches included, at no call more. It has
// a fixed seed: a token told by one worker or one proxy is honoured by every other. A cas reads the
// item with its hash, compares the token of what it read, and the store that follows names the whole
// hash, so a collision of tokens can only cost a lost comparison of 1 in 2^64.
//
// An envelope carries one where a client has set it (E of the meta commands), and where the token must
// not follow the bytes: taking the win of an item changes what is stored and leaves its token.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "core/base/hash.h"
#include "proxy/translate/envelope.h"

namespace proxy::translate {

inline constexpr uint64_t kCasSeed = 0;  // Part of the contract between proxies: never changes.

// Of stored bytes, envelope included. Never 0: memcached's clients read 0 as "no token".
inline uint64_t CasToken(absl::string_view stored) {
  const uint64_t token = core::Hash64(stored, kCasSeed);
  return token == 0 ? 1 : token;
}

// The same of bytes that are stored in two parts.
uint64_t CasToken(absl::string_view prefix, absl::string_view body);

// What clients are told of an item and compare. REQUIRES: `item` is what is in `stored`.
inline uint64_t TokenOf(const Unwrapped& item, absl::string_view stored) {
  return item.state.has_value() ? item.state->token : CasToken(stored);
}

// Whether a client that holds `token` has seen an item from before `item`, whose token is another.
// Tokens of our making say only that they differ, and only a client that read the item earlier has
// one; those that clients count up themselves have an order. 0 is the token of nothing.
inline bool IsOlder(uint64_t token, const Unwrapped& item) {
  if (token == 0) return false;
  return !item.state.has_value() || !item.state->ranked || token < item.state->token;
}

}  // namespace proxy::translate
