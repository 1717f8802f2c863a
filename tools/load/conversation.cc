#include "tools/load/conversation.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/load/spelling.h"

namespace tools::load {
namespace {

constexpr uint64_t kCounterStart = 1'000'000'000;  // Far enough from 0 for many a decr.

std::string Excerpt(absl::string_view bytes) { return absl::CHexEscape(bytes.substr(0, 60)); }

bool IsNumber(absl::string_view line) {
  uint64_t number = 0;
  return TakeNumber(&line, &number);
}

// The word that says the command did its work.
bool IsDone(Verb verb, absl::string_view line) {
  if (IsArithmetic(verb)) return IsNumber(line);
  if (verb == Verb::kDelete) return line == "DELETED";
  if (verb == Verb::kTouch) return line == "TOUCHED";
  if (verb == Verb::kPing) return line == "PONG";
  return line == "STORED";
}

bool IsDeclined(Verb verb, absl::string_view line) {
  switch (verb) {
    case Verb::kAdd: case Verb::kReplace: case Verb::kAppend: case Verb::kPrepend:
      return line == "NOT_STORED";
    case Verb::kCas:
      return line == "EXISTS" || line == "NOT_FOUND";
    case Verb::kDelete: case Verb::kTouch: case Verb::kIncr: case Verb::kDecr:
      return line == "NOT_FOUND";
    default:
      return false;
  }
}

}  // namespace

char* Conversation::Room(size_t bytes) {
  if (out_begin_ == out_end_) out_begin_ = out_end_ = 0;
  if (out_.size() - out_end_ < bytes) out_.resize(std::max(out_.size() * 2, out_end_ + bytes));
  return out_.data() + out_end_;
}

void Conversation::Ask(Traffic* traffic, int64_t start_ns) {
  const uint8_t which = traffic->mix->Pick(traffic->random);
  const Command& command = traffic->mix->commands()[which];
  Step step = command.verb == Verb::kCas ? Step::kTokenRead : Step::kPlain;
  if (command.noreply) step = Step::kNoReply;
  pending_.Push({start_ns, which, step, command.keys});
  if (IsRead(command.verb) || step == Step::kTokenRead) {
    switch (traffic->options->dialect) {
      case Dialect::kText: return AskRead(traffic, command);
      case Dialect::kMeta: return AskReadMeta(traffic, command);
      case Dialect::kBinary: return AskReadBinary(traffic, command);
    }
  }
  if (command.verb == Verb::kPing) {
    keys_.Push(0);  // One for every request.
    out_end_ = Put("PING\r\n", Room(6)) - out_.data();
    return;
  }
  AskWrite(traffic, command);
}

uint32_t Conversation::NextKey(Traffic* traffic) {
  const auto key = static_cast<uint32_t>(traffic->order.Next(traffic->random));
  keys_.Push(key);
  return key;
}

void Conversation::AskRead(Traffic* traffic, const Command& command) {
  const KeySpace& keys = traffic->options->keys;
  const bool gives_life = command.verb == Verb::kGat || command.verb == Verb::kGats;
  char* at = Room(8 + kNumberBytes + command.keys * (keys.bytes_max() + 1));
  at = Put(command.verb == Verb::kCas ? "gets" : kVerbNames[static_cast<size_t>(command.verb)], at);
  if (gives_life) {
    *at++ = ' ';
    at = PutNumber(static_cast<uint64_t>(traffic->options->ttl.Pick(traffic->random)), at);
  }
  for (uint32_t i = 0; i < command.keys; ++i) {
    *at++ = ' ';
    at = keys.Write(NextKey(traffic), at);
  }
  at = Put("\r\n", at);
  out_end_ = at - out_.data();
}

void Conversation::AskWrite(Traffic* traffic, const Command& command) {
  const uint32_t key = NextKey(traffic);
  if (IsStore(command.verb)) {
    switch (traffic->options->dialect) {
      case Dialect::kText: return WriteStore(traffic, command.verb, key, 0, command.noreply);
      case Dialect::kMeta: return WriteSetMeta(traffic, key);
      case Dialect::kBinary: return WriteSetBinary(traffic, key);
    }
  }
  const bool counts = IsArithmetic(command.verb);
  const KeySpace& keys = counts ? traffic->options->counters : traffic->options->keys;
  char* at = Room(32 + kNumberBytes + keys.bytes_max());
  at = Put(kVerbNames[static_cast<size_t>(command.verb)], at);
  *at++ = ' ';
  at = keys.Write(key, at);
  if (counts) at = Put(" 1", at);
  if (command.verb == Verb::kTouch) {
    *at++ = ' ';
    at = PutNumber(static_cast<uint64_t>(traffic->options->ttl.Pick(traffic->random)), at);
  }
  at = Put(command.noreply ? " noreply\r\n" : "\r\n", at);
  out_end_ = at - out_.data();
}

void Conversation::WriteStore(Traffic* traffic, Verb verb, uint32_t key, uint64_t token,
                              bool noreply) {
  const Options& options = *traffic->options;
  const KeySpace& keys = traffic->fill_counters ? options.counters : options.keys;
  char number[kNumberBytes];
  auto size = static_cast<size_t>(options.value_bytes.Pick(traffic->random));
  if (traffic->fill_counters) size = PutNumber(kCounterStart, number) - number;
  char* at = Room(64 + keys.bytes_max() + 4 * kNumberBytes + size);
  at = Put(kVerbNames[static_cast<size_t>(verb)], at);
  *at++ = ' ';
  const char* const key_at = at;
  at = keys.Write(key, at);
  const absl::string_view spelled(key_at, at - key_at);
  *at++ = ' ';
  at = PutNumber(options.flags, at);
  *at++ = ' ';
  at = PutNumber(static_cast<uint64_t>(options.ttl.Pick(traffic->random)), at);
  *at++ = ' ';
  at = PutNumber(size, at);
  if (verb == Verb::kCas) {
    *at++ = ' ';
    at = PutNumber(token, at);
  }
  at = Put(noreply ? " noreply\r\n" : "\r\n", at);
  at = traffic->fill_counters
           ? Put(absl::string_view(number, size), at)
           : traffic->values->Write(HashOfKey(spelled),
                                    static_cast<uint32_t>(traffic->random.Next() >> 40), size, at);
  at = Put("\r\n", at);
  out_end_ = at - out_.data();
}

void Conversation::EndBurst() {
  if (pending_.empty() || pending_.back().step != Step::kNoReply) return;
  pending_.Push({0, 0, Step::kBarrier, 0});
  out_end_ = Put("version\r\n", Room(9)) - out_.data();
}

void Conversation::Abandon(Traffic* traffic) {
  traffic->tally.Blame(Fault::kUnanswered, "no reply", pending_.size());
  pending_.Drop(pending_.size());
  keys_.Drop(keys_.size());
  out_begin_ = out_end_;
}

bool Conversation::Hear(Traffic* traffic, absl::string_view bytes, int64_t now_ns) {
  traffic->tally.bytes_in.Add(bytes.size());
  const bool continued = !rest_.empty();
  if (continued) {
    rest_.append(bytes.data(), bytes.size());
    if (rest_.size() < needed_) return true;
    bytes = rest_;
  }
  size_t used = 0;
  while (used < bytes.size() && !broken_) {
    const size_t n = TakeOne(traffic, bytes.substr(used), now_ns);
    if (n == 0) break;
    used += n;
  }
  if (continued) {
    rest_.erase(0, used);
  } else {
    rest_.assign(bytes.data() + used, bytes.size() - used);
  }
  return !broken_;
}

// Takes one piece of a reply. Returns the bytes used; 0 when more are needed.
size_t Conversation::TakeOne(Traffic* traffic, absl::string_view in, int64_t now_ns) {
  needed_ = 0;
  switch (traffic->options->dialect) {
    case Dialect::kText: break;
    case Dialect::kMeta: return TakeOneMeta(traffic, in, now_ns);
    case Dialect::kBinary: return TakeOneBinary(traffic, in, now_ns);
  }
  return TakeOneText(traffic, in, now_ns);
}

// A line and, after VALUE, its block.
size_t Conversation::TakeOneText(Traffic* traffic, absl::string_view in, int64_t now_ns) {
  while (!pending_.empty() && pending_[0].step == Step::kNoReply) Finish(traffic, now_ns);
  const void* const newline = std::memchr(in.data(), '\n', in.size());
  if (newline == nullptr) return 0;
  const size_t length = static_cast<const char*>(newline) - in.data();
  const absl::string_view line = in.substr(0, length > 0 ? length - 1 : 0);
  if (pending_.empty() || length == 0 || in[length - 1] != '\r') return Broken(traffic, line);
  const Pending& front = pending_[0];
  const bool reads = front.step == Step::kTokenRead ||
                     (front.step == Step::kPlain &&
                      IsRead(traffic->mix->commands()[front.command].verb));
  if (reads && absl::StartsWith(line, "VALUE ")) return TakeValue(traffic, line, in);
  if (reads && line == "END") {
    TakeEnd(traffic, now_ns);
  } else {
    TakeLine(traffic, line, now_ns);
  }
  return length + 1;
}

size_t Conversation::TakeValue(Traffic* traffic, absl::string_view line, absl::string_view in) {
  const size_t header = line.size() + 2;
  absl::string_view numbers = line.substr(6);
  const size_t space = numbers.find(' ');
  if (space == absl::string_view::npos) return Broken(traffic, line);
  const absl::string_view key = numbers.substr(0, space);
  numbers.remove_prefix(space + 1);
  uint64_t flags = 0, size = 0;
  if (!TakeNumber(&numbers, &flags) || !TakeNumber(&numbers, &size) || size > (1u << 30)) {
    return Broken(traffic, line);
  }
  if (in.size() < header + size + 2) {
    needed_ = header + size + 2;
    return 0;
  }
  if (in[header + size] != '\r' || in[header + size + 1] != '\n') return Broken(traffic, line);
  if (!numbers.empty()) TakeNumber(&numbers, &token_);
  if (!TakeHit(traffic, key, flags, in.substr(header, size))) return Broken(traffic, line);
  return header + size + 2;
}

bool Conversation::TakeHit(Traffic* traffic, absl::string_view key, uint64_t flags,
                           absl::string_view value) {
  if (++values_seen_ > pending_[0].keys) return false;
  if (!traffic->options->verify) return true;
  char spelled[KeySpace::kBytesMax];
  if (key.empty()) {
    char* const end = traffic->options->keys.Write(keys_[0], spelled);
    key = absl::string_view(spelled, end - spelled);
  }
  CheckValue(traffic, key, flags, value);
  return true;
}

void Conversation::CheckValue(Traffic* traffic, absl::string_view key, uint64_t flags,
                              absl::string_view value) {
  // Values come in the order of the keys, without the misses.
  bool asked = false;
  while (!asked && keys_passed_ < pending_[0].keys) {
    char spelled[KeySpace::kBytesMax];
    char* const end = traffic->options->keys.Write(keys_[keys_passed_++], spelled);
    asked = key == absl::string_view(spelled, end - spelled);
  }
  if (asked && flags == traffic->options->flags && traffic->values->Check(HashOfKey(key), value)) {
    return;
  }
  traffic->tally.Blame(Fault::kWrongValue,
                       absl::StrCat(asked ? "" : "not asked for: ", Excerpt(key), " flags ", flags,
                                    ", ", value.size(), " bytes: ", Excerpt(value)));
}

void Conversation::TakeEnd(Traffic* traffic, int64_t now_ns) {
  if (pending_[0].step == Step::kTokenRead) {
    if (values_seen_ > 0) return SendCas(traffic);
    traffic->tally.declined.Add();
  } else {
    traffic->tally.hits.Add(values_seen_);
    traffic->tally.misses.Add(pending_[0].keys - values_seen_);
  }
  Finish(traffic, now_ns);
}

// The token is here: the cas itself goes to the end of the queue, its clock running on.
void Conversation::SendCas(Traffic* traffic) {
  Pending next = pending_[0];
  const uint32_t key = keys_[0];
  next.step = Step::kCas;
  pending_.Drop();
  keys_.Drop();
  values_seen_ = keys_passed_ = 0;
  pending_.Push(next);
  keys_.Push(key);
  WriteStore(traffic, Verb::kCas, key, token_, false);
}

void Conversation::TakeLine(Traffic* traffic, absl::string_view line, int64_t now_ns) {
  const Pending& front = pending_[0];
  if (front.step == Step::kBarrier) {
    if (!absl::StartsWith(line, "VERSION ")) {
      Broken(traffic, line);
      return;
    }
    pending_.Drop();
    return;
  }
  const Verb verb = traffic->mix->commands()[front.command].verb;
  if (front.step != Step::kTokenRead && !IsRead(verb)) {
    if (IsDone(verb, line)) return Finish(traffic, now_ns);
    if (IsDeclined(verb, line)) {
      traffic->tally.declined.Add();
      return Finish(traffic, now_ns);
    }
  }
  if (TakeFault(traffic, line)) return Finish(traffic, now_ns);
  Broken(traffic, line);
}

bool Conversation::TakeFault(Traffic* traffic, absl::string_view line) {
  Fault fault = Fault::kError;
  if (absl::StartsWith(line, "CLIENT_ERROR")) fault = Fault::kClientError;
  else if (absl::StartsWith(line, "SERVER_ERROR")) fault = Fault::kServerError;
  else if (line != "ERROR") return false;
  traffic->tally.Blame(fault, Excerpt(line));
  return true;
}

void Conversation::Finish(Traffic* traffic, int64_t now_ns) {
  const Pending& front = pending_[0];
  traffic->tally.requests.Add();
  traffic->tally.keys.Add(front.keys);
  if (front.step != Step::kNoReply) {
    traffic->tally.latencies[front.command].Record(now_ns - front.start_ns);
  }
  keys_.Drop(front.keys);
  pending_.Drop();
  values_seen_ = keys_passed_ = 0;
}

// Returns 0, which ends the reading.
size_t Conversation::Broken(Traffic* traffic, absl::string_view line) {
  traffic->tally.Blame(Fault::kUnexpected, Excerpt(line));
  broken_ = true;
  return 0;
}

}  // namespace tools::load
