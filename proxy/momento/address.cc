// See address.h.
#include "proxy/momento/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace proxy::momento {
namespace {

constexpr absl::string_view kUnix = "unix:";
constexpr absl::string_view kUnixAbstract = "unix-abstract:";

// `abstract`: the name begins with a zero byte and has no end but the address's size (unix(7)).
std::optional<Address> UnixAddress(absl::string_view name, bool abstract) {
  sockaddr_un un = {};
  un.sun_family = AF_UNIX;
  const size_t lead = abstract ? 1 : 0;
  if (name.empty() || lead + name.size() >= sizeof(un.sun_path)) return std::nullopt;
  std::memcpy(un.sun_path + lead, name.data(), name.size());
  Address address;
  std::memcpy(&address.storage, &un, sizeof(un));
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + lead + name.size() +
                                        (abstract ? 0 : 1));
  return address;
}

bool IsUnix(absl::string_view text) {
  return absl::StartsWith(text, kUnix) || absl::StartsWith(text, kUnixAbstract);
}

}  // namespace

std::optional<Address> NumericAddress(const std::string& host, uint16_t port) {
  absl::string_view name = host;
  if (absl::ConsumePrefix(&name, kUnixAbstract)) return UnixAddress(name, true);
  if (absl::ConsumePrefix(&name, kUnix)) return UnixAddress(name, false);
  Address address;
  sockaddr_in v4 = {};
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&address.storage, &v4, sizeof(v4));
    address.size = sizeof(v4);
    return address;
  }
  sockaddr_in6 v6 = {};
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&address.storage, &v6, sizeof(v6));
    address.size = sizeof(v6);
    return address;
  }
  return std::nullopt;
}

std::optional<HostPort> SplitHostPort(absl::string_view text) {
  if (IsUnix(text)) {
    if (!NumericAddress(std::string(text), 0)) return std::nullopt;
    return HostPort{std::string(text), 0};
  }
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  absl::string_view host = text.substr(0, colon);
  int port;
  if (!absl::SimpleAtoi(text.substr(colon + 1), &port) || port < 1 || port > 65535) {
    return std::nullopt;
  }
  const bool bracketed = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  if (host.empty() || (!bracketed && host.find(':') != absl::string_view::npos)) {
    return std::nullopt;
  }
  return HostPort{std::string(host), static_cast<uint16_t>(port)};
}

}  // namespace proxy::momento
