// Binary packets for tests, lengths right unless told otherwise.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "proto/memcache/binary.h"

namespace proto::memcache::binary {

template <class N>
std::string BigEndian(N n) {
  std::string bytes(sizeof n, '\0');
  Write(n, bytes.data());
  return bytes;
}

struct Packet {
  Opcode opcode = Opcode::kNoop;
  std::string key = {};
  std::string value = {};
  std::string extras = {};
  uint64_t cas = 0;
  std::string opaque = "abcd";
  uint8_t magic = kRequestMagic;
  std::optional<uint16_t> key_bytes = {};
  std::optional<uint8_t> extras_bytes = {};
  std::optional<uint32_t> body_bytes = {};
};

inline std::string Wire(const Packet& p) {
  std::string wire;
  wire += static_cast<char>(p.magic);
  wire += static_cast<char>(p.opcode);
  wire += BigEndian<uint16_t>(p.key_bytes.value_or(static_cast<uint16_t>(p.key.size())));
  wire += static_cast<char>(p.extras_bytes.value_or(static_cast<uint8_t>(p.extras.size())));
  wire += std::string(3, '\0');
  wire += BigEndian<uint32_t>(
      p.body_bytes.value_or(static_cast<uint32_t>(p.extras.size() + p.key.size() + p.value.size())));
  wire += p.opaque;
  wire += BigEndian<uint64_t>(p.cas);
  return wire + p.extras + p.key + p.value;
}

inline std::string FlagsAndExpiry(uint32_t flags, uint32_t expiry) {
  return BigEndian(flags) + BigEndian(expiry);
}
inline std::string Counting(uint64_t delta, uint64_t initial, uint32_t expiry) {
  return BigEndian(delta) + BigEndian(initial) + BigEndian(expiry);
}

// What an error of `opcode` looks like.
inline std::string ErrorReply(Opcode opcode, Code code, absl::string_view opaque = "abcd") {
  const absl::string_view text = TextOf(code);
  std::string wire(kHeaderBytes, '\0');
  ReplyHeader header{.opcode = static_cast<uint8_t>(opcode), .code = code};
  header.value_bytes = static_cast<uint32_t>(text.size());
  std::memcpy(&header.opaque, opaque.data(), sizeof header.opaque);
  header.WriteTo(wire.data());
  return wire.append(text.data(), text.size());
}

}  // namespace proto::memcache::binary
