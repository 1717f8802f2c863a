// momento_local over a real socket, through the stubs of the gRPC library: what a Momento client
// sees.
#include "cache/local/server.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/log/memory_log.h"
#include "proto/momento/cacheclient.grpc.pb.h"
#include "proto/momento/cacheping.grpc.pb.h"
#include "proto/momento/controlclient.grpc.pb.h"

namespace cache::local {
namespace {

namespace pb = cache_client;
using grpc::StatusCode;
using std::string;

constexpr uint64_t kTtlMs = 60'000;
constexpr size_t kItemBytesMax = 4883 * 1024;

config::Local Options() {
  config::Local options;
  options.port = 0;
  return options;
}

// A server and the words to talk to it.
class Local {
 public:
  explicit Local(const config::Local& options = Options(), const config::Seg& engine = {}) {
    auto started = LocalServer::Start(options, engine, &clock, &registry, &log);
    if (!started.ok()) {
      ADD_FAILURE() << started.status();
      std::abort();
    }
    server = *std::move(started);
    EXPECT_TRUE(this->server->CreateCache("c").ok());
    Connect();
  }

  void Connect() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    auto channel =
        grpc::CreateCustomChannel(server->target(), grpc::InsecureChannelCredentials(), arguments);
    scs = pb::Scs::NewStub(channel);
    ping = pb::Ping::NewStub(channel);
    control = control_client::ScsControl::NewStub(channel);
  }

  core::ManualClock clock;
  core::Registry registry;
  core::NullLog log;
  std::unique_ptr<LocalServer> server;
  std::unique_ptr<pb::Scs::Stub> scs;
  std::unique_ptr<pb::Ping::Stub> ping;
  std::unique_ptr<control_client::ScsControl::Stub> control;
};

using Headers = std::map<string, string>;
const Headers kInC = {{"cache", "c"}, {"authorization", ""}};

// One call's context.
struct Call : grpc::ClientContext {
  explicit Call(const Headers& headers = kInC, int deadline_ms = 20'000) {
    for (const auto& [name, value] : headers) AddMetadata(name, value);
    set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(deadline_ms));
  }
  string trailer(const char* name) const {
    const auto at = GetServerTrailingMetadata().find(name);
    return at == GetServerTrailingMetadata().end() ? ""
                                                   : string(at->second.data(), at->second.size());
  }
};

Headers With(Headers more) {
  more.insert(kInC.begin(), kInC.end());
  return more;
}

StatusCode Set(Local& local, const string& key, const string& value, uint64_t ttl_ms = kTtlMs,
               const Headers& headers = kInC) {
  Call call(headers);
  pb::SetRequest request;
  request.set_cache_key(key);
  request.set_cache_body(value);
  request.set_ttl_milliseconds(ttl_ms);
  pb::SetResponse reply;
  const grpc::Status status = local.scs->Set(&call, request, &reply);
  if (status.ok()) {
    EXPECT_EQ(reply.result(), pb::Ok);
  }
  return status.error_code();
}

// The value, or "<miss>", or the number of the error.
string Get(Local& local, const string& key, const Headers& headers = kInC,
           int deadline_ms = 20'000) {
  Call call(headers, deadline_ms);
  pb::GetRequest request;
  request.set_cache_key(key);
  pb::GetResponse reply;
  const grpc::Status status = local.scs->Get(&call, request, &reply);
  if (!status.ok()) return "error " + std::to_string(status.error_code());
  if (reply.result() == pb::Miss) return "<miss>";
  EXPECT_EQ(reply.result(), pb::Hit);
  return reply.cache_body();
}

string ErrorText(StatusCode code) { return "error " + std::to_string(code); }

// The hash, or empty for a miss.
string HashAt(Local& local, const string& key, string* value = nullptr) {
  Call call;
  pb::GetWithHashRequest request;
  request.set_cache_key(key);
  pb::GetWithHashResponse reply;
  EXPECT_TRUE(local.scs->GetWithHash(&call, request, &reply).ok());
  if (reply.has_missing()) return "";
  EXPECT_TRUE(reply.has_found());
  if (value != nullptr) *value = reply.found().value();
  return reply.found().hash();
}

// -1 for a miss.
int64_t TtlOf(Local& local, const string& key) {
  Call call;
  pb::ItemGetTtlRequest request;
  request.set_cache_key(key);
  pb::ItemGetTtlResponse reply;
  EXPECT_TRUE(local.scs->ItemGetTtl(&call, request, &reply).ok());
  EXPECT_NE(reply.result_case(), pb::ItemGetTtlResponse::RESULT_NOT_SET);
  return reply.has_missing() ? -1 : static_cast<int64_t>(reply.found().remaining_ttl_millis());
}

void Delete(Local& local, const string& key) {
  Call call;
  pb::DeleteRequest request;
  request.set_cache_key(key);
  pb::DeleteResponse reply;
  EXPECT_TRUE(local.scs->Delete(&call, request, &reply).ok());
}

grpc::Status Increment(Local& local, const string& key, int64_t amount, int64_t* sum,
                       uint64_t ttl_ms = kTtlMs) {
  Call call;
  pb::IncrementRequest request;
  request.set_cache_key(key);
  request.set_amount(amount);
  request.set_ttl_milliseconds(ttl_ms);
  pb::IncrementResponse reply;
  const grpc::Status status = local.scs->Increment(&call, request, &reply);
  *sum = reply.value();
  return status;
}

template <class Request>
Request Write(const string& key, const string& value) {
  Request request;
  request.set_cache_key(key);
  request.set_cache_body(value);
  request.set_ttl_milliseconds(kTtlMs);
  return request;
}

// 's'tored, 'n'ot stored, or 'e'rror.
char Outcome(Local& local, const pb::SetIfRequest& request) {
  Call call;
  pb::SetIfResponse reply;
  if (!local.scs->SetIf(&call, request, &reply).ok()) return 'e';
  EXPECT_NE(reply.result_case(), pb::SetIfResponse::RESULT_NOT_SET);
  return reply.has_stored() ? 's' : 'n';
}
char Outcome(Local& local, const pb::SetIfHashRequest& request, string* hash = nullptr) {
  Call call;
  pb::SetIfHashResponse reply;
  if (!local.scs->SetIfHash(&call, request, &reply).ok()) return 'e';
  EXPECT_NE(reply.result_case(), pb::SetIfHashResponse::RESULT_NOT_SET);
  if (hash != nullptr) *hash = reply.stored().new_hash();
  return reply.has_stored() ? 's' : 'n';
}

grpc::Status CreateCache(Local& local, const string& name) {
  Call call((Headers()));
  control_client::CreateCacheRequest request;
  request.set_cache_name(name);
  control_client::CreateCacheResponse reply;
  return local.control->CreateCache(&call, request, &reply);
}
grpc::Status DeleteCache(Local& local, const string& name) {
  Call call((Headers()));
  control_client::DeleteCacheRequest request;
  request.set_cache_name(name);
  control_client::DeleteCacheResponse reply;
  return local.control->DeleteCache(&call, request, &reply);
}
grpc::Status FlushCache(Local& local, const string& name) {
  Call call((Headers()));
  control_client::FlushCacheRequest request;
  request.set_cache_name(name);
  control_client::FlushCacheResponse reply;
  return local.control->FlushCache(&call, request, &reply);
}

// ------------------------------------------------------------------------------- plain calls

TEST(LocalServer, SetGetDelete) {
  Local local;
  EXPECT_EQ(Get(local, "k"), "<miss>");
  EXPECT_EQ(Set(local, "k", "v"), StatusCode::OK);
  EXPECT_EQ(Get(local, "k"), "v");
  EXPECT_EQ(Set(local, "k", ""), StatusCode::OK);
  EXPECT_EQ(Get(local, "k"), "");
  Delete(local, "k");
  EXPECT_EQ(Get(local, "k"), "<miss>");
  Delete(local, "k");  // The same answer for a key that is not there.
}

TEST(LocalServer, KeysAndValuesAreAnyBytes) {
  Local local;
  string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const string key("\0\xff\r\n k", 6);
  EXPECT_EQ(Set(local, key, all), StatusCode::OK);
  EXPECT_EQ(Get(local, key), all);
  EXPECT_EQ(Get(local, key.substr(0, 5)), "<miss>");
}

TEST(LocalServer, KeysLongerThanTheEnginesAreExact) {
  Local local;
  for (size_t bytes : {250u, 253u, 254u, 255u, 256u, 300u, 5000u, 1'000'000u}) {
    const string key(bytes, 'x');
    const string other = key.substr(0, bytes - 1) + "y";
    EXPECT_EQ(Set(local, key, "v" + std::to_string(bytes)), StatusCode::OK) << bytes;
    EXPECT_EQ(Get(local, key), "v" + std::to_string(bytes)) << bytes;
    EXPECT_EQ(Get(local, other), "<miss>") << bytes;
    EXPECT_EQ(TtlOf(local, key), static_cast<int64_t>(kTtlMs));
    string value;
    const string hash = HashAt(local, key, &value);
    EXPECT_EQ(value, "v" + std::to_string(bytes));
    auto cas = Write<pb::SetIfHashRequest>(key, "w");
    cas.mutable_present_and_hash_equal()->set_hash_to_check(hash);
    EXPECT_EQ(Outcome(local, cas), 's') << bytes;
    EXPECT_EQ(Get(local, key), "w");
    int64_t sum = 0;
    EXPECT_TRUE(Increment(local, other, 5, &sum).ok());
    EXPECT_TRUE(Increment(local, other, 5, &sum).ok());
    EXPECT_EQ(sum, 10);
    EXPECT_EQ(Get(local, other), "10");
    Delete(local, key);
    EXPECT_EQ(Get(local, key), "<miss>") << bytes;
    EXPECT_EQ(Get(local, other), "10") << bytes;
  }
}

TEST(LocalServer, KeysExistAnswersInOrder) {
  Local local;
  Set(local, "a", "1");
  Set(local, "b", "");
  Call call;
  pb::KeysExistRequest request;
  for (const char* key : {"b", "none", "a", "b"}) request.add_cache_keys(key);
  pb::KeysExistResponse reply;
  ASSERT_TRUE(local.scs->KeysExist(&call, request, &reply).ok());
  EXPECT_EQ(std::vector<bool>(reply.exists().begin(), reply.exists().end()),
            (std::vector<bool>{true, false, true, true}));
  Call empty;
  EXPECT_TRUE(local.scs->KeysExist(&empty, pb::KeysExistRequest(), &reply).ok());
  EXPECT_EQ(reply.exists_size(), 0);
}

TEST(LocalServer, GetBatchAnswersOneAnItemInOrder) {
  Local local;
  constexpr int kItems = 500;
  pb::GetBatchRequest request;
  for (int i = 0; i < kItems; ++i) {
    const string key = "k" + std::to_string(i * 7 % kItems);
    if (i % 3 != 0) {
      ASSERT_EQ(Set(local, key, "v" + key), StatusCode::OK);
    }
    request.add_items()->set_cache_key(key);
  }
  Call call;
  auto stream = local.scs->GetBatch(&call, request);
  pb::GetResponse reply;
  int i = 0;
  for (; stream->Read(&reply); ++i) {
    ASSERT_LT(i, kItems);
    ASSERT_EQ(reply.result(), i % 3 != 0 ? pb::Hit : pb::Miss) << i;
    EXPECT_EQ(reply.cache_body(), i % 3 != 0 ? "v" + request.items(i).cache_key() : "") << i;
  }
  EXPECT_EQ(i, kItems);
  EXPECT_TRUE(stream->Finish().ok());

  Call empty;
  auto none = local.scs->GetBatch(&empty, pb::GetBatchRequest());
  EXPECT_FALSE(none->Read(&reply));
  EXPECT_TRUE(none->Finish().ok());
}

