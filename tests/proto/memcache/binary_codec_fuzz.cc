// libFuzzer: any bytes behind the byte that begins a packet; with users and without. `ctest --preset
// fuzz -L fuzz` runs it for a while with the dictionary and the seeds beside this file.
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include "tests/proto/memcache/fragmentation.h"

namespace {

// A gate whose only user is "user", password "pass". Never closed: an input may fail at will.
core::AuthGate* GateOfOneUser() {
  static core::RealClock clock;
  static core::Registry registry;
  static const std::unique_ptr<core::AuthGate> gate = [] {
    char name[] = "/tmp/binary_codec_fuzz_XXXXXX";
    const int fd = ::mkstemp(name);
    CHECK(fd >= 0);
    ::close(fd);
    std::ofstream(name) << "user:pass\n";
    auto opened = core::AuthGate::Open("fuzz", name, &clock, &registry, {});
    ::unlink(name);
    CHECK(opened.ok());
    return *std::move(opened);
  }();
  return gate.get();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string wire(reinterpret_cast<const char*>(data), size);
  if (!wire.empty()) wire[0] = '\x80';
  proto::memcache::CheckFragmentation(wire);
  // How it is cut cannot be compared here: failures of one pass count for the next.
  proto::memcache::CodecDriver driver({}, GateOfOneUser());
  driver.Feed(wire);
  return 0;
}
