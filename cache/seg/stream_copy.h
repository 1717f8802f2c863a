// Copying past the processor's caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace seg {

// From here on a copy to memory that was not used lately had better not be read into the caches
// first, only to be overwritten, nor push out what lies there. To a heap of 512 MB, AMD EPYC: 100 KB
// 4.4 us instead of 9.7, 16 KB 0.75 instead of 1.5. Shorter values gain less, and may be read again
// before they leave the caches.
inline constexpr size_t kStreamBytesMin = 16 * 1024;

// memcpy() with stores that bypass the caches. Ordered before whatever is stored later, as any copy.
inline void StreamCopy(char* to, const char* from, size_t n) {
#if defined(__SSE2__)
  constexpr size_t kLine = 64;
  constexpr size_t kStep = sizeof(__m128i);
  const size_t head = -reinterpret_cast<uintptr_t>(to) % kLine;
  if (n < head + kLine) {
    std::memcpy(to, from, n);
    return;
  }
  std::memcpy(to, from, head);
  to += head;
  from += head;
  n -= head;
  for (; n >= kLine; n -= kLine, to += kLine, from += kLine) {
    __m128i parts[kLine / kStep];
    std::memcpy(parts, from, kLine);
    for (size_t i = 0; i < kLine / kStep; ++i) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(to) + i, parts[i]);
    }
  }
  _mm_sfence();
#endif
  std::memcpy(to, from, n);
}

}  // namespace seg