TEST(LocalServer, GetBatchesOfEverySizeComeToAnEnd) {
  Local local;
  // Around the 64 KiB that gRPC gathers before it writes.
  for (size_t bytes : {0u, 1u, 1000u, 65'000u, 65'536u, 200'000u}) {
    const string value(bytes, 'v');
    ASSERT_EQ(Set(local, "k", value), StatusCode::OK);
    for (int items : {1, 2, 3, 64, 100}) {
      pb::GetBatchRequest request;
      for (int i = 0; i < items; ++i) request.add_items()->set_cache_key("k");
      Call call;
      auto stream = local.scs->GetBatch(&call, request);
      pb::GetResponse reply;
      int replies = 0;
      for (; stream->Read(&reply); ++replies) EXPECT_EQ(reply.cache_body().size(), bytes);
      EXPECT_EQ(replies, items) << bytes;
      EXPECT_TRUE(stream->Finish().ok()) << bytes << " x " << items;
    }
  }
}

TEST(LocalServer, GetBatchThatIsAbandonedHarmsNobody) {
  Local local;
  const string big(1'000'000, 'b');
  ASSERT_EQ(Set(local, "k", big), StatusCode::OK);
  pb::GetBatchRequest request;
  for (int i = 0; i < 50; ++i) request.add_items()->set_cache_key("k");
  for (int round = 0; round < 5; ++round) {
    Call call;
    auto stream = local.scs->GetBatch(&call, request);
    pb::GetResponse reply;
    ASSERT_TRUE(stream->Read(&reply));
    call.TryCancel();
    while (stream->Read(&reply)) {
    }
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  }
  EXPECT_EQ(Get(local, "k"), big);
}

TEST(LocalServer, SetBatchStoresEachWithItsTtlOrNothing) {
  Local local;
  pb::SetBatchRequest request;
  for (int i = 1; i <= 3; ++i) {
    *request.add_items() = Write<pb::SetRequest>("k" + std::to_string(i), "v" + std::to_string(i));
    request.mutable_items(i - 1)->set_ttl_milliseconds(1000u * i);
  }
  {
    Call call;
    auto stream = local.scs->SetBatch(&call, request);
    pb::SetResponse reply;
    int replies = 0;
    for (; stream->Read(&reply); ++replies) EXPECT_EQ(reply.result(), pb::Ok);
    EXPECT_EQ(replies, 3);
    EXPECT_TRUE(stream->Finish().ok());
  }
  EXPECT_EQ(Get(local, "k2"), "v2");
  EXPECT_EQ(TtlOf(local, "k3"), 3000);

  request.mutable_items(0)->set_cache_body("changed");
  request.mutable_items(2)->set_cache_key("");
  Call call;
  auto stream = local.scs->SetBatch(&call, request);
  pb::SetResponse reply;
  EXPECT_FALSE(stream->Read(&reply));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Get(local, "k1"), "v1");
}

TEST(LocalServer, ItemGetTypeIsScalarOrMissing) {
  Local local;
  Set(local, "k", "v");
  pb::ItemGetTypeRequest request;
  pb::ItemGetTypeResponse reply;
  request.set_cache_key("k");
  Call found;
  ASSERT_TRUE(local.scs->ItemGetType(&found, request, &reply).ok());
  EXPECT_TRUE(reply.has_found());
  EXPECT_EQ(reply.found().item_type(), pb::ItemGetTypeResponse::SCALAR);
  request.set_cache_key("none");
  Call missing;
  ASSERT_TRUE(local.scs->ItemGetType(&missing, request, &reply).ok());
  EXPECT_TRUE(reply.has_missing());
}

TEST(LocalServer, PingNeedsNoCache) {
  Local local;
  Call call((Headers()));
  pb::PingResponse reply;
  EXPECT_TRUE(local.ping->Ping(&call, pb::PingRequest(), &reply).ok());
}

TEST(LocalServer, CollectionsAndSigningKeysAreUnimplemented) {
  Local local;
  Call dictionary;
  pb::DictionaryGetResponse got;
  EXPECT_EQ(local.scs->DictionaryGet(&dictionary, pb::DictionaryGetRequest(), &got).error_code(),
            StatusCode::UNIMPLEMENTED);
  Call keys;
  control_client::ListSigningKeysResponse listed;
  EXPECT_EQ(local.control->ListSigningKeys(&keys, control_client::ListSigningKeysRequest(), &listed)
                .error_code(),
            StatusCode::UNIMPLEMENTED);
}

// -------------------------------------------------------------------------- conditional writes

TEST(LocalServer, SetIfKeepsItsTable) {
  struct Row {
    const char* name;
    std::function<void(pb::SetIfRequest*, const string&)> condition;
    const char* outcomes;  // Absent; present and equal; present and different.
  };
  const Row rows[] = {
      {"present", [](auto* r, auto&) { r->mutable_present(); }, "nss"},
      {"absent", [](auto* r, auto&) { r->mutable_absent(); }, "snn"},
      {"equal", [](auto* r, auto& v) { r->mutable_equal()->set_value_to_check(v); }, "nsn"},
      {"not_equal", [](auto* r, auto& v) { r->mutable_not_equal()->set_value_to_check(v); }, "sns"},
      {"present_and_not_equal",
       [](auto* r, auto& v) { r->mutable_present_and_not_equal()->set_value_to_check(v); }, "nns"},
      {"absent_or_equal",
       [](auto* r, auto& v) { r->mutable_absent_or_equal()->set_value_to_check(v); }, "ssn"},
  };
  Local local;
  for (const Row& row : rows) {
    for (const string& value : {string("held"), string()}) {  // Empty values compare as any other.
      string outcomes;
      for (const char* state : {"absent", "equal", "different"}) {
        Delete(local, "k");
        if (state != string("absent")) {
          ASSERT_EQ(Set(local, "k", value, 5000), StatusCode::OK);
        }
        auto request = Write<pb::SetIfRequest>("k", "new");
        row.condition(&request, state == string("different") ? value + "?" : value);
        const string before = Get(local, "k");
        const char outcome = Outcome(local, request);
        outcomes += outcome;
        EXPECT_EQ(Get(local, "k"), outcome == 's' ? "new" : before) << row.name << " " << state;
        const int64_t ttl_before = state == string("absent") ? -1 : 5000;
        EXPECT_EQ(TtlOf(local, "k"), outcome == 's' ? static_cast<int64_t>(kTtlMs) : ttl_before);
      }
      EXPECT_EQ(outcomes, row.outcomes) << row.name << " \"" << value << "\"";
    }
  }
}

