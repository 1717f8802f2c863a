#include "core/net/out_buffer.h"

#include <random>

#include "gtest/gtest.h"

namespace core {
namespace {

std::string Gathered(const OutBuffer& out) {
  struct iovec iov[64];
  std::string all;
  const int n = out.Gather(iov, 64);
  for (int i = 0; i < n; ++i) all.append(static_cast<char*>(iov[i].iov_base), iov[i].iov_len);
  return all;
}

// Who copies them need not ask whether there are any: memcpy takes no null pointer, even for nothing.
TEST(Bytes, AreSomewhereEvenIfThereAreNone) {
  EXPECT_NE(Bytes().view().data(), nullptr);
  EXPECT_NE(Bytes::Borrowed({}).view().data(), nullptr);
  EXPECT_NE(Bytes(std::string()).view().data(), nullptr);
}

TEST(OutBuffer, LongValuesAreKeptByReference) {
  OutBuffer out;
  std::string value(100'000, 'v');
  const char* where = value.data();
  out.Append("head ");
  out.Append(Bytes(std::move(value)));
  out.Append(" tail");
  struct iovec iov[8];
  ASSERT_EQ(out.Gather(iov, 8), 3);
  EXPECT_EQ(iov[1].iov_base, where);
  EXPECT_EQ(out.size(), 100'010u);
}

TEST(OutBuffer, BorrowedBytesAreCopied) {
  OutBuffer out;
  std::string value(100'000, 'v');
  out.Append(Bytes::Borrowed(value));
  value.assign(100'000, 'x');
  EXPECT_EQ(out.ToString(), std::string(100'000, 'v'));
}

TEST(OutBuffer, APinIsReleasedOnceItsBytesAreConsumed) {
  int released = 0;
  const std::string value(10'000, 'p');
  OutBuffer out;
  out.Append(Bytes::Pinned(value, &released, [](void* owner) { ++*static_cast<int*>(owner); }));
  out.Append("x");
  out.Consume(9'999);
  EXPECT_EQ(released, 0);
  out.Consume(1);
  EXPECT_EQ(released, 1);
  EXPECT_EQ(out.ToString(), "x");
}

TEST(OutBuffer, BriefBytesAreLetGoWhenAsked) {
  int released = 0;
  const auto release = [](void* owner) { ++*static_cast<int*>(owner); };
  const std::string value(OutBuffer::kBriefReferenceMin, 'p');
  OutBuffer out;
  out.Append("a");
  out.Append(Bytes::Pinned(absl::string_view(value).substr(1), &released, release).Briefly());
  EXPECT_EQ(released, 1) << "short ones are copied at once";
  EXPECT_FALSE(out.has_brief());
  out.Clear();

  out.Append("b");
  out.Append(Bytes::Pinned(value, &released, release).Briefly());
  out.Append("c");
  EXPECT_TRUE(out.has_brief());
  EXPECT_EQ(released, 1);
  out.Consume(11);
  out.KeepBrief();
  EXPECT_EQ(released, 2);
  EXPECT_FALSE(out.has_brief());
  EXPECT_EQ(out.ToString(), value.substr(10) + "c");
  EXPECT_EQ(Gathered(out), value.substr(10) + "c");
  EXPECT_EQ(out.size(), value.size() - 9);
}

TEST(OutBuffer, AnyMixOfAppendAndConsumeKeepsTheStream) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 rng(seed);
  for (const bool pooled : {false, true}) {
    ChunkPool pool;
    OutBuffer out(pooled ? &pool : nullptr);
    std::string model;
    char next = 'a';
    for (int step = 0; step < 20'000; ++step) {
      const auto piece = [&] {
        next = next == 'z' ? 'a' : next + 1;
        return std::string(rng() % (rng() % 20 == 0 ? 20'000 : 200), next);
      };
      switch (rng() % 6) {
        case 0:
          out.AppendNumber(step);
          model += std::to_string(step);
          break;
        case 1: {
          std::string p = piece();
          model += p;
          out.Append(Bytes(std::move(p)));
          break;
        }
        case 2: {
          OutBuffer other;
          std::string p = piece(), q = piece();
          other.Append(p);
          other.Append(Bytes(q));
          model += p + q;
          out.Append(std::move(other));
          break;
        }
        case 3: {
          const size_t n = model.empty() ? 0 : rng() % (model.size() + 1);
          out.Consume(n);
          model.erase(0, n);
          break;
        }
        default: {
          const std::string p = piece();
          model += p;
          out.Append(absl::string_view(p));
        }
      }
      ASSERT_EQ(out.size(), model.size());
      ASSERT_EQ(model.substr(0, Gathered(out).size()), Gathered(out));
    }
    ASSERT_EQ(out.ToString(), model);
  }
}

}  // namespace
}  // namespace core
