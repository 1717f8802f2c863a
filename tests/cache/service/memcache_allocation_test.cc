// A request allocates nothing, from its bytes to those of its reply: parsed, answered by the engine
// and composed. A binary of its own, because it counts every call of operator new.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cache/service/memcache_service.h"
#include "core/base/check.h"
#include "proto/memcache/text_codec.h"
#include "tests/core/base/allocations.h"

namespace cache {
namespace {

using proto::memcache::Request;
using proto::memcache::Response;
using proto::memcache::TextCodec;

// Composes as a session does whose requests are answered in order.
class Output final : public core::ReplySink<Response> {
 public:
  void Deliver(core::SessionRef, uint64_t, Response&& rsp) override {
    TextCodec::Compose(context, std::move(rsp), &out);
  }
  void Abandon(core::SessionRef, uint64_t) override { ADD_FAILURE() << "unanswered"; }

  proto::memcache::ReplyContext context;
  core::ChunkPool pool;
  core::OutBuffer out{&pool};
};

class MemcacheAllocationTest : public ::testing::Test {
 protected:
  MemcacheAllocationTest() {
    config::Seg seg;
    seg.heap_size = 8 << 20;
    seg.segment_size = 64 << 10;
    auto cache = seg::Cache::Create(seg, &clock_, &registry_, "test");
    CHECK(cache.ok());
    cache_ = *std::move(cache);
    shared_ = std::make_unique<MemcacheShared>(cache_.get(), &clock_, &registry_, MemcacheOptions(),
                                               [](proto::memcache::StatsNumbers*) {});
    service_ = std::make_unique<MemcacheService>(shared_.get());
    registry_.ClaimShard();
  }

  // Answers every request in `wire`, and sends it all.
  std::string Answer(absl::string_view wire) {
    while (!wire.empty()) {
      const core::ParseResult parsed = codec_.Parse(wire, &req_);
      CHECK(parsed.status == core::ParseStatus::kComplete);
      wire.remove_prefix(parsed.consumed);
      output_.context = TextCodec::ContextOf(req_);
      service_->Execute(connection_, req_, core::Reply<Response>(&output_, {}, 0));
    }
    std::string all = output_.out.ToString();
    output_.out.Clear();
    return all;
  }
  int AllocationsOf(absl::string_view wire) {
    Answer(wire);  // What is kept for the next time may grow once.
    const int before = core::Allocations();
    while (!wire.empty()) {
      const core::ParseResult parsed = codec_.Parse(wire, &req_);
      wire.remove_prefix(parsed.consumed);
      output_.context = TextCodec::ContextOf(req_);
      service_->Execute(connection_, req_, core::Reply<Response>(&output_, {}, 0));
    }
    const int count = core::Allocations() - before;
    output_.out.Clear();
    return count;
  }

  core::ManualClock clock_;
  core::Registry registry_;
  std::unique_ptr<seg::Cache> cache_;
  std::unique_ptr<MemcacheShared> shared_;
  std::unique_ptr<MemcacheService> service_;
  MemcacheService::Connection connection_;
  TextCodec codec_;
  Request req_;
  Output output_;
};

std::string Set(int i, size_t value_bytes) {
  return absl::StrCat("set key:", i, " 0 60 ", value_bytes, "\r\n", std::string(value_bytes, 'v'),
                      "\r\n");
}

TEST_F(MemcacheAllocationTest, SetsAndGetsNeedNone) {
  std::string sets, gets, many = "get";
  for (int i = 0; i < 100; ++i) {
    sets += Set(i, 64 + i);
    gets += absl::StrCat("get key:", i, "\r\ngets key:", i, " no:", i, "\r\n");
    many += absl::StrCat(" key:", i);
  }
  many += "\r\n";
  ASSERT_EQ(Answer(Set(1, 3)), "STORED\r\n");
  ASSERT_EQ(Answer("get key:1\r\n"), "VALUE key:1 0 3\r\nvvv\r\nEND\r\n");
  EXPECT_EQ(AllocationsOf(sets), 0);
  EXPECT_EQ(AllocationsOf(gets), 0);
  EXPECT_EQ(AllocationsOf(many), 0);
  EXPECT_EQ(AllocationsOf("delete key:1\r\ndelete key:1\r\n" + sets + "get none\r\n"), 0);
}

}  // namespace
}  // namespace cache
