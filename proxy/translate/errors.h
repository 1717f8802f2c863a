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

// Whether the service refused the item's or the request's size.
bool IsTooLarge(const momento::Error& error);

}  // namespace proxy::translate
