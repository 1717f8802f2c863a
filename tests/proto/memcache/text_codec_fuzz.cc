// libFuzzer: any bytes at all. `ctest --preset fuzz -L fuzz` runs it for a while with the dictionary
// and the seeds beside this file; for longer:
//   build/fuzz/fuzz/text_codec_fuzz -dict=tests/proto/memcache/memcache.dict -max_len=2048 \
//     CORPUS_DIR tests/proto/memcache/seeds
#include <cstddef>
#include <cstdint>

#include "tests/proto/memcache/fragmentation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  proto::memcache::CheckFragmentation({reinterpret_cast<const char*>(data), size});
  return 0;
}
