// What one worker has counted. Written by the worker alone; any thread may read the atomics while it
// runs (relaxed: recent numbers, not a snapshot), and everything after it was joined.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "tools/histogram.h"

namespace tools::load {

enum class Fault : uint8_t {
  kError,         // The reply ERROR.
  kClientError,   // CLIENT_ERROR ...
  kServerError,   // SERVER_ERROR ...
  kWrongValue,    // --verify: another key, other flags, or bytes that nobody wrote.
  kUnexpected,    // A reply that does not belong to the request; the connection is given up.
  kClosed,        // Connections that the server closed or that broke.
  kUnanswered,    // Requests without a reply: their connection was lost, or --timeout passed.
};
inline constexpr std::array<absl::string_view, 7> kFaultNames = {
    "error", "client_error", "server_error", "wrong_value", "unexpected", "closed", "unanswered"};

class Count {
 public:
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_ = 0;
};

struct Tally {
  explicit Tally(size_t commands) : latencies(std::make_unique<Recorder[]>(commands)) {}

  void Blame(Fault fault, absl::string_view what, uint64_t n = 1) {
    if (n == 0) return;
    faults[static_cast<size_t>(fault)].Add(n);
    if (first_fault.empty()) first_fault = std::string(what);
  }

  std::unique_ptr<Recorder[]> latencies;  // One for each command of the mix.
  Count requests;  // Answered, or sent without asking for an answer and known to be executed.
  Count keys;      // The same, every key of a multi-get counted.
  Count hits, misses;   // Of reads.
  Count declined;       // NOT_STORED, EXISTS, NOT_FOUND: writes that found no reason to happen.
  Count unsent;         // Open loop: arrivals that were due but never sent, for there was no room.
  Count bytes_in, bytes_out;
  std::array<Count, kFaultNames.size()> faults;
  std::string first_fault;
};

}  // namespace tools::load
