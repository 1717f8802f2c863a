// Momento's messages: requests written as gRPC frames, replies read into the client's results.
//
// Field numbers are those of proto/momento/cacheclient.proto, common.proto and controlclient.proto.
// Every encoder replaces `*frame` by the five bytes of gRPC's length prefix and the message. Every
// decoder returns false when the bytes are no such message or say something the protocol does not
// know (an unset result, an enum value of another time).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proxy/momento/client.h"

namespace proxy::momento {

// Get, GetWithHash, Delete, KeysExist of one key, ItemGetTtl: `bytes key = 1` and no more.
// FlushCache and CreateCache likewise, of the cache's name, and ListCaches of the token to go on from.
void EncodeKey(absl::string_view key, std::string* frame);
void EncodeEmpty(std::string* frame);
void EncodeGetBatch(absl::Span<const absl::string_view> keys, std::string* frame);
void EncodeUpdateTtl(absl::string_view key, uint64_t ttl_ms, std::string* frame);

void EncodeSet(const StoreItem& item, std::string* frame);
void EncodeSetBatch(absl::Span<const StoreItem> items, std::string* frame);
void EncodeSetIf(const StoreItem& item, Condition condition, std::string* frame);
void EncodeSetIfHash(const StoreItem& item, std::optional<absl::string_view> expected_hash,
                     std::string* frame);

[[nodiscard]] bool DecodeGet(absl::string_view message, GetResult* result);
[[nodiscard]] bool DecodeGetWithHash(absl::string_view message, HashedGetResult* result);
[[nodiscard]] bool DecodeSet(absl::string_view message, StoreResult* result);
[[nodiscard]] bool DecodeSetIf(absl::string_view message, StoreResult* result);
[[nodiscard]] bool DecodeSetIfHash(absl::string_view message, StoreResult* result);
[[nodiscard]] bool DecodeKeysExist(absl::string_view message, FoundResult* result);
[[nodiscard]] bool DecodeUpdateTtl(absl::string_view message, FoundResult* result);
[[nodiscard]] bool DecodeItemGetTtl(absl::string_view message, TtlResult* result);
[[nodiscard]] bool DecodeListCaches(absl::string_view message, CachesResult* result);
// Delete, FlushCache, CreateCache, Ping: messages without fields, that may have some one day.
[[nodiscard]] bool DecodeEmpty(absl::string_view message);

}  // namespace proxy::momento
