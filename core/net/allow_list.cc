#include "core/net/allow_list.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace core {

AllowList::AllowList(const std::vector<std::string>& blocks) {
  for (const std::string& block : blocks) blocks_.push_back(*config::ParseCidr(block));
}

bool AllowList::Admits(const std::array<uint8_t, 16>& peer) const {
  return blocks_.empty() || std::any_of(blocks_.begin(), blocks_.end(), [&](const auto& block) {
           return block.Contains(peer);
         });
}

bool AllowList::AdmitsPeerOf(int fd) const {
  if (blocks_.empty()) return true;
  struct sockaddr_storage storage = {};
  socklen_t size = sizeof storage;
  if (::getpeername(fd, reinterpret_cast<struct sockaddr*>(&storage), &size) != 0) return false;
  std::array<uint8_t, 16> peer;
  if (storage.ss_family == AF_INET6) {
    struct sockaddr_in6 v6;
    std::memcpy(&v6, &storage, sizeof v6);
    std::memcpy(peer.data(), &v6.sin6_addr, peer.size());
    return Admits(peer);
  }
  if (storage.ss_family != AF_INET) return false;
  struct sockaddr_in v4;
  std::memcpy(&v4, &storage, sizeof v4);
  const auto& prefix = config::kMappedPrefix;
  std::copy(prefix.begin(), prefix.end(), peer.begin());
  std::memcpy(peer.data() + prefix.size(), &v4.sin_addr, sizeof v4.sin_addr);
  return Admits(peer);
}

}  // namespace core
