// Reading the everyday commands costs no allocation. A binary of its own, because it counts every
// call of operator new (tests/core/base/allocations.h).
#include <gtest/gtest.h>

#include <string>

#include "proto/memcache/text_codec.h"
#include "tests/core/base/allocations.h"

namespace proto::memcache {
namespace {

// Allocations while `wire` is parsed to its end.
int AllocationsOf(absl::string_view wire, Request* req) {
  TextCodec codec;
  const int before = core::Allocations();
  while (!wire.empty()) {
    const core::ParseResult result = codec.Parse(wire, req);
    if (result.status == core::ParseStatus::kNeedMore) break;
    wire.remove_prefix(result.consumed);
  }
  return core::Allocations() - before;
}

TEST(TextAllocation, CountsAtAll) {
  const int before = core::Allocations();
  const std::string long_enough(1000, 'x');
  EXPECT_GT(core::Allocations(), before);
}

TEST(TextAllocation, EverydayCommandsNeedNone) {
  const std::string value(10000, 'v');
  Request req;
  req.keys.reserve(8);  // A request is used again and again: the memory of its keys stays.
  EXPECT_EQ(AllocationsOf("get a\r\nget a b c d e f g h\r\ngets a\r\n", &req), 0);
  EXPECT_EQ(AllocationsOf("set a 1 2 10000 noreply\r\n" + value + "\r\n", &req), 0);
  EXPECT_EQ(AllocationsOf("cas a 1 2 3 18446744073709551615\r\nabc\r\n", &req), 0);
  EXPECT_EQ(AllocationsOf("delete a\r\nincr a 1\r\ntouch a 60\r\nbad\r\nset a x 0 1\r\n", &req), 0);
}

TEST(TextAllocation, ALongListOfKeysAllocatesOnlyTheFirstTime) {
  std::string wire = "get";
  for (int i = 0; i < 100; ++i) wire += " key";
  wire += "\r\n";
  Request req;
  EXPECT_GT(AllocationsOf(wire, &req), 0);
  EXPECT_EQ(AllocationsOf(wire + "get a\r\n" + wire, &req), 0);
}

}  // namespace
}  // namespace proto::memcache
