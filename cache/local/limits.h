// What the service refuses, and with which status. The statuses, the `err` trailers and the words
// in the messages by which SDKs tell one limit from another are the service's.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cache::local {

// Payload type under which a refusal carries the value of its `err` trailer.
inline constexpr absl::string_view kErrTrailer = "err";

struct Limits {
  uint64_t item_bytes = 0;  // Key plus value.
  int64_t ttl_ms = 0;

  // INVALID_ARGUMENT if empty. RESOURCE_EXHAUSTED if longer than an item may be.
  absl::Status CheckKey(absl::string_view key) const;
  // The life that a write asks for. INTERNAL for 0, as the service answers; INVALID_ARGUMENT above
  // the maximum.
  absl::Status CheckTtl(uint64_t ttl_ms) const;
  // The same for a call that only changes the life: 0 is INVALID_ARGUMENT, which SDKs do not
  // resend.
  absl::Status CheckNewTtl(uint64_t ttl_ms) const;
  // A whole write: key, size, life.
  absl::Status CheckItem(absl::string_view key, absl::string_view value, uint64_t ttl_ms) const;
};

// RESOURCE_EXHAUSTED for an item of `bytes`.
absl::Status ItemTooLarge(uint64_t bytes, uint64_t limit);
// RESOURCE_EXHAUSTED for a call past the account's rate.
absl::Status RateExceeded();
// RESOURCE_EXHAUSTED for a heap that cannot make room.
absl::Status OutOfMemory();

// INVALID_ARGUMENT unless the name can be sent as metadata and is not blank.
absl::Status CheckCacheName(absl::string_view name);

}  // namespace cache::local
