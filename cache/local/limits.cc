#include "cache/local/limits.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace cache::local {
namespace {

constexpr size_t kCacheNameBytesMax = 255;  // Ours; the service's is not published.

bool IsVisibleAscii(char c) { return c >= 0x20 && c <= 0x7e; }

}  // namespace

absl::Status ItemTooLarge(uint64_t bytes, uint64_t limit) {
  // The service answers a Set that is too large with the request's limit, and the Node SDK goes by
  // the words "request limit" alone.
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat("request limit exceeded: ", bytes, " bytes of key and value, at most ", limit));
  status.SetPayload(kErrTrailer, absl::Cord("request_size_limit_exceeded"));
  return status;
}

absl::Status RateExceeded() {
  absl::Status status =
      absl::ResourceExhaustedError("too many operations: the account's request rate is exceeded");
  status.SetPayload(kErrTrailer, absl::Cord("operations_rate_limit_exceeded"));
  return status;
}

absl::Status OutOfMemory() {
  return absl::ResourceExhaustedError("the cache is full and nothing in it may be evicted");
}

absl::Status Limits::CheckKey(absl::string_view key) const {
  if (key.empty()) return absl::InvalidArgumentError("the key is empty");
  if (key.size() > item_bytes) return ItemTooLarge(key.size(), item_bytes);
  return absl::OkStatus();
}

absl::Status Limits::CheckTtl(uint64_t ttl) const {
  if (ttl == 0) return absl::InternalError("ttl_milliseconds is 0");
  return CheckNewTtl(ttl);
}

absl::Status Limits::CheckNewTtl(uint64_t ttl) const {
  if (ttl == 0) return absl::InvalidArgumentError("the TTL is 0 ms");
  if (ttl > static_cast<uint64_t>(ttl_ms)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the TTL is ", ttl, " ms, at most ", ttl_ms, " ms are kept"));
  }
  return absl::OkStatus();
}

absl::Status Limits::CheckItem(absl::string_view key, absl::string_view value, uint64_t ttl) const {
  if (absl::Status status = CheckKey(key); !status.ok()) return status;
  if (key.size() + value.size() > item_bytes) {
    return ItemTooLarge(key.size() + value.size(), item_bytes);
  }
  return CheckTtl(ttl);
}

absl::Status CheckCacheName(absl::string_view name) {
  const bool blank = std::all_of(name.begin(), name.end(), [](char c) { return c == ' '; });
  if (blank) return absl::InvalidArgumentError("the cache name is blank");
  if (name.size() > kCacheNameBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the cache name has ", name.size(), " bytes, at most ", kCacheNameBytesMax));
  }
  if (!std::all_of(name.begin(), name.end(), IsVisibleAscii)) {
    return absl::InvalidArgumentError("the cache name is not printable ASCII");
  }
  return absl::OkStatus();
}

}  // namespace cache::local
