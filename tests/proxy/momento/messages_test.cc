// Our encoding against protoc's: what we write it reads, what it writes we read.
#include "proxy/momento/messages.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/momento/cacheclient.pb.h"
#include "proto/momento/controlclient.pb.h"

namespace proxy::momento {
namespace {

namespace pb = ::cache_client;

const std::string kBinary("\0\xff\r\n\x80 key", 9);

// The message in `frame`, whose prefix must fit.
template <class Message>
Message Parse(const std::string& frame) {
  Message message;
  EXPECT_GE(frame.size(), 5u);
  uint32_t size = 0;
  for (int i = 1; i < 5; ++i) size = size << 8 | static_cast<uint8_t>(frame[i]);
  EXPECT_EQ(frame[0], '\0');
  EXPECT_EQ(size, frame.size() - 5);
  EXPECT_TRUE(message.ParseFromString(frame.substr(5)));
  // Byte for byte what protoc's code writes: nothing unknown, nothing doubled.
  EXPECT_EQ(message.SerializeAsString(), frame.substr(5));
  return message;
}

TEST(Messages, KeysAreRead) {
  for (const std::string& key : {std::string("k"), kBinary, std::string(200, 'x')}) {
    std::string frame = "left over";
    EncodeKey(key, &frame);
    EXPECT_EQ(Parse<pb::GetRequest>(frame).cache_key(), key);
    EXPECT_EQ(Parse<pb::DeleteRequest>(frame).cache_key(), key);
    EXPECT_EQ(Parse<pb::GetWithHashRequest>(frame).cache_key(), key);
    EXPECT_EQ(Parse<pb::ItemGetTtlRequest>(frame).cache_key(), key);
    ASSERT_EQ(Parse<pb::KeysExistRequest>(frame).cache_keys_size(), 1);
    EXPECT_EQ(Parse<pb::KeysExistRequest>(frame).cache_keys(0), key);
  }
}

TEST(Messages, CachesAndTheirLimitsAreRead) {
  namespace control = ::control_client;
  std::string frame;
  EncodeKey("sessions", &frame);
  EXPECT_EQ(Parse<control::CreateCacheRequest>(frame).cache_name(), "sessions");
  EXPECT_EQ(Parse<control::ListCachesRequest>(frame).next_token(), "sessions");
  EncodeEmpty(&frame);
  EXPECT_EQ(Parse<control::ListCachesRequest>(frame).next_token(), "");

  control::ListCachesResponse reply;
  control::Cache* cache = reply.add_cache();
  cache->set_cache_name("a");
  cache->mutable_cache_limits()->set_max_traffic_rate(500);
  cache->mutable_cache_limits()->set_max_throughput_kbps(10240);
  cache->mutable_cache_limits()->set_max_item_size_kb(4883);
  cache->mutable_cache_limits()->set_max_ttl_seconds(86400);
  cache->mutable_topic_limits()->set_max_publish_rate(7);
  reply.add_cache()->set_cache_name(std::string(200, 'b'));
  reply.set_next_token("more");
  CachesResult result;
  const std::string bytes = reply.SerializeAsString();
  ASSERT_TRUE(DecodeListCaches(bytes, &result));
  ASSERT_EQ(result.caches.size(), 2u);
  EXPECT_EQ(result.caches[0].name, "a");
  EXPECT_EQ(result.caches[0].requests_per_second_max, 500u);
  EXPECT_EQ(result.caches[0].kib_per_second_max, 10240u);
  EXPECT_EQ(result.caches[0].item_bytes_max, 4883u * 1024);
  EXPECT_EQ(result.caches[0].ttl_seconds_max, 86400u);
  EXPECT_EQ(result.caches[1].name, std::string(200, 'b'));
  EXPECT_EQ(result.caches[1].ttl_seconds_max, 0u) << "no limits: nothing is said";
  EXPECT_EQ(result.next_token, "more");
  // A cut message is one only where a field ends: never more than what was there, never a crash.
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    CachesResult part;
    if (DecodeListCaches(absl::string_view(bytes).substr(0, cut), &part)) {
      EXPECT_LE(part.caches.size(), 2u);
    }
  }
}

TEST(Messages, BatchKeepsOrder) {
  std::string frame;
  const std::vector<absl::string_view> keys = {"a", kBinary, "c"};
  EncodeGetBatch(keys, &frame);
  const auto message = Parse<pb::GetBatchRequest>(frame);
  ASSERT_EQ(message.items_size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(message.items(i).cache_key(), std::string(keys[i]));
}

TEST(Messages, ABatchOfWritesKeepsOrder) {
  std::string frame;
  const std::string body(300, 'b');
  EncodeSetBatch({{{kBinary, "pre", body, 1}, {"k", "", "v", UINT64_MAX}}}, &frame);
  const auto message = Parse<pb::SetBatchRequest>(frame);
  ASSERT_EQ(message.items_size(), 2);
  EXPECT_EQ(message.items(0).cache_key(), kBinary);
  EXPECT_EQ(message.items(0).cache_body(), "pre" + body);
  EXPECT_EQ(message.items(0).ttl_milliseconds(), 1u);
  EXPECT_EQ(message.items(1).cache_key(), "k");
  EXPECT_EQ(message.items(1).cache_body(), "v");
  EXPECT_EQ(message.items(1).ttl_milliseconds(), UINT64_MAX);
}

TEST(Messages, WritesCarryItemAndCondition) {
  const std::string body(300, 'b');
  for (uint64_t ttl : {uint64_t{1}, uint64_t{127}, uint64_t{128}, UINT64_MAX}) {
    const StoreItem item{kBinary, "pre", body, ttl};
    std::string frame;
    EncodeSet(item, &frame);
    const auto set = Parse<pb::SetRequest>(frame);
    EXPECT_EQ(set.cache_key(), kBinary);
    EXPECT_EQ(set.cache_body(), "pre" + body);
    EXPECT_EQ(set.ttl_milliseconds(), ttl);
    EncodeSetIf(item, Condition::kPresent, &frame);
    EXPECT_TRUE(Parse<pb::SetIfRequest>(frame).has_present());
    EncodeSetIf(item, Condition::kAbsent, &frame);
    EXPECT_TRUE(Parse<pb::SetIfRequest>(frame).has_absent());
    EXPECT_EQ(Parse<pb::SetIfRequest>(frame).cache_body(), "pre" + body);
    EncodeSetIfHash(item, std::nullopt, &frame);
    EXPECT_TRUE(Parse<pb::SetIfHashRequest>(frame).has_unconditional());
    EncodeSetIfHash(item, absl::string_view("hash"), &frame);
    EXPECT_EQ(Parse<pb::SetIfHashRequest>(frame).present_and_hash_equal().hash_to_check(), "hash");
    EncodeUpdateTtl(kBinary, ttl, &frame);
    EXPECT_EQ(Parse<pb::UpdateTtlRequest>(frame).overwrite_to_milliseconds(), ttl);
  }
}

TEST(Messages, FlushNamesTheCache) {
  std::string frame;
  EncodeKey("name", &frame);
  EXPECT_EQ(Parse<::control_client::FlushCacheRequest>(frame).cache_name(), "name");
}

TEST(Messages, GetIsRead) {
  pb::GetResponse hit;
  hit.set_result(pb::Hit);
  hit.set_cache_body(kBinary);
  hit.set_message("ignored");
  GetResult result;
  ASSERT_TRUE(DecodeGet(hit.SerializeAsString(), &result));
  EXPECT_TRUE(result.hit);
  EXPECT_EQ(result.value, kBinary);
  pb::GetResponse miss;
  miss.set_result(pb::Miss);
  GetResult none;
  ASSERT_TRUE(DecodeGet(miss.SerializeAsString(), &none));
  EXPECT_FALSE(none.hit);
  pb::GetResponse ok;
  ok.set_result(pb::Ok);
  EXPECT_FALSE(DecodeGet(ok.SerializeAsString(), &none));
}

TEST(Messages, HashedReadsAndWritesAreRead) {
  pb::GetWithHashResponse found;
  found.mutable_found()->set_value("v");
  found.mutable_found()->set_hash(kBinary);
  HashedGetResult read;
  ASSERT_TRUE(DecodeGetWithHash(found.SerializeAsString(), &read));
  EXPECT_TRUE(read.hit);
  EXPECT_EQ(read.value, "v");
  EXPECT_EQ(read.hash, kBinary);
  pb::GetWithHashResponse missing;
  missing.mutable_missing();
  HashedGetResult none;
  ASSERT_TRUE(DecodeGetWithHash(missing.SerializeAsString(), &none));
  EXPECT_FALSE(none.hit);

  pb::SetIfHashResponse stored;
  stored.mutable_stored()->set_new_hash(kBinary);
  StoreResult result;
  ASSERT_TRUE(DecodeSetIfHash(stored.SerializeAsString(), &result));
  EXPECT_TRUE(result.stored);
  EXPECT_EQ(result.hash, kBinary);
  pb::SetIfHashResponse not_stored;
  not_stored.mutable_not_stored();
  ASSERT_TRUE(DecodeSetIfHash(not_stored.SerializeAsString(), &result));
  EXPECT_FALSE(result.stored);
}

TEST(Messages, OtherRepliesAreRead) {
  FoundResult found;
  pb::KeysExistResponse exist;
  exist.add_exists(true);
  ASSERT_TRUE(DecodeKeysExist(exist.SerializeAsString(), &found));
  EXPECT_TRUE(found.found);
  exist.add_exists(true);
  EXPECT_FALSE(DecodeKeysExist(exist.SerializeAsString(), &found));
  pb::UpdateTtlResponse update;
  update.mutable_missing();
  ASSERT_TRUE(DecodeUpdateTtl(update.SerializeAsString(), &found));
  EXPECT_FALSE(found.found);
  update.mutable_not_set();
  EXPECT_FALSE(DecodeUpdateTtl(update.SerializeAsString(), &found));
  update.mutable_set();
  ASSERT_TRUE(DecodeUpdateTtl(update.SerializeAsString(), &found));
  EXPECT_TRUE(found.found);
  pb::ItemGetTtlResponse ttl;
  ttl.mutable_found()->set_remaining_ttl_millis(1234567);
  TtlResult life;
  ASSERT_TRUE(DecodeItemGetTtl(ttl.SerializeAsString(), &life));
  EXPECT_TRUE(life.found);
  EXPECT_EQ(life.ttl_ms, 1234567u);
}

TEST(Messages, NothingSetIsNoAnswer) {
  GetResult get;
  HashedGetResult hashed;
  StoreResult store;
  FoundResult found;
  TtlResult ttl;
  EXPECT_FALSE(DecodeGet("", &get));
  EXPECT_FALSE(DecodeGetWithHash("", &hashed));
  EXPECT_FALSE(DecodeSet("", &store));
  EXPECT_FALSE(DecodeSetIf("", &store));
  EXPECT_FALSE(DecodeSetIfHash("", &store));
  EXPECT_FALSE(DecodeKeysExist("", &found));
  EXPECT_FALSE(DecodeUpdateTtl("", &found));
  EXPECT_FALSE(DecodeItemGetTtl("", &ttl));
  EXPECT_TRUE(DecodeEmpty(""));
}

TEST(Messages, EveryCutOfAMessageIsRefusedOrReadWithoutHarm) {
  pb::GetResponse hit;
  hit.set_result(pb::Hit);
  hit.set_cache_body("value");
  const std::string whole = hit.SerializeAsString();
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    GetResult result;
    const bool read = DecodeGet(whole.substr(0, cut), &result);
    EXPECT_EQ(read, cut == 2) << cut;  // Two bytes are a whole field: a hit of an empty value.
  }
}

}  // namespace
}  // namespace proxy::momento
