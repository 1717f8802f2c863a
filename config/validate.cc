#include "config/validate.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "config/cidr.h"
#include "config/memory_limit.h"
#include "config/names.h"
#include "config/units.h"

namespace config {
namespace {

// The failures a gRPC call may have, as local.fault_error spells them.
constexpr std::array<absl::string_view, 16> kStatuses = {
    "cancelled",      "unknown",           "invalid-argument",   "deadline-exceeded",   "not-found",
    "already-exists", "permission-denied", "resource-exhausted", "failed-precondition", "aborted",
    "out-of-range",   "unimplemented",     "internal",           "unavailable",         "data-loss",
    "unauthenticated"};

// Collects nothing but the first complaint.
class Checks {
 public:
  explicit Checks(const Places& places) : places_(places) {}
  void Expect(bool fine, absl::string_view path, absl::string_view what) {
    if (!fine && status_.ok()) status_ = Complaint(places_.Of(path), path, what);
  }
  const absl::Status& status() const { return status_; }

 private:
  const Places& places_;
  absl::Status status_;
};

// Whether the knobs of TLS go together; the files are looked into by who can read certificates.
void CheckTls(const Tls& tls, const std::string& path, Checks* checks) {
  const bool asks = tls.client_certificate != Tls::ClientCertificate::kOff;
  const absl::string_view mode =
      Tls::kClientCertificates[static_cast<size_t>(tls.client_certificate)];
  for (const auto& [key, fine] :
       {std::pair("key_file", tls.key_file.empty()),
        std::pair("client_ca_file", tls.client_ca_file.empty()),
        std::pair("client_certificate", !asks)}) {
    checks->Expect(fine || tls.enabled(), absl::StrCat(path, ".tls_", key),
                   "there is no tls_certificate_file here, so there is no TLS");
  }
  checks->Expect(!asks || !tls.client_ca_file.empty(), path + ".tls_client_certificate",
                 absl::StrCat(mode, ", and no tls_client_ca_file says whose are good"));
  checks->Expect(asks || tls.client_ca_file.empty(), path + ".tls_client_ca_file",
                 "no client is asked for a certificate; expected tls_client_certificate optional "
                 "or required");
}

// The addresses a product will listen on, so that none is asked for twice.
class Listeners {
 public:
  explicit Listeners(Checks* checks) : checks_(checks) {}

  // `path` is the section; `host_key` and `port_key` its two keys. `hint` ends a complaint.
  void Add(const std::string& path, absl::string_view host_key, absl::string_view host,
           absl::string_view port_key, uint16_t port, absl::string_view hint = "") {
    const std::string host_path = absl::StrCat(path, ".", host_key);
    const std::string port_path = absl::StrCat(path, ".", port_key);
    checks_->Expect(!host.empty() && host.find_first_of(" \t\r\n") == std::string::npos, host_path,
                    absl::StrCat("expected an address to listen on, got \"", host, "\""));
    if (port == 0) return;  // Each gets a free one of its own.
    for (const Taken& taken : taken_) {
      checks_->Expect(!Clash(taken, host, port), port_path,
                      absl::StrCat(host, ":", port, " is already taken by ", taken.path, hint));
    }
    taken_.push_back({port_path, std::string(host), port});
  }

  // `routed`: others hand requests on to what listens there, so that it need not.
  void Add(const std::string& path, const Listener& listen, bool routed = false) {
    if (listen.tcp) {
      for (const absl::string_view host : absl::StrSplit(listen.host, ',')) {
        Add(path, "host", host, "port", listen.port,
            routed ? "; to be reached by routes alone it takes tcp = false" : "");
      }
    } else {
      checks_->Expect(listen.listens() || routed, path + ".tcp",
                      "there is no unix_socket to listen on instead");
    }
    checks_->Expect(ModeOf(listen.unix_mask).has_value(), path + ".unix_mask",
                    absl::StrCat("expected permissions in octal, such as \"770\", got \"",
                                 listen.unix_mask, "\""));
    if (!listen.unix_socket.empty()) AddUnix(path + ".unix_socket", listen.unix_socket);
    CheckAllow(path + ".allow", listen);
    checks_->Expect(listen.tcp || !listen.tls.enabled(), path + ".tls_certificate_file",
                    "TLS is spoken over TCP, and tcp is off");
    CheckTls(listen.tls, path, checks_);
  }

