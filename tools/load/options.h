// The flags of load_gen.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "tools/load/keys.h"
#include "tools/load/mix.h"
#include "tools/load/numbers.h"

namespace tools::load {

enum class Dialect : uint8_t { kText, kMeta, kBinary };

struct Options {
  std::string host = "127.0.0.1";
  uint16_t port = 11211;
  std::string socket;  // A path instead of host and port.

  int threads = 1;
  int connections = 50;   // Over all threads.
  int depth = 0;          // Most requests in flight on a connection.
  double rate = 0;        // Open loop: requests a second. 0: closed loop.
  bool even_arrivals = false;  // Open loop: equal gaps rather than a Poisson process.

  double seconds = 10;
  int64_t requests = 0;   // Instead of seconds, if not 0.
  double warmup_seconds = 0;
  bool preload = false;   // First store every key, and every counter if the mix has incr or decr.
  bool verify = false;
  double timeout_seconds = 10;

  Dialect dialect = Dialect::kText;
  Mix mix;
  KeySpace keys;
  KeySpace counters;      // What incr and decr work on.
  std::string key_order = "uniform";
  Numbers value_bytes;
  Numbers ttl;
  uint32_t flags = 0;
  uint64_t seed = 1;

  int pid = 0;            // The server, for its CPU and memory.
  bool progress = false;  // A line a second on stderr.
  bool json = false;

  bool open_loop() const { return rate > 0; }
};

// What to do, or the text for --help. OUT_OF_RANGE for flags that make no sense.
struct CommandLine {
  Options options;
  std::string help;  // Not empty: print it and exit.
};
absl::StatusOr<CommandLine> ParseFlags(int argc, const char* const* argv);

}  // namespace tools::load
