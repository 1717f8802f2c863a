// See messages.h. Numbers beside the field names in comments are the .proto files' own.
#include "proxy/momento/messages.h"

#include "proxy/momento/wire.h"

namespace proxy::momento {
namespace {

// cache_client.ECacheResult; 0 is Invalid, 4 to 6 are reserved.
constexpr uint64_t kResultOk = 1;
constexpr uint64_t kResultHit = 2;
constexpr uint64_t kResultMiss = 3;

// Writes the length prefix: a zero byte (not compressed) and four of size, most significant first.
void StartFrame(size_t message_bytes, std::string* frame) {
  const auto byte = [=](int shift) { return static_cast<char>(message_bytes >> shift); };
  const char prefix[] = {0, byte(24), byte(16), byte(8), byte(0)};
  frame->clear();
  frame->reserve(sizeof(prefix) + message_bytes);
  frame->append(prefix, sizeof(prefix));
}

size_t ItemBytes(const StoreItem& item) {
  return FieldBytes(item.key.size()) + FieldBytes(item.prefix.size() + item.body.size()) + 1 +
         VarintBytes(item.ttl_ms);
}

// cache_key 1, cache_body 2, ttl_milliseconds 3: alike in all three writes.
void WriteItem(const StoreItem& item, WireWriter* out) {
  out->BytesField(1, item.key);
  out->Open(2, item.prefix.size() + item.body.size());
  out->Raw(item.prefix);
  out->Raw(item.body);
  out->VarintField(3, item.ttl_ms);
}

// The member of a reply's `oneof result`, all of whose members are messages: the last one counts.
struct Member {
  uint32_t field = 0;  // 0: none was set.
  absl::string_view message;
};

bool ReadMember(absl::string_view message, uint32_t last_field, Member* member) {
  WireReader in(message);
  while (in.Next()) {
    if (in.field() <= last_field && in.is_bytes()) *member = {in.field(), in.bytes()};
  }
  return in.ok() && member->field != 0;
}

// `stored` 1 or `not_stored` 2.
bool ReadStored(absl::string_view message, Member* member, StoreResult* result) {
  if (!ReadMember(message, 2, member)) return false;
  result->stored = member->field == 1;
  return true;
}

}  // namespace

void EncodeKey(absl::string_view key, std::string* frame) {
  StartFrame(FieldBytes(key.size()), frame);
  WireWriter(frame).BytesField(1, key);
}

void EncodeEmpty(std::string* frame) { StartFrame(0, frame); }

void EncodeGetBatch(absl::Span<const absl::string_view> keys, std::string* frame) {
  size_t size = 0;
  for (absl::string_view key : keys) size += FieldBytes(FieldBytes(key.size()));
  StartFrame(size, frame);
  WireWriter out(frame);
  for (absl::string_view key : keys) {
    out.Open(1, FieldBytes(key.size()));  // items 1: a GetRequest.
    out.BytesField(1, key);
  }
}

void EncodeUpdateTtl(absl::string_view key, uint64_t ttl_ms, std::string* frame) {
  StartFrame(FieldBytes(key.size()) + 1 + VarintBytes(ttl_ms), frame);
  WireWriter out(frame);
  out.BytesField(1, key);
  out.VarintField(4, ttl_ms);  // overwrite_to_milliseconds
}

void EncodeSet(const StoreItem& item, std::string* frame) {
  StartFrame(ItemBytes(item), frame);
  WireWriter out(frame);
  WriteItem(item, &out);
}

void EncodeSetBatch(absl::Span<const StoreItem> items, std::string* frame) {
  size_t size = 0;
  for (const StoreItem& item : items) size += FieldBytes(ItemBytes(item));
  StartFrame(size, frame);
  WireWriter out(frame);
  for (const StoreItem& item : items) {
    out.Open(1, ItemBytes(item));  // items 1: a SetRequest.
    WriteItem(item, &out);
  }
}

void EncodeSetIf(const StoreItem& item, Condition condition, std::string* frame) {
  StartFrame(ItemBytes(item) + FieldBytes(0), frame);
  WireWriter out(frame);
  WriteItem(item, &out);
  out.Open(condition == Condition::kPresent ? 4 : 6, 0);  // present, absent
}

void EncodeSetIfHash(const StoreItem& item, std::optional<absl::string_view> expected_hash,
                     std::string* frame) {
  // present_and_hash_equal 5 { hash_to_check 1 }, unconditional 8 {}
  const size_t condition_bytes = expected_hash ? FieldBytes(expected_hash->size()) : 0;
  StartFrame(ItemBytes(item) + FieldBytes(condition_bytes), frame);
  WireWriter out(frame);
  WriteItem(item, &out);
  out.Open(expected_hash ? 5 : 8, condition_bytes);
  if (expected_hash) out.BytesField(1, *expected_hash);
}

bool DecodeGet(absl::string_view message, GetResult* result) {
  uint64_t outcome = 0;
  absl::string_view body;
  WireReader in(message);
  while (in.Next()) {
    if (in.field() == 1 && in.is_varint()) outcome = in.varint();
    if (in.field() == 2 && in.is_bytes()) body = in.bytes();
  }
  if (!in.ok() || (outcome != kResultHit && outcome != kResultMiss)) return false;
  result->hit = outcome == kResultHit;
  if (result->hit) result->value.assign(body.data(), body.size());
  return true;
}

bool DecodeGetWithHash(absl::string_view message, HashedGetResult* result) {
  Member member;
  if (!ReadMember(message, 2, &member)) return false;
  if (member.field == 2) return true;  // missing
  result->hit = true;
  WireReader in(member.message);
  while (in.Next()) {
    if (!in.is_bytes()) continue;
    if (in.field() == 1) result->value.assign(in.bytes().data(), in.bytes().size());
    if (in.field() == 2) result->hash.assign(in.bytes().data(), in.bytes().size());
  }
  return in.ok();
}

bool DecodeSet(absl::string_view message, StoreResult* result) {
  uint64_t outcome = 0;
  WireReader in(message);
  while (in.Next()) {
    if (in.field() == 1 && in.is_varint()) outcome = in.varint();
  }
  result->stored = outcome == kResultOk;
  return in.ok() && result->stored;
}

bool DecodeSetIf(absl::string_view message, StoreResult* result) {
  Member member;
  return ReadStored(message, &member, result);
}

bool DecodeSetIfHash(absl::string_view message, StoreResult* result) {
  Member member;
  if (!ReadStored(message, &member, result)) return false;
  if (!result->stored) return true;
  WireReader in(member.message);
  while (in.Next()) {
    if (in.field() == 1 && in.is_bytes()) result->hash.assign(in.bytes().data(), in.bytes().size());
  }
  return in.ok();
}

bool DecodeKeysExist(absl::string_view message, FoundResult* result) {
  int answers = 0;
  WireReader in(message);
  while (in.Next()) {
    if (in.field() != 1) continue;
    if (in.is_varint()) {
      ++answers;
      result->found = in.varint() != 0;
    } else if (in.is_bytes()) {  // Packed: the booleans' varints, end to end.
      for (char byte : in.bytes()) {
        ++answers;
        result->found = byte != 0;
      }
    }
  }
  return in.ok() && answers == 1;
}

bool DecodeUpdateTtl(absl::string_view message, FoundResult* result) {
  Member member;  // set 1, not_set 2 (never of an overwrite), missing 3
  if (!ReadMember(message, 3, &member) || member.field == 2) return false;
  result->found = member.field == 1;
  return true;
}

bool DecodeItemGetTtl(absl::string_view message, TtlResult* result) {
  Member member;  // found 1 { remaining_ttl_millis 1 }, missing 2
  if (!ReadMember(message, 2, &member)) return false;
  result->found = member.field == 1;
  WireReader in(member.message);
  while (in.Next()) {
    if (result->found && in.field() == 1 && in.is_varint()) result->ttl_ms = in.varint();
  }
  return in.ok();
}

namespace {

// cache_limits 2: max_traffic_rate 1, max_throughput_kbps 2, max_item_size_kb 3, max_ttl_seconds 4.
bool ReadLimits(absl::string_view message, CacheInfo* cache) {
  WireReader in(message);
  while (in.Next()) {
    if (!in.is_varint()) continue;
    if (in.field() == 1) cache->requests_per_second_max = static_cast<uint32_t>(in.varint());
    if (in.field() == 2) cache->kib_per_second_max = static_cast<uint32_t>(in.varint());
    if (in.field() == 3) cache->item_bytes_max = uint64_t{static_cast<uint32_t>(in.varint())} << 10;
    if (in.field() == 4) cache->ttl_seconds_max = in.varint();
  }
  return in.ok();
}

// cache_name 1, cache_limits 2; topic_limits 3 are no concern of a cache.
bool ReadCache(absl::string_view message, CacheInfo* cache) {
  WireReader in(message);
  while (in.Next()) {
    if (!in.is_bytes()) continue;
    if (in.field() == 1) cache->name.assign(in.bytes().data(), in.bytes().size());
    if (in.field() == 2 && !ReadLimits(in.bytes(), cache)) return false;
  }
  return in.ok();
}

}  // namespace

bool DecodeListCaches(absl::string_view message, CachesResult* result) {
  WireReader in(message);  // cache 1, next_token 2
  while (in.Next()) {
    if (!in.is_bytes()) continue;
    if (in.field() == 1 && !ReadCache(in.bytes(), &result->caches.emplace_back())) return false;
    if (in.field() == 2) result->next_token.assign(in.bytes().data(), in.bytes().size());
  }
  return in.ok();
}

bool DecodeEmpty(absl::string_view message) {
  WireReader in(message);
  while (in.Next()) {
  }
  return in.ok();
}

}  // namespace proxy::momento
