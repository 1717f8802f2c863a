// The packets of memcached's binary protocol: numbers and layout.
//
//   byte 0      1       2       4       5     6        8       12      16     24
//        magic  opcode  key     extras  type  status   body    opaque  cas    extras, key, value
//                       bytes   bytes         (reply)  bytes
//
// All numbers are big-endian; `body` counts extras, key and value; `opaque` comes back as it was
// sent. Source: memcached wiki, "BinaryProtocolRevamped", and protocol_binary.h of memcached 1.6.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"

namespace proto::memcache::binary {

inline constexpr uint8_t kRequestMagic = 0x80;
inline constexpr uint8_t kReplyMagic = 0x81;
inline constexpr size_t kHeaderBytes = 24;
inline constexpr uint32_t kNeverCreate = 0xffffffff;  // Expiry of a count that shall make no item.

enum class Opcode : uint8_t {
  kGet = 0x00,
  kSet = 0x01,
  kAdd = 0x02,
  kReplace = 0x03,
  kDelete = 0x04,
  kIncrement = 0x05,
  kDecrement = 0x06,
  kQuit = 0x07,
  kFlush = 0x08,
  kGetQ = 0x09,
  kNoop = 0x0a,
  kVersion = 0x0b,
  kGetK = 0x0c,
  kGetKQ = 0x0d,
  kAppend = 0x0e,
  kPrepend = 0x0f,
  kStat = 0x10,
  kSetQ = 0x11,
  kAddQ = 0x12,
  kReplaceQ = 0x13,
  kDeleteQ = 0x14,
  kIncrementQ = 0x15,
  kDecrementQ = 0x16,
  kQuitQ = 0x17,
  kFlushQ = 0x18,
  kAppendQ = 0x19,
  kPrependQ = 0x1a,
  kVerbosity = 0x1b,
  kTouch = 0x1c,
  kGat = 0x1d,
  kGatQ = 0x1e,
  kSaslList = 0x20,
  kSaslAuth = 0x21,
  kSaslStep = 0x22,
  kGatK = 0x23,
  kGatKQ = 0x24,
};
inline constexpr int kOpcodes = 0x25;

enum class Code : uint16_t {
  kOk = 0x00,
  kNotFound = 0x01,
  kExists = 0x02,
  kTooLarge = 0x03,
  kInvalid = 0x04,
  kNotStored = 0x05,
  kNonNumeric = 0x06,
  kAuthError = 0x20,
  kAuthContinue = 0x21,
  kUnknownCommand = 0x81,
  kNoMemory = 0x82,
  kInternal = 0x84,   // Of the wiki; memcached, which has no backend, never says it,
  kTemporary = 0x86,  // nor this.
};

// What memcached says beside a status; the body of an error.
absl::string_view TextOf(Code code);

namespace internal {
template <class N>
constexpr N Swapped(N n) {
  static_assert(std::endian::native == std::endian::little);
  if constexpr (sizeof(N) == 2) return __builtin_bswap16(n);
  if constexpr (sizeof(N) == 4) return __builtin_bswap32(n);
  if constexpr (sizeof(N) == 8) return __builtin_bswap64(n);
  return n;
}
}  // namespace internal

// REQUIRES: sizeof(N) bytes at `at`.
template <class N>
N Read(const char* at) {
  N n;
  std::memcpy(&n, at, sizeof n);
  return internal::Swapped(n);
}
template <class N>
void Write(N n, char* at) {
  n = internal::Swapped(n);
  std::memcpy(at, &n, sizeof n);
}

struct Header {
  uint8_t magic;
  uint8_t opcode;
  uint16_t key_bytes;
  uint8_t extras_bytes;
  uint32_t body_bytes;
  uint32_t opaque;  // As it lies there.
  uint64_t cas;

  // REQUIRES: kHeaderBytes at `at`.
  static Header ReadFrom(const char* at) {
    Header h;
    h.magic = static_cast<uint8_t>(at[0]);
    h.opcode = static_cast<uint8_t>(at[1]);
    h.key_bytes = Read<uint16_t>(at + 2);
    h.extras_bytes = static_cast<uint8_t>(at[4]);
    h.body_bytes = Read<uint32_t>(at + 8);
    std::memcpy(&h.opaque, at + 12, sizeof h.opaque);
    h.cas = Read<uint64_t>(at + 16);
    return h;
  }
  // What stands before the value.
  size_t head_bytes() const { return kHeaderBytes + extras_bytes + key_bytes; }
};

struct ReplyHeader {
  uint8_t opcode = 0;
  Code code = Code::kOk;
  uint32_t opaque = 0;
  uint64_t cas = 0;
  uint8_t extras_bytes = 0;
  uint16_t key_bytes = 0;
  uint32_t value_bytes = 0;

  // Writes kHeaderBytes to `at`.
  void WriteTo(char* at) const {
    at[0] = static_cast<char>(kReplyMagic);
    at[1] = static_cast<char>(opcode);
    Write<uint16_t>(key_bytes, at + 2);
    at[4] = static_cast<char>(extras_bytes);
    at[5] = 0;
    Write<uint16_t>(static_cast<uint16_t>(code), at + 6);
    Write<uint32_t>(extras_bytes + key_bytes + value_bytes, at + 8);
    std::memcpy(at + 12, &opaque, sizeof opaque);
    Write<uint64_t>(cas, at + 16);
  }
};

}  // namespace proto::memcache::binary
