#include "core/auth/peer_limit.h"

#include <algorithm>

namespace core {

bool PeerLimit::Allows(absl::string_view peer, int64_t now_ms) {
  const auto it = full_at_ms_.find(peer);
  if (it != full_at_ms_.end()) return !Empty(it->second, now_ms);
  return full_at_ms_.size() < kPeersMax || !Empty(others_full_at_ms_, now_ms);
}

void PeerLimit::Fail(absl::string_view peer, int64_t now_ms) {
  int64_t* const full_at_ms = BucketOf(peer, now_ms);
  *full_at_ms = std::max(*full_at_ms, now_ms) + kRefillMs;
}

int64_t* PeerLimit::BucketOf(absl::string_view peer, int64_t now_ms) {
  if (full_at_ms_.size() >= kPeersMax && !full_at_ms_.contains(peer)) {
    absl::erase_if(full_at_ms_, [=](const auto& one) { return one.second <= now_ms; });
    if (full_at_ms_.size() >= kPeersMax) return &others_full_at_ms_;
  }
  return &full_at_ms_[peer];
}

}  // namespace core