 private:
  // sun_path of unix(7) has 108 bytes, one of them for the end.
  static constexpr size_t kUnixPathMax = 107;

  void CheckAllow(const std::string& path, const Listener& listen) {
    checks_->Expect(listen.tcp || listen.allow.empty(), path,
                    "addresses are of TCP, and tcp is off; unix_mask says who may use the socket");
    for (const std::string& block : listen.allow) {
      const absl::StatusOr<Cidr> cidr = ParseCidr(block);
      checks_->Expect(cidr.ok(), path, cidr.status().message());
    }
  }

  void AddUnix(const std::string& path, const std::string& socket) {
    checks_->Expect(socket.size() <= kUnixPathMax, path,
                    absl::StrCat("\"", socket, "\" is longer than the ", kUnixPathMax,
                                 " bytes that a unix socket's path may have"));
    checks_->Expect(unix_.insert(socket).second, path,
                    absl::StrCat("\"", socket, "\" is already taken"));
  }

  struct Taken {
    std::string path;
    std::string host;
    uint16_t port;
  };

  static bool IsAny(absl::string_view host) {
    return host == "0.0.0.0" || host == "::" || host == "*";
  }
  static bool Clash(const Taken& taken, absl::string_view host, uint16_t port) {
    return taken.port == port && (taken.host == host || IsAny(taken.host) || IsAny(host));
  }

  Checks* const checks_;
  std::vector<Taken> taken_;
  std::set<std::string> unix_;
};

void AddAdmin(const Admin& admin, Listeners* listeners) {
  if (admin.enabled) listeners->Add("admin", "host", admin.host, "port", admin.port);
  if (admin.http_enabled) {
    listeners->Add("admin", "http_host", admin.http_host, "http_port", admin.http_port);
  }
}

void CheckSeg(const Seg& seg, Checks* checks) {
  const uint64_t least = 2 * seg.segment_size;
  checks->Expect(seg.heap_size >= least, "seg.heap_size",
                 absl::StrCat(SpellSize(seg.heap_size), " is less than two segments (",
                              SpellSize(least), ")"));
}

void CheckSeg(const MainSeg& seg, Checks* checks) {
  if (seg.memory == 0) return CheckSeg(static_cast<const Seg&>(seg), checks);
  checks->Expect(seg.heap_size == Seg().heap_size, "seg.memory",
                 absl::StrCat(SpellSize(seg.memory), " for everything and seg.heap_size ",
                              SpellSize(seg.heap_size), " for items; expected at most one of them"));
}

void CheckLocal(const LocalService& local, Checks* checks) {
  const bool known =
      std::find(kStatuses.begin(), kStatuses.end(), local.fault_error) != kStatuses.end();
  checks->Expect(known, "local.fault_error",
                 absl::StrCat("expected a gRPC status such as \"resource-exhausted\", got \"",
                              local.fault_error, "\""));
}

// host:port, [v6]:port.
bool IsHostPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return false;
  absl::string_view host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != absl::string_view::npos) {
    return false;
  }
  uint32_t port = 0;
  return !host.empty() && host.find_first_of(" \t/@[]") == absl::string_view::npos &&
         absl::SimpleAtoi(text.substr(colon + 1), &port) && port >= 1 && port <= 65535;
}

void CheckReadable(const std::string& file, const std::string& path, Checks* checks) {
  if (file.empty()) return;
  const bool is_readable = ::access(file.c_str(), R_OK) == 0;
  checks->Expect(is_readable, path,
                 absl::StrCat("cannot read \"", file, "\": ", std::strerror(errno)));
}

void CheckKey(const std::string& key, const std::string& file, const std::string& section,
              Checks* checks) {
  checks->Expect(key.empty() || file.empty(), section + ".api_key_file",
                 absl::StrCat(section, ".api_key is set too; a key has one source"));
  CheckReadable(file, section + ".api_key_file", checks);
}

void CheckMomento(const Momento& momento, Checks* checks) {
  CheckKey(momento.api_key, momento.api_key_file, "momento", checks);
  checks->Expect(momento.endpoint_override.empty() || IsHostPort(momento.endpoint_override),
                 "momento.endpoint_override",
                 absl::StrCat("expected host:port, got \"", momento.endpoint_override, "\""));
  CheckReadable(momento.ca_file, "momento.ca_file", checks);
}

constexpr uint64_t kNearLeast = 256 * kKB;  // As seg.heap_size.

