// See checksum.h.
#include "cache/seg/checksum.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "core/base/hash.h"

namespace seg {
namespace {

constexpr size_t kPartBytes = 1 << 20;

// Memory is the limit, not arithmetic: more threads than this add nothing.
constexpr unsigned kThreadsMax = 8;

std::vector<absl::string_view> PartsOf(const std::vector<absl::string_view>& pieces) {
  std::vector<absl::string_view> parts;
  for (absl::string_view piece : pieces) {
    for (; !piece.empty(); piece.remove_prefix(std::min(kPartBytes, piece.size()))) {
      parts.push_back(piece.substr(0, kPartBytes));
    }
  }
  return parts;
}

}  // namespace

std::optional<uint64_t> ChecksumOf(const std::vector<absl::string_view>& pieces,
                                   absl::FunctionRef<bool()> cancelled) {
  const std::vector<absl::string_view> parts = PartsOf(pieces);
  std::vector<uint64_t> sums(parts.size() + 1);
  sums.back() = parts.size();
  std::atomic<size_t> next{0};
  const auto work = [&](absl::FunctionRef<bool()> stop) {
    for (size_t i; !stop() && (i = next.fetch_add(1, std::memory_order_relaxed)) < parts.size();) {
      sums[i] = core::Hash64(parts[i], i);
    }
  };
  std::atomic<bool> stopped{false};
  const auto helpers = std::min<size_t>(
      std::min(std::max(std::thread::hardware_concurrency(), 1u), kThreadsMax), parts.size());
  std::vector<std::thread> threads;
  for (size_t i = 1; i < helpers; ++i) {
    threads.emplace_back(
        [&] { work([&] { return stopped.load(std::memory_order_relaxed); }); });
  }
  work([&] {
    if (!stopped.load(std::memory_order_relaxed) && cancelled()) {
      stopped.store(true, std::memory_order_relaxed);
    }
    return stopped.load(std::memory_order_relaxed);
  });
  for (std::thread& thread : threads) thread.join();
  if (stopped.load(std::memory_order_relaxed)) return std::nullopt;
  return core::Hash64({reinterpret_cast<const char*>(sums.data()), sums.size() * sizeof(sums[0])},
                      sums.size());
}

}  // namespace seg
