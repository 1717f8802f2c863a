// The binary half of conversation.h: GET, GETKQ with NOOP, SET.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/memcache/binary.h"
#include "tools/load/conversation.h"
#include "tools/load/spelling.h"

namespace tools::load {
namespace {

namespace binary = proto::memcache::binary;
using binary::Code;
using binary::Opcode;

constexpr size_t kSetExtrasBytes = 8;  // Flags and expiry.
constexpr size_t kGetExtrasBytes = 4;  // Flags, in the reply.

// Writes a header, whose key length and body length are told later, and returns the byte behind it.
char* PutHeader(Opcode opcode, size_t extras_bytes, char* to) {
  std::memset(to, 0, binary::kHeaderBytes);
  to[0] = static_cast<char>(binary::kRequestMagic);
  to[1] = static_cast<char>(opcode);
  to[4] = static_cast<char>(extras_bytes);
  return to + binary::kHeaderBytes;
}

void PutLengths(size_t key_bytes, size_t body_bytes, char* header) {
  binary::Write<uint16_t>(static_cast<uint16_t>(key_bytes), header + 2);
  binary::Write<uint32_t>(static_cast<uint32_t>(body_bytes), header + 8);
}

}  // namespace

void Conversation::AskReadBinary(Traffic* traffic, const Command& command) {
  const KeySpace& keys = traffic->options->keys;
  const bool many = command.keys > 1;
  char* at = Room(binary::kHeaderBytes + command.keys * (keys.bytes_max() + binary::kHeaderBytes));
  for (uint32_t i = 0; i < command.keys; ++i) {
    char* const header = at;
    char* const key_at = PutHeader(many ? Opcode::kGetKQ : Opcode::kGet, 0, at);
    at = keys.Write(NextKey(traffic), key_at);
    PutLengths(at - key_at, at - key_at, header);
  }
  if (many) at = PutHeader(Opcode::kNoop, 0, at);
  out_end_ = at - out_.data();
}

void Conversation::WriteSetBinary(Traffic* traffic, uint32_t key) {
  const Options& options = *traffic->options;
  const auto size = static_cast<size_t>(options.value_bytes.Pick(traffic->random));
  char* const header = Room(binary::kHeaderBytes + kSetExtrasBytes + options.keys.bytes_max() + size);
  char* const extras = PutHeader(Opcode::kSet, kSetExtrasBytes, header);
  binary::Write<uint32_t>(options.flags, extras);
  binary::Write<uint32_t>(static_cast<uint32_t>(options.ttl.Pick(traffic->random)), extras + 4);
  char* const key_at = extras + kSetExtrasBytes;
  char* at = options.keys.Write(key, key_at);
  const absl::string_view spelled(key_at, at - key_at);
  at = traffic->values->Write(HashOfKey(spelled),
                              static_cast<uint32_t>(traffic->random.Next() >> 40), size, at);
  PutLengths(spelled.size(), at - extras, header);
  out_end_ = at - out_.data();
}

size_t Conversation::TakeOneBinary(Traffic* traffic, absl::string_view in, int64_t now_ns) {
  if (in.size() < binary::kHeaderBytes) return 0;
  const auto header = binary::Header::ReadFrom(in.data());  // Of a reply, but for the status.
  const auto code = static_cast<Code>(binary::Read<uint16_t>(in.data() + 6));
  const auto packet = [&] {
    return absl::StrCat("opcode ", header.opcode, " status ", static_cast<int>(code));
  };
  if (header.magic != binary::kReplyMagic || pending_.empty() || header.body_bytes > (1u << 30) ||
      header.head_bytes() > binary::kHeaderBytes + header.body_bytes) {
    return Broken(traffic, packet());
  }
  const size_t bytes = binary::kHeaderBytes + header.body_bytes;
  if (in.size() < bytes) {
    needed_ = bytes;
    return 0;
  }
  const Command& command = traffic->mix->commands()[pending_[0].command];
  const bool many = command.keys > 1;
  if (code == Code::kOk && IsRead(command.verb) &&
      static_cast<Opcode>(header.opcode) != Opcode::kNoop) {
    if (header.extras_bytes != kGetExtrasBytes || (header.key_bytes != 0) != many) {
      return Broken(traffic, packet());
    }
    const size_t head = header.head_bytes();
    if (!TakeHit(traffic, in.substr(head - header.key_bytes, header.key_bytes),
                 binary::Read<uint32_t>(in.data() + binary::kHeaderBytes),
                 in.substr(head, bytes - head))) {
      return Broken(traffic, packet());
    }
    if (!many) TakeEnd(traffic, now_ns);
    return bytes;
  }
  if (code == Code::kOk || (code == Code::kNotFound && IsRead(command.verb) && !many)) {
    if (IsRead(command.verb)) {
      TakeEnd(traffic, now_ns);
    } else {
      Finish(traffic, now_ns);
    }
    return bytes;
  }
  traffic->tally.Blame(Fault::kServerError, packet());
  if (!many) Finish(traffic, now_ns);  // Of many, the no-op is still to come.
  return bytes;
}

}  // namespace tools::load
