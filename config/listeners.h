// The memcache and ping listeners of a product as they will be opened: every one with the TLS that
// applies to it, and with where in the configuration its knobs stand.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "config/products.h"

namespace config {

// Who may log in: a file, empty if nobody is asked, and the knob that names it.
struct AuthFile {
  std::string knob, file;
};

struct PlacedListener {
  std::string path;      // "listen", "cache[0]"
  std::string tls_path;  // The same, or "server" where the TLS of all caches applies.
  Listener listener;
  AuthFile auth;
};

// The TLS that `cache` is served with: its own, or that of [server].
inline bool HasServerTls(const Cache& cache) {
  return cache.server_tls && cache.tcp && !cache.tls.enabled();
}
inline Listener ListenerOf(const ProxyServer& server, const Cache& cache) {
  Listener listener = cache;
  if (HasServerTls(cache)) listener.tls = server.tls;
  return listener;
}

// Those who may log in to `cache`: its own, or those of [server].
inline AuthFile AuthFileOf(const ProxyServer& server, const Cache& cache) {
  if (!cache.auth_file.empty()) return {"cache.auth_file", cache.auth_file};
  return {"server.auth_file", server.auth_file};
}

template <class Product>
std::vector<PlacedListener> ListenersOf(const Product& product) {
  std::vector<PlacedListener> all;
  if constexpr (requires { product.listen; }) {
    PlacedListener one{"listen", "listen", product.listen, {}};
    if constexpr (requires { product.server.auth_file; }) {
      one.auth = {"server.auth_file", product.server.auth_file};
    }
    all.push_back(std::move(one));
  }
  if constexpr (requires { product.caches; }) {
    for (size_t i = 0; i < product.caches.size(); ++i) {
      const std::string path = absl::StrCat("cache[", i, "]");
      const bool inherits = HasServerTls(product.caches[i]);
      all.push_back({path, inherits ? "server" : path,
                     ListenerOf(product.server, product.caches[i]),
                     AuthFileOf(product.server, product.caches[i])});
    }
  }
  return all;
}

}  // namespace config
