#include "config/validate.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
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

// The addresses a product will listen on, so that none is asked for twice.
class Listeners {
 public:
  explicit Listeners(Checks* checks) : checks_(checks) {}

  // `path` is the section; `host_key` and `port_key` its two keys.
  void Add(const std::string& path, absl::string_view host_key, const std::string& host,
           absl::string_view port_key, uint16_t port) {
    const std::string host_path = absl::StrCat(path, ".", host_key);
    const std::string port_path = absl::StrCat(path, ".", port_key);
    checks_->Expect(!host.empty() && host.find_first_of(" \t\r\n") == std::string::npos, host_path,
                    absl::StrCat("expected an address to listen on, got \"", host, "\""));
    if (port == 0) return;  // Each gets a free one of its own.
    for (const Taken& taken : taken_) {
      checks_->Expect(!Clash(taken, host, port), port_path,
                      absl::StrCat(host, ":", port, " is already taken by ", taken.path));
    }
    taken_.push_back({port_path, host, port});
  }

 private:
  struct Taken {
    std::string path;
    std::string host;
    uint16_t port;
  };

  static bool IsAny(absl::string_view host) {
    return host == "0.0.0.0" || host == "::" || host == "*";
  }
  static bool Clash(const Taken& taken, const std::string& host, uint16_t port) {
    return taken.port == port && (taken.host == host || IsAny(taken.host) || IsAny(host));
  }

  Checks* const checks_;
  std::vector<Taken> taken_;
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

void CheckMomento(const Momento& momento, Checks* checks) {
  checks->Expect(momento.endpoint_override.empty() || IsHostPort(momento.endpoint_override),
                 "momento.endpoint_override",
                 absl::StrCat("expected host:port, got \"", momento.endpoint_override, "\""));
  checks->Expect(momento.ca_file.empty() || ::access(momento.ca_file.c_str(), R_OK) == 0,
                 "momento.ca_file", absl::StrCat("cannot read \"", momento.ca_file, "\""));
}

void CheckCache(const Cache& cache, const std::string& path, Checks* checks) {
  checks->Expect(!cache.cache_name.empty(), path + ".cache_name",
                 "required, the name of a Momento cache");
  checks->Expect(cache.default_ttl <= cache.max_ttl, path + ".default_ttl",
                 absl::StrCat(SpellDuration(cache.default_ttl), " is longer than max_ttl (",
                              SpellDuration(cache.max_ttl), ")"));
}

}  // namespace

absl::Status Validate(const MomentoProxy& proxy, const Places& places) {
  Checks checks(places);
  checks.Expect(!proxy.caches.empty(), "cache",
                "no [[cache]] is configured; name one, or start with --local");
  Listeners listeners(&checks);
  for (size_t i = 0; i < proxy.caches.size(); ++i) {
    const std::string path = absl::StrCat("cache[", i, "]");
    CheckCache(proxy.caches[i], path, &checks);
    listeners.Add(path, "host", proxy.caches[i].host, "port", proxy.caches[i].port);
  }
  AddAdmin(proxy.admin, &listeners);
  CheckMomento(proxy.momento, &checks);
  CheckLocal(proxy.local, &checks);
  CheckSeg(proxy.seg, &checks);
  return checks.status();
}

absl::Status Validate(const Segcache& segcache, const Places& places) {
  Checks checks(places);
  Listeners listeners(&checks);
  listeners.Add("listen", "host", segcache.listen.host, "port", segcache.listen.port);
  AddAdmin(segcache.admin, &listeners);
  CheckSeg(segcache.seg, &checks);
  return checks.status();
}

absl::Status Validate(const Pingserver& pingserver, const Places& places) {
  Checks checks(places);
  Listeners listeners(&checks);
  listeners.Add("listen", "host", pingserver.listen.host, "port", pingserver.listen.port);
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
