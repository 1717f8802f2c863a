// See envelope.h for the layout.
#include "proxy/translate/envelope.h"

#include <cstring>

#include "absl/strings/match.h"
#include "core/base/check.h"

namespace proxy::translate {
namespace {

constexpr absl::string_view kMagic("\xF5MP", 3);
constexpr char kMarkFlags = 0x01;
constexpr char kMarkNonce = 0x02;
constexpr char kMarkState = 0x03;
constexpr size_t kMarkBytes = 4;  // The magic and the version.
constexpr size_t kNonceBytes = 8;
constexpr size_t kFlagsBytes = 4;
constexpr size_t kStateBytes = 1;
constexpr size_t kTokenBytes = 8;
constexpr size_t kStateForm = kMarkBytes + kStateBytes + kTokenBytes + kFlagsBytes;
static_assert(kMarkBytes + kNonceBytes + kFlagsBytes < kStateForm);
static_assert(kStateForm == 17, "EnvelopePrefix::kBytesMax");

constexpr uint8_t kStale = 1 << 0;
constexpr uint8_t kWinTaken = 1 << 1;
constexpr uint8_t kRanked = 1 << 2;
constexpr uint8_t kKnownBits = kStale | kWinTaken | kRanked;

uint64_t ReadBigEndian(absl::string_view bytes) {
  uint64_t number = 0;
  for (const char byte : bytes) number = number << 8 | static_cast<uint8_t>(byte);
  return number;
}

// The value behind `skip` bytes and the flags that end there.
Unwrapped Behind(absl::string_view stored, size_t skip) {
  const uint64_t flags = ReadBigEndian(stored.substr(skip - kFlagsBytes, kFlagsBytes));
  return Unwrapped{stored.substr(skip), static_cast<uint32_t>(flags)};
}

// Nothing if a bit is set that has no meaning here.
std::optional<Unwrapped> BehindState(absl::string_view stored) {
  const auto bits = static_cast<uint8_t>(stored[kMarkBytes]);
  if ((bits & ~kKnownBits) != 0) return std::nullopt;
  Unwrapped item = Behind(stored, kStateForm);
  item.state = {.stale = (bits & kStale) != 0,
                .win_taken = (bits & kWinTaken) != 0,
                .ranked = (bits & kRanked) != 0,
                .token = ReadBigEndian(stored.substr(kMarkBytes + kStateBytes, kTokenBytes))};
  return item;
}

Unwrapped UnwrapMarked(absl::string_view stored) {
  constexpr size_t kFlagsForm = kMarkBytes + kFlagsBytes;
  constexpr size_t kNonceForm = kMarkBytes + kNonceBytes + kFlagsBytes;
  if (stored.size() > kMagic.size() && absl::StartsWith(stored, kMagic)) [[unlikely]] {
    const char mark = stored[kMagic.size()];
    if (mark == kMarkFlags && stored.size() >= kFlagsForm) return Behind(stored, kFlagsForm);
    if (mark == kMarkNonce && stored.size() >= kNonceForm) return Behind(stored, kNonceForm);
    if (mark == kMarkState && stored.size() >= kStateForm) {
      const std::optional<Unwrapped> item = BehindState(stored);
      if (item.has_value()) return *item;
    }
  }
  return Unwrapped{stored, 0};
}

}  // namespace

void EnvelopePrefix::Append(absl::string_view bytes) {
  CHECK(size_ + bytes.size() <= kBytesMax);
  std::memcpy(bytes_.data() + size_, bytes.data(), bytes.size());
  size_ = static_cast<uint8_t>(size_ + bytes.size());
}

void EnvelopePrefix::AppendBigEndian(uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    const char byte = static_cast<char>(value >> shift & 0xff);
    Append(absl::string_view(&byte, 1));
  }
}

EnvelopePrefix Wrap(EnvelopeForm form, uint32_t flags, absl::string_view value, uint64_t nonce) {
  EnvelopePrefix prefix;
  switch (form) {
    case EnvelopeForm::kRaw:
      return prefix;
    case EnvelopeForm::kFlags4:
      break;
    case EnvelopeForm::kTransparent:
      if (flags == 0 && !absl::StartsWith(value, kMagic)) [[likely]] return prefix;
      prefix.Append(kMagic);
      prefix.Append(absl::string_view(&kMarkFlags, 1));
      break;
    case EnvelopeForm::kNonce:
      prefix.Append(kMagic);
      prefix.Append(absl::string_view(&kMarkNonce, 1));
      prefix.AppendBigEndian(nonce, kNonceBytes);
      break;
  }
  prefix.AppendBigEndian(flags, kFlagsBytes);
  return prefix;
}

EnvelopePrefix WrapWithState(const ItemState& state, uint32_t flags) {
  EnvelopePrefix prefix;
  prefix.Append(kMagic);
  prefix.Append(absl::string_view(&kMarkState, 1));
  prefix.AppendBigEndian((state.stale ? kStale : 0) | (state.win_taken ? kWinTaken : 0) |
                             (state.ranked ? kRanked : 0),
                         kStateBytes);
  prefix.AppendBigEndian(state.token, kTokenBytes);
  prefix.AppendBigEndian(flags, kFlagsBytes);
  return prefix;
}

std::optional<Unwrapped> Unwrap(EnvelopeForm form, absl::string_view stored) {
  switch (form) {
    case EnvelopeForm::kRaw:
      return Unwrapped{stored, 0};
    case EnvelopeForm::kFlags4:
      if (stored.size() < kFlagsBytes) return std::nullopt;
      return Behind(stored, kFlagsBytes);
    case EnvelopeForm::kTransparent:
    case EnvelopeForm::kNonce:
      break;
  }
  return UnwrapMarked(stored);
}

}  // namespace proxy::translate
