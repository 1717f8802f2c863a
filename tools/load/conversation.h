// One connection's requests and replies, without its socket: writes commands, matches replies to
// them in order, counts and times what comes back.
//
// A request's latency runs from the time it was asked at (open loop: when it was due) to the time
// its last byte was heard. A cas is a gets and a cas, timed together. A request with noreply has no
// time of its own: it is known to be executed when a later reply arrives, so a burst that would end
// in one ends in a `version`.
//
// In the meta and binary dialects several keys are asked for quietly, and a no-op, which is answered,
// ends them: one request here as in text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tools/load/options.h"
#include "tools/load/ring.h"
#include "tools/load/tally.h"
#include "tools/load/value.h"

namespace tools::load {

// What the conversations of one worker share in one phase.
struct Traffic {
  const Options* options;
  const Mix* mix;
  const Values* values;
  bool fill_counters = false;  // Every set stores a number under the key of a counter.
  KeyOrder order;
  Random random;
  Tally tally;
};

class Conversation {
 public:
  // Requests that are not known to be executed.
  size_t pending() const { return pending_.size(); }

  // Appends the next command of the mix. `start_ns` is where its latency begins.
  void Ask(Traffic* traffic, int64_t start_ns);
  // To be called when a burst of Ask is over, before sending.
  void EndBurst();
  // Takes what the socket gave. False when the replies make no sense: the connection is of no more
  // use, and Abandon is next.
  [[nodiscard]] bool Hear(Traffic* traffic, absl::string_view bytes, int64_t now_ns);
  // Counts everything pending as unanswered and forgets it.
  void Abandon(Traffic* traffic);

  absl::string_view unsent() const {
    return absl::string_view(out_.data() + out_begin_, out_end_ - out_begin_);
  }
  void Sent(size_t n) { out_begin_ += n; }

 private:
  enum class Step : uint8_t { kPlain, kTokenRead, kCas, kNoReply, kBarrier };
  struct Pending {
    int64_t start_ns;
    uint8_t command;  // Index into the mix.
    Step step;
    uint32_t keys;  // As many stand in keys_.
  };

  char* Room(size_t bytes);
  void AskRead(Traffic* traffic, const Command& command);
  void AskWrite(Traffic* traffic, const Command& command);
  void WriteStore(Traffic* traffic, Verb verb, uint32_t key, uint64_t token, bool noreply);
  uint32_t NextKey(Traffic* traffic);
  // conversation_meta.cc and conversation_binary.cc.
  void AskReadMeta(Traffic* traffic, const Command& command);
  void WriteSetMeta(Traffic* traffic, uint32_t key);
  size_t TakeOneMeta(Traffic* traffic, absl::string_view in, int64_t now_ns);
  void AskReadBinary(Traffic* traffic, const Command& command);
  void WriteSetBinary(Traffic* traffic, uint32_t key);
  size_t TakeOneBinary(Traffic* traffic, absl::string_view in, int64_t now_ns);

  size_t TakeOne(Traffic* traffic, absl::string_view in, int64_t now_ns);
  size_t TakeOneText(Traffic* traffic, absl::string_view in, int64_t now_ns);
  size_t TakeValue(Traffic* traffic, absl::string_view line, absl::string_view in);
  // Another value of the request at the front; false if it asked for no more. Without a key it is
  // that of the one key.
  bool TakeHit(Traffic* traffic, absl::string_view key, uint64_t flags, absl::string_view value);
  void CheckValue(Traffic* traffic, absl::string_view key, uint64_t flags,
                  absl::string_view value);
  void TakeEnd(Traffic* traffic, int64_t now_ns);
  void TakeLine(Traffic* traffic, absl::string_view line, int64_t now_ns);
  bool TakeFault(Traffic* traffic, absl::string_view line);
  void SendCas(Traffic* traffic);
  void Finish(Traffic* traffic, int64_t now_ns);
  size_t Broken(Traffic* traffic, absl::string_view line);

  Ring<Pending> pending_;
  Ring<uint32_t> keys_;  // Of the pending requests, in order.
  // Of the request at the front, while it is being read.
  uint32_t values_seen_ = 0;
  uint32_t keys_passed_ = 0;
  uint64_t token_ = 0;

  std::string rest_;   // Heard, but not enough to be understood.
  size_t needed_ = 0;  // How long rest_ must be before another try is worth it.
  bool broken_ = false;

  std::vector<char> out_;
  size_t out_begin_ = 0;
  size_t out_end_ = 0;
};

}  // namespace tools::load
