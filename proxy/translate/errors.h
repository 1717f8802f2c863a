// Momento's failures into memcached's words: the one table.
//
// The texts are ours and constant: nothing a backend says reaches a client. Pure functions.
#pragma once

#include "proto/memcache/response.h"
#include "proxy/momento/client.h"

namespace proxy::translate {

// What was asked for when it failed.
enum class Intent : uint8_t { kRead, kWrite };

// The answer for a call that failed. REQUIRES: !error.ok().
// RESOURCE_EXHAUSTED about the size of an item or request is kTooLarge, everything else is
// kServerError. A write that may have been applied says so.
proto::memcache::Response FailureOf(const momento::Error& error, Intent intent);

// Whether a failed write may nevertheless have been applied.
bool MayHaveBeenApplied(const momento::Error& error);

// Which limit of the service a call ran into.
enum class Limit : uint8_t {
  kNone,        // The error is another one, or the proxy's own.
  kOperations,  // Too many operations a second.
  kThroughput,  // Too many bytes a second.
  kSize,        // Of the item or the request.
  kOther,       // One that the service does not name, or that nobody here knows.
};
Limit LimitOf(const momento::Error& error);

// Whether the service refused the item's or the request's size.
inline bool IsTooLarge(const momento::Error& error) { return LimitOf(error) == Limit::kSize; }

}  // namespace proxy::translate
