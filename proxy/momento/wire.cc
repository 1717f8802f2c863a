// See wire.h.
#include "proxy/momento/wire.h"

namespace proxy::momento {
namespace {

constexpr uint32_t kTypeVarint = 0;
constexpr uint32_t kTypeFixed64 = 1;
constexpr uint32_t kTypeBytes = 2;
constexpr uint32_t kTypeFixed32 = 5;
constexpr int kVarintBytesMax = 10;  // 64 bits in groups of seven.

}  // namespace

// Built apart and appended once: a string checks and terminates itself at every append.
void WireWriter::TagAndVarint(int field, uint32_t type, uint64_t v) {
  char bytes[1 + kVarintBytesMax];
  size_t n = 0;
  bytes[n++] = static_cast<char>(static_cast<uint32_t>(field) << 3 | type);
  for (; v >= 0x80; v >>= 7) bytes[n++] = static_cast<char>(v | 0x80);
  bytes[n++] = static_cast<char>(v);
  out_->append(bytes, n);
}

void WireWriter::VarintField(int field, uint64_t v) { TagAndVarint(field, kTypeVarint, v); }

void WireWriter::Open(int field, size_t size) { TagAndVarint(field, kTypeBytes, size); }

bool WireReader::ReadVarint(uint64_t* v) {
  uint64_t value = 0;
  for (int i = 0; i < kVarintBytesMax; ++i) {
    if (p_ == end_) return Malformed();
    const uint8_t byte = static_cast<uint8_t>(*p_++);
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      *v = value;
      return true;
    }
  }
  return Malformed();
}

bool WireReader::Skip(uint64_t n) {
  if (n > static_cast<uint64_t>(end_ - p_)) return Malformed();
  p_ += n;
  return true;
}

bool WireReader::Next() {
  if (!ok_ || p_ == end_) return false;
  varint_ = 0;
  bytes_ = {};
  uint64_t tag;
  if (!ReadVarint(&tag)) return false;
  field_ = static_cast<uint32_t>(tag >> 3);
  type_ = static_cast<uint32_t>(tag & 7);
  if (field_ == 0 || tag > UINT32_MAX) return Malformed();
  switch (type_) {
    case kTypeVarint:
      return ReadVarint(&varint_);
    case kTypeBytes: {
      uint64_t size;
      if (!ReadVarint(&size)) return false;
      const char* start = p_;
      if (!Skip(size)) return false;
      bytes_ = absl::string_view(start, size);
      return true;
    }
    case kTypeFixed64:
      return Skip(8);
    case kTypeFixed32:
      return Skip(4);
    default:  // Groups are not of proto3.
      return Malformed();
  }
}

}  // namespace proxy::momento
