// The envelope: how memcached's 32-bit flags travel with a value that Momento knows as bytes alone.
//
//   form         stored bytes
//   raw          value                                   Flags are dropped.
//   flags4       flags:4 value                           What Momento's own proxy stores.
//   transparent  value                                   Flags 0 and no magic in front; else marked.
//   nonce        always marked, with a nonce
//
// A marked value, all numbers big-endian:
//
//   byte  0    1    2    3       4 ..      7  8
//        [F5] ['M']['P'][ 0x01 ][  flags:4  ][ value ... ]             kMarkFlags
//        [F5] ['M']['P'][ 0x02 ][  nonce:8 ...  11 ][ flags:4 ][ value ... ]   kMarkNonce
//
// Byte 3 is the version of what follows. The magic starts with a byte that no UTF-8 text contains.
// A bare value that happens to begin with the magic is marked when stored, so every byte string
// comes back as it was. `transparent` and `nonce` are one form for readers. Bytes that begin with
// the magic but are no whole marked value, or of a version not known here, were stored by somebody
// else: they are a bare value.
//
// The nonce makes two stores of equal bytes differ, so that a cas sees A -> B -> A: the service's
// hash is of the bytes alone.
//
// flags4 data shorter than 4 bytes is not a value of that form and reads as absent. (Momento's own
// proxy never stores an empty value; we do, as its 4 bytes of flags.)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "config/momento.h"

namespace proxy::translate {

using EnvelopeForm = config::Cache::Envelope;

// What goes in front of the value.
class EnvelopePrefix {
 public:
  absl::string_view view() const { return absl::string_view(bytes_.data(), size_); }
  void Append(absl::string_view bytes);
  void AppendBigEndian(uint64_t value, int bytes);

 private:
  static constexpr size_t kBytesMax = 16;
  std::array<char, kBytesMax> bytes_;
  uint8_t size_ = 0;
};

// `nonce` is used by form kNonce only. `value` is looked at, not copied.
EnvelopePrefix Wrap(EnvelopeForm form, uint32_t flags, absl::string_view value, uint64_t nonce);

struct Unwrapped {
  absl::string_view value;  // The tail of the stored bytes.
  uint32_t flags = 0;
};
// Nothing when the stored bytes are not a value of this form.
std::optional<Unwrapped> Unwrap(EnvelopeForm form, absl::string_view stored);

}  // namespace proxy::translate