void CheckNear(const Cache& cache, const std::string& path, Checks* checks) {
  if (cache.near_size == 0) return;
  checks->Expect(cache.near_size >= kNearLeast, path + ".near_size",
                 absl::StrCat(SpellSize(cache.near_size), " is less than ", SpellSize(kNearLeast),
                              "; 0 switches the near cache off"));
}

// What waits for its turn must be able to get it before its time is over.
void CheckOverload(const Cache& cache, const std::string& path, Checks* checks) {
  constexpr uint64_t kOperationBytes = kKB;  // What one operation counts for.
  const double deadline_sec = absl::ToDoubleSeconds(cache.deadline);
  const auto check = [&](absl::string_view key, uint64_t per_second, uint64_t least,
                         absl::string_view what) {
    checks->Expect(
        per_second == 0 || static_cast<double>(per_second) * deadline_sec >=
                               static_cast<double>(least),
        absl::StrCat(path, ".", key),
        absl::StrCat(per_second, " a second is not ", what, " within the deadline (",
                     SpellDuration(cache.deadline), "): nothing that waits would be in time"));
  };
  check("operations_per_second", cache.operations_per_second, 1, "one");
  check("bytes_per_second", cache.bytes_per_second, kOperationBytes, "the 1KB of an operation");
}

// Whether keys of another cache's listener are handed on to `cache`.
bool IsRoutedTo(const MomentoProxy& proxy, const Cache& cache) {
  return std::any_of(proxy.caches.begin(), proxy.caches.end(), [&](const Cache& from) {
    return &from != &cache &&
           std::any_of(from.routes.begin(), from.routes.end(),
                       [&](const Route& route) { return route.cache == cache.cache_name; });
  });
}

void CheckPrefix(const std::string& prefix, const std::string& path, Checks* checks) {
  checks->Expect(!prefix.empty(), path,
                 "empty, and every key begins so; what has no route is the matter of no_route");
  checks->Expect(prefix.size() <= kRoutePrefixMax, path,
                 absl::StrCat("of ", prefix.size(), " bytes; expected ", kRoutePrefixMax,
                              " at most, so that a key can be longer"));
  const bool is_of_a_key = std::none_of(prefix.begin(), prefix.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
  });
  checks->Expect(is_of_a_key, path,
                 absl::StrCat("\"", absl::CEscape(prefix),
                              "\" has a space or a control character, which no key has"));
}

// Two keys of one listener must not be one item: what a route strips for, no other leads to.
void CheckStrips(const std::vector<Route>& routes, size_t at, const std::string& section,
                 Checks* checks) {
  for (size_t j = 0; j < at; ++j) {
    const bool apart = routes[j].cache != routes[at].cache || (!routes[j].strip && !routes[at].strip);
    checks->Expect(apart, absl::StrCat(section, ".route[", at, "].cache"),
                   absl::StrCat("route[", j, "] leads to \"", routes[at].cache,
                                "\" too, and with a prefix stripped two keys would be one item"));
  }
}

void CheckRoute(const MomentoProxy& proxy, const Cache& cache, size_t at,
                const std::string& section, Checks* checks) {
  const Route& route = cache.routes[at];
  const std::string path = absl::StrCat(section, ".route[", at, "]");
  CheckPrefix(route.prefix, path + ".prefix", checks);
  for (size_t j = 0; j < at; ++j) {
    checks->Expect(cache.routes[j].prefix != route.prefix, path + ".prefix",
                   absl::StrCat("\"", route.prefix, "\" is already that of route[", j, "]"));
  }
  std::vector<std::string> names;
  for (const Cache& one : proxy.caches) names.push_back(one.cache_name);
  const bool known = std::find(names.begin(), names.end(), route.cache) != names.end();
  const std::string near = known ? "" : Nearest(route.cache, names, {});
  checks->Expect(known, path + ".cache",
                 absl::StrCat("no [[cache]] has the cache_name \"", route.cache, "\"",
                              near.empty() ? "" : absl::StrCat("; did you mean \"", near, "\"?")));
  // Where keys without a route are refused, the cache's own keys need one like those of others.
  checks->Expect(route.cache != cache.cache_name || cache.no_route == Cache::NoRoute::kError,
                 path + ".cache",
                 absl::StrCat("\"", route.cache,
                              "\" is this listener's own, which keys without a route go to anyway"));
  CheckStrips(cache.routes, at, section, checks);
}

