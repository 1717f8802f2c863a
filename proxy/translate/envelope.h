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
//        [F5] ['M']['P'][ 0x03 ][ state:1 ][ token:8 ...  12 ][ flags:4 ][ value ... ]   kMarkState
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
// The last of them is how the state of an item reaches every client of a fleet: what meta commands
// know of an item beside its value. Only items that have such state are stored so, in the two marked
// forms; readers of `raw` and `flags4` know no such marks, so these forms keep no state.
//
//   state  bit 0   stale: an I has said that the value is out of date
//          bit 1   win taken: one client was told to make the value anew; the others wait
//          bit 2   ranked: clients count their tokens up (E), so that one can be older than another
//          others  0; with one of them set it is no such mark
//   token          what clients compare: it is told as it is, while bits come and go
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
  static constexpr size_t kBytesMax = 17;
  std::array<char, kBytesMax> bytes_;
  uint8_t size_ = 0;
};

// What an item is beside its value and flags.
struct ItemState {
  bool stale = false;
  bool win_taken = false;
  bool ranked = false;
  uint64_t token = 0;
};

// Whether items of this form can have a state.
constexpr bool KeepsState(EnvelopeForm form) {
  return form == EnvelopeForm::kTransparent || form == EnvelopeForm::kNonce;
}

// `nonce` is used by form kNonce only. `value` is looked at, not copied.
EnvelopePrefix Wrap(EnvelopeForm form, uint32_t flags, absl::string_view value, uint64_t nonce);
// For a form that keeps state.
EnvelopePrefix WrapWithState(const ItemState& state, uint32_t flags);

struct Unwrapped {
  absl::string_view value;  // The tail of the stored bytes.
  uint32_t flags = 0;
  std::optional<ItemState> state = {};
};
// Nothing when the stored bytes are not a value of this form.
std::optional<Unwrapped> Unwrap(EnvelopeForm form, absl::string_view stored);

}  // namespace proxy::translate
