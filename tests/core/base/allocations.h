// Counts every call of operator new. Replaces it, so one file of a test binary includes this.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace core {

inline std::atomic<int> allocations{0};
// Since the start, on all threads.
inline int Allocations() { return allocations.load(std::memory_order_relaxed); }

}  // namespace core

// Not inlined: g++ would take a new and a delete apart and call them mismatched.
[[gnu::noinline]] void* operator new(size_t bytes) {
  core::allocations.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }
