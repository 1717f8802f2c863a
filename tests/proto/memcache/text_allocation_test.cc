// Reading the everyday commands costs no allocation. A binary of its own, because it counts every
// call of operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "proto/memcache/text_codec.h"

namespace {
std::atomic<int> allocations{0};
}  // namespace

// Not inlined: g++ would take a new and a delete apart and call them mismatched.
[[gnu::noinline]] void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace proto::memcache {
namespace {

// Allocations while `wire` is parsed to its end.
int AllocationsOf(absl::string_view wire, Request* req) {
  TextCodec codec;
  const int before = allocations.load(std::memory_order_relaxed);
  while (!wire.empty()) {
    const core::ParseResult result = codec.Parse(wire, req);
    if (result.status == core::ParseStatus::kNeedMore) break;
    wire.remove_prefix(result.consumed);
  }
  return allocations.load(std::memory_order_relaxed) - before;
}

TEST(TextAllocation, CountsAtAll) {
  const int before = allocations.load(std::memory_order_relaxed);
  const std::string long_enough(1000, 'x');
  EXPECT_GT(allocations.load(std::memory_order_relaxed), before);
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
