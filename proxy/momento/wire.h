// The protobuf encoding, as far as Momento's messages need it: varints and length-delimited fields.
//
// Written here rather than generated: a call encodes straight into the buffer that HTTP/2 sends
// from and decodes views of the bytes received, so no message object exists on the way.
// https://protobuf.dev/programming-guides/encoding/. Pure; tests hold it against generated code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace proxy::momento {

inline constexpr size_t VarintBytes(uint64_t v) {
  size_t n = 1;
  for (; v >= 0x80; v >>= 7) ++n;
  return n;
}
// Bytes of a length-delimited field (numbers below 16) with `size` bytes in it.
inline constexpr size_t FieldBytes(size_t size) { return 1 + VarintBytes(size) + size; }

// Appends fields. Field numbers are below 16, so that a tag is one byte.
class WireWriter {
 public:
  explicit WireWriter(std::string* out) : out_(out) {}

  void VarintField(int field, uint64_t v);
  // Opens a length-delimited field: `size` bytes must follow through Raw() or further fields.
  void Open(int field, size_t size);
  void BytesField(int field, absl::string_view bytes) {
    Open(field, bytes.size());
    Raw(bytes);
  }
  void Raw(absl::string_view bytes) { out_->append(bytes.data(), bytes.size()); }

 private:
  void TagAndVarint(int field, uint32_t type, uint64_t v);

  std::string* out_;
};

// Walks the fields of one message. Views point into the message.
class WireReader {
 public:
  explicit WireReader(absl::string_view message)
      : p_(message.data()), end_(message.data() + message.size()) {}

  // Moves to the next field; false at the end of the message or where it is malformed (see ok()).
  bool Next();
  bool ok() const { return ok_; }

  uint32_t field() const { return field_; }
  // The field's value; zero or empty when it was of the other kind.
  uint64_t varint() const { return varint_; }
  absl::string_view bytes() const { return bytes_; }
  bool is_varint() const { return type_ == 0; }
  bool is_bytes() const { return type_ == 2; }

 private:
  bool ReadVarint(uint64_t* v);
  bool Skip(uint64_t n);
  bool Malformed() {
    ok_ = false;
    return false;
  }

  const char* p_;
  const char* end_;
  bool ok_ = true;
  uint32_t field_ = 0;
  uint32_t type_ = 0;
  uint64_t varint_ = 0;
  absl::string_view bytes_;
};

}  // namespace proxy::momento
