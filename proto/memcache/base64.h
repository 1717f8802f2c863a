// Keys in base64, as meta commands with the flag b have them.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace proto::memcache {

// What `text` says, into *out. Returns false, *out unspecified, where memcached does: at no digits,
// at digits and "=" that are no multiple of four, and at more than two "=" in the four that end the
// text. As there, other bytes are passed over, and so is what follows a group of four with a "=". Never
// longer than `text`; never empty.
bool DecodeBase64(absl::string_view text, std::string* out);

}  // namespace proto::memcache
