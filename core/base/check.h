// CHECK: a bug in this program ends it, with the place and the condition. Never used on bytes from
// a peer or on a reply from Momento. DCHECK is the same in debug and sanitizer builds only.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace core {

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace core

#define CHECK(condition)                                     \
  do {                                                       \
    if (!(condition)) [[unlikely]] {                         \
      ::core::CheckFailed(__FILE__, __LINE__, #condition);   \
    }                                                        \
  } while (false)

#ifdef NDEBUG
#define DCHECK(condition)           \
  do {                              \
    if (false) {                    \
      static_cast<void>(condition); \
    }                               \
  } while (false)
#else
#define DCHECK(condition) CHECK(condition)
#endif
