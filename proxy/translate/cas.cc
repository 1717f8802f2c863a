#include "proxy/translate/cas.h"

namespace proxy::translate {

uint64_t CasToken(absl::string_view prefix, absl::string_view body) {
  if (prefix.empty()) return CasToken(body);
  XXH3_state_t state;
  XXH3_64bits_reset_withSeed(&state, kCasSeed);
  XXH3_64bits_update(&state, prefix.data(), prefix.size());
  XXH3_64bits_update(&state, body.data(), body.size());
  const uint64_t token = XXH3_64bits_digest(&state);
  return token == 0 ? 1 : token;
}

}  // namespace proxy::translate
