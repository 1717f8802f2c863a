// The meta half of conversation.h: mg and ms.
#include <cstring>

#include "absl/strings/match.h"
#include "tools/load/conversation.h"
#include "tools/load/spelling.h"

namespace tools::load {

void Conversation::AskReadMeta(Traffic* traffic, const Command& command) {
  const KeySpace& keys = traffic->options->keys;
  const bool many = command.keys > 1;
  char* at = Room(4 + command.keys * (keys.bytes_max() + 16));
  for (uint32_t i = 0; i < command.keys; ++i) {
    at = Put("mg ", at);
    at = keys.Write(NextKey(traffic), at);
    at = Put(many ? " f k v q\r\n" : " f v\r\n", at);
  }
  if (many) at = Put("mn\r\n", at);
  out_end_ = at - out_.data();
}

void Conversation::WriteSetMeta(Traffic* traffic, uint32_t key) {
  const Options& options = *traffic->options;
  const auto size = static_cast<size_t>(options.value_bytes.Pick(traffic->random));
  char* at = Room(32 + options.keys.bytes_max() + 3 * kNumberBytes + size);
  at = Put("ms ", at);
  char* const key_at = at;
  at = options.keys.Write(key, at);
  const absl::string_view spelled(key_at, at - key_at);
  *at++ = ' ';
  at = PutNumber(size, at);
  at = Put(" T", at);
  at = PutNumber(static_cast<uint64_t>(options.ttl.Pick(traffic->random)), at);
  at = Put(" F", at);
  at = PutNumber(options.flags, at);
  at = Put("\r\n", at);
  at = traffic->values->Write(HashOfKey(spelled),
                              static_cast<uint32_t>(traffic->random.Next() >> 40), size, at);
  at = Put("\r\n", at);
  out_end_ = at - out_.data();
}

size_t Conversation::TakeOneMeta(Traffic* traffic, absl::string_view in, int64_t now_ns) {
  const void* const newline = std::memchr(in.data(), '\n', in.size());
  if (newline == nullptr) return 0;
  const size_t header = static_cast<const char*>(newline) - in.data() + 1;
  const absl::string_view line = in.substr(0, header > 1 ? header - 2 : 0);
  if (pending_.empty() || header < 2 || in[header - 2] != '\r') return Broken(traffic, line);
  const Command& command = traffic->mix->commands()[pending_[0].command];
  if (!IsRead(command.verb)) {
    if (line == "NS") {
      traffic->tally.declined.Add();
    } else if (line != "HD" && !TakeFault(traffic, line)) {
      return Broken(traffic, line);
    }
    Finish(traffic, now_ns);
    return header;
  }
  const bool many = command.keys > 1;
  if (line == (many ? "MN" : "EN")) {
    TakeEnd(traffic, now_ns);
    return header;
  }
  if (!absl::StartsWith(line, "VA ")) {
    if (!TakeFault(traffic, line)) return Broken(traffic, line);
    if (!many) Finish(traffic, now_ns);
    return header;
  }
  absl::string_view words = line.substr(3);
  uint64_t size = 0, flags = 0;
  if (!TakeNumber(&words, &size) || size > (1u << 30) || !absl::StartsWith(words, "f")) {
    return Broken(traffic, line);
  }
  words.remove_prefix(1);
  if (!TakeNumber(&words, &flags) || absl::StartsWith(words, "k") != many) {
    return Broken(traffic, line);
  }
  if (many) words.remove_prefix(1);
  if (in.size() < header + size + 2) {
    needed_ = header + size + 2;
    return 0;
  }
  if (in.substr(header + size, 2) != "\r\n") return Broken(traffic, line);
  if (!TakeHit(traffic, words, flags, in.substr(header, size))) return Broken(traffic, line);
  if (!many) TakeEnd(traffic, now_ns);
  return header + size + 2;
}

}  // namespace tools::load
