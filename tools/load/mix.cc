#include "tools/load/mix.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"

namespace tools::load {
namespace {

absl::StatusOr<Command> ParseCommand(absl::string_view text) {
  const auto wrong = [text](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": ", what));
  };
  Command out;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() > 2) return wrong("expected NAME[*KEYS][-noreply][:WEIGHT]");
  if (parts.size() == 2 && (!absl::SimpleAtod(parts[1], &out.weight) ||
                            !(out.weight >= 0 && out.weight < 1e12))) {
    return wrong("the weight is no number");
  }
  absl::string_view name = parts[0];
  out.noreply = absl::ConsumeSuffix(&name, "-noreply");
  const std::vector<absl::string_view> counted = absl::StrSplit(name, absl::MaxSplits('*', 1));
  const auto verb = std::find(kVerbNames.begin(), kVerbNames.end(), counted[0]);
  if (verb == kVerbNames.end()) {
    return wrong(absl::StrCat("expected one of ", absl::StrJoin(kVerbNames, " ")));
  }
  out.verb = static_cast<Verb>(verb - kVerbNames.begin());
  const bool must_reply =
      IsRead(out.verb) || out.verb == Verb::kCas || out.verb == Verb::kPing;
  if (out.noreply && must_reply) {
    return wrong("there is no such thing without a reply");
  }
  if (counted.size() == 1) return out;
  if (!IsRead(out.verb)) return wrong("only get, gets, gat and gats take several keys");
  if (!absl::SimpleAtoi(counted[1], &out.keys) || out.keys < 1 || out.keys > Mix::kKeysMax) {
    return wrong(absl::StrCat("expected 1 to ", Mix::kKeysMax, " keys"));
  }
  return out;
}

}  // namespace

std::string Command::name() const {
  return absl::StrCat(kVerbNames[static_cast<size_t>(verb)],
                      keys > 1 ? absl::StrCat("*", keys) : "", noreply ? "-noreply" : "");
}

absl::StatusOr<Mix> Mix::Parse(absl::string_view text) {
  Mix out;
  double total = 0;
  for (const absl::string_view item : absl::StrSplit(text, ',')) {
    ASSIGN_OR_RETURN(Command command, ParseCommand(item));
    total += command.weight;
    out.commands_.push_back(command);
  }
  if (total <= 0) return absl::InvalidArgumentError("expected a weight above 0");
  if (out.commands_.size() > kCommandsMax) return absl::InvalidArgumentError("too many commands");
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < out.commands_.size(); ++i) {
    sum += out.commands_[i].weight;
    out.up_to_.push_back(static_cast<uint64_t>(sum / total * 0x1p32));
    if (out.commands_[i].weight > 0) last = i;
  }
  // Rounding must leave no number without a command.
  for (size_t i = last; i < out.up_to_.size(); ++i) out.up_to_[i] = uint64_t{1} << 32;
  return out;
}

uint32_t Mix::keys_max() const {
  uint32_t most = 1;
  for (const Command& command : commands_) most = std::max(most, command.keys);
  return most;
}

bool Mix::Has(bool (*is)(Verb)) const {
  return std::any_of(commands_.begin(), commands_.end(),
                     [is](const Command& command) { return is(command.verb); });
}

}  // namespace tools::load
