// momento_local: a Momento-compatible cache service in this process, over the Segcache engine.
//
// A product by itself, and the peer of momento_proxy --local and of tests. Plaintext HTTP/2 on TCP
// or a Unix socket; the library's own threads serve it. Everything it keeps is gone with it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "config/products.h"
#include "config/seg.h"
#include "core/base/clock.h"
#include "core/log/log.h"
#include "core/metrics/metrics.h"

namespace cache::local {

// Any method may be called from any thread.
class LocalServer {
 public:
  // Listens and serves. `options.host` is an address, or "unix:/path", or "unix-abstract:name";
  // port 0 picks a free one. Each cache gets a heap of `engine`, its segments made large enough for
  // options.item_size_max. `clock`, `registry` and `log` outlive the server; at most one server a
  // registry. Errors name the knob and the reason; then nothing is left running.
  static absl::StatusOr<std::unique_ptr<LocalServer>> Start(const config::Local& options,
                                                            const config::Seg& engine,
                                                            const core::Clock* clock,
                                                            core::Registry* registry,
                                                            core::Log* log);
  // As Shutdown(0).
  ~LocalServer();
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  // The TCP port; 0 on a Unix socket.
  int port() const;
  // What a client dials: "127.0.0.1:8080", "[::1]:8080", "unix:/path", "unix-abstract:name".
  const std::string& target() const;

  // As the calls of the same name; for whoever embeds the server. ALREADY_EXISTS if there is one.
  absl::Status CreateCache(absl::string_view name);

  // Replaces the fault_* settings from the next call on. INVALID_ARGUMENT leaves them as they were.
  absl::Status SetFaults(const config::Local& options);

  // Calls of `rpc` (kebab-case, "get-with-hash") answered with a gRPC status so far, as in
  // cache_local_calls_total. 0 for a name that is not served.
  uint64_t Calls(absl::string_view rpc, absl::StatusCode code = absl::StatusCode::kOk) const;

  // Stops listening, lets calls finish for at most `drain`, then cancels them; delayed ones are
  // answered at once. Returns when nothing runs any more. The second call does nothing.
  void Shutdown(absl::Duration drain);

 private:
  class Impl;
  explicit LocalServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace cache::local