TEST(LocalServer, SetIfHashKeepsItsTable) {
  struct Row {
    const char* name;
    std::function<void(pb::SetIfHashRequest*, const string&)> condition;
    const char* outcomes;  // Absent; present and equal; present and different.
  };
  const Row rows[] = {
      {"unconditional", [](auto* r, auto&) { r->mutable_unconditional(); }, "sss"},
      {"present_and_hash_equal",
       [](auto* r, auto& h) { r->mutable_present_and_hash_equal()->set_hash_to_check(h); }, "nsn"},
      {"present_and_not_hash_equal",
       [](auto* r, auto& h) { r->mutable_present_and_not_hash_equal()->set_hash_to_check(h); },
       "nns"},
      {"absent_or_hash_equal",
       [](auto* r, auto& h) { r->mutable_absent_or_hash_equal()->set_hash_to_check(h); }, "ssn"},
      {"absent_or_not_hash_equal",
       [](auto* r, auto& h) { r->mutable_absent_or_not_hash_equal()->set_hash_to_check(h); },
       "sns"},
  };
  Local local;
  for (const Row& row : rows) {
    string outcomes;
    for (const char* state : {"absent", "equal", "different"}) {
      ASSERT_EQ(Set(local, "k", "held"), StatusCode::OK);
      string hash = HashAt(local, "k");
      if (state == string("absent")) Delete(local, "k");
      if (state == string("different")) hash.back() ^= 1;
      auto request = Write<pb::SetIfHashRequest>("k", "new");
      row.condition(&request, hash);
      const string before = Get(local, "k");
      string new_hash;
      const char outcome = Outcome(local, request, &new_hash);
      outcomes += outcome;
      EXPECT_EQ(Get(local, "k"), outcome == 's' ? "new" : before) << row.name << " " << state;
      if (outcome == 's') {
        EXPECT_EQ(new_hash, HashAt(local, "k")) << row.name << " " << state;
      }
    }
    EXPECT_EQ(outcomes, row.outcomes) << row.name;
  }
}

TEST(LocalServer, HashIsAFunctionOfTheValueAlone) {
  Local local;
  Set(local, "k", "A");
  const string a = HashAt(local, "k");
  EXPECT_EQ(a.size(), 16u);
  Set(local, "k", "B", 5000);
  EXPECT_NE(HashAt(local, "k"), a);
  Set(local, "other", "A", 1234);
  EXPECT_EQ(HashAt(local, "other"), a);
  Set(local, "k", "A");  // A, B, A again: invisible, as with the service.
  auto cas = Write<pb::SetIfHashRequest>("k", "C");
  cas.mutable_present_and_hash_equal()->set_hash_to_check(a);
  EXPECT_EQ(Outcome(local, cas), 's');
  EXPECT_EQ(HashAt(local, "none"), "");
}

TEST(LocalServer, SetIfNotExistsIsSetIfAbsent) {
  Local local;
  for (const char* expected : {"stored", "not stored"}) {
    Call call;
    pb::SetIfNotExistsResponse reply;
    ASSERT_TRUE(
        local.scs->SetIfNotExists(&call, Write<pb::SetIfNotExistsRequest>("k", expected), &reply)
            .ok());
    EXPECT_EQ(reply.has_stored(), expected == string("stored"));
    EXPECT_EQ(reply.has_not_stored(), expected != string("stored"));
  }
  EXPECT_EQ(Get(local, "k"), "stored");
}

TEST(LocalServer, AConditionalWriteNeedsACondition) {
  Local local;
  EXPECT_EQ(Outcome(local, Write<pb::SetIfRequest>("k", "v")), 'e');
  EXPECT_EQ(Outcome(local, Write<pb::SetIfHashRequest>("k", "v")), 'e');
  EXPECT_EQ(local.server->Calls("set-if", absl::StatusCode::kInvalidArgument), 1u);
  EXPECT_EQ(Get(local, "k"), "<miss>");
}

// ------------------------------------------------------------------------- counters and lives

TEST(LocalServer, IncrementCreatesAddsAndRewritesTheTtl) {
  Local local;
  int64_t sum = 0;
  ASSERT_TRUE(Increment(local, "n", -1000, &sum, 5000).ok());
  EXPECT_EQ(sum, -1000);
  EXPECT_EQ(Get(local, "n"), "-1000");
  EXPECT_EQ(TtlOf(local, "n"), 5000);
  ASSERT_TRUE(Increment(local, "n", 0, &sum, 9000).ok());
  EXPECT_EQ(sum, -1000);
  EXPECT_EQ(TtlOf(local, "n"), 9000);
  Set(local, "text", "10");
  ASSERT_TRUE(Increment(local, "text", 32, &sum).ok());
  EXPECT_EQ(sum, 42);
  EXPECT_EQ(Get(local, "text"), "42");
}