void CheckRoutes(const MomentoProxy& proxy, const Cache& cache, const std::string& path,
                 Checks* checks) {
  checks->Expect(cache.no_route == Cache::NoRoute::kOwn || !cache.routes.empty(),
                 path + ".no_route", "error, and there is no route: every key would be refused");
  checks->Expect(cache.listens() || cache.routes.empty(), path + ".route",
                 "tcp is off and there is no unix_socket, so nothing comes here to be routed");
  checks->Expect(cache.listens() || cache.auth_file.empty(), path + ".auth_file",
                 "tcp is off and there is no unix_socket, so nobody logs in here; logins are the "
                 "matter of the listeners that route to it");
  for (size_t i = 0; i < cache.routes.size(); ++i) CheckRoute(proxy, cache, i, path, checks);
}

void CheckCache(const Cache& cache, const std::string& path, Checks* checks) {
  checks->Expect(!cache.cache_name.empty(), path + ".cache_name",
                 "required, the name of a Momento cache");
  CheckKey(cache.api_key, cache.api_key_file, path, checks);
  checks->Expect(cache.default_ttl <= cache.max_ttl, path + ".default_ttl",
                 absl::StrCat(SpellDuration(cache.default_ttl), " is longer than max_ttl (",
                              SpellDuration(cache.max_ttl), ")"));
  CheckNear(cache, path, checks);
  CheckOverload(cache, path, checks);
}

}  // namespace

absl::Status Validate(const MomentoProxy& proxy, const Places& places) {
  Checks checks(places);
  checks.Expect(!proxy.caches.empty(), "cache",
                "no [[cache]] is configured; name one, or start with --local");
  Listeners listeners(&checks);
  const uint64_t memory_bytes = MemoryLimit();
  uint64_t near_bytes = 0;
  for (size_t i = 0; i < proxy.caches.size(); ++i) {
    const std::string path = absl::StrCat("cache[", i, "]");
    CheckCache(proxy.caches[i], path, &checks);
    near_bytes += proxy.caches[i].near_size;
    checks.Expect(near_bytes <= memory_bytes, path + ".near_size",
                  absl::StrCat("near caches of ", SpellSize(near_bytes),
                               " in all are more than the memory this process may have (",
                               SpellSize(memory_bytes), ")"));
    listeners.Add(path, proxy.caches[i], IsRoutedTo(proxy, proxy.caches[i]));
    // Each would count under the same name, and not know of the other's writes: neither the order
    // of commands on a key nor what a near cache promises would hold across the two.
    for (size_t j = 0; j < i; ++j) {
      checks.Expect(proxy.caches[j].cache_name != proxy.caches[i].cache_name, path + ".cache_name",
                    absl::StrCat("\"", proxy.caches[i].cache_name, "\" is already that of cache[", j,
                                 "]; to be reached in more ways it takes several addresses in host, "
                                 "and a unix_socket"));
    }
  }
  for (size_t i = 0; i < proxy.caches.size(); ++i) {
    CheckRoutes(proxy, proxy.caches[i], absl::StrCat("cache[", i, "]"), &checks);
  }
  CheckTls(proxy.server.tls, "server", &checks);
  AddAdmin(proxy.admin, &listeners);
  CheckMomento(proxy.momento, &checks);
  CheckLocal(proxy.local, &checks);
  CheckSeg(proxy.seg, &checks);
  return checks.status();
}

absl::Status Validate(const Segcache& segcache, const Places& places) {
  Checks checks(places);
  Listeners listeners(&checks);
  listeners.Add("listen", segcache.listen);
  AddAdmin(segcache.admin, &listeners);
  CheckSeg(segcache.seg, &checks);
  return checks.status();
}

absl::Status Validate(const Pingserver& pingserver, const Places& places) {
  Checks checks(places);
  Listeners listeners(&checks);
  listeners.Add("listen", pingserver.listen);
  AddAdmin(pingserver.admin, &listeners);
  return checks.status();
}

absl::Status Validate(const MomentoLocal& local, const Places& places) {
  Checks checks(places);
  Listeners listeners(&checks);
  listeners.Add("local", "host", local.local.host, "port", local.local.port);
  AddAdmin(local.admin, &listeners);
  CheckLocal(local.local, &checks);
  CheckSeg(local.seg, &checks);
  return checks.status();
}

}  // namespace config
