// The commands of a load and their shares:  get:85,get*32:5,set:9,delete-noreply:1
//
//   NAME[*KEYS][-noreply][:WEIGHT]    KEYS for get, gets, gat, gats; WEIGHT is 1 if not said
//
// `ping` is pingserver's one command, PING: the runtime without a cache behind it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/load/random.h"

namespace tools::load {

enum class Verb : uint8_t {
  kGet, kGets, kGat, kGats,
  kSet, kAdd, kReplace, kAppend, kPrepend, kCas,
  kDelete, kIncr, kDecr, kTouch, kPing,
};
inline constexpr std::array<absl::string_view, 15> kVerbNames = {
    "get", "gets", "gat", "gats", "set", "add", "replace", "append", "prepend", "cas",
    "delete", "incr", "decr", "touch", "ping"};

inline bool IsRead(Verb verb) { return verb <= Verb::kGats; }
inline bool IsStore(Verb verb) { return verb >= Verb::kSet && verb <= Verb::kCas; }
inline bool IsArithmetic(Verb verb) { return verb == Verb::kIncr || verb == Verb::kDecr; }

struct Command {
  Verb verb = Verb::kGet;
  bool noreply = false;
  uint32_t keys = 1;
  double weight = 1;

  std::string name() const;  // As it was written, without the weight.
};

class Mix {
 public:
  static constexpr uint32_t kKeysMax = 1000;   // In one command.
  static constexpr size_t kCommandsMax = 250;  // An index fits a byte.

  // INVALID_ARGUMENT says what was expected.
  static absl::StatusOr<Mix> Parse(absl::string_view text);

  const std::vector<Command>& commands() const { return commands_; }
  uint32_t keys_max() const;
  bool Has(bool (*is)(Verb)) const;
  // The index of the next command.
  uint8_t Pick(Random& random) const {
    if (commands_.size() == 1) return 0;
    const uint64_t at = random.Next() >> 32;
    uint8_t i = 0;
    while (at >= up_to_[i]) ++i;
    return i;
  }

 private:
  std::vector<Command> commands_;
  std::vector<uint64_t> up_to_;  // Of 2^32.
};

}  // namespace tools::load