TEST(LocalServer, IncrementRefusesTextAndOverflow) {
  Local local;
  int64_t sum = 0;
  for (const char* text : {"", "abc", "1.5", " 1", "1 ", "0x10", "--1", "9223372036854775808"}) {
    Set(local, "k", text);
    EXPECT_EQ(Increment(local, "k", 1, &sum).error_code(), StatusCode::FAILED_PRECONDITION) << text;
    EXPECT_EQ(Get(local, "k"), text);
  }
  Set(local, "k", "9223372036854775807");
  EXPECT_EQ(Increment(local, "k", 1, &sum).error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(Increment(local, "k", -1, &sum).ok());
  EXPECT_EQ(sum, 9223372036854775806);
  Set(local, "k", "-9223372036854775808");
  EXPECT_EQ(Increment(local, "k", -1, &sum).error_code(), StatusCode::FAILED_PRECONDITION);
}

TEST(LocalServer, ItemsLiveToTheMillisecond) {
  Local local;
  Set(local, "k", "v", 1500);
  local.clock.AdvanceMs(1499);
  EXPECT_EQ(TtlOf(local, "k"), 1);
  EXPECT_EQ(Get(local, "k"), "v");
  local.clock.AdvanceMs(1);
  EXPECT_EQ(Get(local, "k"), "<miss>");
  EXPECT_EQ(TtlOf(local, "k"), -1);
}

TEST(LocalServer, UpdateTtlKeepsItsRules) {
  Local local;
  const auto update = [&](const char* key, const char* rule, uint64_t ms) {
    Call call;
    pb::UpdateTtlRequest request;
    request.set_cache_key(key);
    if (rule == string("increase")) request.set_increase_to_milliseconds(ms);
    if (rule == string("decrease")) request.set_decrease_to_milliseconds(ms);
    if (rule == string("overwrite")) request.set_overwrite_to_milliseconds(ms);
    pb::UpdateTtlResponse reply;
    const grpc::Status status = local.scs->UpdateTtl(&call, request, &reply);
    if (!status.ok()) return ErrorText(status.error_code());
    return string(reply.has_set()       ? "set"
                  : reply.has_not_set() ? "not set"
                  : reply.has_missing() ? "missing"
                                        : "nothing");
  };
  for (const char* rule : {"increase", "decrease", "overwrite"}) {
    EXPECT_EQ(update("none", rule, 1000), "missing");
    EXPECT_EQ(update("none", rule, 0), ErrorText(StatusCode::INVALID_ARGUMENT));
    EXPECT_EQ(update("none", rule, 86'400'001), ErrorText(StatusCode::INVALID_ARGUMENT));
  }
  EXPECT_EQ(update("none", "", 0), ErrorText(StatusCode::INVALID_ARGUMENT));
  Set(local, "k", "v", 10'000);
  EXPECT_EQ(update("k", "increase", 9'000), "not set");
  EXPECT_EQ(update("k", "increase", 10'000), "not set");
  EXPECT_EQ(TtlOf(local, "k"), 10'000);
  EXPECT_EQ(update("k", "increase", 20'000), "set");
  EXPECT_EQ(TtlOf(local, "k"), 20'000);
  EXPECT_EQ(update("k", "decrease", 20'000), "not set");
  EXPECT_EQ(update("k", "decrease", 5'000), "set");
  EXPECT_EQ(TtlOf(local, "k"), 5'000);
  EXPECT_EQ(update("k", "overwrite", 7'000), "set");
  EXPECT_EQ(update("k", "overwrite", 7'000), "set");
  EXPECT_EQ(TtlOf(local, "k"), 7'000);
  EXPECT_EQ(Get(local, "k"), "v");
}

// ----------------------------------------------------------------------------- what is refused

TEST(LocalServer, WritesWithoutALegalTtlAreRefused) {
  Local local;
  EXPECT_EQ(Set(local, "k", "v", 0), StatusCode::INTERNAL);
  EXPECT_EQ(Set(local, "k", "v", 86'400'000), StatusCode::OK);
  EXPECT_EQ(Set(local, "k", "v", 86'400'001), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Set(local, "k", "v", UINT64_MAX), StatusCode::INVALID_ARGUMENT);
}

TEST(LocalServer, EmptyKeysAreInvalidEverywhere) {
  Local local;
  EXPECT_EQ(Get(local, ""), ErrorText(StatusCode::INVALID_ARGUMENT));
  EXPECT_EQ(Set(local, "", "v"), StatusCode::INVALID_ARGUMENT);
  int64_t sum = 0;
  EXPECT_EQ(Increment(local, "", 1, &sum).error_code(), StatusCode::INVALID_ARGUMENT);
  pb::KeysExistRequest exist;
  exist.add_cache_keys("k");
  exist.add_cache_keys("");
  Call call;
  pb::KeysExistResponse reply;
  EXPECT_EQ(local.scs->KeysExist(&call, exist, &reply).error_code(), StatusCode::INVALID_ARGUMENT);
  pb::GetBatchRequest batch;
  batch.add_items();
  Call batch_call;
  auto stream = local.scs->GetBatch(&batch_call, batch);
  pb::GetResponse got;
  EXPECT_FALSE(stream->Read(&got));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::INVALID_ARGUMENT);
}

TEST(LocalServer, ItemsOfFiveMegabytesFitAndLargerOnesSayWhichLimit) {
  Local local;
  const string largest(kItemBytesMax - 1, 'x');
  EXPECT_EQ(Set(local, "k", largest), StatusCode::OK);
  EXPECT_TRUE(Get(local, "k") == largest);
  // A key as long as half the item costs its bytes only once against the limit.
  const string half(kItemBytesMax / 2, 'y');
  EXPECT_EQ(Set(local, half, half), StatusCode::OK);
  EXPECT_TRUE(Get(local, half) == half);
  EXPECT_EQ(Set(local, half, half + "z"), StatusCode::RESOURCE_EXHAUSTED);

  Call call;
  pb::SetResponse reply;
  const grpc::Status status =
      local.scs->Set(&call, Write<pb::SetRequest>("k", largest + "x"), &reply);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(status.error_message().find("request limit"), string::npos) << status.error_message();
  for (const char* other :
       {"subscribers", "operations", "throughput", "item size", "element size"}) {
    EXPECT_EQ(status.error_message().find(other), string::npos) << other;
  }
  EXPECT_EQ(call.trailer("err"), "request_size_limit_exceeded");
  EXPECT_TRUE(Get(local, "k") == largest);
}

TEST(LocalServer, AFullHeapEvictsAndGoesOn) {
  config::Seg engine;
  engine.heap_size = 24 * config::kMB;
  Local local(Options(), engine);
  const string value(3'000'000, 'x');
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(Set(local, "k" + std::to_string(i), value), StatusCode::OK) << i;
    ASSERT_EQ(Get(local, "k" + std::to_string(i)).size(), value.size()) << i;
  }
  EXPECT_EQ(Get(local, "k0"), "<miss>");
}

TEST(LocalServer, CallsNameAnExistingCache) {
  Local local;
  EXPECT_EQ(Get(local, "k", {}), ErrorText(StatusCode::INVALID_ARGUMENT));
  EXPECT_EQ(Get(local, "k", {{"cache", ""}}), ErrorText(StatusCode::INVALID_ARGUMENT));
  EXPECT_EQ(Get(local, "k", {{"cache", "unknown"}}), ErrorText(StatusCode::NOT_FOUND));
  EXPECT_EQ(Set(local, "k", "v", kTtlMs, {{"cache", "unknown"}}), StatusCode::NOT_FOUND);
  Call call(Headers{{"cache", "unknown"}});
  auto stream = local.scs->GetBatch(&call, pb::GetBatchRequest());
  pb::GetResponse reply;
  EXPECT_FALSE(stream->Read(&reply));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(call.trailer("err"), "");  // "item_not_found" would mean something else to SDKs.
}

TEST(LocalServer, CreateUnknownMakesCachesAtFirstUse) {
  config::Local options = Options();
  options.create_unknown = true;
  options.caches_max = 2;
  Local local(options);
  EXPECT_EQ(Set(local, "k", "v", kTtlMs, {{"cache", "fresh"}}), StatusCode::OK);
  EXPECT_EQ(Get(local, "k", {{"cache", "fresh"}}), "v");
  EXPECT_EQ(Get(local, "k"), "<miss>");  // Caches share nothing.
  EXPECT_EQ(Get(local, "k", {{"cache", "third"}}), ErrorText(StatusCode::RESOURCE_EXHAUSTED));
}

TEST(LocalServer, ATokenIsAskedOfEveryCallWhenSet) {
  config::Local options = Options();
  options.token = "secret";
  Local local(options);
  const Headers right = {{"cache", "c"}, {"authorization", "secret"}};
  EXPECT_EQ(Get(local, "k", right), "<miss>");
  for (const char* wrong : {"", "Secret", "secret2", "Bearer secret"}) {
    EXPECT_EQ(Get(local, "k", {{"cache", "c"}, {"authorization", wrong}}),
              ErrorText(StatusCode::UNAUTHENTICATED));
  }
  EXPECT_EQ(Get(local, "k", {{"cache", "c"}}), ErrorText(StatusCode::UNAUTHENTICATED));
  EXPECT_EQ(CreateCache(local, "x").error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Get(local, "k", {{"cache", "unknown"}}), ErrorText(StatusCode::UNAUTHENTICATED));
}

// -------------------------------------------------------------------------------- control plane

TEST(LocalServer, CachesAreCreatedListedFlushedAndDeleted) {
  Local local;
  EXPECT_TRUE(CreateCache(local, "b").ok());
  EXPECT_EQ(CreateCache(local, "b").error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(CreateCache(local, " ").error_code(), StatusCode::INVALID_ARGUMENT);
  Call call((Headers()));
  control_client::ListCachesResponse listed;
  ASSERT_TRUE(local.control->ListCaches(&call, control_client::ListCachesRequest(), &listed).ok());
  ASSERT_EQ(listed.cache_size(), 2);
  EXPECT_EQ(listed.cache(0).cache_name(), "b");
  EXPECT_EQ(listed.cache(1).cache_name(), "c");
  EXPECT_EQ(listed.cache(0).cache_limits().max_item_size_kb(), 4883u);
  EXPECT_EQ(listed.cache(0).cache_limits().max_ttl_seconds(), 86'400u);
  EXPECT_EQ(listed.next_token(), "");

  Set(local, "k", "v");
  Set(local, "k", "v", kTtlMs, {{"cache", "b"}});
  EXPECT_TRUE(FlushCache(local, "c").ok());
  EXPECT_EQ(Get(local, "k"), "<miss>");
  EXPECT_EQ(Get(local, "k", {{"cache", "b"}}), "v");
  EXPECT_TRUE(FlushCache(local, "c").ok());  // Also when empty.
  EXPECT_EQ(FlushCache(local, "unknown").error_code(), StatusCode::NOT_FOUND);

  EXPECT_TRUE(DeleteCache(local, "b").ok());
  EXPECT_EQ(DeleteCache(local, "b").error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(Get(local, "k", {{"cache", "b"}}), ErrorText(StatusCode::NOT_FOUND));
  EXPECT_TRUE(CreateCache(local, "b").ok());
  EXPECT_EQ(Get(local, "k", {{"cache", "b"}}), "<miss>");  // A new cache, not the old one.
}

TEST(LocalServer, CachesComeAndGoWithoutEnd) {
  config::Local options = Options();
  options.caches_max = 3;
  Local local(options);
  for (int i = 0; i < 300; ++i) {
    const string name = "cache" + std::to_string(i);
    ASSERT_TRUE(CreateCache(local, name).ok()) << i;
    ASSERT_EQ(Set(local, "k", "v", kTtlMs, {{"cache", name}}), StatusCode::OK) << i;
    ASSERT_TRUE(DeleteCache(local, name).ok()) << i;
  }
  EXPECT_TRUE(CreateCache(local, "x").ok());
  EXPECT_TRUE(CreateCache(local, "y").ok());
  EXPECT_EQ(CreateCache(local, "z").error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

// ---------------------------------------------------------------------------- many at a time

TEST(LocalServer, IncrementsByCompareAndSetAddUp) {
  Local local;
  ASSERT_EQ(Set(local, "n", "0"), StatusCode::OK);
  constexpr int kThreads = 4;
  constexpr int kEach = 100;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int done = 0; done < kEach;) {
        string value;
        const string hash = HashAt(local, "n", &value);
        auto cas = Write<pb::SetIfHashRequest>("n", std::to_string(std::stoi(value) + 1));
        cas.mutable_present_and_hash_equal()->set_hash_to_check(hash);
        if (Outcome(local, cas) == 's') ++done;
        int64_t sum = 0;
        EXPECT_TRUE(Increment(local, "m", 1, &sum).ok());
        Increment(local, "m", -1, &sum);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Get(local, "n"), std::to_string(kThreads * kEach));
  EXPECT_EQ(Get(local, "m"), "0");
}

TEST(LocalServer, OneOfManyAddsWins) {
  Local local;
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        auto add = Write<pb::SetIfRequest>("k" + std::to_string(round), "v");
        add.mutable_absent();
        if (Outcome(local, add) == 's') winners.fetch_add(1);
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(winners.load(), 1);
  }
}

TEST(LocalServer, ACacheMayBeDeletedUnderTraffic) {
  Local local;
  std::atomic<bool> stop{false};
  std::atomic<int> hits{0};
  std::vector<std::thread> threads;
  const Headers in_d = {{"cache", "d"}};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      const string value(100'000, 'v');
      while (!stop) {
        const StatusCode set = Set(local, "k", value, kTtlMs, in_d);
        EXPECT_TRUE(set == StatusCode::OK || set == StatusCode::NOT_FOUND) << set;
        const string got = Get(local, "k", in_d);
        EXPECT_TRUE(got == value || got == "<miss>" || got == ErrorText(StatusCode::NOT_FOUND));
        if (got == value) hits.fetch_add(1);
      }
    });
  }
  for (int i = 0; i < 30 || hits < 30; ++i) {
    EXPECT_TRUE(CreateCache(local, "d").ok());
    for (int before = hits; i < 60 && hits < before + 2;) std::this_thread::yield();
    EXPECT_TRUE(DeleteCache(local, "d").ok());
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
}

// ---------------------------------------------------------------------------------------- faults

TEST(LocalServer, MetadataFaultsFailTheNamedCallsThatOften) {
  Local local;
  const Headers headers = With({{"request-id", "session-1"},
                                {"return-error", "unavailable"},
                                {"error-rpcs", "get get-batch"},
                                {"error-count", "2"}});
  EXPECT_EQ(Set(local, "k", "v", kTtlMs, headers), StatusCode::OK);
  EXPECT_EQ(Get(local, "k", headers), ErrorText(StatusCode::UNAVAILABLE));
  EXPECT_EQ(Get(local, "k", headers), ErrorText(StatusCode::UNAVAILABLE));
  EXPECT_EQ(Get(local, "k", headers), "v");
  EXPECT_EQ(Get(local, "k"), "v");
  Call call(headers);
  auto stream = local.scs->GetBatch(&call, pb::GetBatchRequest());
  pb::GetResponse reply;
  EXPECT_FALSE(stream->Read(&reply));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(local.server->Calls("get", absl::StatusCode::kUnavailable), 2u);
  EXPECT_EQ(local.server->Calls("get"), 2u);
}

TEST(LocalServer, MetadataDelaysAnswerLateAndBlockNobody) {
  Local local;
  Set(local, "k", "v");
  const Headers slow = With({{"delay-rpcs", "get"}, {"delay-ms", "300"}, {"delay-count", "1"}});
  const Headers very_slow = With({{"delay-rpcs", "get"}, {"delay-ms", "60000"}});
  // More waiting calls than gRPC has threads: were they blocked, the next would wait too.
  std::vector<std::thread> waiting;
  for (int i = 0; i < 20; ++i) {
    waiting.emplace_back([&] {
      EXPECT_EQ(Get(local, "k", very_slow, 1500), ErrorText(StatusCode::DEADLINE_EXCEEDED));
    });
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(Get(local, "k", slow), "v");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(295));
  EXPECT_EQ(Get(local, "k", slow, 1000), "v");
  for (std::thread& thread : waiting) thread.join();
  local.server->Shutdown(absl::Seconds(20));  // Does not sit out the minute.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(LocalServer, ConfiguredFaultsComeAndGoAtRunTime) {
  config::Local options = Options();
  Local local(options);
  Set(local, "k", "v");
  options.fault_error_percent = 100;
  options.fault_error = "resource-exhausted";
  ASSERT_TRUE(local.server->SetFaults(options).ok());
  EXPECT_EQ(Get(local, "k"), ErrorText(StatusCode::RESOURCE_EXHAUSTED));
  options.fault_error = "nonsense";
  EXPECT_EQ(local.server->SetFaults(options).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Get(local, "k"), ErrorText(StatusCode::RESOURCE_EXHAUSTED));
  ASSERT_TRUE(local.server->SetFaults(Options()).ok());
  EXPECT_EQ(Get(local, "k"), "v");
}

TEST(LocalServer, AnAppliedFaultLosesTheAnswerOnly) {
  Local local;
  Set(local, "k", "old");
  config::Local options = Options();
  options.fault_applied = true;
  options.fault_error_percent = 100;
  ASSERT_TRUE(local.server->SetFaults(options).ok());
  EXPECT_EQ(Set(local, "k", "new"), StatusCode::UNAVAILABLE);
  EXPECT_EQ(Get(local, "k"), ErrorText(StatusCode::UNAVAILABLE));
  ASSERT_TRUE(local.server->SetFaults(Options()).ok());
  EXPECT_EQ(Get(local, "k"), "new");
  options.fault_error_percent = 0;
  options.fault_reset_percent = 100;
  ASSERT_TRUE(local.server->SetFaults(options).ok());
  EXPECT_EQ(Set(local, "k", "newer"), StatusCode::UNAVAILABLE);
  ASSERT_TRUE(local.server->SetFaults(Options()).ok());
  local.Connect();
  EXPECT_EQ(Get(local, "k"), "newer");
}

TEST(LocalServer, AnAppliedDelayMakesTheAnswerLate) {
  Local local;
  Set(local, "k", "old");
  config::Local options = Options();
  options.fault_applied = true;
  options.fault_delay = absl::Minutes(1);
  options.fault_delay_percent = 100;
  options.fault_rpcs = "set";
  ASSERT_TRUE(local.server->SetFaults(options).ok());
  std::atomic<bool> answered = false;
  std::thread writer([&] {
    EXPECT_EQ(Set(local, "k", "new"), StatusCode::OK);
    answered = true;
  });
  while (Get(local, "k") != "new") std::this_thread::yield();
  EXPECT_FALSE(answered);
  local.server->Shutdown(absl::Seconds(20));  // Does not sit out the minute.
  writer.join();
}

TEST(LocalServer, AnAppliedDelayOfABatchIsLateWithAllOfIt) {
  Local local;
  config::Local options = Options();
  options.fault_applied = true;
  options.fault_delay = absl::Minutes(1);
  options.fault_delay_percent = 100;
  options.fault_rpcs = "set-batch";
  ASSERT_TRUE(local.server->SetFaults(options).ok());
  Call call;
  pb::SetBatchRequest request;
  for (const char* key : {"a", "b"}) {
    pb::SetRequest* item = request.add_items();
    item->set_cache_key(key);
    item->set_cache_body("new");
    item->set_ttl_milliseconds(kTtlMs);
  }
  auto stream = local.scs->SetBatch(&call, request);
  while (Get(local, "b") != "new") std::this_thread::yield();
  local.server->Shutdown(absl::Seconds(20));  // Does not sit out the minute.
  pb::SetResponse reply;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(stream->Read(&reply));
    EXPECT_EQ(reply.result(), pb::Ok);
  }
  EXPECT_FALSE(stream->Read(&reply));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(LocalServer, AResetFaultCutsTheConnectionAndNoOther) {
  Local local;
  Set(local, "k", "v");
  Local bystander;  // Another server in this process, whose sockets must stay.
  config::Local options = Options();
  options.fault_reset_percent = 100;
  ASSERT_TRUE(local.server->SetFaults(options).ok());
  EXPECT_EQ(Get(local, "k"), ErrorText(StatusCode::UNAVAILABLE));
  EXPECT_EQ(Get(bystander, "k"), "<miss>");
  ASSERT_TRUE(local.server->SetFaults(Options()).ok());
  local.Connect();
  EXPECT_EQ(Get(local, "k"), "v");
}

// ---------------------------------------------------------------------------- start and shutdown

TEST(LocalServer, ListensOnUnixSockets) {
  const string name = "momento-local-test-" + std::to_string(::getpid());
  for (const string& host : {"unix-abstract:" + name, "unix:/tmp/" + name}) {
    config::Local options = Options();
    options.host = host;
    Local local(options);
    EXPECT_EQ(local.server->target(), host);
    EXPECT_EQ(local.server->port(), 0);
    EXPECT_EQ(Set(local, "k", "v"), StatusCode::OK) << host;
    EXPECT_EQ(Get(local, "k"), "v") << host;
    options.fault_reset_percent = 100;
    ASSERT_TRUE(local.server->SetFaults(options).ok());
    EXPECT_EQ(Get(local, "k"), ErrorText(StatusCode::UNAVAILABLE)) << host;
  }
}

TEST(LocalServer, RefusesToStartWithAReason) {
  Local running;
  core::ManualClock clock;
  core::NullLog log;
  const auto start = [&](const config::Local& options, const config::Seg& engine = {}) {
    core::Registry registry;
    return LocalServer::Start(options, engine, &clock, &registry, &log).status();
  };
  config::Local taken = Options();
  taken.port = static_cast<uint16_t>(running.server->port());
  EXPECT_NE(string(start(taken).message()).find("in use"), string::npos) << start(taken);
  EXPECT_NE(string(start(taken).message()).find(std::to_string(taken.port)), string::npos);
  config::Local nowhere = Options();
  nowhere.host = "no.such.host.invalid";
  EXPECT_FALSE(start(nowhere).ok());
  config::Local fault = Options();
  fault.fault_error = "nonsense";
  EXPECT_NE(string(start(fault).message()).find("fault_error"), string::npos);
  config::Local large = Options();
  large.item_size_max = 100 * config::kMB;
  EXPECT_NE(string(start(large).message()).find("item_size_max"), string::npos);
  config::Seg small;
  small.heap_size = 1 * config::kMB;  // Less than one segment of 5 MB.
  EXPECT_FALSE(start(Options(), small).ok());
}

TEST(LocalServer, ShutdownEndsStreamsAndConnections) {
  Local local;
  Set(local, "k", "v");
  local.server->Shutdown(absl::ZeroDuration());
  local.server->Shutdown(absl::Seconds(5));
  EXPECT_EQ(Get(local, "k", kInC, 500).substr(0, 5), "error");
}

TEST(LocalServer, CountsCallsByNameAndStatus) {
  Local local;
  Set(local, "k", "v");
  Get(local, "k");
  Get(local, "k");
  Get(local, "");
  const string text = local.registry.PrometheusText();
  EXPECT_NE(text.find("cache_local_calls_total{rpc=\"get\",code=\"OK\"} 2"), string::npos) << text;
  EXPECT_NE(text.find("cache_local_calls_total{rpc=\"get\",code=\"INVALID_ARGUMENT\"} 1"),
            string::npos);
  EXPECT_NE(text.find("cache_local_items 1"), string::npos);
  EXPECT_EQ(local.server->Calls("no-such-call"), 0u);
  local.server.reset();
  EXPECT_NE(local.registry.PrometheusText().find("cache_local_items 0"), string::npos);
}

}  // namespace
}  // namespace cache::local
